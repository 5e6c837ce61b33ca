"""Inputs that are as odd as they may be: the planner and the checker agree on each, and what is obvious comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from laycan_solver.check import check
from laycan_solver.eligible import Fleet
from laycan_solver.ledger import Ledger
from laycan_solver.model import Contract, ContractChanged, Level, NodeGone, Plan, Problem, Reason, Scope, Stopped, TimePassed
from laycan_solver.planner import Planner, plan
from laycan_solver.timegrid import BLOCK, TimeGrid
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node, outage, product


def planned(p: Problem) -> Plan:
    """Legal, repeatable, and never owing less than is proved."""
    found = plan(p, 30)
    assert check(p, found) == []
    assert plan(p, 30) == found
    totals = found.totals
    assert found.bound.firm_micros <= totals.firm_owed_micros
    assert found.bound.total_micros <= totals.owed_micros + totals.interruption_micros + totals.substitution_micros
    return found


def nothing_owed(found: Plan) -> bool:
    return not found.undelivered and not found.totals.owed_micros and not found.totals.interruption_micros


@pytest.mark.parametrize(
    "ended",
    [
        contract("x", -5, 0),  # ends as the plan begins
        contract("x", -5, -1),
        contract("x", 0, 10, due_from=NOW + 10 * HOUR),  # created when it ended
        contract("x", 0, 10, due_from=NOW + 20 * HOUR),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_windows_of_no_length(ended: Contract, accepted: bool) -> None:
    """What is due for no second gets nothing, is owed nothing and takes nothing from others."""
    p = small.problem([node("a")], [replace(ended, accepted=accepted), contract("y", 0, 20)])
    found = planned(p)
    assert nothing_owed(found)
    assert {b.contract for b in found.bindings} == {"desk/y"}


def test_touching_windows() -> None:
    """A hundred contracts that follow each other without a second between them share one node, uncut, as do outages of no length."""
    queue = [Contract(f"desk/c{i:03}", f"c{i}", "h100", NOW + i, NOW + i + 1, 8, 8) for i in range(100)]
    found = planned(small.problem([node("a")], queue, outages=[outage("a", 0, 0), outage("a", 1, 9)]))
    assert nothing_owed(found)
    assert len(found.bindings) == 100


def test_touching_windows_on_nodes_with_a_turnaround() -> None:
    """Where a node lies empty between two holders, windows that touch need a second node."""
    holders = [contract(f"c{i}", i, i + 1, holder="rb"[i % 2]) for i in range(10)]
    products = [product(turnaround_seconds=600)]
    whole = [node(n, level=Level.NODE) for n in "ab"]
    assert nothing_owed(planned(small.problem(whole, holders, products=products)))
    one = planned(small.problem(whole[:1], holders, products=products))
    assert one.totals.owed_micros > 0


@pytest.mark.parametrize("gpus", [1, 63, 64, 127, 128, 16_383, 16_384, 100_000])
@pytest.mark.parametrize("lot", [1, None])
def test_edges_of_the_ledger(gpus: int, lot: int | None) -> None:
    """A node is sold to its last GPU, in lots of one or as a whole, and not one more, at any width of the ledger's integers."""
    size = lot or gpus
    half = gpus // 2 // size * size
    others = [contract("y", 3, 9, half, lot_gpus=size)] if half else []
    first = contract("x", 0, 5, gpus - half, lot_gpus=size)
    second = contract("z", 5, 9, gpus - half, lot_gpus=size)
    p = small.problem([node("a", gpus)], [first, second, *others])
    found = planned(p)
    assert nothing_owed(found)
    more = replace(p, contracts=(*p.contracts, contract("more", 4, 6, 1)))
    assert planned(more).totals.owed_micros == 2 * 10**6


@pytest.mark.parametrize(("gpus", "width"), [(0, 1), (63, 1), (64, 2), (127, 2), (128, 2), (16_383, 2), (16_384, 4), (1 << 40, 4)])
def test_width_of_the_ledger(gpus: int, width: int) -> None:
    """The smallest integers that hold a node, its lazy number and their difference: taken in every pattern, nothing overflows."""
    fleet = Fleet(small.problem([node("a", gpus)], []))
    ledger = Ledger(fleet, TimeGrid(range(NOW, NOW + 5 * BLOCK)))
    assert ledger._cells.itemsize == width
    most, end = int(fleet.gpus[0]), ledger.grid.times[-1]
    column, row = np.array([0]), slice(0, 1)
    before = [m.tobytes() for m in (ledger._cells, ledger._lazy, ledger._least)]
    patterns = [((NOW, end, most),), ((NOW, end, most // 2), (NOW + 3, end - 3, most - most // 2))]
    for pattern in patterns:
        for start, stop, n in pattern:
            ledger.take(column, start, stop, np.array([n]))
        assert ledger.free(NOW + 3, end - 3, row).tolist() == [0]
        assert ledger.profile(NOW, end, row).max() == most - pattern[0][2]
        for start, stop, n in reversed(pattern):
            ledger.take(column, start, stop, np.array([-n]))
        assert [m.tobytes() for m in (ledger._cells, ledger._lazy, ledger._least)] == before


def test_lots_of_4096() -> None:
    """Contracts of 4,096 GPUs, as one lot on one giant node, as lots of eight over a hall, and as single GPUs beside both."""
    hall = [node(f"n{i:03}", rack=f"r{i // 16}") for i in range(512)]
    p = small.problem(
        [*hall, node("giant", 4_096)],
        [
            contract("lot", 0, 50, 4_096, lot_gpus=4_096),
            contract("hall", 0, 50, 4_088, lot_gpus=8),
            *(contract(f"single{i}", 0, 50, 1) for i in range(8)),
        ],
    )
    found = planned(p)
    assert nothing_owed(found)
    assert {b.node for b in found.bindings if b.contract == "desk/lot"} == {"giant"}
    assert len({b.node for b in found.bindings if b.contract.startswith("desk/single")}) == 1


def test_racks_of_one_node() -> None:
    """Where every rack is one node, two nodes in a rack cannot be had, and that is proved; a spread over racks can."""
    nodes = [node(f"n{i}", rack=f"r{i}") for i in range(4)]
    rack = contract("rack", 0, 10, 16, scope=Scope.RACK)
    spread = contract("spread", 0, 10, 32, spread_level=Scope.RACK, spread_domains=4)
    found = planned(small.problem(nodes, [rack]))
    assert {(u.gpus, u.code) for u in found.undelivered} == {(8, Reason.TOPOLOGY_SHORT)}
    assert found.totals.firm_owed_micros == 80 * 10**6 == found.bound.firm_micros + 1  # rounding of one contract
    assert planned(small.problem(nodes, [replace(rack, all_or_nothing=True)])).bound.firm_micros == 160 * 10**6
    assert nothing_owed(planned(small.problem(nodes, [spread])))


@pytest.mark.parametrize("dead", [{"usable": False}, {"gpus": 0}, {"cordoned": True}])
def test_all_nodes_dead(dead: dict[str, Any]) -> None:
    """Nothing is delivered, all of it is owed, and that is proved; what ran on a node that is cordoned goes on."""
    nodes = [replace(node(f"n{i}"), **dead) for i in range(5)]
    contracts = [contract("x", -5, 50, 16), contract("y", 0, 20, 8, scope=Scope.RACK), contract("z", 5, 30, 8, accepted=False)]
    found = planned(small.problem(nodes, contracts, previous=[binding("x", "n0", -5, 50), binding("x", "n1", -5, 50)]))
    owed = (0 if dead.get("cordoned") else 16 * 50) + 8 * 20
    assert found.totals.owed_micros == found.bound.total_micros == owed * 10**6
    assert found.stopped is Stopped.OPTIMAL
    assert [u.contract for u in found.undelivered if u.refused] == ["desk/z"]


def test_everything_is_lost_and_returns() -> None:
    """The same by events, down to no node and no contract, and back: a kept plan ends as it began."""
    nodes = [node(f"n{i}") for i in range(3)]
    p = small.problem(nodes, [contract("x", 1, 50, 16), contract("y", 2, 20)])
    planner = Planner(p)
    planner.update([NodeGone(n.name) for n in nodes])
    assert planner.plan.bindings == ()
    assert check(planner.problem, planner.plan) == []
    planner.update([TimePassed(NOW + 60 * HOUR)])
    assert planner.plan.undelivered == ()
    empty = Planner(small.problem([], []))
    empty.update([ContractChanged(contract("x", 0, 5))])
    assert empty.plan.undelivered != ()
    assert check(empty.problem, empty.plan) == []


@pytest.mark.parametrize("contracts", [20, 21, 40])
def test_everything_is_equal(contracts: int) -> None:
    """Nodes and contracts that differ in nothing but their names: 20 contracts are served, the others are owed, and that is proved."""
    p = small.problem([node(f"n{i:02}") for i in range(20)], [contract(f"c{i:02}", 0, 100) for i in range(contracts)])
    found = planned(p)
    assert len(found.bindings) == 20
    assert found.totals.owed_micros == (contracts - 20) * 800 * 10**6
    assert found.totals.contract_instants == 0
    assert found.totals.owed_micros - found.bound.total_micros <= 2 * contracts  # rounding


@pytest.mark.parametrize("price", [(1 << 60) - 1, 1 << 60, (1 << 60) + 1, 1 << 63, 1 << 64])
@pytest.mark.parametrize("multiple", [1, 1_000_000, 1_500_000])
def test_prices_at_the_edge(price: int, multiple: int) -> None:
    """Money has no width: the dearer of two contracts is served, owed to the micro, and no bound is above what is owed."""
    dear = contract("dear", 0, 10, price_micros=price, multiple_ppm=multiple)
    cheap = contract("cheap", 0, 10, price_micros=price - 1, multiple_ppm=multiple)
    found = planned(small.problem([node("a")], [cheap, dear]))
    owed = (2 * (price - 1) * multiple * 80 + 10**6) // (2 * 10**6)
    assert found.totals.owed_micros == owed or multiple == 1
    assert {b.contract for b in found.bindings} == {"desk/dear"} or found.totals.owed_micros >= owed


def test_substitutes_at_the_edge() -> None:
    """A substitute that costs more than any debt is no way out; one that costs as much as 64 bits hold is no overflow."""
    for cost in (1, (1 << 60) - 1, 1 << 62, 1 << 64):
        products = [product(equivalents={"h200": cost}), product("h200", "H200")]
        p = small.problem([node("z", grade="H200")], [contract("x", 0, 10, substitution=True)], products=products)
        found = planned(p)
        assert found.totals.owed_micros == 0  # what is owed comes first, whatever it costs
        assert found.totals.substitution_micros == 80 * cost


def test_tiers_come_before_sums() -> None:
    """One Firm GPU-hour at next to nothing outweighs Interruptible ones at any price."""
    firm = contract("firm", 0, 10, price_micros=1)
    dear = contract("dear", 0, 10, price_micros=1 << 60, firm=False)
    found = planned(small.problem([node("a")], [firm, dear]))
    assert {b.contract for b in found.bindings} == {"desk/firm"}
    assert found.totals.firm_owed_micros == found.bound.firm_micros == 0
