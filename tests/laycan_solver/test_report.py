"""What a plan says: bindings that keep their identity, reasons that name pool and window, moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan_solver.check import check
from laycan_solver.model import Contract, MoveReason, OutageType, Problem, Reason, Scope
from laycan_solver.objective import Segment
from laycan_solver.planner import plan
from laycan_solver.report import coalesce
from tests.laycan_solver import small
from tests.laycan_solver.small import NOW, binding, contract, hours, node, outage

RACKS = [node("a", rack="r0"), node("b", rack="r1")]


@pytest.mark.parametrize(
    ("problem", "code", "says"),
    [
        (small.problem([node("a")], [contract("x", 0, 9, 16)]), Reason.POOL_SHORT, "8 of 16 GPUs"),
        (
            small.problem([node("a", usable=False)], [contract("x", -1, 9)], previous=[binding("x", "a", -1, 9)]),
            Reason.NODE_LOST,
            "node a is lost",
        ),
        (small.problem([node("a")], [contract("x", 0, 9)], outages=[outage("a", 0, 9)]), Reason.OUTAGE_PLANNED, "outage"),
        (small.problem(RACKS, [contract("x", 0, 9, 16, scope=Scope.RACK)]), Reason.TOPOLOGY_SHORT, "Rack"),
    ],
    ids=["pool", "lost", "outage", "topology"],
)
def test_reason(problem: Problem, code: Reason, says: str) -> None:
    """Every gap has a code, and a message that names the pool, the window and the cause."""
    (gap,) = plan(problem).undelivered
    assert gap.code is code
    assert gap.message.startswith("h100: ")
    assert "2027-01-01T00:00:00Z to 2027-01-01T09:00:00Z" in gap.message
    assert says in gap.message


def test_running_keeps_its_start() -> None:
    """A binding that runs keeps the start that was announced, also where two of one contract share a node."""
    previous = [binding("x", "a", -9, 9, 4), binding("x", "a", -5, 9, 4)]
    p = small.problem([node("a")], [contract("x", -9, 9, 8, lot_gpus=4)], previous=previous)
    found = plan(p)
    assert found.bindings == tuple(previous)
    assert check(p, found) == []


def test_moves_say_why() -> None:
    """A lot that leaves its node for an outage is listed with source, target and reason."""
    p = small.problem([node("a"), node("b")], [contract("x", -1, 50)], outages=[outage("a", 20, 40)], previous=[binding("x", "a", -1, 50)])
    found = plan(p)
    assert [(m.source, m.target, m.gpus, m.reason) for m in found.moves] == [("a", "b", 8, MoveReason.OUTAGE)]
    assert found.totals.moved_gpus == 8
    assert [hours(b) for b in found.bindings] == [("a", -1, 20), ("b", 20, 50)]


def test_a_node_that_has_lost_gpus() -> None:
    """What its node has too few GPUs for is moved because GPUs were lost, and short for that reason where nothing else is free."""
    contracts = [contract("x", -1, 9, 4), contract("y", -1, 9, 4)]
    previous = [binding("x", "a", -1, 9, 4), binding("y", "a", -1, 9, 4)]
    found = plan(small.problem([node("a", 7), node("b")], contracts, previous=previous))
    assert [m.reason for m in found.moves] == [MoveReason.NODE_LOST]
    alone = small.problem([node("a", 7)], contracts, previous=previous)
    short = plan(alone)
    assert [u.code for u in short.undelivered] == [Reason.NODE_LOST]
    assert check(alone, short) == []


def test_a_fault_is_no_maintenance() -> None:
    """An outage of type Forced is a lost node, not a planned outage."""
    fault = replace(outage("a", 0, 9), type=OutageType.FORCED)
    p = small.problem([node("a")], [contract("x", 0, 9)], outages=[fault])
    found = plan(p)
    assert [u.code for u in found.undelivered] == [Reason.NODE_LOST]
    assert check(p, found) == []


def test_what_is_short_has_a_price() -> None:
    """Who is outbid reads at which price, and what the hour would have been worth to it; who is served in full reads nothing."""
    dear, cheap = contract("x", 0, 10, price_micros=3_000_000), contract("y", 4, 8, price_micros=2_000_000)
    found = plan(small.problem([node("a"), node("b")], [dear, replace(dear, key="desk/z"), cheap]))
    assert [(u.contract, u.code) for u in found.undelivered] == [("desk/y", Reason.POOL_SHORT)]
    assert found.undelivered[0].message.endswith("a GPU-hour is worth 2.000000 at the margin, 2.000000 to this contract")


def test_coalesce() -> None:
    """Abutting segments of a node become one, the same service with the fewest bindings."""
    pieces = [Segment(0, 0, 5, 1), Segment(0, 5, 9, 2), Segment(1, 0, 9, 1), Segment(1, 0, 9, 1), Segment(0, 7, 8, 1)]
    assert coalesce(pieces) == [Segment(0, 0, 9, 1), Segment(0, 5, 9, 1), Segment(0, 7, 8, 1), Segment(1, 0, 9, 2)]


EXTREMES = {
    "a trillion lots": [contract("x", 0, 10, 10**12, lot_gpus=1)],
    "a lot of a trillion": [contract("x", 0, 10, 10**12, lot_gpus=10**12)],
    "a trillion in a rack": [contract("x", 0, 10, 10**12, lot_gpus=1, scope=Scope.RACK, all_or_nothing=True)],
    "for nothing": [contract("x", 0, 10, 24, price_micros=0)],
    "beyond price": [contract("x", 0, 10, 24, price_micros=10**18, multiple_ppm=10**12)],
    "a thousand years": [contract("x", 0, 10**7, 24)],
    "one second": [Contract("desk/x", "x", "h100", NOW, NOW + 1, 24, 8)],
    "candidates": [contract("x", 0, 10, 10**12, lot_gpus=1, accepted=False), contract("y", 0, 10, 10**12, lot_gpus=10**12, accepted=False)],
    "endless notice": [contract("x", 0, 10, 24, firm=False, notice_seconds=10**15, curtailable_seconds=10**15)],
}


@pytest.mark.parametrize("contracts", EXTREMES.values(), ids=EXTREMES.keys())
def test_extremes(contracts: list[Contract]) -> None:
    """No size, price or time that a contract may claim breaks the planner."""
    p = small.problem([node("a"), node("b")], contracts)
    found = plan(p)
    assert check(p, found) == []
