"""What is told and counted while a contract is delivered: interruptions, grace, cure, substitution, curtailment, the outlook."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan.control.status import next_wake
from tests.laycan.control.desk import T0, Desk, accepted, delivering, short

WHOLE = 57_600  # GPU-seconds of 16 GPUs for an hour
TOLERANCE = {"graceSeconds": 300, "cureSeconds": 1200}
INTERRUPTIBLE = {"firmness": {"class": "Interruptible", "interruption": {"noticeSeconds": 600, "maxHours": 1}}, "tolerance": TOLERANCE}


def delivered_with_tolerance() -> Desk:
    return delivering(tolerance=TOLERANCE)


class TestInterruption:
    def test_spare_inside_grace(self) -> None:
        """Scenario 3: node lost, spare handed over 210 s after the last heartbeat: grace of 1,680 GPU-s; interrupted, then restored."""
        desk = delivered_with_tolerance()
        desk.run(T0 + 1, T0 + 640)
        desk.fail("a", at=T0 + 645, heartbeat=T0 + 600)
        desk.at(T0 + 645)
        desk.bind(T0 + 650, ("c", T0 + 650, desk.end), ("b", T0, desk.end))
        desk.at(T0 + 650)
        desk.hand_over("c")
        desk.at(T0 + 810)
        desk.run(T0 + 811, desk.end + 60)
        assert desk.news[4:-1] == ["delivery.interrupted", "delivery.restored"]
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 1_680, "excused": 1_680}
        assert desk.condition("Shortfall") is None

    def test_interruption_names_lots_and_onset(self) -> None:
        """The event says which lots are out since when, and the contract as it then is; no node."""
        desk = delivered_with_tolerance()
        desk.fail("b", at=T0 + 645, heartbeat=T0 + 600)
        desk.at(T0 + 645)
        event = desk.told[-1]
        assert event["data"]["change"] == {
            "condition": "HandedOver",
            "status": "False",
            "reason": "Interrupted",
            "message": "1 of 2 lots",
            "lots": [1],
            "gpus": 8,
            "since": "2027-01-04T00:10:00Z",
        }
        assert event["data"]["contract"]["conditions"] == ["Ready"]
        assert not {"'a'", "'b'"} & set(str(event["data"]).replace(",", " ").split())

    def test_second_lot_out_is_no_second_event(self) -> None:
        """HandedOver flips once; what else is lost meanwhile shows in its message."""
        desk = delivered_with_tolerance()
        for name, second in (("a", 100), ("b", 110)):
            desk.fail(name, at=T0 + second)
            desk.at(T0 + second)
        assert desk.news[4:] == ["delivery.interrupted"]

    def test_substitution(self) -> None:
        """Scenario 6: a lot that comes back on an equivalent grade is substituted, not restored."""
        desk = delivered_with_tolerance()
        desk.fail("a", at=T0 + 100)
        desk.at(T0 + 100)
        desk.bind(T0 + 101, ("c", T0 + 101, desk.end), ("b", T0, desk.end))
        assert desk.decision is not None
        first, second = desk.decision.bindings
        desk.decision = desk.decision.__class__(True, T0 + 101, None, (first._replace(product="h200"), second))
        desk.at(T0 + 101)
        desk.hand_over("c")
        desk.at(T0 + 130)
        assert desk.news[4:] == ["delivery.interrupted", "delivery.substituted"]
        assert desk.told[-1]["data"]["change"]["products"] == ["h100", "h200"]

    @pytest.mark.parametrize("why", ["label", "gpus", "quarantine"])
    def test_what_else_is_a_loss(self, why: str) -> None:
        """Access is lost with another owner and with too few GPUs, from the second in which it was seen."""
        desk = delivered_with_tolerance()
        if why == "label":
            desk.hand_over("a", holder="someone-else")
        elif why == "gpus":
            desk.nodes("a", holder="acme-train", gpus=7)
        else:
            desk.hand_over("a", holder="quarantine.uid-1")
        desk.at(T0 + 100)
        assert desk.status["meter"]["gaps"] == [{"node": "a", "lots": [0], "start": "2027-01-04T00:01:40Z", "cause": "AccessLost"}]
        assert desk.condition("HandedOver") == ("False", "Interrupted")

    def test_a_lost_fence_object_takes_nothing_from_the_buyer(self) -> None:
        """NodeFence deleted and not yet made again: the labels still say who holds the nodes."""
        desk = delivered_with_tolerance()
        desk.world.fence = None
        desk.at(T0 + 10)
        assert desk.condition("HandedOver") == ("True", "Complete")
        assert "gaps" not in desk.status["meter"]

    def test_some_lots_of_a_node(self) -> None:
        """Seven GPUs of eight left on a node with eight lots of one: one lot is out, not eight."""
        desk = Desk(gpus=8, lot_gpus=1, tolerance=TOLERANCE)
        desk.nodes("a")
        desk.bind(T0 - 3600, ("a", T0, desk.end))
        desk.hand_over("a")
        desk.at(T0 - 30)
        desk.at(T0)
        desk.nodes("a", holder="acme-train", gpus=7)
        desk.at(T0 + 100)
        desk.nodes("a", holder="acme-train", gpus=8)
        desk.at(T0 + 200)
        desk.run(T0 + 201, desk.end + 60)
        assert desk.quantities == {"contracted": 28_800, "delivered": 28_700, "excused": 100}


class TestShortfall:
    def test_opened_after_grace_and_cured(self) -> None:
        """Scenario 4: 810 s without a lot: opened at 301 s, cured with the hand-over, 6,480 GPU-s short from onset."""
        desk = delivered_with_tolerance()
        desk.fail("a", at=T0 + 620, heartbeat=T0 + 600)
        desk.at(T0 + 620)
        desk.run(T0 + 621, T0 + 1409)
        desk.bind(T0 + 1409, ("c", T0 + 1409, desk.end), ("b", T0, desk.end))
        desk.hand_over("c")
        desk.run(T0 + 1409, T0 + 1409)
        desk.at(T0 + 1410)
        desk.run(T0 + 1411, desk.end + 60)
        times = {name: event["time"] for name, event in zip(desk.news, desk.told, strict=True)}
        assert desk.news[4:-1] == ["delivery.interrupted", "shortfall.opened", "delivery.restored", "shortfall.cured", "makegood.owed"]
        assert times["shortfall.opened"] == "2027-01-04T00:15:01Z"
        assert times["shortfall.cured"] == times["delivery.restored"] == "2027-01-04T00:23:29Z"
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 8 * 809, "shortfall": 8 * 809}

    def test_cure_expires_once(self) -> None:
        """Scenario 5 in small: nobody replaces the node; the cure time runs out from onset, is told once, and the rest stays short."""
        desk = delivered_with_tolerance()
        desk.fail("a", at=T0 + 620, heartbeat=T0 + 600)
        desk.at(T0 + 620)
        desk.run(T0 + 621, desk.end + 60)
        times = {name: event["time"] for name, event in zip(desk.news, desk.told, strict=True)}
        assert desk.news[4:] == [
            "delivery.interrupted",
            "shortfall.opened",
            "shortfall.cure_expired",
            "makegood.owed",
            "contract.delivered",
        ]
        assert times["shortfall.cure_expired"] == "2027-01-04T00:30:00Z"
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 24_000, "shortfall": 24_000}
        assert desk.condition("Shortfall") == ("True", "CureExpired")

    def test_cured_late(self) -> None:
        """Back after the cure time: cured, marked late; what was short stays short."""
        desk = delivered_with_tolerance()
        desk.fail("a", at=T0 + 620, heartbeat=T0 + 600)
        desk.at(T0 + 620)
        desk.run(T0 + 621, T0 + 2000)
        desk.recover("a", at=T0 + 2000)
        desk.at(T0 + 2000)
        assert desk.news[-4:] == ["shortfall.cure_expired", "delivery.restored", "shortfall.cured", "makegood.owed"]
        assert desk.told[-2]["data"]["change"]["late"] is True

    def test_never_handed_over(self) -> None:
        """Lots that nobody ever handed over are out from the first second of the window."""
        desk = accepted(tolerance=TOLERANCE)
        desk.run(T0, desk.end + 60)
        assert desk.quantities == {"contracted": WHOLE, "shortfall": WHOLE}
        assert desk.told[3]["data"]["change"]["since"] == "2027-01-04T00:00:00Z"


class TestUnknownHistory:
    def test_unseen_flap_counts_against_the_operator(self) -> None:
        """The operator was away; the node has been Ready only since a later moment: all from the last reading to it is out."""
        desk = delivered_with_tolerance()
        desk.run(T0 + 1, T0 + 600)
        read_until = desk.status["meter"]["until"]
        desk.recover("a", at=T0 + 900)  # NotReady was never seen
        desk.at(T0 + 1000)
        assert read_until == "2027-01-04T00:09:00Z"
        assert desk.quantities == {"contracted": 940 * 16, "delivered": 940 * 16 - 360 * 8, "shortfall": 360 * 8}

    def test_a_node_back_without_its_gpus(self) -> None:
        """Ready ends no outage while the GPUs are not there yet, whether somebody looked meanwhile or the operator was away."""
        for seen in (True, False):
            desk = delivered_with_tolerance()
            desk.run(T0 + 1, T0 + 600)
            if seen:
                desk.fail("a", at=T0 + 640, heartbeat=T0 + 610)
                desk.at(T0 + 640)
            desk.recover("a", at=T0 + 700)
            desk.world.last_seen["a"] = T0 + 610
            desk.world.nodes["a"] = replace(desk.world.nodes["a"], gpus=0)
            desk.at(T0 + 720)
            desk.world.nodes["a"] = replace(desk.world.nodes["a"], gpus=8)
            desk.at(T0 + 750)
            desk.run(T0 + 751, desk.end + 60)
            assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 140 * 8, "excused": 140 * 8}

    def test_old_ready_condition_proves_the_gap(self) -> None:
        """The operator was away for half an hour and the node has been Ready since long before: delivered."""
        desk = delivered_with_tolerance()
        desk.at(T0 + 1800)
        desk.run(T0 + 1801, desk.end + 60)
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE}

    def test_onset_is_set_back_to_the_last_heartbeat(self) -> None:
        """The heartbeat is learnt after NotReady; the meter has waited for it."""
        desk = delivered_with_tolerance()
        desk.run(T0 + 1, T0 + 640)
        desk.fail("a", at=T0 + 645)
        desk.at(T0 + 645)
        desk.run(T0 + 646, T0 + 700)
        desk.fail("a", at=T0 + 645, heartbeat=T0 + 600)
        desk.at(T0 + 700)
        assert desk.status["meter"]["gaps"] == [{"node": "a", "lots": [0], "start": "2027-01-04T00:10:00Z", "cause": "NodeNotReady"}]

    def test_death_before_the_end_seen_after_it(self) -> None:
        """A node that died in the last seconds is found out in the lag: they are not delivered."""
        desk = delivered_with_tolerance()
        desk.run(T0 + 1, desk.end)
        desk.fail("a", at=desk.end + 20, heartbeat=desk.end - 15)
        desk.at(desk.end + 20)
        desk.at(desk.end + 60)
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 120, "excused": 120}

    def test_deleted_node_proves_nothing(self) -> None:
        """A node object that is gone without a last heartbeat is out since the last reading."""
        desk = delivered_with_tolerance()
        desk.run(T0 + 1, T0 + 600)
        del desk.world.nodes["a"]
        desk.at(T0 + 650)
        assert desk.status["meter"]["gaps"][0]["start"] == "2027-01-04T00:09:00Z"


class TestOutlook:
    def test_at_risk_and_cleared(self) -> None:
        """A plan that leaves some of the future undelivered raises the risk, the next one clears it; each is told once."""
        desk = accepted()
        desk.bind(T0 - 1000, ("a", T0, desk.end), ("b", T0, T0 + 600), short=(short(T0 + 600, desk.end),))
        desk.at(T0 - 1000)
        assert desk.condition("AtRisk") == ("True", "PoolShort")
        assert desk.status["reason"]["window"] == {"start": "2027-01-04T00:10:00Z", "end": "2027-01-04T01:00:00Z"}
        desk.at(T0 - 900)
        desk.bind(T0 - 800, ("a", T0, desk.end), ("b", T0, desk.end))
        desk.at(T0 - 800)
        assert desk.news[2:] == ["risk.raised", "risk.cleared"]
        assert "reason" not in desk.status

    def test_a_restart_forgets_no_risk(self) -> None:
        """Before the first plan after a restart the condition stays as it was written."""
        desk = accepted()
        desk.bind(T0 - 1000, ("a", T0, desk.end), short=(short(T0, desk.end),))
        desk.at(T0 - 1000)
        desk.decision = None
        desk.at(T0 - 900)
        assert desk.condition("AtRisk") == ("True", "PoolShort")


class TestCurtailment:
    def test_notice_then_curtailed(self) -> None:
        """Scenario 4, contract B: told at once, withdrawn after the notice, curtailed by right and not short; told again at its end."""
        desk = delivering(**INTERRUPTIBLE)
        desk.bind(T0 + 100, ("a", T0, desk.end), ("b", T0, T0 + 700), ("b", T0 + 1900, desk.end), short=(short(T0 + 700, T0 + 1900),))
        desk.at(T0 + 100)
        notice = {"gpus": 8, "start": "2027-01-04T00:11:40Z", "end": "2027-01-04T00:31:40Z", "noticedAt": "2027-01-04T00:01:40Z"}
        assert desk.status["curtailments"] == [notice]
        assert desk.condition("AtRisk") is None
        desk.run(T0 + 101, T0 + 1899)
        desk.run(T0 + 1900, desk.end + 60)
        assert desk.news[4:-1] == ["delivery.curtailed", "delivery.restored"]
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 9_600, "curtailed": 9_600}

    def test_without_notice_it_is_short(self) -> None:
        """What is withdrawn before the notice has run out is an outage like any other."""
        desk = delivering(**INTERRUPTIBLE)
        desk.bind(T0 + 100, ("a", T0, desk.end), short=(short(T0 + 100, desk.end),))
        desk.at(T0 + 100)
        desk.run(T0 + 101, desk.end + 60)
        assert desk.quantities == {"contracted": WHOLE, "delivered": WHOLE - 28_000, "curtailed": 23_200, "shortfall": 4_800}

    def test_no_more_than_max_hours(self) -> None:
        """The right ends with maxHours per lot; the rest is short."""
        desk = delivering(seconds=10_800, **INTERRUPTIBLE)
        desk.bind(T0, ("a", T0, T0 + 600), ("b", T0, T0 + 600), short=(short(T0 + 600, desk.end, 16),))
        desk.at(T0 + 1)
        desk.run(T0 + 2, desk.end + 60)
        assert desk.quantities["curtailed"] == 2 * 8 * 3600

    def test_a_firm_contract_is_never_curtailed(self) -> None:
        """Firm: what is withdrawn is at risk and then short, whatever the notice."""
        desk = delivering(tolerance=TOLERANCE)
        desk.bind(T0 + 100, ("a", T0, desk.end), ("b", T0, T0 + 1000), short=(short(T0 + 1000, desk.end),))
        desk.at(T0 + 100)
        assert desk.condition("Curtailed") is None
        assert desk.condition("AtRisk") == ("True", "PoolShort")

    def test_a_notice_is_withdrawn_when_supply_is_back(self) -> None:
        """The plan serves the lot after all: no notice for the future is left."""
        desk = delivering(**INTERRUPTIBLE)
        desk.bind(T0 + 100, ("a", T0, desk.end), ("b", T0, T0 + 1000), short=(short(T0 + 1000, desk.end),))
        desk.at(T0 + 100)
        desk.bind(T0 + 200, ("a", T0, desk.end), ("b", T0, desk.end))
        desk.at(T0 + 200)
        assert "curtailments" not in desk.status
        assert desk.news[4:] == ["delivery.curtailed", "delivery.restored"]


def test_meter_is_written_in_rounds() -> None:
    """While nothing happens one write per round, and next_wake asks for just those."""
    desk = delivering()
    writes = 0
    now = T0 + 1
    while now < T0 + 1800:
        writes += desk.at(now) is not None
        wake = next_wake(desk.contract, now, desk.world, desk.settings)
        assert wake is not None
        now = wake
    assert writes <= 1 + 1800 // 60
    assert desk.quantities["contracted"] >= 16 * (1800 - 60 - 60 - 60)
