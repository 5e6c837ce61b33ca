"""What is curtailed by right is given back where that costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from laycan_solver.check import check
from laycan_solver.planner import plan
from tests.laycan_solver.small import HOUR, binding, contract, hours, node, outage, problem

RIGHT: dict[str, Any] = {"firm": False, "notice_seconds": 600, "curtailable_seconds": 72 * HOUR, "holder": "gamma"}


@pytest.mark.parametrize("edge", ["between", "before", "after"])
def test_a_lot_stays_where_it_was(edge: str) -> None:
    """The outage for which it was curtailed is withdrawn: it goes on on its own node, though an earlier one is as free."""
    announced = {
        "between": [binding("gamma", "n2", 0, 24), binding("gamma", "n2", 28, 48)],
        "before": [binding("gamma", "n2", 28, 48)],
        "after": [binding("gamma", "n2", 0, 28)],
    }[edge]
    book = problem([node("n1"), node("n2"), node("n3")], [contract("gamma", 0, 48, **RIGHT)], previous=announced)
    found = plan(book, 20)
    assert [hours(b) for b in found.bindings] == [("n2", 0, 48)]
    assert (found.undelivered, found.totals.interruption_micros) == ((), 0)
    assert not check(book, found)


def test_not_while_the_outage_lasts() -> None:
    """On a node in an outage nobody stays."""
    announced = [binding("gamma", "n1", 0, 24), binding("gamma", "n1", 28, 48)]
    book = problem([node("n1")], [contract("gamma", 0, 48, **RIGHT)], previous=announced, outages=[outage("n1", 24, 28)])
    assert [hours(b) for b in plan(book, 20).bindings] == [("n1", 0, 24), ("n1", 28, 48)]
