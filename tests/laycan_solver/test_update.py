"""Keeping a plan up to date: only what an event touches changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan_solver.check import check
from laycan_solver.model import (
    ContractChanged,
    ContractGone,
    Event,
    Level,
    NodeChanged,
    NodeGone,
    OutageChanged,
    OutageGone,
    Scope,
    TimePassed,
)
from laycan_solver.planner import Planner
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, binding, contract, hours, node, outage, product

NODES = [node(f"n{i}") for i in range(4)]


def planner() -> Planner:
    return Planner(small.problem(NODES, [contract("x", 0, 50, 16), contract("y", 10, 60)]))


def test_lost_node_touches_only_its_bindings() -> None:
    """The bindings of a lost node are released, as many are acquired, all others stay."""
    p = planner()
    before = p.plan.bindings
    lost = before[0].node
    change = p.update([NodeChanged(replace(next(n for n in NODES if n.name == lost), usable=False))])
    assert {b.node for b in change.released} == {lost}
    assert sum(b.gpus for b in change.acquired) == sum(b.gpus for b in change.released)
    assert set(p.plan.bindings) == set(before) - set(change.released) | set(change.acquired)
    assert change.undelivered == ()
    assert check(p.problem, p.plan) == []


def test_nothing_happened() -> None:
    """An update without events, or by time alone, changes no binding."""
    p = planner()
    assert p.update([]) == replace(p.update([]), released=(), acquired=(), moves=())
    change = p.update([TimePassed(NOW + 5 * HOUR)])
    assert (change.released, change.acquired) == ((), ())


def test_a_promise_that_is_still_to_be_written_gives_way_to_nobody() -> None:
    """It may be curtailed for candidates from the update on that tells of its being written."""
    lax = contract("lax", 0, 50, firm=False, notice_seconds=60, curtailable_seconds=50 * HOUR, accepted=False)
    p = Planner(small.problem([node("n0")], [lax]))
    p.update([ContractChanged(replace(lax, accepted=True, unwritten=True)), ContractChanged(contract("early", 10, 20, accepted=False))])
    assert "desk/early" in {u.contract for u in p.plan.undelivered if u.refused}
    p.update([ContractChanged(replace(lax, accepted=True)), ContractChanged(contract("late", 10, 20, accepted=False))])
    assert {(b.contract, b.start) for b in p.plan.bindings if b.contract != "desk/lax"} == {("desk/late", NOW + 10 * HOUR)}
    assert check(p.problem, p.plan) == []


def test_urgent_serves_who_is_due_now_and_the_next_update_the_rest() -> None:
    """Of two contracts on a lost node the one that runs goes on at once; the one to come waits until then and is listed as short."""
    lying = [binding("now", "n0", -5, 10), binding("later", "n0", 20, 60)]
    p = Planner(small.problem(NODES, [contract("now", -5, 10), contract("later", 20, 60)], previous=lying), effort=10)
    assert {b.node for b in p.plan.bindings} == {"n0"}
    change = p.update([NodeChanged(replace(NODES[0], usable=False))], urgent=True)
    assert [b.contract for b in change.acquired] == ["desk/now"]
    assert [u.contract for u in change.undelivered] == ["desk/later"]
    change = p.update([])
    assert [b.contract for b in change.acquired] == ["desk/later"]
    assert change.undelivered == ()
    assert check(p.problem, p.plan) == []


def test_copy_is_apart() -> None:
    """A what-if on a copy leaves the planner as it was."""
    p = planner()
    before, what_if = p.plan, p.copy()
    what_if.update([NodeGone("n0"), NodeGone("n1"), NodeGone("n2")])
    assert what_if.plan.undelivered != ()
    assert p.plan == before
    assert len(p.problem.nodes) == 4


def test_capacity_that_returns_is_used() -> None:
    """What was short is served again as soon as a node comes back, and an outage that ends early gives its hours back."""
    p = planner()
    p.update([NodeGone("n0"), NodeGone("n1"), OutageChanged(outage("n2", 20, 30))])
    assert p.plan.undelivered != ()
    p.update([NodeChanged(node("n1")), OutageGone("outage-n2-20")])
    assert p.plan.undelivered == ()


def test_accepted_candidate_is_not_decided_again() -> None:
    """A candidate that was accepted counts as accepted from then on; a newer, dearer one cannot displace it."""
    one = contract("x", 5, 50, 32, accepted=False, admission_order=("2", "", ""))
    p = Planner(small.problem(NODES, [one]))
    assert len(p.plan.bindings) == 4
    dearer = contract("y", 5, 50, 8, accepted=False, admission_order=("1", "", ""), price_micros=10**9)
    change = p.update([ContractChanged(dearer)])
    assert [(u.contract, u.refused) for u in change.undelivered] == [("desk/y", True)]
    p.update([ContractGone("desk/x")])
    assert {b.contract for b in p.plan.bindings} == {"desk/y"}


def test_a_started_delivery_stays_started() -> None:
    """All or nothing binds until delivery starts: a node that comes back serves its lot, although nothing was left meanwhile."""
    p = Planner(small.problem(NODES[:2], [contract("w", 1, 10, 16, all_or_nothing=True)]))
    p.update([TimePassed(NOW + 3 * HOUR)])
    p.update([NodeGone("n0"), NodeGone("n1")])
    assert p.plan.totals.bound_gpu_seconds == 0
    p.update([NodeChanged(node("n0"))])
    assert [(b.node, b.gpus) for b in p.plan.bindings] == [("n0", 8)]
    assert check(p.problem, p.plan) == []


def test_turnaround_is_not_forgotten() -> None:
    """Who had a node last keeps it from others for a turnaround, through any number of updates."""
    products, previous = [product(turnaround_seconds=HOUR)], [binding("x", "a", -5, 1)]
    p = Planner(small.problem([node("a", level=Level.NODE)], [contract("x", -5, 1, holder="r")], products=products, previous=previous))
    for minutes in (70, 80, 90):
        p.update([TimePassed(NOW + minutes * 60)])
    p.update([ContractChanged(contract("y", 1, 9, holder="b"))])
    assert [(b.contract, *hours(b)) for b in p.plan.bindings] == [("desk/y", "a", 2, 9)]
    assert check(p.problem, p.plan) == []


@pytest.mark.parametrize("event", [NodeGone("nowhere"), OutageGone("none"), ContractGone("desk/none")])
def test_unknown_names_are_nothing(event: Event) -> None:
    """To lose what is not there changes nothing."""
    p = planner()
    before = p.plan.bindings
    p.update([event])
    assert p.plan.bindings == before


def test_chain_is_kept() -> None:
    """A chain that was announced stays as announced when something else changes."""
    p = Planner(
        small.problem(
            [node("a"), node("b"), node("c")],
            [contract("x", 0, 50)],
            outages=[outage("a", 20, 50), outage("b", 0, 20), outage("c", 10, 30)],
        )
    )
    before = [hours(b) for b in p.plan.bindings]
    p.update([ContractChanged(contract("y", 0, 5))])
    assert [hours(b) for b in p.plan.bindings if b.contract == "desk/x"] == before


def test_one_goes_as_another_comes() -> None:
    """In one update: what the first had is released, and nothing of it is the second's."""
    p = Planner(small.problem([node("a"), node("b")], [contract("x", 0, 10), contract("y", 1, 10)]))
    had = [b for b in p.plan.bindings if b.contract == "desk/y"]
    change = p.update([ContractGone("desk/y"), ContractChanged(contract("z", 2, 10))])
    assert list(change.released) == had
    assert {b.contract for b in p.plan.bindings} == {"desk/x", "desk/z"}
    assert check(p.problem, p.plan) == []


def test_who_comes_under_a_name_that_was_used_is_another() -> None:
    """He inherits neither the bindings of the one who is gone nor the beginning of his delivery."""
    whole = contract("w", 0, 10, 16, all_or_nothing=True)
    p = Planner(small.problem([node("a"), node("b")], [whole]))
    p.update([TimePassed(NOW + HOUR)])
    p.update([NodeChanged(node("b"))])
    p.update([ContractGone("desk/w")])
    p.update([NodeChanged(node("b", usable=False)), ContractChanged(whole)])
    assert list(p.plan.bindings) == []
    assert check(p.problem, p.plan) == []
    p.update([NodeChanged(node("b"))])
    assert {b.start for b in p.plan.bindings} == {NOW + HOUR}


def test_an_accepted_candidate_may_be_curtailed_like_others() -> None:
    """A newer one is not refused, with proof, for what an accepted one may be asked to give back."""
    lent = contract("lent", 0, 10, firm=False, notice_seconds=0, curtailable_seconds=10 * HOUR, accepted=False)
    p = Planner(small.problem([node("a")], [lent]))
    change = p.update([ContractChanged(contract("q", 2, 4, accepted=False))])
    assert [(u.contract, u.refused) for u in change.undelivered] == [("desk/lent", False)]
    assert check(p.problem, p.plan) == []


def test_what_must_stay_together_leaves_its_rack_together() -> None:
    """The rack has no other node: all of the contract goes to another at once, instead of half of it staying behind."""
    racks = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1"), node("d", rack="r1")]
    running = [binding("x", "a", -1, 20), binding("x", "b", -1, 20)]
    p = Planner(small.problem(racks, [contract("x", -1, 20, 16, scope=Scope.RACK)], previous=running))
    change = p.update([NodeChanged(replace(racks[0], usable=False))])
    assert [hours(b) for b in change.acquired] == [("c", 0, 20), ("d", 0, 20)]
    assert p.plan.undelivered == ()
    assert check(p.problem, p.plan) == []


def test_candidates_are_decided_in_their_order_however_they_are_called() -> None:
    """Two events of one update, the younger one first: the elder has the node."""
    p = Planner(small.problem(NODES[:1], []))
    young = contract("a", 0, 10, accepted=False, admission_order=("2027-01-01T00:00:02Z", "", ""))
    old = contract("b", 0, 10, accepted=False, admission_order=("2027-01-01T00:00:01Z", "", ""))
    change = p.update([ContractChanged(young), ContractChanged(old)])
    assert [u.contract for u in change.undelivered] == ["desk/a"]
    assert [b.contract for b in p.plan.bindings] == ["desk/b"]
    assert check(p.problem, p.plan) == []


def test_an_older_refused_candidate_comes_before_a_new_one() -> None:
    """What becomes free goes to who has waited."""
    old = contract("b", 0, 10, accepted=False, admission_order=("2027-01-01T00:00:01Z", "", ""))
    young = contract("a", 0, 10, accepted=False, admission_order=("2027-01-01T00:00:02Z", "", ""))
    p = Planner(small.problem(NODES[:1], [contract("x", 0, 10), old]))
    change = p.update([ContractChanged(young), ContractGone("desk/x")])
    assert [u.contract for u in change.undelivered] == ["desk/a"]


def test_a_candidate_does_not_have_what_a_promise_needs() -> None:
    """In one update a node fails and a candidate comes: the last free node serves who lost his."""
    p = Planner(small.problem(NODES[:2], [contract("x", -1, 10, price_micros=1)], previous=[binding("x", "n0", -1, 10)]))
    new = contract("a", 0, 10, price_micros=9_000_000, accepted=False)
    change = p.update([ContractChanged(new), NodeChanged(replace(NODES[0], usable=False))])
    assert [(u.contract, u.refused) for u in change.undelivered] == [("desk/a", True)]
    assert [(b.contract, b.node) for b in change.acquired] == [("desk/x", "n1")]
