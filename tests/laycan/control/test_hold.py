"""A hold where agents meter and where exact GPUs are delivered: counted to the second, told in its second, the same cards afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laycan.delivery.devices.lots import lots_of
from laycan.delivery.nodes.desired import claims_of
from laycan.resources.times import format_time
from tests.laycan.control.acts import act_of, answer, done, store
from tests.laycan.control.desk import HOLDER, SETTINGS, T0, Desk, accepted, delivering
from tests.laycan.control.test_receipts import DAY, receipts
from tests.laycan.control.test_receipts import desk as with_receipts
from tests.laycan.control.test_status_agent import handed_over, meter, reports, xid
from tests.laycan.control.test_status_exact import cards, exact_desk, give, show

HOLD, LIFT, BACK = T0 + 605, T0 + 1205, T0 + 1212


def held(desk: Desk) -> None:
    """Suspended, its nodes closed."""
    assert done(desk, "Suspend", HOLD) == "Applied"
    desk.hand_over("a", "b", holder="frozen.uid-1")


def lifted(desk: Desk, *names: str) -> None:
    """Resumed, these nodes handed over seven seconds later."""
    assert done(desk, "Resume", LIFT) == "Applied"
    desk.hand_over(*names)
    for name in names:
        old = desk.world.meters[name]
        meter(desk, name, BACK, *old.findings, missed=old.missed)
    desk.at(BACK)


class TestAgents:
    def test_counted_once_to_the_second(self) -> None:
        """The agents report all along: delivered before the hold, the buyer's in it, the operator's until access is back, delivered."""
        desk = handed_over()
        desk.at(T0)
        reports(desk, T0, T0 + 600, "a", "b")
        held(desk)
        reports(desk, T0 + 660, T0 + 1200, "a", "b")
        lifted(desk, "a", "b")
        reports(desk, T0 + 1260, desk.end + 120, "a", "b")
        assert desk.quantities == {
            "contracted": 16 * 3600,
            "delivered": 16 * (605 + 3600 - 1212),
            "buyerCaused": 16 * 600,
            "excused": 16 * 7,
        }

    def test_a_fault_before_it_that_is_known_late(self) -> None:
        """Its seconds up to the hold are the operator's, whenever they are told, and those after it if it lasts."""
        desk = handed_over()
        desk.at(T0)
        reports(desk, T0, T0 + 600, "a", "b")
        held(desk)
        meter(desk, "a", T0 + 660, xid("a", T0 + 600))
        reports(desk, T0 + 660, T0 + 1200, "a", "b")
        lifted(desk, "a", "b")
        reports(desk, T0 + 1260, desk.end + 120, "a", "b")
        assert desk.quantities["shortfall"] == 8 * (5 + 3600 - 1205)
        assert desk.quantities["buyerCaused"] == 16 * 600
        assert desk.quantities["excused"] == 8 * 7

    def test_an_agent_that_is_heard_of_in_the_hold(self) -> None:
        """Its word counts for the time before the hold too: when it is noticed changes nothing."""
        desk = handed_over()
        views = {name: desk.world.meters.pop(name) for name in ("a", "b")}
        desk.contract = replace(desk.contract, status={**desk.status, "bindings": [unmetered(b) for b in desk.status["bindings"]]})
        desk.at(T0 + 10)
        held(desk)
        desk.world.meters |= views
        meter(desk, "a", T0 + 610, xid("a", T0 + 580, T0 + 590))
        meter(desk, "b", T0 + 610)
        desk.at(T0 + 611)
        reports(desk, T0 + 660, T0 + 1200, "a", "b")
        lifted(desk, "a", "b")
        reports(desk, T0 + 1260, desk.end + 1000, "a", "b")
        assert desk.quantities["shortfall"] == 8 * (25 + 1500 - 1205), "the card is not clean before 1490, and looked at again at 1500"

    def test_receipts_of_a_day_that_ends_in_it(self) -> None:
        """What nobody had nobody measured: the receipt says whose word the rest is."""
        desk = with_receipts(seconds=2 * DAY)
        hold = T0 + DAY - 600
        for now in range(T0 + 60, hold, 600):
            report(desk, now)
        report(desk, hold - 1)
        assert done(desk, "Suspend", hold) == "Applied"
        desk.hand_over("a", "b", holder="frozen.uid-1")
        for now in range(hold + 60, hold + 1800, 60):
            report(desk, now)
        (said,) = receipts(desk)
        assert said["meter"]["kind"] == "agent"
        assert said["quantities"]["buyerCausedGpuSeconds"] == 16 * 600


def report(desk: Desk, now: int) -> None:
    for name, view in list(desk.world.meters.items()):
        desk.world.meters[name] = replace(view, at=now)
    desk.at(now)


def unmetered(binding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in binding.items() if key != "meteredSince"}


class TestExactGpus:
    def delivering(self) -> Desk:
        """Lots 0 and 1 of two cards each, had from the start on."""
        desk = exact_desk()
        desk.run(T0 - 3600, T0 - 60)
        give(desk, 0, "gpu-0", "gpu-1")
        give(desk, 1, "gpu-2", "gpu-3")
        desk.run(T0, T0 + 600)
        return desk

    def wanted(self, desk: Desk, now: int) -> dict[str, frozenset[str]]:
        """What delivery is to hold: claim -> cards."""
        claims = claims_of(desk.contract, desk.world.products, SETTINGS, desk.world.fence)
        return {key: lot.devices for key, lot in lots_of(claims, now).items() if lot is not None}

    def test_let_go_and_the_same_again(self) -> None:
        """In the hold no claim is wanted; afterwards each lot gets the cards that it had, and what it missed is counted once."""
        desk = self.delivering()
        before = self.wanted(desk, T0 + 600)
        assert sorted(before) == [f"{HOLDER}/laycan-c1-0", f"{HOLDER}/laycan-c1-1"]
        assert done(desk, "Suspend", HOLD) == "Applied"
        assert self.wanted(desk, HOLD) == {}
        for key in before:
            desk.world.drop("resource_claims", key)
        desk.run(HOLD, T0 + 1200)
        assert done(desk, "Resume", LIFT) == "Applied"
        assert self.wanted(desk, LIFT) == before
        give(desk, 0, "gpu-0", "gpu-1", version=9)
        give(desk, 1, "gpu-2", "gpu-3", version=9)
        desk.run(BACK, desk.end + 120)
        assert desk.quantities == {
            "contracted": 4 * 3600,
            "delivered": 4 * (605 + 3600 - 1212),
            "buyerCaused": 4 * 600,
            "excused": 4 * 7,
        }

    def test_a_card_that_fails_in_it(self) -> None:
        """Its lot gets another one, the other lot keeps its cards; looked at once or often, it is the same one."""
        found = []
        for often in (False, True):
            desk = self.delivering()
            done(desk, "Suspend", HOLD)
            for lot in (0, 1):
                desk.world.drop("resource_claims", f"{HOLDER}/laycan-c1-{lot}")
            show(desk, "U3", version=2)
            desk.run(HOLD + 1, T0 + 1200) if often else desk.at(T0 + 1200)
            done(desk, "Resume", LIFT)
            found.append({lot: uuids for lot, uuids in cards(desk).items() if lot == 1 or uuids})
        assert found[0] == found[1] == {0: ["U0", "U1"], 1: ["U2", "U4"]}


class TestTold:
    def test_grace_after_it(self) -> None:
        """Who gets no access back is short beyond grace in its second, by the instants that the contract asks to be woken at."""
        desk = delivering()
        desk.run(T0 + 1, T0 + 600)
        held(desk)
        desk.run(HOLD + 1, LIFT - 1)
        done(desk, "Resume", LIFT)
        desk.run(LIFT, LIFT + 60)
        assert when(desk, "shortfall.opened") == [LIFT + 31]

    def test_an_outage_that_it_interrupts(self) -> None:
        """Twenty seconds before it and eleven after are beyond a grace of thirty; the cure has no less time than without it."""
        desk = delivering()
        desk.run(T0 + 1, HOLD - 20)
        desk.fail("a", at=HOLD - 20, heartbeat=HOLD - 20)
        desk.run(HOLD - 19, HOLD - 1)
        held(desk)
        desk.run(HOLD + 1, LIFT - 1)
        done(desk, "Resume", LIFT)
        desk.hand_over("b")
        desk.run(LIFT + 1, LIFT + 400)
        assert when(desk, "shortfall.opened") == [LIFT + 11]
        assert when(desk, "shortfall.cure_expired") == [LIFT + 280]

    def test_the_record_leaves_it_out(self) -> None:
        """Before, in and after: late, interrupted and stopped early is what was not held."""
        early = accepted()
        done(early, "Suspend", T0 - 1000)
        early.run(T0 - 999, T0 + 300)
        done(early, "Resume", T0 + 300)
        early.hand_over("a", "b")
        early.run(T0 + 307, early.end + 100)
        assert early.status["handover"] == {"heldSeconds": 300, "lateSeconds": 7, "interruptions": 0, "earlyStopSeconds": 0}
        never = accepted()
        done(never, "Suspend", T0 - 1000)
        never.run(T0 - 999, never.end + 100)
        assert never.status["handover"] == {"heldSeconds": 3600, "lateSeconds": 0, "earlyStopSeconds": 0}

    @pytest.mark.parametrize("resumed", [True, False])
    def test_an_interruption_that_it_finds(self, resumed: bool) -> None:
        """Its length is what lies before the hold and what comes after."""
        desk = delivering()
        desk.run(T0 + 1, HOLD - 20)
        desk.fail("a", at=HOLD - 20, heartbeat=HOLD - 20)
        desk.run(HOLD - 19, HOLD - 1)
        held(desk)
        desk.run(HOLD + 1, LIFT - 1)
        if resumed:
            done(desk, "Resume", LIFT)
            desk.recover("a", at=HOLD + 60)
            desk.hand_over("a", "b")
            desk.run(BACK, desk.end + 100)
            expected = {"rebindSeconds": 27, "longestRebindSeconds": 27, "heldSeconds": 600, "earlyStopSeconds": 0}
        else:
            desk.run(LIFT, desk.end + 100)
            expected = {"heldSeconds": desk.end - HOLD, "earlyStopSeconds": 20}
        assert desk.status["handover"] == {"lateSeconds": 0, "interruptions": 1, **expected}


def when(desk: Desk, name: str) -> list[int]:
    """At which instants it was told."""
    told = [event["time"] for event in desk.told if event["type"] == f"dev.laycan.{name}.v1"]
    return [next(at for at in range(T0, desk.end) if format_time(at) == time) for time in told]


class TestLimits:
    def test_what_is_the_buyers_fits_every_event(self) -> None:
        """A status that the API server refuses would hold up everything: what would fill it is refused, a hold can always be lifted."""
        desk = delivering(seconds=36_000, gpus=1024, lot_gpus=1)
        odd = ",".join(str(lot) for lot in range(1, 400, 2))[:1000].rpartition(",")[0]
        said = []
        for number in range(60):
            start = T0 + 20_000 + 2 * number
            ahead = {"buyerCaused": {"lots": odd, "start": format_time(start), "end": format_time(start + 1)}}
            said.append(done(desk, "AcceptBuyerCaused", T0 + 10 + number, **ahead))
            if said[-1] == "TooMany":
                break
            if number == 2:
                assert done(desk, "Suspend", T0 + 10 + number) == "Applied"
        assert said[:4] == ["Applied"] * 4
        assert said[-1] == "TooMany"
        assert done(desk, "Resume", LIFT) == "Applied"
        assert done(desk, "Suspend", LIFT + 1) == "TooMany"
        assert len(str(desk.told[-1])) < 32_768

    def test_nothing_follows_an_end(self) -> None:
        """What comes after a Terminate has no effect, whether it comes at the same look or later."""
        desk = delivering()
        desk.at(T0 + 5)
        key = store(desk, act_of(desk, "Terminate", T0 + 10), T0 + 10)
        after = store(desk, act_of(desk, "Suspend", T0 + 10, previous=desk.world.instructions[key].digest), T0 + 10)
        desk.at(T0 + 10)
        assert answer(desk, T0 + 10) == {key: "Applied", after: "WrongPhase"}
        assert desk.news[-1] == "contract.terminated"
        assert "contract.suspended" not in desk.news
