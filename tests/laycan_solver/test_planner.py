"""What a plan must be, whatever the problem: legal, repeatable, not worse than best fit, without a gap that one step closes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_solver.check import check
from laycan_solver.model import Contract, Level, MoveReason, NodeChanged, Reason, Scope, Stopped
from laycan_solver.planner import Planner, plan
from tests.laycan_solver import small
from tests.laycan_solver.best_fit import best_fit
from tests.laycan_solver.instances import TINY, Shape, problem
from tests.laycan_solver.sliced import Sliced, plan_of
from tests.laycan_solver.small import HOUR, NOW, binding, contract, hours, node, outage, product

MIDDLE = Shape(nodes=24, contracts=50)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.8, 1.2, 2.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_plan_is_legal(seed: int, whole_nodes: float, load: float) -> None:
    """The independent checker finds nothing wrong with a plan, its totals, moves, bound or certificate."""
    p = problem(seed, replace(TINY, whole_nodes=whole_nodes, load=load))
    assert check(p, plan(p, 30)) == []


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_larger_plans_are_legal(seed: int, admit: bool) -> None:
    """The same on 24 nodes and 50 contracts, half of them candidates where `admit`."""
    p = problem(seed, MIDDLE)
    if admit:
        contracts = [
            replace(c, accepted=i % 2 == 0 or c.start < p.now, admission_order=(str(i), "", "")) for i, c in enumerate(p.contracts)
        ]
        p = replace(p, contracts=tuple(contracts))
    assert check(p, plan(p, 30)) == []


@pytest.mark.parametrize("seed", range(8))
def test_never_worse_than_best_fit(seed: int) -> None:
    """Placing every lot uncut on the fullest node never owes less to Firm contracts."""
    p = problem(seed, MIDDLE)
    assert plan(p, 30).totals.firm_owed_micros <= plan_of(Sliced(p), best_fit(Sliced(p))).totals.firm_owed_micros


def test_nothing_to_plan() -> None:
    """An empty book, an ended contract and an empty fleet are plans, too."""
    assert plan(small.problem([], [])).stopped is Stopped.OPTIMAL
    assert plan(small.problem([node("a")], [contract("old", -5, 0)])).undelivered == ()
    short = plan(small.problem([], [contract("c", 0, 5)]))
    assert [(u.gpus, u.code) for u in short.undelivered] == [(8, Reason.POOL_SHORT)]
    assert short.bound.total_micros == short.totals.owed_micros == short.totals.value_micros
    assert short.stopped is Stopped.OPTIMAL


def test_chain_through_an_outage() -> None:
    """A lot whose node goes down for a day is served by another meanwhile, and comes back only if it must: one interruption."""
    p = small.problem([node("a"), node("b")], [contract("c", 0, 100)], outages=[outage("a", 20, 44), outage("b", 60, 70)])
    found = plan(p)
    assert check(p, found) == []
    assert found.totals.owed_micros == 0
    assert found.totals.contract_instants == 1


def test_short_outage_of_one_of_many_lots() -> None:
    """Interrupting 64 GPUs for a lot of eight costs more than its gap of one hour: it waits, and the reason says so."""
    nodes = [node(f"n{i}") for i in range(9)]
    previous = [binding("c", f"n{i}", -1, 50) for i in range(8)]
    p = small.problem(nodes, [contract("c", -1, 50, 64)], outages=[outage("n3", 20, 21)], previous=previous)
    found = plan(p)
    assert [(u.gpus, u.code) for u in found.undelivered] == [(8, Reason.MOVE_LIMIT)]
    assert found.totals.contract_instants == 0


def test_lost_node_moves_free() -> None:
    """What ran on a lost node goes on elsewhere at now without an interruption; what runs well stays."""
    p = small.problem(
        [node("a", usable=False), node("b"), node("c")],
        [contract("x", -5, 50, 16)],
        previous=[binding("x", "a", -5, 50), binding("x", "b", -5, 50)],
    )
    found = plan(p)
    assert [hours(b) for b in found.bindings] == [("b", -5, 50), ("c", 0, 50)]
    assert found.totals.interruption_micros == found.totals.owed_micros == 0
    assert [(m.source, m.target, m.gpus, m.reason) for m in found.moves] == [("a", "c", 8, MoveReason.NODE_LOST)]


def test_rescue_by_a_planned_cut() -> None:
    """A lot follows the room from one node to another: one planned cut. Under policy Forced it is served on one side only."""
    nodes = [node("a", 4), node("b")]
    others = [contract("l", -1, 50, 4), contract("r", 50, 100, 8)]
    x = contract("x", 0, 100, 4)
    running = [binding("l", "a", -1, 50, 4)]
    free = small.problem(nodes, [*others, x], previous=running)
    found = plan(free)
    assert [hours(b) for b in found.bindings if b.contract == "desk/x"] == [("a", 50, 100), ("b", 0, 50)]
    assert (found.totals.owed_micros, found.totals.contract_instants) == (0, 1)
    forced = small.problem(nodes, [replace(c, forced_moves_only=True) for c in [*others, x]], previous=running)
    strict = plan(forced)
    assert check(forced, strict) == []
    assert strict.totals.contract_instants == 0
    assert strict.totals.owed_micros > 0


def test_cordon_keeps_what_runs() -> None:
    """A cordoned node keeps its running lot to the end and takes nothing new."""
    p = small.problem(
        [node("a", cordoned=True)], [contract("x", -5, 50, 4), contract("y", 0, 10, 4)], previous=[binding("x", "a", -5, 50, 4)]
    )
    found = plan(p)
    assert [(b.contract, *hours(b)) for b in found.bindings] == [("desk/x", "a", -5, 50)]
    assert check(p, found) == []


def test_cordon_takes_nothing_that_begins_now() -> None:
    """Beside a lot that runs on a cordoned node, one that was announced to begin there at now is something new."""
    p = small.problem(
        [node("a", cordoned=True)],
        [contract("x", -5, 50, 8, lot_gpus=4)],
        previous=[binding("x", "a", -5, 50, 4), binding("x", "a", 0, 50, 4)],
    )
    found = plan(p)
    assert check(p, found) == []
    assert [(b.gpus, *hours(b)) for b in found.bindings] == [(4, "a", -5, 50)]


def test_not_due_yet_is_not_interrupted() -> None:
    """A contract that runs but is owed from later on, as it was created later, may go elsewhere until then."""
    x = contract("x", -5, 50, due_from=NOW + 5 * HOUR)
    dear = contract("y", 0, 50, price_micros=10**8)
    p = small.problem([node("a"), node("b", grade="H200")], [x, dear], previous=[binding("x", "a", -5, 50)])
    p = replace(p, products=(product(equivalents={"h200": 1}), product("h200", "H200")), contracts=(replace(x, substitution=True), dear))
    found = plan(p)
    assert check(p, found) == []
    assert [(b.contract, *hours(b)) for b in found.bindings] == [("desk/x", "b", 5, 50), ("desk/y", "a", 0, 50)]
    assert found.totals.contract_instants == 0


@pytest.mark.parametrize("whole", [False, True])
def test_no_gap_of_a_second_to_be_spared_an_interruption(whole: bool) -> None:
    """A lot whose node goes down goes on at once where there is room, although a second's idling would be owed less than the cut."""
    second = Contract("desk/s", "s", "h100", NOW + 20 * HOUR, NOW + 20 * HOUR + 1, 1, 1)
    x = contract("x", 0, 50, all_or_nothing=whole)
    found = plan(small.problem([node("a"), node("b"), node("c", 1)], [x, second], outages=[outage("a", 20, 90), outage("b", 0, 20)]))
    assert found.undelivered == ()
    assert found.totals.contract_instants == 1


def test_no_gap_of_a_second_to_get_round_the_policy() -> None:
    """Under policy Forced a lot whose node is wanted by others goes on elsewhere neither at once nor a second later."""
    second = Contract("desk/s", "s", "h100", NOW + 50 * HOUR, NOW + 50 * HOUR + 1, 1, 1, forced_moves_only=True)
    others = [contract("l", -1, 50, 4), contract("r", 50, 100, 8)]
    contracts = [replace(c, forced_moves_only=True) for c in (*others, contract("x", 0, 100, 4))]
    p = small.problem([node("a", 4), node("b"), node("c", 1)], [*contracts, second], previous=[binding("l", "a", -1, 50, 4)])
    found = plan(p)
    assert check(p, found) == []
    assert len([b for b in found.bindings if b.contract == "desk/x"]) == 1


def test_cheaper_equivalent_only_when_needed() -> None:
    """A substitute delivers what its own grade cannot, and the plan says what that costs."""
    products = [product(equivalents={"h200": 80_000}), product("h200", "H200")]
    p = small.problem([node("a"), node("z", grade="H200")], [contract("x", 0, 10, 16, substitution=True)], products=products)
    found = plan(p)
    assert [(b.node, b.product) for b in found.bindings] == [("a", "h100"), ("z", "h200")]
    assert found.totals.substitution_micros == 80_000 * 8 * 10 == found.bound.total_micros + 2  # rounding of one contract


def test_deadline_shows() -> None:
    """A search that was cut short by the clock says so, and its plan is still legal."""
    p = problem(3, MIDDLE)
    found = plan(p, 1000, deadline=lambda: True)
    assert found.stopped is Stopped.TIME_LIMIT
    assert check(p, found) == []


@pytest.mark.parametrize("seed", range(5))
def test_no_gap_that_a_free_node_closes(seed: int) -> None:
    """After a plan, no single lot of an Any contract fits on a node through a whole gap of it (I9)."""
    p = problem(seed, replace(MIDDLE, whole_nodes=0.0, trouble=0.0))
    found = plan(p, 10)
    contracts, grades = {c.key: c for c in p.contracts}, {q.name: q.grades for q in p.products}
    for u in found.undelivered:
        c = contracts[u.contract]
        if c.scope or c.spread_level or c.all_or_nothing or any(b.contract == c.key for b in p.previous):
            continue
        for n in (n for n in p.nodes if n.grade in grades[c.product] and n.usable and not n.cordoned):
            there = [b for b in found.bindings if b.node == n.name and b.start < u.end and u.start < b.end]
            most = max(
                (sum(b.gpus for b in there if b.start <= t < b.end) for t in {u.start, *(b.start for b in there)} if u.start <= t),
                default=0,
            )
            cut_there = any((b.contract == c.key and u.start in (b.end, b.start)) or u.end in (b.end, b.start) for b in found.bindings)
            assert cut_there or n.gpus - most < c.lot_gpus, f"{u} fits on {n.name}"


def test_what_is_curtailed_by_right_comes_back_while_nodes_are_free() -> None:
    """Who gives way to a Firm contract is curtailed where moving would cost more, and served again as soon as that interrupts nothing."""
    soft = contract("soft", -1, 2, firm=False, notice_seconds=600, curtailable_seconds=3 * HOUR)
    rack = contract("rack", -1, 2, gpus=16, scope=Scope.RACK)
    racks = [node("a", rack="r0", usable=False), node("b", rack="r0"), node("c", rack="r0"), node("d", rack="r1")]
    running = [binding("rack", "a", -1, 2), binding("rack", "b", -1, 2), binding("soft", "c", -1, 2)]
    asked = small.problem(racks, [soft, rack], previous=running)
    found = plan(asked)
    assert check(asked, found) == []
    assert {b.node for b in found.bindings if b.contract == "desk/rack"} == {"b", "c"}
    (again,) = [b for b in found.bindings if b.contract == "desk/soft"]
    assert (again.node, again.start - NOW, again.end - NOW) == ("d", 900, 2 * HOUR)
    planner = Planner(replace(asked, nodes=(replace(racks[0], usable=True), *racks[1:])), effort=20)
    planner.update([NodeChanged(racks[0])])
    assert sorted(planner.plan.bindings) == sorted(found.bindings)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 600), (-3600, 600), (600, 1200)])
def test_outages_within_minutes_of_now(start: int, end: int) -> None:
    """A lot that leaves and comes back sooner than a move takes is served all the same, and never twice."""
    soon = replace(outage("a", 0, 1), start=NOW + start, end=NOW + end)
    p = small.problem([node("a"), node("b")], [contract("x", -1, 20, 2)], previous=[binding("x", "a", -1, 20, 2)], outages=[soon])
    for effort in (0, 20):
        assert check(p, plan(p, effort)) == []


def test_who_comes_in_a_chain_waits_for_the_turnaround() -> None:
    """Admission that moves others keeps them from a node that somebody else had until lately."""
    nodes = [node(f"n{i}", rack="r", level=Level.DEVICE if i == 3 else Level.NODE) for i in range(4)]
    asked = [("c02", 2, 6, 1, "b", True), ("c04", 1, 5, 5, "r", True), ("c05", 1, 3, 5, "r", False), ("c12", 0, 4, 3, "b", False)]
    asked += [("c13", 1, 3, 4, "", False), ("c15", 0, 2, 5, "", False), ("c17", 0, 1, 2, "b", False), ("c18", 0, 1, 4, "b", False)]
    contracts = [contract(n, a, b, g, lot_gpus=g, holder=h, accepted=ok) for n, a, b, g, h, ok in asked]
    left = replace(contract("p1", -5, 0, holder="r"), end=NOW - 600)
    had = binding("p1", "n1", -5, 0)._replace(end=NOW - 600)
    p = small.problem(nodes, [left, *contracts], products=[product(turnaround_seconds=HOUR)], previous=[had])
    assert check(p, plan(p)) == []
