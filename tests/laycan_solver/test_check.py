"""The checker against plans that break one rule each: it names that rule, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from laycan_solver import check_contract
from laycan_solver.check import check
from laycan_solver.model import (
    Binding,
    Bound,
    Contract,
    Level,
    Move,
    MovePolicy,
    MoveReason,
    Node,
    Outage,
    OutageType,
    Plan,
    Problem,
    Product,
    Reason,
    Scope,
    Stopped,
    Totals,
    Undelivered,
)
from tests.laycan_solver.sliced import Sliced, Table, plan_of

HOUR = 3_600
NOW = 1_000 * HOUR
H100 = Product("h100", frozenset({"H100"}), turnaround_seconds=2 * HOUR, equivalents={"h200": 80_000}, moves_per_month=1)
H200 = Product("h200", frozenset({"H200"}), turnaround_seconds=HOUR, move_policy=MovePolicy.FORCED)

Broken = tuple[Problem, Plan]
CASES: list[tuple[frozenset[str], Callable[[], Broken]]] = []


def breaks(*codes: str) -> Callable[[Callable[[], Broken]], Callable[[], Broken]]:
    """Registers a plan that must be found to break exactly these rules."""

    def register(case: Callable[[], Broken]) -> Callable[[], Broken]:
        CASES.append((frozenset(codes), case))
        return case

    return register


def node(name: str, rack: str = "r0", grade: str = "H100", **other: object) -> Node:
    return replace(Node(name, grade, 8, ("z", "f", rack, f"v-{name}")), **other)  # type: ignore[arg-type]


def contract(key: str, gpus: int = 8, hours: tuple[int, int] = (0, 10), **other: object) -> Contract:
    base = Contract(key, key, "h100", NOW + hours[0] * HOUR, NOW + hours[1] * HOUR, gpus, 8, "red", price_micros=2_000_000)
    return replace(base, **other)  # type: ignore[arg-type]


def announced(key: str, name: str, hours: tuple[int, int] = (-2, 10), gpus: int = 8) -> Binding:
    return Binding(key, name, "h100", gpus, NOW + hours[0] * HOUR, NOW + hours[1] * HOUR)


def problem(*contracts: Contract, nodes: tuple[Node, ...] | None = None, previous: tuple[Binding, ...] = (), **other: object) -> Problem:
    fleet = nodes or (node("a"), node("b"), node("c", "r1"), node("d", "r1"), node("e", "r1", "H200"))
    return replace(Problem(NOW, fleet, (H100, H200), contracts, previous=previous), **other)  # type: ignore[arg-type]


def planned(p: Problem, where: dict[tuple[str, str], list[tuple[int, int]]], refused: tuple[str, ...] = ()) -> Broken:
    """An otherwise honest plan: contract, node -> hours in which one lot is there (repeated: several)."""
    sliced = Sliced(p)
    table: Table = {}
    for key, spans in where.items():
        inside = [[NOW + a * HOUR <= start and end <= NOW + b * HOUR for a, b in spans] for start, end in sliced.slices]
        table[key] = [sum(lots) for lots in inside]
    return p, plan_of(sliced, table, refused)


def good() -> Broken:
    """Something of everything: a running lot that a loss moves, a substitute, a scope, a shortage, a planned cut, a refusal."""
    p = problem(
        contract("run", 16, (-2, 10)),
        contract("rack", 16, (12, 20), scope=Scope.RACK, all_or_nothing=True, holder="blue"),
        contract("sub", 16, (0, 8), substitution=True),
        contract("flex", 8, (0, 9), firm=False, notice_seconds=2 * HOUR, curtailable_seconds=3 * HOUR),
        contract("cut", 8, (21, 30)),
        contract("new", 8, (10, 12), accepted=False),
        contract("late", 80, (30, 40), accepted=False),
        nodes=(*problem().nodes, node("lost", usable=False)),
        previous=(announced("run", "a"), announced("run", "lost")),
    )
    where = {
        ("run", "a"): [(0, 10)],
        ("run", "b"): [(0, 10)],
        ("rack", "c"): [(12, 20)],
        ("rack", "d"): [(12, 20)],
        ("sub", "d"): [(0, 8)],
        ("sub", "e"): [(0, 8)],
        ("flex", "c"): [(0, 4)],
        ("cut", "a"): [(21, 25)],
        ("cut", "b"): [(25, 30)],
        ("new", "a"): [(10, 12)],
    }
    return planned(p, where, refused=("late",))


def test_good_plan_is_silent() -> None:
    """A legal and honest plan with every feature has no violation, and its figures are those worked out by hand."""
    p, plan = good()
    assert check(p, plan) == []
    per_hour = 8 * 2_000_000
    assert plan.totals.owed_micros == 2 * per_hour, "flex is short for 5 hours, 3 of them by right"
    assert plan.totals.interruption_micros == plan.totals.firm_owed_micros == per_hour // 4, "one cut of 8 GPUs for 900 s; the loss is free"
    assert plan.totals.substitution_micros == 8 * 8 * 80_000
    assert (plan.totals.contract_instants, plan.totals.moved_gpus) == (1, 8)


def test_reserve_is_in_no_total_but_its_own() -> None:
    """It goes where it likes without being moved or interrupted, next to a holder without turnaround; only what it is short of counts."""
    nodes = (node("a", level=Level.NODE), node("b", level=Level.NODE))
    x, spare = contract("x", hours=(0, 4)), contract("spare", 16, (-2, 10), holder="", reserve=True, price_micros=9_000_000)
    p = problem(x, spare, nodes=nodes, previous=(announced("spare", "a"),))
    p, plan = planned(p, {("x", "a"): [(0, 4)], ("spare", "b"): [(0, 6)], ("spare", "a"): [(4, 10)]})
    assert check(p, plan) == []
    assert plan.moves == ()
    assert plan.totals == Totals(4 * 8 * 2_000_000, 0, 0, 0, 0, 4 * 8 * HOUR, 4 * 8 * HOUR, 0, 0, 8 * (4 + 4) * HOUR)


@breaks("Holder")
def reserve_where_somebody_is() -> Broken:
    small = contract("x", 2, lot_gpus=2), contract("spare", 2, lot_gpus=2, reserve=True)
    return planned(problem(*small, nodes=(node("a", level=Level.NODE),)), {("x", "a"): [(0, 10)], ("spare", "a"): [(0, 10)]})


@breaks("Holder")
def reserve_beside_what_has_no_holder() -> Broken:
    small = contract("x", 2, lot_gpus=2, holder=""), contract("spare", 2, lot_gpus=2, holder="", reserve=True)
    return planned(problem(*small, nodes=(node("a", level=Level.NODE),)), {("x", "a"): [(0, 10)], ("spare", "a"): [(9, 10)]})


@breaks("Cordoned")
def reserve_stays_on_cordoned() -> Broken:
    p = problem(contract("spare", hours=(-2, 10), reserve=True), previous=(announced("spare", "a"),))
    p, plan = planned(p, {("spare", "a"): [(0, 10)]})
    return replace(p, nodes=(replace(p.nodes[0], cordoned=True), *p.nodes[1:])), plan


@breaks("Move")
def reserve_listed_as_moved() -> Broken:
    p = problem(contract("spare", hours=(-2, 10), reserve=True), previous=(announced("spare", "a"),))
    p, plan = planned(p, {("spare", "b"): [(0, 10)]})
    move = Move("spare", "a", "b", 8, MoveReason.PLANNED)
    return p, replace(plan, moves=(move,), totals=replace(plan.totals, moved_gpus=8))


@breaks("Quantity")
def reserve_hides_its_shortage() -> Broken:
    p, plan = planned(problem(contract("spare", reserve=True)), {("spare", "a"): [(0, 9)]})
    return p, replace(plan, undelivered=())


@breaks("Capacity")
def reserve_where_nothing_is_free() -> Broken:
    return planned(problem(contract("x"), contract("spare", reserve=True)), {("x", "a"): [(0, 10)], ("spare", "a"): [(0, 10)]})


@breaks("Now")
def other_now() -> Broken:
    p, plan = planned(problem(contract("x", hours=(5, 9))), {("x", "a"): [(5, 9)]})
    return p, replace(plan, now=NOW + 1)


@breaks("Order")
def unsorted() -> Broken:
    p, plan = good()
    return p, replace(plan, bindings=plan.bindings[::-1])


@breaks("Unknown")
def unknown_contract() -> Broken:
    p, plan = good()
    return p, replace(plan, undelivered=(*plan.undelivered, Undelivered("z", NOW, NOW + 1, 8, Reason.POOL_SHORT, "?")))


@breaks("Unknown", "Quantity", "Totals", "Gap")
def unknown_node() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    return p, replace(plan, bindings=(plan.bindings[0]._replace(node="z"),))


@breaks("Lots")
def half_a_lot() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    extra = Binding("x", "b", "h100", 4, NOW, NOW + HOUR)
    return p, replace(plan, bindings=(*plan.bindings, extra))


@breaks("Window")
def outside_the_window() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    return p, replace(plan, bindings=(plan.bindings[0]._replace(end=NOW + 11 * HOUR),))


@breaks("Product")
def wrong_product() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    return p, replace(plan, bindings=(plan.bindings[0]._replace(product="a100"),))


@breaks("Product")
def substitute_without_consent() -> Broken:
    p, plan = planned(problem(contract("x", substitution=True)), {("x", "e"): [(0, 10)]})
    return replace(p, contracts=(contract("x"),)), plan


@breaks("History")
def past_that_was_not() -> Broken:
    p, plan = planned(problem(contract("x", hours=(-2, 10))), {("x", "a"): [(0, 10)]})
    return p, replace(plan, bindings=(plan.bindings[0]._replace(start=NOW - HOUR),))


@breaks("Cordoned")
def new_on_cordoned() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    return replace(p, nodes=(replace(p.nodes[0], cordoned=True), *p.nodes[1:])), plan


@breaks("Cordoned")
def longer_on_cordoned() -> Broken:
    nodes = (node("a", cordoned=True), node("b"))
    p = problem(contract("x", hours=(-2, 10)), nodes=nodes, previous=(announced("x", "a", (-2, 6)),))
    return planned(p, {("x", "a"): [(0, 7)]})


@breaks("Capacity")
def more_than_healthy() -> Broken:
    p, plan = planned(problem(contract("x"), contract("y")), {("x", "a"): [(0, 10)], ("y", "a"): [(9, 10)]})
    return p, plan


@breaks("Capacity")
def in_an_outage() -> Broken:
    outage = Outage("o", OutageType.PLANNED, frozenset({"a"}), NOW + 9 * HOUR, NOW + 12 * HOUR)
    return planned(problem(contract("x"), outages=(outage,)), {("x", "a"): [(0, 10)]})


@breaks("Capacity")
def on_a_lost_node() -> Broken:
    p, plan = planned(problem(contract("x", hours=(-2, 10)), previous=(announced("x", "a"),)), {("x", "a"): [(0, 10)]})
    return replace(p, nodes=(replace(p.nodes[0], usable=False), *p.nodes[1:])), plan


@breaks("Holder")
def no_turnaround() -> Broken:
    p = problem(contract("x", hours=(0, 4)), contract("y", hours=(5, 9), holder="blue"), nodes=(node("a", level=Level.NODE),))
    return planned(p, {("x", "a"): [(0, 4)], ("y", "a"): [(5, 9)]})


@breaks("Holder")
def two_holders() -> Broken:
    small = contract("x", 2, lot_gpus=2), contract("y", 2, lot_gpus=2, holder="blue")
    return planned(problem(*small, nodes=(node("a", level=Level.NODE),)), {("x", "a"): [(0, 10)], ("y", "a"): [(0, 10)]})


@breaks("Holder")
def straight_after_history() -> Broken:
    old, new = contract("x", hours=(-2, 10)), contract("y", hours=(1, 9), holder="blue")
    p = problem(old, new, nodes=(node("a", level=Level.NODE), node("b", usable=False)), previous=(announced("x", "a"),))
    return planned(p, {("y", "a"): [(1, 9)]})


@breaks("OverBound", "Quantity", "Totals", "Gap")
def twice_bound() -> Broken:
    p, plan = planned(problem(contract("x"), contract("y", 80)), {("x", "a"): [(0, 10)]})
    return p, replace(plan, bindings=(*plan.bindings, Binding("x", "b", "h100", 8, NOW, NOW + 10 * HOUR)))


@breaks("Quantity")
def hidden_shortage() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 9)]})
    return p, replace(plan, undelivered=())


@breaks("Undelivered")
def accepted_and_refused() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 9)]})
    return p, replace(plan, undelivered=(plan.undelivered[0]._replace(refused=True),))


@breaks("Undelivered")
def without_a_message() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 9)]})
    return p, replace(plan, undelivered=(plan.undelivered[0]._replace(message=""),))


@breaks("AllOrNothing")
def half_of_all() -> Broken:
    p = problem(contract("x", 16, scope=Scope.RACK, all_or_nothing=True))
    return planned(p, {("x", "a"): [(0, 10)], ("x", "b"): [(0, 9)]})


@breaks("Scope")
def over_two_racks() -> Broken:
    p = problem(contract("x", 16, scope=Scope.RACK))
    return planned(p, {("x", "a"): [(0, 10)], ("x", "b"): [(0, 5)], ("x", "c"): [(5, 10)]})


@breaks("Spread")
def crowded_rack() -> Broken:
    p = problem(contract("x", 16, spread_level=Scope.RACK, spread_domains=2))
    return planned(p, {("x", "a"): [(0, 10)], ("x", "b"): [(0, 5)], ("x", "c"): [(5, 10)]})


@breaks("MovePolicy")
def healthy_lot_moved() -> Broken:
    p = problem(contract("x", hours=(-2, 10), forced_moves_only=True), previous=(announced("x", "a"),))
    return planned(p, {("x", "b"): [(0, 10)]})


@breaks("MoveLimit")
def cut_twice() -> Broken:
    return planned(problem(contract("x")), {("x", "a"): [(0, 4), (8, 10)], ("x", "b"): [(4, 8)]})


@breaks("Candidate")
def candidate_in_part() -> Broken:
    return planned(problem(contract("x", accepted=False)), {("x", "a"): [(0, 9)]})


@breaks("Candidate")
def candidate_interrupted() -> Broken:
    return planned(problem(contract("x", accepted=False)), {("x", "a"): [(0, 5)], ("x", "b"): [(5, 10)]})


@breaks("Refused")
def refused_in_part() -> Broken:
    p, plan = planned(problem(contract("x", accepted=False)), {}, refused=("x",))
    return p, replace(plan, undelivered=(plan.undelivered[0]._replace(end=NOW + 9 * HOUR),))


@breaks("Refused")
def refused_and_bound() -> Broken:
    p, plan = planned(problem(contract("x", accepted=False)), {}, refused=("x",))
    return p, replace(plan, bindings=(Binding("x", "a", "h100", 8, NOW, NOW + 10 * HOUR),))


@breaks("Move")
def silent_move() -> Broken:
    p, plan = planned(problem(contract("x", hours=(-2, 10)), previous=(announced("x", "a"),)), {("x", "b"): [(0, 10)]})
    return p, replace(plan, moves=(), totals=replace(plan.totals, moved_gpus=0))


@breaks("Move")
def move_from_nowhere() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 10)]})
    move = Move("x", "d", "a", 8, MoveReason.PLANNED)
    return p, replace(plan, moves=(move,), totals=replace(plan.totals, moved_gpus=8))


def shorted(code: Reason, p: Problem) -> Broken:
    """A plan that delivers nothing and says for what reason."""
    p, plan = planned(p, {})
    return p, replace(plan, undelivered=tuple(u._replace(code=code) for u in plan.undelivered))


@breaks("Reason")
def no_node_was_lost() -> Broken:
    return shorted(Reason.NODE_LOST, problem(contract("x", hours=(-2, 10)), previous=(announced("x", "a"),)))


@breaks("Reason")
def no_outage() -> Broken:
    return shorted(Reason.OUTAGE_PLANNED, problem(contract("x")))


@breaks("Reason")
def an_outage_that_nobody_planned() -> Broken:
    fault = Outage("fault", OutageType.FORCED, frozenset({"a"}), NOW, NOW + 9 * HOUR)
    return shorted(Reason.OUTAGE_PLANNED, problem(contract("x"), outages=(fault,)))


@breaks("Reason")
def no_topology_asked() -> Broken:
    return shorted(Reason.TOPOLOGY_SHORT, problem(contract("x")))


def moved(reason: MoveReason, *nodes: Node) -> Broken:
    """A plan that moves a running lot from node a to node b and says why."""
    p = problem(contract("x", hours=(-2, 10)), nodes=nodes or (node("a"), node("b")), previous=(announced("x", "a"),))
    p, plan = planned(p, {("x", "b"): [(0, 10)]})
    return p, replace(plan, moves=tuple(m._replace(reason=reason) for m in plan.moves))


@breaks("Reason")
def moved_from_a_good_node_called_lost() -> Broken:
    return moved(MoveReason.NODE_LOST)


@breaks("Reason")
def moved_for_an_outage_that_is_none() -> Broken:
    return moved(MoveReason.OUTAGE)


@breaks("Reason")
def moved_from_a_lost_node_called_planned() -> Broken:
    return moved(MoveReason.PLANNED, node("a", usable=False), node("b"))


@breaks("Stopped")
def optimal_beside_a_gap() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 9)]})
    return p, replace(plan, stopped=Stopped.OPTIMAL)


@breaks("Bound", "Certificate")
def bound_above_the_plan() -> Broken:
    p, plan = planned(problem(contract("x", 80)), {})
    return p, replace(plan, bound=Bound(0, plan.totals.owed_micros + 1), total_gap_ppm=0)


@breaks("Bound")
def bound_below_zero() -> Broken:
    p, plan = planned(problem(contract("x", 80)), {})
    return p, replace(plan, bound=Bound(0, -1))


@breaks("Certificate")
def bound_without_proof() -> Broken:
    p, plan = planned(problem(contract("x"), contract("y"), nodes=(node("a"),)), {("x", "a"): [(0, 10)]})
    own = plan.totals.owed_micros
    return p, replace(plan, bound=Bound(own, own), firm_gap_ppm=0, total_gap_ppm=0)


@breaks("Gap")
def prettier_gap() -> Broken:
    p, plan = planned(problem(contract("x")), {("x", "a"): [(0, 9)]})
    return p, replace(plan, firm_gap_ppm=plan.firm_gap_ppm - 1)


@breaks("Totals")
def hidden_interruption() -> Broken:
    p, plan = good()
    return p, replace(plan, totals=replace(plan.totals, contract_instants=0))


@pytest.mark.parametrize(("codes", "case"), [pytest.param(c, f, id=f.__name__) for c, f in CASES])
def test_names_the_broken_rule(codes: frozenset[str], case: Callable[[], Broken]) -> None:
    """A plan that breaks a rule is found to break it, and whatever else follows from the same lie, and nothing beyond."""
    p, plan = case()
    found = check(p, plan)
    assert {v.code for v in found} == codes, [str(v) for v in found]
    assert found == sorted(found)


@pytest.mark.parametrize("name", [f.name for f in fields(Totals)])
def test_every_total_is_recomputed(name: str) -> None:
    """No field of the totals can be off by one."""
    p, plan = good()
    wrong = replace(plan, totals=replace(plan.totals, **{name: getattr(plan.totals, name) + 1}))
    assert [(v.code, v.message.split()[0]) for v in check(p, wrong)] == [("Totals", name)]


def test_every_rule_has_a_broken_plan() -> None:
    """Each code in the checker's source is provoked by a case above."""
    folder = Path(check_contract.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("check*.py"))
    codes = set(re.findall(r'(?:yield|\(\()\s*"([A-Z]\w+)", ', source))
    assert codes == set().union(*(codes for codes, _ in CASES))
