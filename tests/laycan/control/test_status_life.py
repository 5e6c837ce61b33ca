"""Phases of a contract as its status tells them: each row of the table with its guard, one event for each, and winding up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laycan.control.decision import Decision, Reason
from laycan.control.lifecycle import IllegalStepError
from laycan.control.status import next_status, next_wake
from laycan.events.outbox import TIDY_SECONDS
from laycan.kube.views import NamespaceView
from tests.laycan.control.desk import SETTINGS, SOURCE, T0, Desk, accepted, delivering, short


class TestDeciding:
    def test_received_at_first_sight(self) -> None:
        """A contract without a decision is Received, and tools see that it is being worked on."""
        desk = Desk()
        desk.at(T0 - 7000)
        assert (desk.phase, desk.news) == ("Received", ["contract.received"])
        assert (desk.condition("Ready"), desk.condition("Reconciling")) == (("False", "Undecided"), ("True", "Deciding"))

    def test_received_and_accepted_in_one_write(self) -> None:
        """A decision that is there at first sight costs no second write, but both events are told."""
        desk = accepted()
        assert (desk.phase, desk.news) == ("Accepted", ["contract.received", "contract.accepted"])
        assert (desk.condition("Ready"), desk.condition("Reconciling")) == (("True", "Accepted"), None)

    def test_acceptance_pins_what_was_promised(self) -> None:
        """Digests are those at acceptance; a product that changes later changes none."""
        desk = accepted()
        pinned = {k: desk.status[k] for k in ("termsDigest", "productDigest", "healthPolicyDigest")}
        assert all(v.startswith("sha256:") for v in pinned.values())
        desk.world.products["h100"] = {"spec": {"gpuProducts": ["B200"], "nodeGpus": 4}}
        desk.hand_over("a", "b")
        desk.at(T0)
        assert {k: desk.status[k] for k in pinned} == pinned

    def test_rejected_with_a_reason(self) -> None:
        """The refusal names code, message, pool and window; Stalled asks for a person."""
        desk = Desk()
        desk.refuse()
        desk.at(T0 - 7000)
        window = {"start": "2027-01-04T00:00:00Z", "end": "2027-01-04T01:00:00Z"}
        assert desk.status["reason"] == {"code": "NoCapacity", "message": "h100 is short (not found)", "pool": "h100", "window": window}
        assert (desk.condition("Stalled"), desk.condition("Ready")) == (("True", "Rejected"), ("False", "NoCapacity"))
        assert desk.told[-1]["data"]["change"]["reason"]["code"] == "NoCapacity"

    def test_a_refusal_of_a_malformed_object(self) -> None:
        """Terms that nothing can be read from are refused all the same, and tell their event."""
        desk = Desk()
        desk.contract = desk.contract.__class__(
            **{**_fields(desk), "spec": {"intent": "Firm", "exchangeRef": {"name": "gcx"}, "terms": {}}}
        )
        desk.decision = Decision(False, T0, Reason("Malformed", "spec.terms.delivery is missing"))
        desk.at(T0 - 7000)
        assert (desk.phase, desk.news[-1]) == ("Rejected", "contract.rejected")

    def test_never_judged_again(self) -> None:
        """A refusal of what was accepted changes no phase: it only shows what is undelivered."""
        desk = delivering()
        desk.decision = Decision(False, T0 + 100, Reason("NoCapacity", "dearer contract came"), (), (short(T0 + 100, desk.end, 16),))
        desk.at(T0 + 100)
        assert (desk.phase, desk.condition("AtRisk")) == ("Delivering", ("True", "PoolShort"))

    def test_a_rejected_contract_stays_rejected(self) -> None:
        """A later acceptance of a rejected contract is not even asked of the table."""
        desk = Desk()
        desk.refuse()
        desk.at(T0 - 7000)
        desk.bind(T0 - 6000, ("a", T0, desk.end), ("b", T0, desk.end))
        desk.at(T0 - 6000)
        assert desk.phase == "Rejected"
        assert "bindings" not in desk.status

    def test_a_decision_about_its_predecessor_is_ignored(self) -> None:
        """A contract that was deleted and created again under its name is another one."""
        desk = Desk()
        desk.decision = Decision(False, T0, Reason("NoCapacity", "no"), uid="uid-0")
        desk.at(T0 - 7000)
        assert desk.phase == "Received"

    def test_undecided_with_a_reason(self) -> None:
        """What holds up a decision is in Reconciling."""
        desk = Desk()
        desk.decision = Decision(None, T0, Reason("Waiting", "the fleet is not known yet"))
        desk.at(T0 - 7000)
        assert desk.condition("Reconciling") == ("True", "Waiting")


def _fields(desk: Desk) -> dict[str, Any]:
    return {name: getattr(desk.contract, name) for name in desk.contract.__slots__}


class TestDelivery:
    def test_delivering_with_the_first_lot(self) -> None:
        """At the start the first lot handed over begins delivery; HandedOver waits for the last."""
        desk = accepted()
        desk.hand_over("a")
        desk.at(T0)
        assert (desk.phase, desk.condition("HandedOver")) == ("Delivering", ("False", "Incomplete"))
        desk.hand_over("b")
        desk.at(T0 + 2)
        assert desk.condition("HandedOver") == ("True", "Complete")
        assert desk.news[2:] == ["contract.delivering", "delivery.started"]

    def test_the_start_passes_without_a_lot(self) -> None:
        """Once the start has passed delivery is under way, whether or not anything was handed over."""
        desk = accepted()
        assert desk.at(T0) is None or desk.phase == "Accepted"
        desk.at(T0 + 1)
        assert desk.phase == "Delivering"

    def test_the_whole_life(self) -> None:
        """Delivered when the meter has reached the end, Settled when the time for disputes has lapsed, each told once."""
        desk = delivering()
        desk.run(T0 + 1, desk.end + 3600)
        assert desk.phase == "Settled"
        assert desk.quantities == {"contracted": 57_600, "delivered": 57_600}
        assert desk.news == [
            "contract.received",
            "contract.accepted",
            "contract.delivering",
            "delivery.started",
            "contract.delivered",
            "contract.settled",
        ]
        assert [event["data"]["contract"]["phase"] for event in desk.told][-2:] == ["Delivered", "Settled"]
        assert [int(event["sequence"]) for event in desk.told] == list(range(1, 7))
        assert desk.told[-2]["time"] == "2027-01-04T01:01:00Z"
        assert desk.told[-1]["time"] == "2027-01-04T01:11:00Z"

    def test_not_delivered_before_the_meter_is_there(self) -> None:
        """The window is over, the meter trails: the phase waits for it."""
        desk = delivering()
        desk.at(desk.end + 59)
        assert desk.phase == "Delivering"
        desk.at(desk.end + 60)
        assert desk.phase == "Delivered"

    def test_without_an_exchange_delivered_is_final(self) -> None:
        """Nobody disputes: no settlement; what is said, for the log alone, and the numbers are the same."""
        desk, told = delivering(exchange=False), delivering()
        desk.run(T0 + 1, desk.end + 400_000)
        told.run(T0 + 1, desk.end + 300)
        assert (desk.phase, desk.news) == ("Delivered", told.news)
        assert desk.quantities == {"contracted": 57_600, "delivered": 57_600}
        assert next_wake(desk.contract, desk.end + 400_000, desk.world, SETTINGS) is None

    def test_the_operator_was_away_for_the_whole_window(self) -> None:
        """One look afterwards takes the contract through all its phases, and what cannot be proven is shortfall."""
        desk = accepted()
        desk.at(desk.end + 60)
        assert desk.phase == "Delivered"
        assert desk.news[2:] == ["contract.delivering", "makegood.owed", "contract.delivered"]
        assert desk.quantities == {"contracted": 57_600, "shortfall": 57_600}

    def test_created_after_its_start(self) -> None:
        """A contract that was applied late is owed from its creation."""
        desk = Desk(created=T0 + 1000)
        desk.nodes("a", "b")
        desk.bind(T0 + 1001, ("a", T0 + 1001, desk.end), ("b", T0 + 1001, desk.end))
        desk.hand_over("a", "b")
        desk.run(T0 + 1001, desk.end + 60)
        assert desk.quantities == {"contracted": 2600 * 16, "delivered": 2599 * 16, "excused": 16}


class TestWindingUp:
    def test_cancelled_before_the_start(self) -> None:
        """Deleted before its start: Cancelled, nothing bound, nothing owed."""
        desk = accepted()
        desk.delete()
        desk.at(T0 - 100)
        assert (desk.phase, desk.news[-1]) == ("Cancelled", "contract.cancelled")
        assert "bindings" not in desk.status
        assert desk.quantities == {}

    def test_terminated_after_the_start(self) -> None:
        """Deleted in its window: Terminated, bindings cut at that second, metered to it at once."""
        desk = delivering()
        desk.delete()
        desk.at(T0 + 600)
        assert (desk.phase, desk.news[-1]) == ("Terminated", "contract.terminated")
        assert {b["end"] for b in desk.status["bindings"]} == {"2027-01-04T00:10:00Z"}
        assert desk.quantities == {"contracted": 9_600, "delivered": 9_600}
        assert desk.told[-1]["data"]["contract"]["quantities"]["deliveredGpuSeconds"] == 9_600
        assert desk.at(T0 + 5000) is None or desk.quantities == {"contracted": 9_600, "delivered": 9_600}

    def test_deleted_in_the_second_of_its_start(self) -> None:
        """Delivery has begun, nothing was due yet: Terminated, with empty counters."""
        desk = delivering()
        desk.delete()
        desk.at(T0)
        assert (desk.phase, desk.quantities) == ("Terminated", {})

    def test_terminated_while_a_node_is_dead(self) -> None:
        """A fault that is known when the contract ends is counted."""
        desk = delivering()
        desk.fail("a", at=T0 + 400, heartbeat=T0 + 360)
        desk.at(T0 + 401)
        desk.delete()
        desk.at(T0 + 600)
        assert desk.quantities == {"contracted": 9_600, "delivered": 9_600 - 8 * 240, "shortfall": 8 * 240}

    def test_deleted_undecided(self) -> None:
        """What was never promised has nothing to wind up, and is not accepted any more."""
        desk = Desk()
        desk.at(T0 - 7000)
        desk.delete()
        desk.bind(T0 - 6000, ("a", T0, desk.end), ("b", T0, desk.end))
        desk.at(T0 - 6000)
        assert desk.phase == "Received"


class TestOutboxIsFull:
    def test_phases_wait_and_the_meter_does_not(self) -> None:
        """With eight events unacknowledged nothing more is said; bindings, handover and quantities go on, and nothing is lost."""
        desk = delivering()
        desk.deaf = True
        for i in range(4):
            desk.fail("a", at=T0 + 100 * i + 10)
            desk.at(T0 + 100 * i + 10)
            desk.recover("a", at=T0 + 100 * i + 20)
            desk.at(T0 + 100 * i + 20)
        assert len(desk.status["outbox"]) == 8
        before = desk.news
        desk.run(T0 + 421, desk.end + 60)
        assert (desk.phase, desk.news) == ("Delivering", before)
        assert desk.quantities["contracted"] == 57_600
        desk.deaf = False
        desk.at(desk.end + 61)
        assert (desk.phase, desk.news[len(before) :]) == ("Delivered", ["contract.delivered"])
        assert [int(event["sequence"]) for event in desk.told] == list(range(1, len(desk.told) + 1))

    def test_a_move_is_bound_although_nothing_can_be_said(self) -> None:
        """A dead node is replaced in the bindings while the outbox is full."""
        desk = delivering()
        desk.deaf = True
        for i in range(4):
            desk.fail("a", at=T0 + 100 * i + 10)
            desk.at(T0 + 100 * i + 10)
            desk.recover("a", at=T0 + 100 * i + 20)
            desk.at(T0 + 100 * i + 20)
        desk.bind(T0 + 500, ("c", T0 + 500, desk.end), ("b", T0, desk.end))
        desk.at(T0 + 500)
        assert desk.lots()["c"] == [0]

    def test_deletion_waits_for_room_but_binds_nothing_longer(self) -> None:
        """A contract that is deleted lets go of its nodes at once, and says so when there is room."""
        desk = delivering()
        desk.deaf = True
        for i in range(4):
            desk.fail("a", at=T0 + 100 * i + 10)
            desk.at(T0 + 100 * i + 10)
            desk.recover("a", at=T0 + 100 * i + 20)
            desk.at(T0 + 100 * i + 20)
        desk.delete()
        desk.at(T0 + 600)
        assert (desk.phase, {b["end"] for b in desk.status["bindings"]}) == ("Delivering", {"2027-01-04T00:10:00Z"})
        desk.deaf = False
        desk.at(T0 + 900)
        assert desk.phase == "Terminated"
        assert desk.quantities["contracted"] == 9_600


def test_a_plan_with_too_many_lots_never_reaches_a_status() -> None:
    """Three lots at once for a contract of two is a mistake of the planner and raises."""
    desk = accepted()
    desk.bind(T0 - 100, ("a", T0, desk.end), ("b", T0, desk.end), ("c", T0, desk.end))
    with pytest.raises(ValueError, match="more than 2 lots"):
        desk.at(T0 - 100)


def test_phase_of_an_unknown_kind_is_not_guessed() -> None:
    """A status with a phase that this version does not know raises instead of being overwritten."""
    desk = accepted()
    desk.contract = desk.contract.__class__(**{**_fields(desk), "status": {**desk.status, "phase": "Novated"}})
    with pytest.raises(ValueError, match="Novated"):
        next_status(desk.contract, desk.world, None, frozenset(), SETTINGS, SOURCE, 3, T0)


def test_the_table_is_asked_for_every_move() -> None:
    """No phase is set past the table: a draft raises for a step that is not in it."""
    from laycan.control.draft import Draft
    from laycan.control.lifecycle import Phase, Step

    desk = accepted()
    draft = Draft.open(desk.contract, SOURCE, frozenset(), T0, hurried=False)
    with pytest.raises(IllegalStepError):
        draft.step(Step.SETTLE)
    assert draft.phase is Phase.ACCEPTED


def test_the_end_of_a_namespace_does_not_hang_on_a_full_outbox() -> None:
    """No log takes anything: a deleted contract waits for room, unless its namespace goes with it; then what has no room is forgotten."""
    desk = delivering()
    desk.deaf = True
    for turn in range(12):
        desk.world.nodes["a"] = replace(desk.world.nodes["a"], ready=turn % 2 == 1, ready_since=T0 + 10 * turn)
        desk.at(T0 + 10 * turn + 5)
    assert len(desk.status["outbox"]) == 8
    desk.delete()
    desk.at(T0 + 200)
    assert desk.phase == "Delivering"
    desk.world.drop("endpoints", "desk/gcx")
    desk.at(T0 + 201)
    assert desk.phase == "Delivering"
    before = desk.status["outbox"]
    desk.world.namespaces["desk"] = NamespaceView("desk", {}, True)
    desk.at(T0 + 202)
    assert (desk.phase, desk.status["outbox"]) == ("Terminated", before)


def test_what_the_log_has_leaves_with_the_next_write() -> None:
    """No write is made for it alone, until it has stood there for a while."""
    desk = accepted()
    (entry,) = desk.status["outbox"][-1:]
    for later in (1, TIDY_SECONDS - 1):
        assert desk.at(T0 - 3600 + later) is None
    assert desk.status["outbox"][-1] == entry
    assert desk.at(T0 - 3600 + TIDY_SECONDS) is not None
    assert "outbox" not in desk.status
    desk.hand_over("a", "b")
    desk.at(T0)
    assert desk.news[-2:] == ["contract.delivering", "delivery.started"]
