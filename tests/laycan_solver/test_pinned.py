"""Which nodes are looked into for what is short: not those that Firm lots hold, where nothing Interruptible could have them."""

from __future__ import annotations

import numpy as np

from laycan_solver.check import check
from laycan_solver.model import Problem, Scope
from laycan_solver.planner import laid_out, plan
from laycan_solver.route import _had_from
from tests.laycan_solver.small import HOUR, NOW, binding, contract, hours, node, outage, problem

MONTH = 720  # hours
RACKS = 14  # more than a trial looks into
WHOLE = {"scope": Scope.RACK, "all_or_nothing": True, "firm": False}


def held() -> Problem:
    """Racks of two nodes, of which Firm lots hold one; the last rack is full, of an Interruptible contract whose lots could leave."""
    nodes = [node(f"n{r:02}{i}", rack=f"r{r:02}") for r in range(RACKS) for i in range(2)]
    firm = [contract(f"firm{r:02}", -1, MONTH) for r in range(RACKS - 1)]
    runs = [binding(f"firm{r:02}", f"n{r:02}0", -1, MONTH) for r in range(RACKS - 1)]
    last = [binding("leaves", f"n{RACKS - 1:02}{i}", -1, MONTH) for i in range(2)]
    return problem(
        nodes, [*firm, contract("leaves", -1, MONTH, 16, firm=False), contract("whole", 0, MONTH, 16, **WHOLE)], previous=(*runs, *last)
    )


def test_what_firm_lots_hold_is_not_looked_into() -> None:
    """Twelve racks with more room are held by Firm lots: the one that can be cleared is found behind them."""
    found = plan(held(), 20)
    assert check(held(), found) == []
    assert found.undelivered == ()
    assert {hours(b)[0][:3] for b in found.bindings if b.contract == "desk/whole"} == {f"n{RACKS - 1:02}"}


def test_pinned_until_interrupted_anyway() -> None:
    """A Firm lot stays to its end; where its contract is interrupted anyway, only until then, and for a Firm contract it is no obstacle."""
    nodes = [node("n0"), node("n1"), node("n2")]
    contracts = [contract("a", -1, 10), contract("b", -1, 10, 16), contract("c", 0, 10, firm=False)]
    previous = [binding("a", "n0", -1, 10), binding("b", "n1", -1, 10), binding("b", "n2", -1, 10)]
    p = problem(nodes, contracts, previous=tuple(previous))
    book, _ = laid_out(p, previous, set())
    assert ((book.pinned.until(book.demands[2]) - NOW) // HOUR).tolist() == [10, 10, 10]
    assert book.pinned.until(book.demands[0]).tolist() == [0, 0, 0]
    p = problem([*nodes, node("n3")], contracts, previous=tuple(previous), outages=[outage("n2", 4, 10)])
    book, _ = laid_out(p, [*previous[:2], binding("b", "n2", -1, 4), binding("b", "n3", 4, 10)], set())
    assert ((book.pinned.until(book.demands[2]) - NOW) // HOUR).tolist()[:3] == [10, 4, 4]


def test_had_from() -> None:
    """A domain is had from when the last node that it cannot spare is: of three nodes of which two are wanted, the second."""
    domain, until = np.array([0, 0, 0, 1, 1]), np.array([5, 0, 9, 7, 3])
    assert _had_from(domain, np.ones(5, dtype=np.int64), until, 2, 2).tolist() == [5, 7]
