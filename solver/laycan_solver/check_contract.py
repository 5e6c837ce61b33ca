"""What one contract gets from a plan, recomputed instant by instant: quantity, topology, interruptions, planned cuts and money.

Pure integers. An event sweep over the contract's own bindings; it shares no code with the planner, so that both would have to be
wrong in the same way for a wrong plan to pass. Faults are (code, message) pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from laycan_solver.model import Binding, Contract, MovePolicy, OutageType, Problem, Scope, Undelivered

Fault = tuple[str, str]
MONTH = 30 * 86_400  # the window of `moves_per_month`, seconds
MICRO_HOUR = 3_600 * 10**6  # rate x GPU-seconds -> micros


def half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


class Facts:
    """The problem, indexed: what a node can serve at an instant, which product it is for a contract, what ran at `now`."""

    def __init__(self, problem: Problem) -> None:
        self.now = problem.now
        self.nodes = {n.name: n for n in problem.nodes}
        self.products = {p.name: p for p in problem.products}
        self.contracts = {c.key: c for c in problem.contracts}
        self.dark: dict[str, list[tuple[int, int]]] = defaultdict(list)  # node -> outages
        self.faults: dict[str, list[tuple[int, int]]] = defaultdict(list)  # node -> those of them that nobody planned
        for outage in problem.outages:
            for name in outage.nodes:
                self.dark[name].append((outage.start, outage.end))
                if outage.type is OutageType.FORCED:
                    self.faults[name].append((outage.start, outage.end))
        self.previous: dict[str, list[Binding]] = defaultdict(list)  # contract -> announced bindings
        self.ran: dict[str, Counter[str]] = defaultdict(Counter)  # contract -> node -> lots that run at now
        self.history: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings that began before now
        self.staying: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings that run at now
        for b in problem.previous:
            if b.contract in self.contracts:
                self.previous[b.contract].append(b)
                if b.start < problem.now:
                    self.history[b.node].append(b)
                if b.start < problem.now < b.end:
                    self.ran[b.contract][b.node] += b.gpus // self.contracts[b.contract].lot_gpus
                    self.staying[b.node].append(b)
        self.overfull = {name for name, bs in self.staying.items() if sum(b.gpus for b in bs) > self.gpus_at(name, problem.now)}

    def begin(self, c: Contract) -> int:
        """First second that is due."""
        return max(c.start, c.due_from, self.now)

    def whole(self, c: Contract) -> bool:
        """All lots or none, as nothing of it has been delivered yet."""
        return c.all_or_nothing and not c.delivering and all(b.start >= self.now for b in self.previous.get(c.key, ()))

    def gpus_at(self, name: str, t: int) -> int:
        node = self.nodes.get(name)
        dark = node is None or not node.usable or any(a <= t < b for a, b in self.dark.get(name, ()))
        return 0 if dark or node is None else node.gpus

    def delivered_as(self, c: Contract, grade: str) -> str | None:
        """The product as which hardware of this grade serves the contract; None: not at all. Its own wins, then the cheapest."""
        own = self.products[c.product]
        if grade in own.grades:
            return own.name
        names = [n for n in own.equivalents if c.substitution and n in self.products and grade in self.products[n].grades]
        return min(names, key=lambda n: (own.equivalents[n], n), default=None)

    def cost(self, c: Contract, grade: str) -> int | None:
        """Micros per GPU-hour on top, when this grade delivers it; None: it cannot."""
        name = self.delivered_as(c, grade)
        return None if name is None else 0 if name == c.product else self.products[c.product].equivalents[name]

    def serves_on(self, c: Contract, name: str, t: int) -> bool:
        """Could lots of the contract that were on the node just before t have stayed there?"""
        if self.gpus_at(name, t) < c.lot_gpus or self.delivered_as(c, self.nodes[name].grade) is None:
            return False
        if t == self.now:
            return name not in self.overfull
        return not self.nodes[name].cordoned or any(b.contract == c.key and b.end > t for b in self.staying[name])

    def gone(self, c: Contract, name: str) -> bool:
        """The node cannot serve the contract, now and later, whatever else lies on it."""
        node = self.nodes.get(name)
        return node is None or not node.usable or node.gpus < c.lot_gpus

    def shrunk(self, c: Contract, name: str) -> bool:
        """The node has fewer GPUs than run on it, among them some of the contract."""
        ran = c.key in self.ran and name in self.ran[c.key]
        return ran and sum(b.gpus for b in self.staying[name]) > self.nodes[name].gpus

    def out(self, name: str, start: int, end: int, among: Mapping[str, Sequence[tuple[int, int]]]) -> bool:
        """One of these outages of the node lies, in part at least, in [start, end)."""
        return any(a < end and start < b for a, b in among.get(name, ()))


@dataclass(frozen=True, slots=True)
class Step:
    """Between two instants nothing changes. `changed`: node -> lots more or fewer than before (at the first step: all lots)."""

    start: int
    end: int
    bound: int  # lots
    listed: int  # GPUs that the plan lists as undelivered
    changed: Mapping[str, int]


def steps(c: Contract, begin: int, bindings: Iterable[Binding], undelivered: Iterable[Undelivered]) -> Iterator[Step]:
    changes: dict[int, Counter[str]] = defaultdict(Counter, {begin: Counter(), c.end: Counter()})
    gaps: Counter[int] = Counter()
    for b in bindings:
        if (start := max(b.start, begin)) < (end := min(b.end, c.end)):
            changes[start][b.node] += b.gpus // c.lot_gpus
            changes[end][b.node] -= b.gpus // c.lot_gpus
    for u in undelivered:
        gaps[max(u.start, begin)] += u.gpus
        gaps[u.end] -= u.gpus
    instants = sorted(t for t in {*changes, *gaps} if begin <= t <= c.end)
    bound = listed = 0
    for t, then in pairwise(instants):
        changed = {node: net for node, net in changes[t].items() if net} if t in changes else {}
        bound += sum(changed.values())
        listed += gaps[t]
        yield Step(t, then, bound, listed, changed)


@dataclass(frozen=True, slots=True)
class Account:
    """What a contract is owed for, of its due window."""

    bound: int  # GPU-seconds
    value: int  # micros, as the next three
    owed: int
    interruption: int
    substitution: int
    instants: tuple[int, ...]  # at which it is interrupted
    cuts: tuple[int, ...]  # those of them that nothing forced


def settle(facts: Facts, c: Contract, bindings: Sequence[Binding], path: Sequence[Step]) -> Account:
    begin, product = facts.begin(c), facts.products[c.product]
    contracted = c.gpus * max(0, c.end - begin)
    bound = sum(s.bound * c.lot_gpus * (s.end - s.start) for s in path)
    curtailed = 0  # lot-seconds
    if not c.firm and c.notice_seconds is not None:
        noticed = facts.now + c.notice_seconds
        late = sum((c.lots - s.bound) * (s.end - max(s.start, noticed)) for s in path if s.end > noticed)
        curtailed = min(c.lots * c.curtailable_seconds, late)
    extra = sum(
        product.equivalents.get(b.product, 0) * b.gpus * (b.end - max(b.start, begin))
        for b in bindings
        if b.product != c.product and b.end > begin
    )
    instants, cuts = interruptions(facts, c, path)
    return Account(
        bound=bound,
        value=half_up(c.rate * contracted, MICRO_HOUR),
        owed=half_up(c.rate * (contracted - bound - curtailed * c.lot_gpus), MICRO_HOUR),
        interruption=half_up(c.rate * c.gpus * product.move_seconds * len(instants), MICRO_HOUR),
        substitution=half_up(extra, 3_600),
        instants=instants,
        cuts=cuts,
    )


def interruptions(facts: Facts, c: Contract, path: Sequence[Step]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Instants at which lots go from one node to another, and those of them that an outage or a loss did not force.

    At `now` the announced bindings that ran are compared with the plan, and what cannot stay moves free.
    """
    instants, cuts = [], []
    for i, step in enumerate(path):
        net, free = step.changed, 0
        if i == 0:
            ran = facts.ran.get(c.key, Counter())
            net = {n: step.changed.get(n, 0) - ran[n] for n in {*ran, *step.changed}} if step.start == facts.now else {}
            free = -sum(d for n, d in net.items() if d < 0 and not facts.serves_on(c, n, step.start))
        more, fewer = sum(d for d in net.values() if d > 0), -sum(d for d in net.values() if d < 0)
        if min(more, fewer) > min(more, free):
            instants.append(step.start)
            if any(d < 0 and facts.serves_on(c, n, step.start) for n, d in net.items()):
                cuts.append(step.start)
    return tuple(instants), tuple(cuts)


def contract_faults(facts: Facts, c: Contract, path: Sequence[Step]) -> Iterator[Fault]:
    """Quantity, all-or-nothing, scope and spread at every instant of the due window."""
    whole = facts.whole(c)
    for s in path:
        where = f"{c.key} in [{s.start}, {s.end}): {s.bound * c.lot_gpus} GPUs bound"
        if s.bound > c.lots:
            yield "OverBound", f"{where}, {c.gpus} contracted"
        if s.bound * c.lot_gpus + s.listed != c.gpus:
            yield "Quantity", f"{where} and {s.listed} undelivered do not make {c.gpus}"
        if whole and 0 < s.bound < c.lots:
            yield "AllOrNothing", f"{where} of {c.gpus}, and its delivery has not started"
    if c.scope:
        yield from _crowded(facts, c, path, c.scope, 1)
    if c.spread_level:
        yield from _crowded(facts, c, path, c.spread_level, None)


def _crowded(facts: Facts, c: Contract, path: Sequence[Step], level: Scope, domains: int | None) -> Iterator[Fault]:
    """With `domains`: lots in more domains of the level than that. Without: more lots in one of them than the spread allows."""
    lots: Counter[str] = Counter()  # domain -> lots in it
    most = -(-c.lots // c.spread_domains)
    for s in path:
        for node, net in s.changed.items():
            lots[facts.nodes[node].domains[level - 1]] += net
        used = {d: n for d, n in lots.items() if n > 0}
        where = f"{c.key} in [{s.start}, {s.end}): {level.label}"
        if domains is not None and len(used) > domains:
            yield "Scope", f"{where} of its lots is more than one: {', '.join(sorted(used))}"
        elif domains is None and (full := {d: n for d, n in used.items() if n > most}):
            domain = min(full)
            yield "Spread", f"{where} {domain} holds {full[domain]} lots, at most {most} may lie in one of {c.spread_domains}"
        lots = Counter(used)


def cut_faults(facts: Facts, c: Contract, cuts: Sequence[int]) -> Iterator[Fault]:
    """Planned cuts: none by policy Forced, else at most so many in any 30 days."""
    product = facts.products[c.product]
    if cuts and (c.forced_moves_only or product.move_policy is MovePolicy.FORCED):
        yield "MovePolicy", f"{c.key} is cut at {cuts[0]} although nothing forces it and its policy is Forced"
    most = product.moves_per_month
    for first, last in zip(cuts, cuts[most:], strict=False):
        if last - first < MONTH:
            yield "MoveLimit", f"{c.key} has {most + 1} planned cuts in [{first}, {last}], {most} are allowed in 30 days"
            return


def displaced(facts: Facts, c: Contract, bindings: Sequence[Binding], begin: int) -> int:
    """Most GPUs that lie at one instant on other nodes than announced: so many must have moved."""
    changes: dict[int, Counter[str]] = defaultdict(Counter)
    for rows, sign in ((bindings, 1), (facts.previous.get(c.key, ()), -1)):
        for b in rows:
            if (start := max(b.start, begin)) < (end := min(b.end, c.end)):
                changes[start][b.node] += sign * b.gpus
                changes[end][b.node] -= sign * b.gpus
    extra: Counter[str] = Counter()  # node -> GPUs beyond the announced
    most = 0
    for t in sorted(changes):
        extra.update(changes[t])
        most = max(most, min(sum(g for g in extra.values() if g > 0), -sum(g for g in extra.values() if g < 0)))
    return most
