"""From the finished arrangement to the plan: bindings, what is undelivered and why, moves and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from .book import Book
from .construct import coalesce
from .eligible import Demand
from .model import Binding, Move, MoveReason, Reason, Totals, Undelivered
from .objective import micros, missing_profile
from .timegrid import Ints


def bindings_of(book: Book, demand: Demand) -> list[Binding]:
    """The contract's bindings; one that runs keeps the start that it was announced with."""
    contract, fleet = demand.contract, book.fleet
    began: dict[int, list[list[int]]] = {}  # column -> [end, start, lots] that run at now
    for b in (b for spans in fleet.staying.values() for b in spans if b.contract == contract.key) if demand.running else ():
        began.setdefault(fleet.column[b.node], []).append([b.end, b.start, b.gpus // contract.lot_gpus])
    out: Counter[tuple[str, str, int, int]] = Counter()
    for column, start, end, lots in coalesce(book.segments[demand.index]):
        node, product = fleet.nodes[column].name, demand.options[int(fleet.grade[column])].product
        if start == book.now:
            for old in sorted(began.get(column, ()), key=lambda o: (o[0] != end, o)):
                take = min(old[2], lots)
                old[2] -= take
                lots -= take
                out[node, product, old[1], end] += take
        out[node, product, start, end] += lots
    gpus = contract.lot_gpus
    return [Binding(contract.key, node, product, n * gpus, start, end) for (node, product, start, end), n in out.items() if n]


def totals_of(book: Book, moves: Iterable[Move]) -> Totals:
    """Sums over accepted contracts, each rounded once."""
    demands = list(book.demands.values())
    verdicts = {d.index: book.verdict(d.index) for d in demands}
    bound = sum(s.lots * (s.end - s.start) * d.contract.lot_gpus for d in demands for s in book.segments[d.index])
    firm = [verdicts[d.index] for d in demands if d.contract.firm]
    return Totals(
        value_micros=sum(micros(value_of(d)) for d in demands),
        owed_micros=sum(micros(v.owed) for v in verdicts.values()),
        firm_owed_micros=sum(micros(v.owed) + micros(v.interruption) for v in firm),
        interruption_micros=sum(micros(v.interruption) for v in verdicts.values()),
        substitution_micros=sum(micros(v.substitution) for v in verdicts.values()),
        contracted_gpu_seconds=sum(d.contract.gpus * (d.end - d.start) for d in demands),
        bound_gpu_seconds=bound,
        moved_gpus=sum(m.gpus for m in moves),
        contract_instants=sum(len(v.instants) for v in verdicts.values()),
    )


def stamp(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if 0 <= time < 1 << 37 else str(time)


def span(start: int, end: int) -> str:
    return f"{stamp(start)} to {stamp(end)}"


def value_of(demand: Demand) -> int:
    """Owed if nothing were delivered, in units."""
    return demand.lots * demand.lot_rate * (demand.end - demand.start)


def moves_of(book: Book, demand: Demand) -> list[Move]:
    """Lots that leave a node on which they were announced for another: paired node by node, in order of name, as they leave."""
    changes: dict[int, Counter[str]] = {}
    lot = demand.contract.lot_gpus

    def mark(time: int, node: str, lots: int) -> None:
        changes.setdefault(time, Counter())[node] += lots

    for s in book.segments[demand.index]:
        mark(s.start, book.fleet.nodes[s.column].name, s.lots)
        mark(s.end, book.fleet.nodes[s.column].name, -s.lots)
    for b in demand.before:
        mark(b.start, b.node, -(b.gpus // lot))
        mark(b.end, b.node, b.gpus // lot)
    beyond: Counter[str] = Counter()  # node -> lots more than announced
    pairs: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str, MoveReason]] = Counter()
    for time in sorted(changes):
        beyond.update(changes[time])
        _trim(pairs, beyond)
        for source, target in _new_pairs(pairs, beyond):
            pairs[source, target] += 1
            found[source, target, _move_reason(book, demand, source, time)] += 1
    return [Move(demand.contract.key, source, target, n * lot, reason) for (source, target, reason), n in found.items() if n]


def _trim(pairs: Counter[tuple[str, str]], beyond: Counter[str]) -> None:
    """No node is in more pairs than it has lots away from where they were announced."""
    used: Counter[str] = Counter()
    for pair in sorted(pairs):
        source, target = pair
        pairs[pair] = max(0, min(pairs[pair], -beyond[source] - used[source], beyond[target] - used[target]))
        used[source] += pairs[pair]
        used[target] += pairs[pair]


def _new_pairs(pairs: Counter[tuple[str, str]], beyond: Counter[str]) -> list[tuple[str, str]]:
    """One pair for each further lot that is away from where it was announced."""
    used: Counter[str] = Counter()
    for (source, target), lots in pairs.items():
        used[source] += lots
        used[target] += lots
    sources = [n for n, lots in sorted(beyond.items()) for _ in range(-lots - used[n])]
    targets = [n for n, lots in sorted(beyond.items()) for _ in range(lots - used[n])]
    return list(zip(sources, targets, strict=False))


def _move_reason(book: Book, demand: Demand, source: str, time: int) -> MoveReason:
    fleet = book.fleet
    column = fleet.column.get(source, -1)
    shrunk = time == book.now and column in demand.running and column in fleet.overfull
    if column < 0 or fleet.gpus[column] < demand.contract.lot_gpus or shrunk:
        return MoveReason.NODE_LOST
    if any(a < demand.end and time < b for a, b in fleet.outages[column] if a <= time or a < demand.end):
        return MoveReason.OUTAGE
    return MoveReason.RESCUE if column in demand.running else MoveReason.PLANNED


class Shortfalls:
    """Why lots are not served: for each gap the first of the published reasons that holds, with pool, window and figures."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def of(self, demand: Demand) -> list[Undelivered]:
        out = []
        for start, end, lots in missing_profile(demand, self.book.segments[demand.index]):
            code, message = self._why(demand, start, end, lots)
            out.append(Undelivered(demand.contract.key, start, end, lots * demand.contract.lot_gpus, code, message))
        return out

    def _why(self, demand: Demand, start: int, end: int, lots: int) -> tuple[Reason, str]:
        book, fleet = self.book, self.book.fleet
        contract, grid = demand.contract, book.ledger.grid
        pool, window = contract.product, span(start, end)
        want = f"{lots * contract.lot_gpus} of {contract.gpus} GPUs"
        first, last = grid.index(start), grid.index(end)
        units = book.ledger.units(demand, first, last, demand.columns)
        free = units.sum(axis=1)
        lost = [b.node for b in demand.before if self._gone(demand, b.node) and b.start < end and start < b.end]
        out = [fleet.nodes[c].name for c in demand.columns.tolist() if self._outage_in(c, start, end)]
        enough = len(free) and int(free.min()) >= (lots if demand.together else 1)
        if enough and (demand.scoped or demand.spread):
            where = contract.scope.label if demand.scoped else f"spread over {contract.spread_domains} x {contract.spread_level.label}"
            return Reason.TOPOLOGY_SHORT, f"{pool}: {want} from {window}: GPUs are free, but not as {where} asks"
        if enough:
            limit = f"{demand.moves_per_month} planned cuts in 30 days" if demand.moves_per_month else "no planned cuts"
            text = f"no node is free throughout, and a change of nodes would owe more than the gap or exceed the limit ({limit})"
            return Reason.MOVE_LIMIT, f"{pool}: {want} from {window}: {text}"
        if lost:
            return (
                Reason.NODE_LOST,
                f"{pool}: {want} from {window}: node {min(lost)} is lost, and no other has room; {self._room(demand, free)}",
            )
        if out and int(free.min(initial=0)) < lots and self._outage_tells(demand, first, last, lots):
            planned = any(a < end and start < b for c in demand.columns.tolist() for a, b in fleet.planned[c])
            return (
                Reason.OUTAGE_PLANNED if planned else Reason.NODE_LOST,
                f"{pool}: {want} from {window}: {len(out)} nodes are in an outage, {min(out)} among them; {self._room(demand, free)}",
            )
        return Reason.POOL_SHORT, f"{pool}: {want} from {window} are short; {self._room(demand, free)}"

    def _room(self, demand: Demand, free: Ints) -> str:
        gpus = int(self.book.fleet.gpus[demand.columns].sum())
        least = int(free.min(initial=0)) * demand.contract.lot_gpus
        return f"the pool has {gpus} GPUs in nodes that could serve it, {least} of them free in lots of {demand.contract.lot_gpus}"

    def _gone(self, demand: Demand, node: str) -> bool:
        column = self.book.fleet.column.get(node, -1)
        shrunk = column in self.book.fleet.overfull and column in demand.running
        return column < 0 or bool(self.book.fleet.gpus[column] < demand.contract.lot_gpus) or shrunk

    def _outage_in(self, column: int, start: int, end: int) -> bool:
        return any(a < end and start < b for a, b in self.book.fleet.outages[column])

    def _outage_tells(self, demand: Demand, first: int, last: int, lots: int) -> bool:
        """Without outages there would have been room in every slice."""
        ledger, lot = self.book.ledger, demand.contract.lot_gpus
        out = (ledger.capacity[first:last][:, demand.columns] == 0) * (self.book.fleet.gpus[demand.columns] // lot)
        free = ledger.units(demand, first, last, demand.columns).sum(axis=1)
        return bool((free + out.sum(axis=1) >= lots).all())


def gap_ppm(own: int, bound: int, value: int) -> int:
    """(own - bound) / value in millionths, rounded half up; 0 where there is no value."""
    return (2 * (own - bound) * 1_000_000 + value) // (2 * value) if value else 0
