"""The ledger of free GPUs: never oversold, and a node handed over whole has one holder."""

from __future__ import annotations

import numpy as np
import pytest

from laycan_solver.eligible import Demands, Fleet
from laycan_solver.ledger import Ledger
from laycan_solver.model import Level, Problem
from laycan_solver.timegrid import Ints, TimeGrid, time_grid, turnarounds
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node, outage, product


class Setting:
    """A problem's ledger and demands."""

    def __init__(self, p: Problem) -> None:
        fleet = Fleet(p)
        self.demands = Demands(p, fleet)
        self.ledger = Ledger(fleet, time_grid(p, p.contracts, 0), turnarounds(p))

    def take(self, contract: int, column: int, start: int, end: int, gpus: int) -> None:
        demand = self.demands.demand(contract)
        assert demand
        index = self.ledger.grid.index
        self.ledger.take(demand, column, index(NOW + start * HOUR), index(NOW + end * HOUR), gpus)

    def units(self, contract: int, start: int, end: int) -> list[int]:
        demand = self.demands.demand(contract)
        assert demand
        index = self.ledger.grid.index
        columns: Ints = np.arange(len(self.ledger.fleet.nodes), dtype=np.int64)
        return [int(n) for n in self.ledger.window_units(demand, index(NOW + start * HOUR), index(NOW + end * HOUR), columns)]


def test_never_oversold() -> None:
    """Taking more than is free fails at the line that would do it."""
    s = Setting(small.problem([node("a")], [contract("x", 0, 10, 8, lot_gpus=4), contract("y", 5, 15, 8, lot_gpus=2)]))
    s.take(0, 0, 0, 10, 4)
    assert s.units(1, 5, 15) == [2]
    assert s.units(1, 10, 15) == [4]
    with pytest.raises(AssertionError, match="more GPUs"):
        s.take(1, 0, 5, 15, 6)


def test_outages_and_lost_nodes_have_nothing() -> None:
    """A node serves nothing in an outage or when it is unusable."""
    s = Setting(small.problem([node("a"), node("b", usable=False)], [contract("x", 0, 10)], outages=[outage("a", 4, 6)]))
    assert s.units(0, 0, 4) == [1, 0]
    assert s.units(0, 0, 10) == [0, 0]


def test_one_holder_and_turnaround() -> None:
    """At level Node another holder keeps off, and the turnaround before and after; the same holder shares."""
    holders = [("red", 0, 10), ("blue", 0, 20), ("red", 0, 20)]
    contracts = [contract(f"c{i}", a, b, 4, holder=h) for i, (h, a, b) in enumerate(holders)]
    times = [contract("t", 12, 13, 4, holder="blue"), contract("u", 10, 13, 4, holder="blue")]
    s = Setting(small.problem([node("a", level=Level.NODE)], contracts + times, products=[product(turnaround_seconds=2 * HOUR)]))
    s.take(0, 0, 0, 10, 4)
    assert s.units(1, 0, 20) == [0]
    assert s.units(2, 0, 20) == [1]
    assert s.units(1, 10, 13) == [0]
    assert s.units(1, 12, 20) == [2]
    s.take(0, 0, 0, 10, -4)
    assert s.units(1, 0, 20) == [2]


def test_history_keeps_the_turnaround() -> None:
    """Who left the node just before now keeps another holder off until the turnaround has passed."""
    from laycan_solver.planner import plan

    products = [product(turnaround_seconds=2 * HOUR)]
    old, new = contract("old", -5, 0, holder="red"), contract("new", 0, 10, holder="blue")
    p = small.problem([node("a", level=Level.NODE)], [old, new], products=products, previous=[binding("old", "a", -5, 0)])
    assert [small.hours(b) for b in plan(p).bindings] == [("a", 2, 10)]


def test_split_keeps_what_is_taken() -> None:
    """A new boundary changes nothing but the number of rows."""
    s = Setting(small.problem([node("a")], [contract("x", 0, 10, 8, lot_gpus=4)]))
    s.take(0, 0, 0, 10, 4)
    s.ledger.split(NOW + 3 * HOUR)
    assert s.units(0, 0, 3) == s.units(0, 3, 10) == [1]


def test_grid() -> None:
    """Boundaries are distinct and sorted; an instant that is none has no index; splitting outside does nothing."""
    grid = TimeGrid([5, 1, 5, 9])
    assert (grid.times, grid.slices, grid.index(5)) == ([1, 5, 9], 2, 1)
    assert (grid.split(0), grid.split(9), grid.split(7), grid.split(7)) == (None, None, 1, None)
    assert grid.seconds(0, grid.slices).tolist() == [4, 2, 2]
    with pytest.raises(AssertionError):
        grid.index(6)
