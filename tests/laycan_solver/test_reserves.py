"""Reserves: planned after all contracts, given up to any of them, and in nobody's way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_solver.check import check
from laycan_solver.model import Contract, Level, NodeChanged, Plan, Problem, Reason, Scope, Stopped, TimePassed
from laycan_solver.planner import Planner, plan
from tests.laycan_solver import small
from tests.laycan_solver.instances import TINY, Shape
from tests.laycan_solver.instances import problem as random_problem
from tests.laycan_solver.small import HOUR, NOW, binding, contract, hours, node, outage, product

LARGER = Shape(nodes=24, contracts=40)


def reserve(name: str, start: int, end: int, gpus: int = 8, **more: Any) -> Contract:
    return contract(name, start, end, gpus, reserve=True, **more)


def where(found: Plan, name: str) -> list[tuple[str, int, int]]:
    return [hours(b) for b in found.bindings if b.contract == f"desk/{name}"]


def with_reserves(p: Problem, every: int) -> Problem:
    """Every so manyth contract as a reserve."""
    return replace(p, contracts=tuple(replace(c, reserve=i % every == 0) for i, c in enumerate(p.contracts)))


def without_reserves(p: Problem) -> Problem:
    """The same without any; what reserves had is nobody's."""
    kept = {c.key for c in p.contracts if not c.reserve}
    return replace(p, contracts=tuple(c for c in p.contracts if c.key in kept), previous=tuple(b for b in p.previous if b.contract in kept))


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([2, 3, 4]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_plans_with_reserves_are_legal(seed: int, whole_nodes: float, every: int) -> None:
    """The checker finds nothing wrong with plans in which some contracts are reserves."""
    p = with_reserves(random_problem(seed, replace(TINY, whole_nodes=whole_nodes)), every)
    assert check(p, plan(p, 20)) == []


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_larger_plans_with_reserves_are_legal(seed: int, admit: bool) -> None:
    """The same on 24 nodes, with candidates where `admit`."""
    p = with_reserves(random_problem(seed, LARGER), 3)
    contracts = [
        replace(c, accepted=c.reserve or not admit or i % 2 == 0 or c.start < p.now, admission_order=(str(i), "", ""))
        for i, c in enumerate(p.contracts)
    ]
    p = replace(p, contracts=tuple(contracts))
    assert check(p, plan(p, 20)) == []


@given(st.integers(0, 10**6), st.sampled_from([0.3, 1.0]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_contracts_are_served_as_without_reserves(seed: int, whole_nodes: float) -> None:
    """What contracts are owed is to the micro what they would be owed if there were no reserve."""
    p = with_reserves(random_problem(seed, replace(TINY, whole_nodes=whole_nodes)), 3)
    beside, alone = plan(p, 20).totals, plan(without_reserves(p), 20).totals
    assert beside.firm_owed_micros <= alone.firm_owed_micros
    assert beside.owed_micros + beside.interruption_micros <= alone.owed_micros + alone.interruption_micros
    assert beside.bound_gpu_seconds >= alone.bound_gpu_seconds
    assert (beside.value_micros, beside.contracted_gpu_seconds) == (alone.value_micros, alone.contracted_gpu_seconds)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_candidates_take_nothing_from_reserves(seed: int) -> None:
    """However many dear candidates there are, reserves are no shorter than without them."""
    p = with_reserves(random_problem(seed, TINY), 3)
    ran = {b.contract for b in p.previous}
    contracts = [
        replace(c, accepted=c.reserve or c.key in ran or i % 2 == 0, admission_order=(str(i), "", ""), price_micros=10**9)
        for i, c in enumerate(p.contracts)
    ]
    both = replace(p, contracts=tuple(contracts))
    alone = replace(p, contracts=tuple(c for c in contracts if c.accepted))
    beside, before = plan(both, 20), plan(alone, 20)
    assert check(both, beside) == []
    assert beside.totals.reserve_short_gpu_seconds <= before.totals.reserve_short_gpu_seconds


def test_placed_where_something_is_free() -> None:
    """A reserve gets what contracts leave, and its shortage is in GPU-seconds and in no money."""
    p = small.problem([node("a"), node("b")], [contract("x", 0, 10, 8), reserve("r", 0, 10, 16, price_micros=10**9)])
    found = plan(p)
    assert check(p, found) == []
    assert len(where(found, "r")) == 1
    assert (found.totals.owed_micros, found.totals.reserve_short_gpu_seconds) == (0, 8 * 10 * HOUR)
    assert [(u.contract, u.gpus, u.code) for u in found.undelivered] == [("desk/r", 8, Reason.POOL_SHORT)]
    assert found.stopped is Stopped.EFFORT


def test_released_to_a_failure_and_back() -> None:
    """A lost node's contract is on the reserve's node at once; the node comes back, the reserve takes it and the contract stays."""
    nodes = [node("a"), node("b")]
    p = Planner(small.problem(nodes, [contract("x", 0, 100), reserve("r", 0, 100)]))
    ((lost, *_),), ((spare, *_),) = where(p.plan, "x"), where(p.plan, "r")
    p.update([TimePassed(NOW + 5 * HOUR)])
    change = p.update([NodeChanged(replace(node(lost), usable=False))])
    assert where(p.plan, "x") == [(spare, 5, 100)]
    assert where(p.plan, "r") == []
    assert p.plan.totals.owed_micros == p.plan.totals.interruption_micros == 0
    assert p.plan.totals.reserve_short_gpu_seconds == 8 * 95 * HOUR
    assert [(m.contract, m.source, m.target) for m in change.moves] == [("desk/x", lost, spare)]
    p.update([TimePassed(NOW + 9 * HOUR), NodeChanged(node(lost))])
    assert where(p.plan, "x") == [(spare, 5, 100)]
    assert where(p.plan, "r") == [(lost, 9, 100)]
    assert p.plan.moves == ()
    assert check(p.problem, p.plan) == []


def test_a_rack_is_lost() -> None:
    """All nodes of a contract die at once: it goes on on the reserve's, which keeps those that were not needed."""
    nodes = [node(f"a{i}", rack="r0") for i in range(6)] + [node(f"b{i}", rack="r1") for i in range(8)]
    spare = reserve("r", -1, 100, 64)
    previous = [binding("x", f"a{i}", -1, 100) for i in range(6)] + [binding("r", f"b{i}", -1, 100) for i in range(8)]
    p = Planner(small.problem(nodes, [contract("x", -1, 100, 48, scope=Scope.RACK), spare], previous=previous))
    change = p.update([NodeChanged(replace(n, usable=False)) for n in nodes[:6]])
    assert p.plan.totals.owed_micros == p.plan.totals.interruption_micros == 0
    assert p.plan.totals.reserve_short_gpu_seconds == 48 * 100 * HOUR
    assert len([b for b in change.released if b.contract == "desk/r"]) == 6
    assert check(p.problem, p.plan) == []
    p.update([NodeChanged(n) for n in nodes[:6]])
    assert p.plan.totals.reserve_short_gpu_seconds == 0


def test_released_piece_by_piece() -> None:
    """No node of the reserves is there throughout: the contract goes from one to the next, where the outage of the first cuts it."""
    nodes = [node("a"), node("b"), node("c")]
    previous = [binding("x", "a", -1, 100), binding("r", "b", -1, 50), binding("s", "c", 50, 100)]
    contracts = [contract("x", -1, 100), reserve("r", -1, 50), reserve("s", 50, 100)]
    p = Planner(small.problem(nodes, contracts, outages=[outage("b", 50, 100), outage("c", 0, 50)], previous=previous))
    p.update([NodeChanged(replace(node("a"), usable=False))])
    assert where(p.plan, "x") == [("b", 0, 50), ("c", 50, 100)]
    assert (p.plan.totals.owed_micros, p.plan.totals.contract_instants) == (0, 1)
    assert p.plan.totals.reserve_short_gpu_seconds == 8 * 100 * HOUR
    assert check(p.problem, p.plan) == []


def test_time_alone_leaves_a_reserve_where_it_is() -> None:
    """A reserve that stays keeps the start that it was announced with."""
    p = Planner(small.problem([node("a"), node("b")], [contract("x", 0, 100), reserve("r", 0, 100)]))
    change = p.update([TimePassed(NOW + 5 * HOUR)])
    assert (change.released, change.acquired) == ((), ())


def test_makes_room_among_what_is_not_running() -> None:
    """For a reserve that needs a rack, an announced contract is placed elsewhere; one that runs stays, as that would interrupt it."""
    nodes = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1")]
    spare = reserve("r", 0, 50, 16, scope=Scope.RACK, all_or_nothing=True)
    later = small.problem(nodes, [contract("x", 5, 30), spare], previous=[binding("x", "a", 5, 30)])
    found = plan(later)
    assert check(later, found) == []
    assert found.totals.reserve_short_gpu_seconds == 0
    assert where(found, "x") == [("c", 5, 30)]
    runs = small.problem(nodes, [contract("x", -5, 30), spare], previous=[binding("x", "a", -5, 30)])
    kept = plan(runs)
    assert check(runs, kept) == []
    assert where(kept, "x") == [("a", -5, 30)]
    assert where(kept, "r") == [("a", 30, 50), ("b", 30, 50)]


@pytest.mark.parametrize("more", [{"price_micros": 0}, {"firm": False, "notice_seconds": 0, "curtailable_seconds": 90 * HOUR}])
def test_takes_nothing_that_costs_nothing(more: dict[str, Any]) -> None:
    """A contract that is owed nothing when it goes short is not curtailed for the sake of a reserve."""
    p = small.problem([node("a")], [contract("x", 10, 20, **more), reserve("r", 0, 50)], previous=[binding("x", "a", 10, 20)])
    found = plan(p)
    assert where(found, "x") == [("a", 10, 20)]
    assert where(found, "r") == [("a", 0, 10), ("a", 20, 50)]
    assert check(p, found) == []


def test_cut_and_moved_at_will() -> None:
    """A reserve goes from node to node as often as it takes, under whatever policy, and no interruption is counted."""
    outages = [outage("a", t, t + 5) for t in range(0, 100, 10)] + [outage("b", t, t + 5) for t in range(5, 100, 10)]
    p = small.problem([node("a"), node("b")], [reserve("r", 0, 100, forced_moves_only=True)], outages=outages)
    found = plan(p)
    assert check(p, found) == []
    assert len(where(found, "r")) == 20
    assert found.totals.reserve_short_gpu_seconds == found.totals.contract_instants == 0
    assert found.moves == ()


def test_alone_on_a_node_that_is_handed_over() -> None:
    """Beside a reserve nobody has any of such a node, holder or not, nor has another reserve; but none waits for a turnaround."""
    nodes = [node("a", level=Level.NODE)]
    products = [product(turnaround_seconds=HOUR)]
    one = contract("x", 0, 4, 2, holder="red")
    spares = [reserve("r", 0, 10, 2, holder="red"), reserve("s", 0, 10, 2)]
    p = small.problem(nodes, [one, contract("y", 6, 8, 2), *spares], products=products)
    found = plan(p)
    assert check(p, found) == []
    assert where(found, "x") == [("a", 0, 4)]
    assert where(found, "y") == [("a", 6, 8)]
    assert sorted(where(found, "r") + where(found, "s")) == [("a", 4, 6), ("a", 8, 10)]


def test_not_on_a_cordoned_node() -> None:
    """A reserve does not run: on a node that is cordoned it cannot stay."""
    p = small.problem([node("a", cordoned=True), node("b")], [reserve("r", -5, 10)], previous=[binding("r", "a", -5, 10)])
    found = plan(p)
    assert where(found, "r") == [("b", 0, 10)]
    assert check(p, found) == []


def test_what_a_reserve_had_overfills_no_node() -> None:
    """A node that shrank under a reserve alone can keep what runs on it: to leave it would be an interruption."""
    p = small.problem(
        [node("a", 4), node("b")],
        [contract("x", -5, 10, 4), reserve("r", -5, 10, 4)],
        previous=[binding("x", "a", -5, 10, 4), binding("r", "a", -5, 10, 4)],
    )
    found = plan(p)
    assert where(found, "x") == [("a", -5, 10)]
    assert where(found, "r") == [("b", 0, 10)]
    assert check(p, found) == []


def test_substitutes_only_where_it_must() -> None:
    """A reserve in an equivalent grade costs nothing, but is taken only for want of its own."""
    products = [product(equivalents={"h200": 80_000}), product("h200", "H200")]
    p = small.problem([node("a"), node("z", grade="H200")], [reserve("r", 0, 10, 16, substitution=True)], products=products)
    found = plan(p)
    assert [(b.node, b.product) for b in found.bindings] == [("a", "h100"), ("z", "h200")]
    assert found.totals.substitution_micros == 0
    one = replace(p, contracts=(reserve("r", 0, 10, 8, substitution=True),))
    assert where(plan(one), "r") == [("a", 0, 10)]


def test_spread_of_a_reserve() -> None:
    """A reserve lies in as many racks as it asks for, and is short where there are none."""
    nodes = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1")]
    apart = reserve("r", 0, 10, 16, spread_level=Scope.RACK, spread_domains=2)
    assert {b.node for b in plan(small.problem(nodes, [apart])).bindings} in ({"a", "c"}, {"b", "c"})
    short = small.problem(nodes[:2], [apart])
    found = plan(short)
    assert check(short, found) == []
    assert found.totals.reserve_short_gpu_seconds == 8 * 10 * HOUR
    assert [u.code for u in found.undelivered] == [Reason.TOPOLOGY_SHORT]
