"""The independent checker: is a plan legal for a problem, and are its totals, moves and bound what they claim to be?

Written from the semantics of a plan alone, with event sweeps over integers. It imports nothing of the planner, and everything that
a plan asserts is recomputed: a planner that errs, or is replaced, is caught here before anything of its plan is written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise

from laycan_solver.check_certificate import proven_bounds
from laycan_solver.check_contract import Account, Facts, Fault, contract_faults, cut_faults, displaced, half_up, settle, steps
from laycan_solver.model import Binding, Contract, Level, Move, MoveReason, Plan, Problem, Reason, Stopped, Totals, Undelivered

REFUSALS = {Reason.EXCEEDS_FLEET, Reason.NO_CAPACITY, Reason.TOPOLOGY_SHORT}


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def check(problem: Problem, plan: Plan) -> list[Violation]:
    """All violations of the plan, sorted; empty = legal and honest. Never raises for a plan of well-typed fields."""
    facts = Facts(problem)
    found = list(_form(facts, plan))
    known = [b for b in plan.bindings if b.contract in facts.contracts and b.node in facts.nodes]
    for b in known:
        found += _binding(facts, b)
    found += _history(facts, known)
    for name, bindings in _by(known, "node").items():
        found += _capacity(facts, name, bindings)
        found += _holders(facts, name, bindings)
    accounts, more = _contracts(facts, plan, known)
    found += more
    found += _moves(facts, plan, known)
    found += _totals(facts, plan, accounts)
    return sorted({Violation(*fault) for fault in found})


def _by(bindings: Iterable[Binding], field: str) -> Mapping[str, list[Binding]]:
    groups: dict[str, list[Binding]] = defaultdict(list)
    for b in bindings:
        groups[getattr(b, field)].append(b)
    return groups


def _form(facts: Facts, plan: Plan) -> Iterator[Fault]:
    if plan.now != facts.now:
        yield "Now", f"the plan is of {plan.now}, the problem of {facts.now}"
    if any(list(rows) != sorted(rows) for rows in (plan.bindings, plan.undelivered, plan.moves)):
        yield "Order", "bindings, undelivered and moves must be sorted"
    for key in {*(b.contract for b in plan.bindings), *(u.contract for u in plan.undelivered), *(m.contract for m in plan.moves)}:
        if key not in facts.contracts:
            yield "Unknown", f"contract {key} is not given"
    for b in plan.bindings:
        if b.node not in facts.nodes:
            yield "Unknown", f"{b.contract} is bound to node {b.node}, which is not given"


def _binding(facts: Facts, b: Binding) -> Iterator[Fault]:
    c, node = facts.contracts[b.contract], facts.nodes[b.node]
    where = f"{b.contract} on {b.node} in [{b.start}, {b.end})"
    if b.gpus <= 0 or b.gpus % c.lot_gpus:
        yield "Lots", f"{where}: {b.gpus} GPUs are not whole lots of {c.lot_gpus}"
    if not (c.start <= b.start < b.end <= c.end and b.end > facts.now):
        yield "Window", f"{where} is not inside [{c.start}, {c.end}) or lies before now, {facts.now}"
    if (product := facts.delivered_as(c, node.grade)) != b.product:
        yield "Product", f"{where}: product {b.product}, but {node.grade} serves {c.product} as {product or 'nothing'}"


def _history(facts: Facts, bindings: Iterable[Binding]) -> Iterator[Fault]:
    """Bindings that began before now continue announced ones, and nothing else lies on a cordoned node."""
    began: Counter[tuple[str, str, int]] = Counter()
    announced: Counter[tuple[str, str, int]] = Counter()
    for rows, count in ((bindings, began), ((b for bs in facts.previous.values() for b in bs if b.end > facts.now), announced)):
        for b in rows:
            if b.start < facts.now:
                count[b.contract, b.node, b.start] += b.gpus
    for (key, node, start), gpus in began.items():
        if gpus > announced[key, node, start]:
            yield "History", f"{key} on {node} since {start}, before now: {gpus} GPUs, {announced[key, node, start]} were announced"
    cordoned: dict[tuple[str, str], list[Binding]] = defaultdict(list)
    for b in bindings:
        if facts.nodes[b.node].cordoned:
            cordoned[b.contract, b.node].append(b)
    for (key, node), rows in cordoned.items():
        kept = [p for p in facts.staying.get(node, ()) if p.contract == key]
        for b in rows:
            if b.start > facts.now or sum(r.gpus for r in rows if r.end >= b.end) > sum(p.gpus for p in kept if p.end >= b.end):
                yield "Cordoned", f"{key} on {node} in [{b.start}, {b.end}): the node is cordoned, and only what runs there may stay"


def _capacity(facts: Facts, name: str, bindings: Iterable[Binding]) -> Iterator[Fault]:
    """The healthy GPUs of the node are never exceeded; in an outage and on an unusable node there are none."""
    changes: Counter[int] = Counter()  # instant -> GPUs
    for b in bindings:
        changes[max(b.start, facts.now)] += b.gpus
        changes[max(b.end, facts.now)] -= b.gpus
    for edge in (t for span in facts.dark.get(name, ()) for t in span if t > facts.now):
        changes[edge] += 0
    used, instants = 0, sorted(changes)
    for t, then in pairwise(instants):
        used += changes[t]
        if used > (free := facts.gpus_at(name, t)):
            keys = sorted({b.contract for b in bindings if b.start <= t < b.end or t == facts.now})
            yield "Capacity", f"{name} in [{t}, {then}): {used} GPUs bound, {free} are there; {', '.join(keys)}"


def _holders(facts: Facts, name: str, bindings: Iterable[Binding]) -> Iterator[Fault]:
    """A node planned as a whole has one holder at a time, and between two the turnaround of their products lies free."""
    if facts.nodes[name].level is not Level.NODE:
        return
    longest = max(p.turnaround_seconds for p in facts.products.values())
    history = [b._replace(end=min(b.end, facts.now)) for b in facts.history.get(name, ())]
    open_until: list[tuple[int, Contract]] = []
    for b in sorted((*history, *bindings), key=lambda b: (b.start, b.end)):
        c = facts.contracts[b.contract]
        open_until = [(end, other) for end, other in open_until if end + longest > b.start]
        for end, other in open_until if c.holder else ():
            free = max(facts.products[x.product].turnaround_seconds for x in (c, other))
            if other.holder not in ("", c.holder) and b.start < end + free:
                yield "Holder", f"{name}: {c.key} of {c.holder} from {b.start}, {other.key} of {other.holder} until {end} and {free} s more"
        open_until.append((b.end, c))


def _contracts(facts: Facts, plan: Plan, known: Iterable[Binding]) -> tuple[dict[str, Account], list[Fault]]:
    """An account of every contract that the plan accepts, and what is wrong with any."""
    accounts: dict[str, Account] = {}
    found: list[Fault] = []
    bindings, gaps = _by(known, "contract"), defaultdict(list)
    for u in plan.undelivered:
        gaps[u.contract].append(u)
    for key, c in facts.contracts.items():
        mine, short, begin = bindings.get(key, []), gaps.get(key, []), facts.begin(c)
        if any(u.refused for u in short) and not c.accepted:
            found += _refusal(c, begin, mine, short)
            continue
        path = list(steps(c, begin, mine, short)) if begin < c.end else []
        accounts[key] = account = settle(facts, c, mine, path)
        found += _gaps(facts, c, begin, short)
        found += contract_faults(facts, c, path)
        found += cut_faults(facts, c, account.cuts)
        if not c.accepted and (account.instants or any(s.bound < c.lots for s in path)):
            found.append(("Candidate", f"{key} is accepted although it is not delivered in full and without interruption"))
    return accounts, found


def _refusal(c: Contract, begin: int, bindings: Iterable[Binding], short: list[Undelivered]) -> Iterator[Fault]:
    """A refused candidate has nothing, and stands once in `undelivered` for its whole window."""
    if any(bindings):
        yield "Refused", f"{c.key} is refused and has bindings"
    u = short[0]
    if len(short) != 1 or (u.start, u.end, u.gpus) != (begin, c.end, c.gpus) or u.code not in REFUSALS:
        yield "Refused", f"{c.key} must stand once, for {c.gpus} GPUs in [{begin}, {c.end}), with a code of a refusal"


def _gaps(facts: Facts, c: Contract, begin: int, short: Iterable[Undelivered]) -> Iterator[Fault]:
    for u in short:
        where = f"{c.key}: {u.gpus} GPUs undelivered in [{u.start}, {u.end})"
        if not begin <= u.start < u.end <= c.end or u.gpus <= 0 or u.gpus % c.lot_gpus:
            yield "Undelivered", f"{where} are not whole lots inside the due window [{begin}, {c.end})"
        if u.refused or u.code in REFUSALS - {Reason.TOPOLOGY_SHORT} or not u.message:
            yield "Undelivered", f"{where}: {u.code} is the reason of a refusal, or it has no message; the contract is accepted"
        elif not _is_so(facts, c, u):
            yield "Reason", f"{where}: {u.code} is not so"


def _is_so(facts: Facts, c: Contract, u: Undelivered) -> bool:
    """What a reason says has happened did happen. Whether something else would explain the gap better is a judgement."""
    names = [n.name for n in facts.nodes.values() if n.usable and facts.delivered_as(c, n.grade)]
    if u.code is Reason.NODE_LOST:
        before = {b.node for b in facts.previous.get(c.key, ()) if b.start < u.end and u.start < b.end}
        return any(facts.gone(c, name) or facts.shrunk(c, name) for name in before) or any(
            facts.out(name, u.start, u.end, facts.faults) for name in names
        )
    if u.code is Reason.OUTAGE_PLANNED:
        spans = [span for name in names for span in facts.dark.get(name, ()) if span not in facts.faults.get(name, ())]
        return any(a < u.end and u.start < b for a, b in spans)
    return u.code is not Reason.TOPOLOGY_SHORT or bool(c.scope or c.spread_level)


def _moves(facts: Facts, plan: Plan, known: Iterable[Binding]) -> Iterator[Fault]:
    """Each move leads from a node that the contract was announced or bound on to one that it is bound on, and they cover what moved."""
    listed: Counter[str] = Counter()
    bindings = _by(known, "contract")
    for m in plan.moves:
        after = {b.node for b in bindings.get(m.contract, ())}
        before = after | {b.node for b in facts.previous.get(m.contract, ())}
        if m.source == m.target or m.source not in before or m.target not in after or m.gpus <= 0:
            yield "Move", f"{m.contract}: {m.gpus} GPUs from {m.source} to {m.target}, but it was not there or is not bound there"
        elif not _moves_so(facts, facts.contracts[m.contract], m):
            yield "Reason", f"{m.contract}: {m.gpus} GPUs from {m.source} to {m.target}: {m.reason} is not so"
        listed[m.contract] += m.gpus
    for key in facts.previous:
        c = facts.contracts[key]
        if listed[key] < (least := displaced(facts, c, bindings.get(key, ()), facts.begin(c))):
            yield "Move", f"{key}: {listed[key]} GPUs are listed as moved, at least {least} were"


def _moves_so(facts: Facts, c: Contract, m: Move) -> bool:
    """A node is called lost only if it is, and in an outage only if it is; what is lost for good is called so."""
    gone = facts.gone(c, m.source)
    if m.reason is MoveReason.NODE_LOST:
        return gone or facts.shrunk(c, m.source)
    return not gone and (m.reason is not MoveReason.OUTAGE or facts.out(m.source, facts.begin(c), c.end, facts.dark))


def _totals(facts: Facts, plan: Plan, accounts: Mapping[str, Account]) -> Iterator[Fault]:
    rows = [(facts.contracts[key], a) for key, a in accounts.items()]
    firm = [a for c, a in rows if c.firm]
    every = [a for _, a in rows]
    true = Totals(
        value_micros=sum(a.value for a in every),
        owed_micros=sum(a.owed for a in every),
        firm_owed_micros=sum(a.owed + a.interruption for a in firm),
        interruption_micros=sum(a.interruption for a in every),
        substitution_micros=sum(a.substitution for a in every),
        contracted_gpu_seconds=sum(c.gpus * max(0, c.end - facts.begin(c)) for c, _ in rows),
        bound_gpu_seconds=sum(a.bound for a in every),
        moved_gpus=sum(m.gpus for m in plan.moves),
        contract_instants=sum(len(a.instants) for a in every),
    )
    for name, value in asdict(true).items():
        if (claimed := getattr(plan.totals, name)) != value:
            yield "Totals", f"{name} is {claimed}, recomputed {value}"
    proven, wrong = proven_bounds(facts, plan.certificate, [c for c, _ in rows])
    if wrong:
        yield "Certificate", wrong
    own = {"firm": true.firm_owed_micros, "total": true.owed_micros + true.interruption_micros + true.substitution_micros}
    for name, bound, value, gap in (
        ("firm", plan.bound.firm_micros, sum(a.value for a in firm), plan.firm_gap_ppm),
        ("total", plan.bound.total_micros, true.value_micros, plan.total_gap_ppm),
    ):
        if not 0 <= bound <= own[name]:
            yield "Bound", f"{name}: bound {bound} is not between 0 and the plan's own {own[name]}"
        if not bound <= proven[name] <= own[name]:
            yield "Certificate", f"{name}: bound {bound}, its prices prove {proven[name]}, the plan's own is {own[name]}"
        if plan.stopped is Stopped.OPTIMAL and own[name] - bound > 2 * len(rows):  # what rounding contract by contract may hide
            yield "Stopped", f"{name}: the plan is called optimal, but {own[name]} is more than its bound, {bound}"
        if gap != (expected := gap_ppm(own[name], bound, value)):
            yield "Gap", f"{name}: {gap} ppm, recomputed {expected}"


def gap_ppm(own: int, bound: int, value: int) -> int:
    """(own - bound) / value in millionths, rounded half up."""
    return half_up((own - bound) * 10**6, value) if value else 0
