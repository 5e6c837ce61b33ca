"""What one contract gets from a plan, recomputed instant by instant: legality of its bindings, quantity, topology, cuts and money.

Pure integers. An event sweep over the contract's own bindings; it shares no code with the planner, so that both would have to be
wrong in the same way for a wrong plan to pass. Faults are (code, message) pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from laycan_solver.check_facts import Facts
from laycan_solver.model import Binding, Contract, MovePolicy, Scope, Undelivered

Fault = tuple[str, str]
MONTH = 30 * 86_400  # the window of `moves_per_month`, seconds
MICRO_HOUR = 3_600 * 10**6  # rate x GPU-seconds -> micros


def half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def binding_faults(facts: Facts, c: Contract, bindings: Iterable[Binding]) -> Iterator[Fault]:
    """Whole lots inside the window, as the product that the node is for the contract."""
    options = facts.options(c)
    for b in bindings:
        product, _ = options.get(facts.nodes[b.node].grade, ("nothing", 0))
        if b.gpus <= 0 or b.gpus % c.lot_gpus:
            yield "Lots", f"{_where(b)}: {b.gpus} GPUs are not whole lots of {c.lot_gpus}"
        if not (c.start <= b.start < b.end <= c.end and b.end > facts.now):
            yield "Window", f"{_where(b)} is not inside [{c.start}, {c.end}) or lies before now, {facts.now}"
        if product != b.product:
            yield "Product", f"{_where(b)}: product {b.product}, but {facts.nodes[b.node].grade} serves {c.product} as {product}"


def history_faults(facts: Facts, c: Contract, bindings: Sequence[Binding]) -> Iterator[Fault]:
    """Bindings that began before now continue announced ones, and nothing else lies on a cordoned node."""
    began, announced = Counter[tuple[str, int]](), Counter[tuple[str, int]]()  # node, start -> GPUs
    cordoned: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings
    for b in bindings:
        if b.start < facts.now:
            began[b.node, b.start] += b.gpus
        if facts.nodes[b.node].cordoned:
            cordoned[b.node].append(b)
    for b in facts.previous.get(c.key, ()) if began else ():
        announced[b.node, b.start] += b.gpus if b.end > facts.now else 0
    for (name, start), gpus in began.items():
        if gpus > (most := announced[name, start]):
            yield "History", f"{c.key} on {name} since {start}, before now: {gpus} GPUs, {most} were announced"
    for name, rows in cordoned.items():
        kept = [p for p in facts.staying.get(name, ()) if p.contract == c.key]
        for b in rows:
            if b.start > facts.now or sum(r.gpus for r in rows if r.end >= b.end) > sum(p.gpus for p in kept if p.end >= b.end):
                yield "Cordoned", f"{_where(b)}: the node is cordoned, and only what runs there may stay"


def _where(b: Binding) -> str:
    return f"{b.contract} on {b.node} in [{b.start}, {b.end})"


class Step(NamedTuple):
    """Between two instants nothing changes. `changed`: node -> lots more or fewer than before (at the first step: all lots)."""

    start: int
    end: int
    bound: int  # lots
    listed: int  # GPUs that the plan lists as undelivered
    changed: Mapping[str, int]


def steps(c: Contract, begin: int, bindings: Iterable[Binding], undelivered: Iterable[Undelivered]) -> Iterator[Step]:
    """The due window, cut where something begins or ends."""
    changes: dict[int, dict[str, int]] = {begin: {}, c.end: {}}
    for b in bindings:
        if (start := max(b.start, begin)) < (end := min(b.end, c.end)):
            lots = b.gpus // c.lot_gpus
            for t, net in ((start, lots), (end, -lots)):
                at = changes.setdefault(t, {})
                at[b.node] = at.get(b.node, 0) + net
    gaps = Counter[int]()
    for u in undelivered:
        gaps[max(u.start, begin)] += u.gpus
        gaps[u.end] -= u.gpus
    bound = listed = 0
    for t, then in pairwise(sorted(t for t in {*changes, *gaps} if begin <= t <= c.end)):
        changed = {node: net for node, net in changes.get(t, {}).items() if net}
        bound += sum(changed.values())
        listed += gaps[t]
        yield Step(t, then, bound, listed, changed)


class Account(NamedTuple):
    """What a contract is owed for, of its due window."""

    contracted: int  # GPU-seconds
    bound: int  # GPU-seconds
    value: int  # micros, as the next three
    owed: int
    interruption: int
    substitution: int
    curtailed: int  # GPU-seconds that are missing by right
    instants: Sequence[int]  # at which it is interrupted
    cuts: Sequence[int]  # those of them that nothing forced


def settle(facts: Facts, c: Contract, bindings: Sequence[Binding], path: Sequence[Step]) -> Account:
    begin, product = facts.begin(c), facts.products[c.product]
    contracted = c.gpus * max(0, c.end - begin)
    bound = sum(s.bound * (s.end - s.start) for s in path) * c.lot_gpus
    curtailed = 0  # lot-seconds
    if not c.firm and c.notice_seconds is not None:
        noticed = facts.now + c.notice_seconds
        late = sum((c.lots - s.bound) * (s.end - max(s.start, noticed)) for s in path if s.end > noticed)
        curtailed = min(c.lots * c.curtailable_seconds, late)
    others = [b for b in bindings if b.product != c.product and b.end > begin]
    extra = sum(product.equivalents.get(b.product, 0) * b.gpus * (b.end - max(b.start, begin)) for b in others)
    instants, cuts = interruptions(facts, c, path)
    return Account(
        contracted=contracted,
        bound=bound,
        value=half_up(c.rate * contracted, MICRO_HOUR),
        owed=half_up(c.rate * (contracted - bound - curtailed * c.lot_gpus), MICRO_HOUR),
        interruption=half_up(c.rate * c.gpus * product.move_seconds * len(instants), MICRO_HOUR),
        substitution=half_up(extra, 3_600),
        curtailed=curtailed * c.lot_gpus,
        instants=instants,
        cuts=cuts,
    )


def interruptions(facts: Facts, c: Contract, path: Sequence[Step]) -> tuple[list[int], list[int]]:
    """Instants at which lots go from one node to another, and those of them that an outage or a loss did not force.

    At `now` the announced bindings that ran are compared with the plan, and what cannot stay moves free.
    """
    instants, cuts = list[int](), list[int]()
    for i, step in enumerate(path):
        net, free = step.changed, 0
        if i == 0:
            if step.start != facts.now or not (ran := facts.ran.get(c.key)):
                continue
            net = {n: step.changed.get(n, 0) - ran[n] for n in {*ran, *step.changed}}
            free = -sum(d for n, d in net.items() if d < 0 and not facts.serves_on(c, n, step.start))
        more, fewer = sum(d for d in net.values() if d > 0), -sum(d for d in net.values() if d < 0)
        if min(more, fewer) > min(more, free):
            instants.append(step.start)
            if any(d < 0 and facts.serves_on(c, n, step.start) for n, d in net.items()):
                cuts.append(step.start)
    return instants, cuts


def contract_faults(facts: Facts, c: Contract, path: Sequence[Step]) -> Iterator[Fault]:
    """Quantity, all-or-nothing, scope and spread at every instant of the due window."""
    whole = facts.whole(c)
    for s in path:
        if s.bound > c.lots:
            yield "OverBound", f"{_bound(c, s)}, {c.gpus} contracted"
        if s.bound * c.lot_gpus + s.listed != c.gpus:
            yield "Quantity", f"{_bound(c, s)} and {s.listed} undelivered do not make {c.gpus}"
        if whole and 0 < s.bound < c.lots:
            yield "AllOrNothing", f"{_bound(c, s)} of {c.gpus}, and its delivery has not started"
    if c.scope:
        for s, used in _used(facts, path, c.scope):
            if len(used) > 1:
                yield "Scope", f"{_bound(c, s)} in more than one {c.scope.label}: {', '.join(sorted(used))}"
    if c.spread_level:
        most = -(-c.lots // c.spread_domains)
        for s, used in _used(facts, path, c.spread_level):
            if full := sorted(d for d, lots in used.items() if lots > most):
                yield "Spread", f"{_bound(c, s)}, more than {most} lots of it in {c.spread_level.label} {', '.join(full)}"


def _bound(c: Contract, s: Step) -> str:
    return f"{c.key} in [{s.start}, {s.end}): {s.bound * c.lot_gpus} GPUs bound"


def _used(facts: Facts, path: Iterable[Step], level: Scope) -> Iterator[tuple[Step, Mapping[str, int]]]:
    """Each step with the domains of the level that lots lie in: domain -> lots."""
    lots = Counter[str]()
    for s in path:
        for node, net in s.changed.items():
            lots[facts.nodes[node].domains[level - 1]] += net
        lots = +lots
        yield s, lots


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
