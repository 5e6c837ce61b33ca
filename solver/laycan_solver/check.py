"""The independent checker: is a plan legal for a problem, and are its totals, moves and bound what they claim to be?

Written from the semantics of a plan alone, with event sweeps over integers. It imports nothing of the planner, and everything that
a plan asserts is recomputed: a planner that errs, or is replaced, is caught here before anything of its plan is written.

A reserve is checked as a contract is, where it lies and how much of it. But it never runs: its node is nobody else's meanwhile, it
needs no turnaround, may be cut and moved at will, and is in no total but its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from laycan_solver.check_certificate import proven_bounds
from laycan_solver.check_contract import (
    Account,
    Fault,
    binding_faults,
    contract_faults,
    cut_faults,
    half_up,
    history_faults,
    settle,
    steps,
)
from laycan_solver.check_facts import Facts, overlaps
from laycan_solver.check_moves import move_faults
from laycan_solver.model import Binding, Contract, Level, Node, Plan, Problem, Reason, Stopped, Totals, Undelivered

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
    mine: dict[str, list[Binding]] = defaultdict(list)  # contract -> bindings
    here: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings
    for b in plan.bindings:
        if b.contract in facts.contracts and b.node in facts.nodes:
            mine[b.contract].append(b)
            here[b.node].append(b)
    for name, bindings in here.items():
        found += _capacity(facts, facts.nodes[name], bindings)
        if facts.nodes[name].level is Level.NODE:
            found += _holders(facts, name, bindings)
    accounts, more = _contracts(facts, plan, mine)
    found += more
    found += move_faults(facts, plan, mine)
    found += _totals(facts, plan, accounts)
    return sorted({Violation(*fault) for fault in found})


def _form(facts: Facts, plan: Plan) -> Iterator[Fault]:
    if plan.now != facts.now:
        yield "Now", f"the plan is of {plan.now}, the problem of {facts.now}"
    if any(list(rows) != sorted(rows) for rows in (plan.bindings, plan.undelivered, plan.moves)):
        yield "Order", "bindings, undelivered and moves must be sorted"
    named = {row.contract for rows in (plan.bindings, plan.undelivered, plan.moves) for row in rows}
    for key in named - facts.contracts.keys():
        yield "Unknown", f"contract {key} is not given"
    for name in {b.node for b in plan.bindings} - facts.nodes.keys():
        yield "Unknown", f"something is bound to node {name}, which is not given"


def _capacity(facts: Facts, node: Node, bindings: Sequence[Binding]) -> Iterator[Fault]:
    """The healthy GPUs of the node are never exceeded; in an outage and on an unusable node there are none."""
    used, free = 0, node.gpus if node.usable else 0
    changes = [(max(b.start, facts.now), b.gpus) for b in bindings] + [(b.end, -b.gpus) for b in bindings]
    for (t, gpus), (then, _) in pairwise(sorted(changes)):
        used += gpus
        if used > free and t < then:
            keys = sorted({b.contract for b in bindings if b.start <= t < b.end or t == facts.now})
            yield "Capacity", f"{node.name} in [{t}, {then}): {used} GPUs bound, {free} are there; {', '.join(keys)}"
    for start, end in facts.dark.get(node.name, ()):
        for b in bindings:
            if max(b.start, start, facts.now) < min(b.end, end):
                yield "Capacity", f"{node.name} in [{b.start}, {b.end}): {b.contract} is bound, and it is out in [{start}, {end})"


def _holders(facts: Facts, name: str, bindings: Iterable[Binding]) -> Iterator[Fault]:
    """A node planned as a whole has one holder at a time, and between two the turnaround of their products lies free."""
    spans = [(b.start, min(b.end, facts.now), facts.contracts[b.contract]) for b in facts.history.get(name, ())]
    spans += [(b.start, b.end, facts.contracts[b.contract]) for b in bindings]
    if len({(c.reserve, c.key if c.reserve else c.holder) for *_, c in spans}) == 1:
        return
    longest = max(p.turnaround_seconds for p in facts.products.values())
    before = list[tuple[int, Contract]]()  # end, contract
    for start, end, c in sorted(spans, key=lambda span: span[:2]):
        before = [(last, other) for last, other in before if last + longest > start]
        for last, other in before:
            free = 0 if c.reserve or other.reserve else max(facts.products[x.product].turnaround_seconds for x in (c, other))
            if start < last + free and _apart(c, other):
                held = f"{c.key} of {c.holder or 'nobody'} from {start}, {other.key} of {other.holder or 'nobody'} until {last}"
                yield "Holder", f"{name}: {held} and {free} s more"
        before.append((end, c))


def _apart(one: Contract, other: Contract) -> bool:
    """Not together on a node that is handed over as a whole: two holders, or a reserve and anything else."""
    if one.reserve or other.reserve:
        return one.key != other.key
    return one.holder != other.holder and "" not in (one.holder, other.holder)


def _contracts(facts: Facts, plan: Plan, mine: Mapping[str, list[Binding]]) -> tuple[dict[str, Account], list[Fault]]:
    """An account of every contract that the plan accepts, and what is wrong with any."""
    accounts: dict[str, Account] = {}
    found: list[Fault] = []
    gaps: dict[str, list[Undelivered]] = defaultdict(list)
    for u in plan.undelivered:
        gaps[u.contract].append(u)
    for key, c in facts.contracts.items():
        bindings, short, begin = mine.get(key, []), gaps.get(key, []), facts.begin(c)
        found += binding_faults(facts, c, bindings)
        found += history_faults(facts, c, bindings)
        if any(u.refused for u in short) and not c.accepted:
            found += _refusal(c, begin, bindings, short)
            continue
        path = list(steps(c, begin, bindings, short)) if begin < c.end else []
        accounts[key] = account = settle(facts, c, bindings, path)
        found += _gaps(facts, c, begin, short)
        found += contract_faults(facts, c, path)
        found += cut_faults(facts, c, account.cuts) if not c.reserve else ()
        if not c.accepted and (account.instants or account.bound < account.contracted):
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
    if u.code is Reason.NODE_LOST:
        before = {b.node for b in facts.previous.get(c.key, ()) if b.start < u.end and u.start < b.end}
        lost = any(facts.gone(c, name) or facts.shrunk(c, name) for name in before)
        return lost or overlaps(facts.windows(c, planned=False), u.start, u.end)
    if u.code is Reason.OUTAGE_PLANNED:
        return overlaps(facts.windows(c, planned=True), u.start, u.end)
    return u.code is not Reason.TOPOLOGY_SHORT or bool(c.scope or c.spread_level)


def _totals(facts: Facts, plan: Plan, accounts: Mapping[str, Account]) -> Iterator[Fault]:
    rows = [(facts.contracts[key], a) for key, a in accounts.items()]
    spare = [a for c, a in rows if c.reserve]
    rows = [(c, a) for c, a in rows if not c.reserve]
    every, firm = [a for _, a in rows], [a for c, a in rows if c.firm]
    true = Totals(
        value_micros=sum(a.value for a in every),
        owed_micros=sum(a.owed for a in every),
        firm_owed_micros=sum(a.owed + a.interruption for a in firm),
        interruption_micros=sum(a.interruption for a in every),
        substitution_micros=sum(a.substitution for a in every),
        contracted_gpu_seconds=sum(a.contracted for a in every),
        bound_gpu_seconds=sum(a.bound for a in every),
        moved_gpus=sum(m.gpus for m in plan.moves),
        contract_instants=sum(len(a.instants) for a in every),
        reserve_short_gpu_seconds=sum(a.contracted - a.bound for a in spare),
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
