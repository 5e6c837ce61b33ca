"""From the finished arrangement to the plan: bindings, what is undelivered and why, moves and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from .book import Book
from .eligible import Demand
from .fleet import Fleet
from .model import Binding, Move, MoveReason, Reason, Totals, Undelivered
from .objective import Segment, micros
from .shortages import Margins
from .timegrid import Flags, Ints


def bindings_of(book: Book, demand: Demand, columns: Collection[int] | None = None) -> list[Binding]:
    """The contract's bindings, all or on some nodes; one that runs, or a reserve that stays, keeps the start that it was announced with."""
    contract, gpus = demand.contract, demand.contract.lot_gpus
    segments = coalesce(s for s in book.segments[demand.index] if columns is None or s.column in columns)
    rows = as_bindings(book.fleet, demand, segments)
    if not demand.running and not contract.reserve:
        return rows
    began: dict[int, list[list[int]]] = {}  # column -> [end, start, lots] that run at now
    for b in book.fleet.began.get(contract.key, ()):
        began.setdefault(book.fleet.column[b.node], []).append([b.end, b.start, b.gpus // gpus])
    out: Counter[tuple[str, str, int, int]] = Counter()
    for (column, start, end, left), (_, node, product, *_) in zip(segments, rows, strict=True):
        for old in sorted(began.get(column, ()), key=lambda o: (o[0] != end, o)) if start == book.now else ():
            take = min(old[2], left)
            old[2] -= take
            left -= take
            out[node, product, old[1], end] += take
        out[node, product, start, end] += left
    return [Binding(contract.key, node, product, n * gpus, start, end) for (node, product, start, end), n in out.items() if n]


def as_bindings(fleet: Fleet, demand: Demand, segments: Sequence[Segment]) -> list[Binding]:
    """Segments of a contract as a plan holds them."""
    key, gpus = demand.contract.key, demand.contract.lot_gpus
    products = [demand.options[g].product for g in fleet.grade[[s.column for s in segments]].tolist()] if segments else []
    return [
        Binding(key, fleet.nodes[column].name, product, lots * gpus, start, end)
        for (column, start, end, lots), product in zip(segments, products, strict=True)
    ]


def totals_of(book: Book, moves: Iterable[Move]) -> Totals:
    """Sums over accepted contracts, each rounded once; reserves are in none but their own."""
    demands = [d for d in book.demands.values() if not d.contract.reserve]
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
        reserve_short_gpu_seconds=sum(book.verdict(i).spare for i, d in book.demands.items() if d.contract.reserve),
    )


def stamp(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if 0 <= time < 1 << 37 else str(time)


def money(micros: int) -> str:
    return f"{micros // 10**6}.{micros % 10**6:06}"


def span(start: int, end: int) -> str:
    return f"{stamp(start)} to {stamp(end)}"


def duration(seconds: int) -> str:
    """In the two largest units: `30 d`, `2 d 6 h`, `15 min`."""
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"


def value_of(demand: Demand) -> int:
    """Owed if nothing were delivered, in units."""
    return demand.lots * demand.lot_rate * (demand.end - demand.start)


def moves_of(book: Book, demand: Demand, columns: Collection[int] | None = None) -> list[Move]:
    """Lots that leave a node on which they were announced for another: paired node by node, in order of name, as they leave.

    `columns` are the nodes on which anything differs from what was announced, if that is known.
    """
    if demand.contract.reserve or (columns is None and _stays(book, demand)) or not demand.before:
        return []
    changes: dict[int, Counter[str]] = {}
    lot, nodes = demand.contract.lot_gpus, book.fleet.nodes
    names = None if columns is None else {nodes[c].name for c in columns}

    def mark(time: int, node: str, lots: int) -> None:
        changes.setdefault(time, Counter())[node] += lots

    own = (s for s in book.segments[demand.index] if columns is None or s.column in columns)
    now = Counter((nodes[column].name, start, end, lots) for column, start, end, lots in own)
    was = Counter((b.node, b.start, b.end, b.gpus // lot) for b in demand.before if names is None or b.node in names)
    for rows, sign in ((now - was, 1), (was - now, -1)):  # what is the same in both cancels out
        for (node, start, end, lots), count in rows.items():
            mark(start, node, sign * lots * count)
            mark(end, node, -sign * lots * count)
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


def _stays(book: Book, demand: Demand) -> bool:
    """Every announced binding is kept as it is, and nothing else is served."""
    fleet, lot = book.fleet, demand.contract.lot_gpus
    if len(demand.announced) < len(demand.before) or not demand.before:
        return not demand.before
    announced = sorted(Segment(fleet.column[b.node], b.start, b.end, b.gpus // lot) for b in demand.announced)
    return announced == sorted(book.segments[demand.index])


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

    def __init__(self, book: Book, margins: Margins | None = None) -> None:
        self.book, self.margins = book, margins
        self._able: dict[int, Flags] = {}  # pool -> per node: may it take lots of the pool's?

    def of(self, demand: Demand) -> list[Undelivered]:
        out = []
        for start, end, lots in self.book.missing(demand.index):
            code, message = self._why(demand, start, end, lots)
            message += self._worth(demand, start, end)
            out.append(Undelivered(demand.contract.key, start, end, lots * demand.contract.lot_gpus, code, message))
        return out

    def _why(self, demand: Demand, start: int, end: int, lots: int) -> tuple[Reason, str]:
        contract, fleet = demand.contract, self.book.fleet
        text = f"{contract.product}: {lots * contract.lot_gpus} of {contract.gpus} GPUs from {span(start, end)}"
        free = self._least_free(demand, start, end)
        lost = [b.node for b in demand.before if self._gone(demand, b.node) and b.start < end and start < b.end]
        if free >= (lots if demand.together else 1):
            if demand.scoped or demand.spread:
                where = contract.scope.label if demand.scoped else f"spread over {contract.spread_domains} x {contract.spread_level.label}"
                return Reason.TOPOLOGY_SHORT, f"{text}: GPUs are free, but not as {where} asks"
            if contract.reserve:
                return Reason.POOL_SHORT, f"{text} are short; {self._room(demand, 0)}"
            limit = f"{demand.moves_per_month} planned cuts in 30 days" if demand.moves_per_month else "no planned cuts"
            why = f"no node is free throughout, and a change of nodes would owe more than the gap or exceed the limit ({limit})"
            return Reason.MOVE_LIMIT, f"{text}: {why}"
        room = self._room(demand, free)
        if lost:
            return Reason.NODE_LOST, f"{text}: node {min(lost)} is lost, and no other has room; {room}"
        out = self._out(demand, start, end)
        if len(out) and free + int((fleet.gpus[out] // contract.lot_gpus).sum()) >= lots:
            planned = any(a < end and start < b for c in out.tolist() for a, b in fleet.planned[c])
            code = Reason.OUTAGE_PLANNED if planned else Reason.NODE_LOST
            first = min(fleet.nodes[c].name for c in out.tolist())
            return code, f"{text}: {len(out)} nodes are in an outage, {first} among them; {room}"
        return Reason.POOL_SHORT, f"{text} are short; {room}"

    def _worth(self, demand: Demand, start: int, end: int) -> str:
        """The price of what is short, where there is a certificate that has one."""
        if self.margins is None or demand.contract.reserve or not (worth := self.margins.micros(demand, start, end)):
            return ""
        own = money(demand.contract.rate // 1_000_000)
        return f"; by the certificate a GPU-hour is worth {money(worth)} at the margin, {own} to this contract"

    def _least_free(self, demand: Demand, start: int, end: int) -> int:
        """Fewest lots for which there is room, at a few instants of [start, end) spread evenly over its slices."""
        times = self.book.ledger.grid.between(start, end)
        some = {times[i * (len(times) - 1) // (LOOKS - 1)] for i in range(LOOKS)}
        spans = [columns for _, columns in demand.pool.spans]
        return min(sum(int(self.book.room(demand, t, t + 1, columns).sum(dtype=np.int64)) for columns in spans) for t in some)

    def _out(self, demand: Demand, start: int, end: int) -> Ints:
        """Nodes that could serve the contract and have an outage in [start, end)."""
        ledger = self.book.ledger
        inside = (ledger.outage_start < end) & (ledger.outage_end > start)
        pool = id(demand.pool)  # shared by many contracts, all alive as long as the book
        if pool not in self._able:
            self._able[pool] = np.isin(np.arange(len(self.book.fleet.nodes)), demand.columns)
        columns = ledger.outage_column[inside]
        out: Ints = np.unique(columns[self._able[pool][columns]])
        return out

    def _room(self, demand: Demand, free: int) -> str:
        gpus, lot = int(self.book.fleet.gpus[demand.columns].sum()), demand.contract.lot_gpus
        return f"the pool has {gpus} GPUs in nodes that could serve it, {free * lot} of them free in lots of {lot}"

    def _gone(self, demand: Demand, node: str) -> bool:
        column = self.book.fleet.column.get(node, -1)
        shrunk = column in self.book.fleet.overfull and column in demand.running
        return column < 0 or bool(self.book.fleet.gpus[column] < demand.contract.lot_gpus) or shrunk


LOOKS = 5  # instants of a gap that a reason looks at


def gap_ppm(own: int, bound: int, value: int) -> int:
    """(own - bound) / value in millionths, rounded half up; 0 where there is no value."""
    return (2 * (own - bound) * 1_000_000 + value) // (2 * value) if value else 0


def coalesce(segments: Iterable[Segment]) -> list[Segment]:
    """The same service with the fewest segments: abutting ones on a node become one, equal ones are counted together."""
    out = sorted(segments)
    if all(a.column < b.column for a, b in pairwise(out)):
        return out
    segments, out = out, []
    by_column: dict[int, list[Segment]] = {}
    for s in segments:
        by_column.setdefault(s.column, []).append(s)
    for column in sorted(by_column):
        running: list[list[int]] = []  # [end, start, lots]
        for _, start, end, lots in sorted(by_column[column]):
            for item in sorted((r for r in running if r[0] == start), key=lambda r: r[1]):
                take = min(item[2], lots)
                if take:
                    item[2] -= take
                    lots -= take
                    running.append([end, item[1], take])
            if lots:
                running.append([end, start, lots])
        merged: dict[tuple[int, int], int] = {}
        for end, start, lots in running:
            if lots:
                merged[start, end] = merged.get((start, end), 0) + lots
        out += [Segment(column, start, end, lots) for (start, end), lots in sorted(merged.items())]
    return out
