"""Admission: whole or not at all, in order, never at the cost of what was accepted, and refused with a reason."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stream import stream
from laycan_solver.check import check
from laycan_solver.model import Plan, Reason, Scope
from laycan_solver.planner import plan
from tests.laycan_solver import small
from tests.laycan_solver.small import binding, contract, node, outage


def refused(found: Plan) -> list[tuple[str, Reason, str]]:
    return [(u.contract, u.code, u.message) for u in found.undelivered if u.refused]


def test_first_come() -> None:
    """Of two candidates for one node the earlier is accepted, however dear the later is."""
    first = contract("b", 0, 10, accepted=False, admission_order=("2026", "", "b"))
    later = contract("a", 5, 15, accepted=False, admission_order=("2027", "", "a"), price_micros=10**9)
    p = small.problem([node("n")], [later, first])
    found = plan(p)
    assert {b.contract for b in found.bindings} == {"desk/b"}
    (key, code, message), *_ = refused(found)
    assert (key, code) == ("desk/a", Reason.NO_CAPACITY)
    assert "h100" in message
    assert "proved" in message
    assert "2027-01-01T05:00:00Z" in message
    assert check(p, found) == []


def test_more_than_the_fleet() -> None:
    """More GPUs than all nodes of the grade hold: ExceedsFleet, proved."""
    found = plan(small.problem([node("n")], [contract("x", 0, 10, 16, accepted=False)]))
    ((_, code, message),) = refused(found)
    assert code is Reason.EXCEEDS_FLEET
    assert "proved" in message


def test_topology_that_no_domain_has() -> None:
    """Enough nodes, but not in one rack: TopologyShort, proved."""
    nodes = [node("a", rack="r0"), node("b", rack="r1")]
    found = plan(small.problem(nodes, [contract("x", 0, 10, 16, accepted=False, scope=Scope.RACK, all_or_nothing=True)]))
    ((_, code, message),) = refused(found)
    assert code is Reason.TOPOLOGY_SHORT
    assert "Rack" in message


def test_outage_in_the_window() -> None:
    """A candidate must be served uncut: an outage of the only node refuses it, although a part could be served."""
    found = plan(small.problem([node("n")], [contract("x", 0, 10, accepted=False)], outages=[outage("n", 4, 5)]))
    ((_, code, message),) = refused(found)
    assert code is Reason.NO_CAPACITY
    assert "2027-01-01T04:00:00Z" in message


def test_announced_contract_makes_room() -> None:
    """An accepted contract that has not begun is placed anew so that a candidate fits; one that runs is not moved."""
    nodes = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1")]
    wide = contract("wide", 10, 20, 16, accepted=False, scope=Scope.RACK, all_or_nothing=True)
    announced = small.problem(nodes, [contract("x", 5, 30), wide], previous=[binding("x", "a", 5, 30)])
    found = plan(announced)
    assert refused(found) == []
    assert found.totals.owed_micros == found.totals.interruption_micros == 0
    running = small.problem(nodes, [contract("x", -5, 30), wide], previous=[binding("x", "a", -5, 30)])
    kept = plan(running)
    assert [key for key, _, _ in refused(kept)] == ["desk/wide"]
    assert [b.node for b in kept.bindings] == ["a"]


def test_accepted_are_owed_no_more() -> None:
    """With any number of dear candidates, an accepted contract that is short gets what it would get without them (I13)."""
    accepted = [contract("x", 0, 10, 16, price_micros=1), contract("y", 0, 10, 8, firm=False, price_micros=1)]
    dear = [contract(f"d{i}", i, i + 3, accepted=False, price_micros=10**8) for i in range(8)]
    nodes = [node("a"), node("b")]
    alone, beside = plan(small.problem(nodes, accepted)), plan(small.problem(nodes, accepted + dear))
    assert [b for b in beside.bindings if b.contract in ("desk/x", "desk/y")] == list(alone.bindings)


def test_curtailable_gives_way_but_not_in_the_same_plan() -> None:
    """Interruptible capacity under right of curtailment is recalled for a candidate; another new candidate is not."""
    lent = contract("lent", 0, 10, firm=False, notice_seconds=0, curtailable_seconds=10 * 3600)
    new = contract("new", 2, 4, accepted=False, admission_order=("2", "", ""))
    p = small.problem([node("n")], [lent, new])
    found = plan(p)
    assert refused(found) == []
    assert found.totals.owed_micros == 0
    assert check(p, found) == []
    both = small.problem([node("n")], [replace(lent, accepted=False, admission_order=("1", "", "")), new])
    assert [key for key, _, _ in refused(plan(both))] == ["desk/new"]


def test_what_gives_way_is_no_proof() -> None:
    """A refusal for the sake of a contract that might have been curtailed by right is not proved."""
    lent = contract("lent", -1, 10, firm=False, notice_seconds=0, curtailable_seconds=10 * 3600)
    new = contract("new", 2, 4, accepted=False)
    ((_, code, message),) = refused(plan(small.problem([node("n")], [lent, new], previous=[binding("lent", "n", -1, 10)])))
    assert code is Reason.NO_CAPACITY
    assert "not found" in message


def test_nothing_accepted_is_dropped_because_it_costs_nothing() -> None:
    """A contract without a price keeps its node, whatever a candidate pays."""
    found = plan(small.problem([node("n")], [contract("free", 1, 10, price_micros=0), contract("new", 2, 4, accepted=False)]))
    assert [key for key, _, _ in refused(found)] == ["desk/new"]
    assert [b.contract for b in found.bindings] == ["desk/free"]


def test_without_a_price_an_interruption_is_one_all_the_same() -> None:
    """A candidate that would have to leave its node is not accepted, although its interruption weighs nothing."""
    x = contract("x", -1, 10, price_micros=0, accepted=False)
    p = small.problem([node("a"), node("b")], [x], previous=[binding("x", "a", -1, 10)], outages=[outage("a", 9, 10)])
    found = plan(p)
    assert check(p, found) == []
    assert [key for key, _, _ in refused(found)] == ["desk/x"]


def test_counted_refusal() -> None:
    """What accepted contracts leave is said in GPUs, with the window in which it is least, and as proved."""
    accepted = [contract("x", 0, 10, 16), contract("y", 4, 8)]
    new = contract("new", 2, 12, 16, accepted=False)
    ((_, code, message),) = refused(plan(small.problem([node(n) for n in "abc"], [*accepted, new])))
    assert code is Reason.NO_CAPACITY
    assert "leave 0 of 16 GPUs from 2027-01-01T04:00:00Z to 2027-01-01T08:00:00Z (proved)" in message


def test_what_runs_is_in_the_way() -> None:
    """A rack in which something runs that may not be interrupted is no rack for a candidate: proved, and it says why."""
    nodes = [node("a", rack="r0"), node("b", rack="r0")]
    new = contract("new", 2, 5, 16, accepted=False, scope=Scope.RACK, all_or_nothing=True)
    running = [contract("x", -1, 10, 4)]
    p = small.problem([*nodes, node("c", rack="r1")], [*running, new], previous=[binding("x", "a", -1, 10, 4)])
    ((_, code, message),) = refused(plan(p))
    assert code is Reason.NO_CAPACITY
    assert "what runs leaves 8 of 16 GPUs as asked" in message
    assert "(proved)" in message


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_feasible_streams_are_accepted(seed: int, nodes: int) -> None:
    """Requests for whole nodes in any place that together never ask for more nodes than there are: every one is accepted."""
    asked = stream(nodes, 30, seed)
    candidates = [
        contract(f"r{i:02}", start, end, 8 * n, accepted=False, admission_order=(f"{i:02}", "", ""))
        for i, (start, end, n) in enumerate(asked.tolist())
    ]
    p = small.problem([node(f"n{i}") for i in range(nodes)], candidates)
    found = plan(p)
    assert refused(found) == []
    assert check(p, found) == []
