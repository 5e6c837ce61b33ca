"""The baselines keep every rule that the planner keeps, and what is counted of their plans is right."""

from __future__ import annotations

import numpy as np
import pytest

from bench.greedy import Greedy
from bench.instances import Size, draw, problem_of
from bench.schedulers import SCHEDULERS, best_fit, first_fit, least_allocated, most_allocated
from bench.worth import months, plan_of, sellable
from laycan_solver.check import check
from laycan_solver.model import Binding, Contract, Node, Outage, OutageType, Plan, Problem, Product, Scope

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
HOUR = 3_600
ALL = frozenset({"outages", "lost", "odd", "policies", "beyond"})


def greedy(problem: Problem, scheduler: str = "best fit") -> Plan:
    done = Greedy(problem, SCHEDULERS[scheduler]).run()
    return plan_of(problem, done.bindings, done.moves)


def node(name: str, rack: str = "r0", **more: int) -> Node:
    return Node(name, "H100", more.get("gpus", 8), ("z0", "f0", rack, name))


def contract(name: str, start: int, end: int, gpus: int, **more: object) -> Contract:
    lot = more.pop("lot_gpus", min(gpus, 8))
    return Contract(name, name, "h100", NOW + start * HOUR, NOW + end * HOUR, gpus, lot, **more)  # type: ignore[arg-type]


def problem(nodes: list[Node], contracts: list[Contract], **more: tuple[object, ...]) -> Problem:
    return Problem(NOW, tuple(nodes), (Product("h100", frozenset({"H100"})),), tuple(contracts), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("size", [Size(300, 800, 0.95, 1), Size(200, 900, 1.05, 2, ALL), Size(200, 900, 1.05, 5, ALL)])
def test_their_plans_are_legal(size: Size, scheduler: str) -> None:
    """The checker finds nothing in a baseline's plan: outages, lost nodes, scopes and spreads are all respected."""
    made = problem_of(draw(size))
    assert check(made, greedy(made, scheduler)) == []


def test_what_each_scheduler_prefers() -> None:
    """Nodes with 8, 8 and 6 healthy GPUs of which 8, 5 and 6 are free, and two lots of 2."""
    free, healthy = np.array([8, 5, 6]), np.array([8, 8, 6])
    units = free // 2
    assert first_fit(free, healthy, units, 2)[:2].tolist() == [0, 0]
    assert best_fit(free, healthy, units, 2)[:3].tolist() == [1, 1, 2]
    assert most_allocated(free, healthy, units, 2)[:2].tolist() == [1, 1]
    assert least_allocated(free, healthy, units, 2)[:3].tolist() == [0, 2, 0]


def test_a_lot_of_a_lost_node_is_placed_again_and_the_rest_stays() -> None:
    """The lot whose node is gone moves, named as lost; the other keeps its node and its start."""
    bindings = tuple(Binding("a", n, "h100", 8, NOW - HOUR, NOW + 9 * HOUR) for n in ("gone", "n1"))
    made = problem([node("n0"), node("n1")], [contract("a", -1, 9, 16)], previous=bindings)
    plan = greedy(made)
    assert [(m.source, m.target, m.gpus) for m in plan.moves] == [("gone", "n0", 8)]
    assert plan.totals.owed_micros == 0
    assert check(made, plan) == []


def test_an_outage_cuts_what_runs_and_nothing_is_placed_into_it() -> None:
    """The running lot goes on elsewhere when its node goes out; a contract that would meet the outage goes to the other node."""
    cut = Outage("o", OutageType.PLANNED, frozenset({"n0"}), NOW + 3 * HOUR, NOW + 5 * HOUR)
    running = (Binding("a", "n0", "h100", 8, NOW - HOUR, NOW + 9 * HOUR),)
    made = problem(
        [node("n0"), node("n1"), node("n2")], [contract("a", -1, 9, 8), contract("b", 1, 4, 8)], outages=(cut,), previous=running
    )
    plan = greedy(made)
    assert [(b.contract, b.node, (b.end - NOW) // HOUR) for b in plan.bindings] == [("a", "n0", 3), ("a", "n2", 9), ("b", "n1", 4)]
    assert plan.totals.contract_instants == 1
    assert check(made, plan) == []


def test_the_tightest_rack_takes_a_rack_contract() -> None:
    """Of two racks that hold it the one with the least to spare is taken; one that is too small is not."""
    racks = [node(f"{rack}{i}", rack) for rack, n in (("a", 4), ("b", 3), ("c", 1)) for i in range(n)]
    plan = greedy(problem(racks, [contract("x", 0, 5, 16, scope=Scope.RACK, all_or_nothing=True)]))
    assert {b.node[0] for b in plan.bindings} == {"b"}


def test_sellable_months_are_whole_nodes_through_whole_months() -> None:
    """A node with a single busy hour, a dead GPU or an outage is not sold for that month, and the most counts what is left at best."""
    cut = Outage("o", OutageType.PLANNED, frozenset({"n1"}), NOW + 3 * HOUR, NOW + 5 * HOUR)
    made = problem([node("n0"), node("n1"), node("n2", gpus=7)], [contract("a", 800, 900, 1)], outages=(cut,))
    january = sellable(made, ())
    assert (january.node_months, january.most) == (23, 23)  # two intact nodes through twelve months, one of them out in January
    on_whole = sellable(made, (Binding("a", "n0", "h100", 1, NOW + 800 * HOUR, NOW + 900 * HOUR),))
    assert (on_whole.node_months, on_whole.most) == (22, 23)  # the broken node could have taken it
    assert months(NOW)[:3] == [NOW, NOW + 744 * HOUR, NOW + 1416 * HOUR]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_plan_leaves_more_months_than_the_most(seed: int, scheduler: str) -> None:
    """Also with overlapping outages, cordoned nodes and odd lots, what is left to sell is at most what counting allows."""
    made = problem_of(draw(Size(200, 500, 0.9, seed, ALL if seed % 2 else frozenset())))
    left = sellable(made, greedy(made, scheduler).bindings)
    assert 0 < left.node_months <= left.most


def test_the_most_sees_lots_that_no_broken_node_holds() -> None:
    """Nodes of 8, 7 and 7 GPUs and three lots of 4: 10 GPUs stay free, but one lot must lie on the whole node."""
    made = problem([node("n0"), node("n1", gpus=7), node("n2", gpus=7)], [contract("a", 0, 10, 12, lot_gpus=4)])
    each = tuple(Binding("a", f"n{i}", "h100", 4, NOW, NOW + 10 * HOUR) for i in range(3))
    left = sellable(made, each)
    assert (left.node_months, left.most) == (11, 11)
