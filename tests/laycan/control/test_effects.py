"""What each act does to a contract, and to what is counted of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laycan.resources.times import format_time
from tests.laycan.control.acts import answer, done, instruct, judged
from tests.laycan.control.desk import T0, Desk, accepted, delivering
from tests.laycan.control.test_receipts import DAY, check, desk, receipts


def caused(lots: str, start: int, end: int) -> dict[str, Any]:
    return {"buyerCaused": {"lots": lots, "start": format_time(start), "end": format_time(end)}}


class TestTerminate:
    def test_before_the_start(self) -> None:
        """Cancelled at once, as by a deletion, but the object stays and the last event is sent."""
        made = accepted()
        assert done(made, "Terminate", T0 - 100) == "Applied"
        assert (made.phase, made.news[-1]) == ("Cancelled", "contract.cancelled")
        assert not made.contract.deleting
        assert "bindings" not in made.status

    def test_in_its_window(self) -> None:
        """Terminated, owed and metered up to the second in which the act was carried out."""
        made = delivering()
        made.run(T0 + 1, T0 + 1000)
        done(made, "Terminate", T0 + 1000)
        assert (made.phase, made.news[-1]) == ("Terminated", "contract.terminated")
        assert made.quantities == {"contracted": 16_000, "delivered": 16_000}
        assert made.at(T0 + 2000) is None or made.quantities == {"contracted": 16_000, "delivered": 16_000}

    def test_while_the_agents_are_waited_for(self) -> None:
        """What is ended is over at once; the phase follows when the last samples are in, and nothing but the buyer's share may change."""
        made = desk()
        made.at(T0 + 60)
        made.at(T0 + 90)
        assert done(made, "Terminate", T0 + 120) == "Applied"
        assert (made.phase, made.status["endedAt"]) == ("Delivering", format_time(T0 + 120))
        assert all(b["end"] <= format_time(T0 + 120) for b in made.status["bindings"])
        assert done(made, "Suspend", T0 + 130) == "WrongPhase"

    def test_told_although_nobody_listens(self) -> None:
        """A full outbox holds the phase back, not the end itself."""
        made = delivering()
        made.deaf = True
        for number in range(3):
            done(made, ("Suspend", "Resume")[number % 2], T0 + 10 + number)
        assert len(made.status["outbox"]) == 8
        assert done(made, "Terminate", T0 + 30) == "Applied"
        assert (made.phase, made.status["endedAt"]) == ("Delivering", format_time(T0 + 30))
        made.deaf = False
        made.at(T0 + 40)
        made.at(T0 + 41)
        assert made.phase == "Terminated"
        assert made.status["endedAt"] == format_time(T0 + 30)


class TestSettlement:
    def delivered(self) -> Desk:
        made = delivering()
        made.run(T0 + 1, made.end + 100)
        assert made.phase == "Delivered"
        return made

    def test_accepted(self) -> None:
        """Settled at once, long before the time for disputes lapses."""
        made = self.delivered()
        assert done(made, "AcceptDelivery", made.end + 100) == "Applied"
        assert (made.phase, made.news[-1]) == ("Settled", "contract.settled")

    def test_disputed(self) -> None:
        """The clock stops until the exchange accepts."""
        made = self.delivered()
        assert done(made, "Dispute", made.end + 100) == "Applied"
        made.run(made.end + 101, made.end + 100_000)
        assert made.phase == "Delivered"
        assert done(made, "Dispute", made.end + 100_000) == "AlreadyDisputed"
        assert done(made, "AcceptDelivery", made.end + 100_001) == "Applied"
        assert made.phase == "Settled"
        assert done(made, "Dispute", made.end + 100_002) == "WrongPhase"

    def test_disputed_early(self) -> None:
        """A dispute may come while the delivery still runs."""
        made = delivering()
        assert done(made, "Dispute", T0 + 100) == "Applied"
        made.run(T0 + 101, made.end + 100_000)
        assert made.phase == "Delivered"
        assert made.status["instructions"]["delivery"] == "Disputed"

    def test_receipts_come_first(self) -> None:
        """An acceptance that comes before the last receipt could be issued settles when that is out."""
        right = [False]
        made = desk(seconds=7200, agents=False)
        assert made.seal is not None
        made.seal = replace(made.seal, trusted_clock=lambda *_: right[0])
        made.run(T0 + 1, made.end + 100)
        assert done(made, "AcceptDelivery", made.end + 100) == "Applied"
        assert (made.phase, receipts(made)) == ("Delivered", [])
        right[0] = True
        made.at(made.end + 200)
        assert (made.phase, len(check(made))) == ("Settled", 1)

    @pytest.mark.parametrize("action", ["Terminate", "Suspend", "Dispute", "AcceptDelivery", "Resume"])
    def test_settled_is_final(self, action: str) -> None:
        """After it nothing has an effect."""
        made = self.delivered()
        done(made, "AcceptDelivery", made.end + 100)
        before = {**(made.at(made.end + 110) or made.status), "outbox": None}
        assert done(made, action, made.end + 200) == "WrongPhase"
        assert {**made.status, "outbox": None} == before


class TestSuspend:
    def held(self) -> Desk:
        """Suspended from 600 to 1200 s after the start; the nodes are closed meanwhile, and back 5 s after."""
        made = delivering()
        made.run(T0 + 1, T0 + 600)
        done(made, "Suspend", T0 + 600)
        made.hand_over("a", "b", holder="frozen.uid-1")
        made.run(T0 + 601, T0 + 1199)
        done(made, "Resume", T0 + 1200)
        made.at(T0 + 1203)
        made.hand_over("a", "b")
        made.run(T0 + 1205, made.end + 100)
        return made

    def test_counted(self) -> None:
        """What is not delivered meanwhile is the buyer's; giving access back is the operator's, here within grace."""
        made = self.held()
        assert made.quantities == {"contracted": 57_600, "delivered": 47_920, "buyerCaused": 9_600, "excused": 80}
        assert "buyerCaused" not in made.status["instructions"]

    def test_told(self) -> None:
        """One event for each flip; the buyer's loss of access is told as what it is, and opens no shortfall."""
        made = self.held()
        assert made.news[3:] == [
            "delivery.started",
            "contract.suspended",
            "delivery.interrupted",
            "contract.resumed",
            "delivery.restored",
            "contract.delivered",
        ]
        interrupted = made.told[5]["data"]
        assert (interrupted["change"]["reason"], interrupted["contract"]["conditions"]) == ("Suspended", ["Ready", "Suspended"])

    def test_still_counted_while_it_lasts(self) -> None:
        """The meter goes on: delivered up to the hold, the buyer's after it."""
        made = delivering()
        made.run(T0 + 1, T0 + 600)
        done(made, "Suspend", T0 + 600)
        made.run(T0 + 601, T0 + 900)
        read = made.status["meter"]["until"]
        assert read >= format_time(T0 + 780)
        assert made.quantities["delivered"] == 9_600
        assert made.quantities["contracted"] == made.quantities["delivered"] + made.quantities["buyerCaused"]

    def test_access_does_not_come_back_by_itself(self) -> None:
        """While the hold lasts no hand-over counts, whatever fence and label say: a node that he has by another contract, say."""
        made = delivering()
        done(made, "Suspend", T0 + 100)
        made.run(T0 + 101, T0 + 400)
        assert made.condition("HandedOver") == ("False", "Suspended")
        assert not any(b.get("handedOverAt") for b in made.status["bindings"] if b["end"] > format_time(T0 + 100))

    def test_before_the_start(self) -> None:
        """The window begins without access: nothing is late, nothing is short, all of it is the buyer's until the hold is lifted."""
        made = accepted()
        done(made, "Suspend", T0 - 1000)
        made.hand_over("a", "b", holder="frozen.uid-1")
        made.run(T0 - 999, T0 + 300)
        assert made.phase == "Delivering"
        done(made, "Resume", T0 + 300)
        made.hand_over("a", "b")
        made.run(T0 + 301, made.end + 100)
        assert made.quantities == {"contracted": 57_600, "delivered": 52_784, "buyerCaused": 4_800, "excused": 16}
        assert "delivery.started" in made.news
        assert "shortfall.opened" not in made.news

    def test_to_the_end(self) -> None:
        """A hold that is never lifted: the window ends, and nothing is settled by time alone."""
        made = delivering()
        made.run(T0 + 1, T0 + 600)
        done(made, "Suspend", T0 + 600)
        made.hand_over("a", "b", holder="frozen.uid-1")
        made.run(T0 + 601, made.end + 100_000)
        assert made.phase == "Delivered"
        assert made.quantities == {"contracted": 57_600, "delivered": 9_600, "buyerCaused": 48_000}
        assert done(made, "AcceptDelivery", made.end + 100_000) == "Applied"
        assert made.phase == "Settled"

    def test_an_outage_before_it(self) -> None:
        """What was short before the hold stays the operator's, and so does what is short after it."""
        made = delivering()
        made.run(T0 + 1, T0 + 500)
        made.fail("a", at=T0 + 500, heartbeat=T0 + 500)
        made.run(T0 + 501, T0 + 600)
        done(made, "Suspend", T0 + 600)
        made.hand_over("a", "b", holder="frozen.uid-1")
        made.run(T0 + 601, T0 + 1000)
        done(made, "Resume", T0 + 1000)
        made.hand_over("b")
        made.run(T0 + 1001, T0 + 1100)
        made.recover("a", at=T0 + 1100)
        made.hand_over("a")
        made.run(T0 + 1100, made.end + 100)
        assert made.quantities["shortfall"] == 8 * (100 + 100)
        assert made.quantities["buyerCaused"] == 16 * 400

    def test_moved_meanwhile(self) -> None:
        """The commitment goes on: lots are bound anew where a node fails, and handed over there when the hold is lifted."""
        made = delivering()
        done(made, "Suspend", T0 + 600)
        made.fail("a", at=T0 + 700, heartbeat=T0 + 700)
        made.bind(T0 + 701, ("c", T0 + 701, made.end), ("b", T0, made.end))
        made.at(T0 + 701)
        assert {b["node"] for b in made.status["bindings"] if b["end"] > format_time(T0 + 701)} == {"b", "c"}
        done(made, "Resume", T0 + 900)
        made.hand_over("b", "c")
        made.run(T0 + 901, made.end + 100)
        assert made.quantities == {"contracted": 57_600, "delivered": 57_600 - 4_800 - 8, "buyerCaused": 4_800, "excused": 8}

    def test_twice(self) -> None:
        """A hold on a hold, and the end of none, are rejected."""
        made = delivering()
        assert done(made, "Resume", T0 + 10) == "NotSuspended"
        assert done(made, "Suspend", T0 + 20) == "Applied"
        assert done(made, "Suspend", T0 + 30) == "AlreadySuspended"


class TestBuyerCaused:
    def outage(self, seconds: int = 3600) -> Desk:
        """Lot 0 is out for 600 s from 1000 s after the start; with receipts, looked at up to 1700."""
        made = desk(seconds=seconds, agents=False)
        made.run(T0 + 1, T0 + 1000)
        made.fail("a", at=T0 + 1000, heartbeat=T0 + 1000)
        made.run(T0 + 1001, T0 + 1600)
        made.recover("a", at=T0 + 1600)
        made.run(T0 + 1600, T0 + 1700)
        return made

    def test_what_was_metered_already(self) -> None:
        """Seconds since the last receipt become the buyer's, counters, receipt and readings alike."""
        made = self.outage()
        assert made.quantities["shortfall"] == 4_800
        assert done(made, "AcceptBuyerCaused", T0 + 1700, **caused("0", T0 + 900, T0 + 1600)) == "Applied"
        assert "shortfall" not in made.quantities
        assert made.quantities["buyerCaused"] == 4_800
        made.run(T0 + 1701, made.end + 1000)
        (said,) = check(made)
        assert [(each["class"], each["lots"], each["gpuSeconds"]) for each in said["incidents"]] == [("BuyerCaused", "0", 4_800)]

    def test_part_of_an_outage(self) -> None:
        """What is left of it is judged as what is left: here it is within grace."""
        made = self.outage()
        done(made, "AcceptBuyerCaused", T0 + 1700, **caused("0", T0 + 1000, T0 + 1590))
        made.run(T0 + 1701, made.end + 1000)
        assert made.quantities == {"contracted": 57_600, "delivered": 52_800, "buyerCaused": 4_720, "excused": 80}
        check(made)

    def test_delivered_stays_delivered(self) -> None:
        """What was delivered was delivered: of all the rest only what was not is the buyer's."""
        made = self.outage()
        done(made, "AcceptBuyerCaused", T0 + 1700, **caused("0-1", T0, made.end))
        made.run(T0 + 1701, made.end + 1000)
        assert made.quantities == {"contracted": 57_600, "delivered": 52_800, "buyerCaused": 4_800}

    def test_ahead(self) -> None:
        """A stop that the buyer asked for: its seconds are his when they come."""
        made = desk(seconds=3600, agents=False)
        assert done(made, "AcceptBuyerCaused", T0 + 100, **caused("0", T0 + 1000, T0 + 1600)) == "Applied"
        made.run(T0 + 101, T0 + 1000)
        made.fail("a", at=T0 + 1000, heartbeat=T0 + 1000)
        made.run(T0 + 1001, T0 + 1640)
        made.recover("a", at=T0 + 1640)
        made.run(T0 + 1640, made.end + 1000)
        assert made.quantities == {"contracted": 57_600, "delivered": 52_480, "buyerCaused": 4_800, "shortfall": 320}
        check(made)

    def test_a_day_that_is_receipted(self) -> None:
        """A receipt stands: its time is refused with what may be named instead, and nothing changes."""
        made = self.outage(seconds=2 * DAY)
        made.run(T0 + 1701, T0 + DAY + 600)
        before = made.quantities
        key = instruct(made, "AcceptBuyerCaused", T0 + DAY + 600, **caused("0", T0 + 1000, T0 + 1600))
        made.at(T0 + DAY + 600)
        verdict = judged(made, T0 + DAY + 600)[key]
        assert (verdict.phase, verdict.reason and verdict.reason.code) == ("Rejected", "ReceiptIssued")
        assert format_time(T0 + DAY) in str(verdict.reason)
        assert {k: v for k, v in made.quantities.items() if k == "shortfall"} == {"shortfall": before["shortfall"]}

    def test_across_midnight(self) -> None:
        """The rest of an outage becomes the buyer's after midnight: what stands in the receipt is judged anew, and that is corrected."""
        made, midnight = desk(seconds=2 * DAY, agents=False), T0 + DAY
        made.run(T0 + 1, midnight - 20)
        made.fail("a", at=midnight - 20, heartbeat=midnight - 20)
        made.run(midnight - 19, midnight + 600)
        made.recover("a", at=midnight + 600)
        made.run(midnight + 600, midnight + 700)
        assert receipts(made)[-1]["quantities"]["shortfallGpuSeconds"] == 160
        assert done(made, "AcceptBuyerCaused", midnight + 700, **caused("0", midnight, midnight + 600)) == "Applied"
        made.run(midnight + 701, made.end + 1000)
        said = check(made)
        assert [(each["corrects"], each["quantities"]["excusedGpuSeconds"]) for each in said if "corrects" in each] == [(1, 0), (2, 160)]
        assert made.quantities["buyerCaused"] == 4_800

    def test_without_readings(self) -> None:
        """Nobody signs receipts, so nothing is kept of what was metered: only the time to come can be named."""
        made = delivering()
        made.run(T0 + 1, T0 + 1000)
        made.fail("a", at=T0 + 1000, heartbeat=T0 + 1000)
        made.run(T0 + 1001, T0 + 1400)
        assert done(made, "AcceptBuyerCaused", T0 + 1400, **caused("0", T0 + 1000, T0 + 1600)) == "AlreadyMetered"
        until = made.status["meter"]["until"]
        start = T0 + 1400 - 60
        assert until <= format_time(start)
        assert done(made, "AcceptBuyerCaused", T0 + 1401, **caused("0", start, T0 + 1600)) == "Applied"
        made.run(T0 + 1402, T0 + 1800)
        assert made.quantities["buyerCaused"] == 8 * 260

    @pytest.mark.parametrize(
        ("payload", "says"),
        [
            (caused("2", T0, T0 + 10), "must name lots from 0 to 1"),
            (caused("0-99999", T0, T0 + 10), "must name lots from 0 to 1"),
            (caused("1,0", T0, T0 + 10), "in rising order"),
            (caused("1-0", T0, T0 + 10), "in rising order"),
            (caused("0,0", T0, T0 + 10), "in rising order"),
            (caused("0", T0 - 100, T0), "lies outside the time that is owed"),
            (caused("0", T0 + 10, T0 + 10), "is not later than start"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_nonsense(self, payload: dict[str, Any], says: str) -> None:
        """Rejected with the field and what it must be."""
        made = delivering()
        key = instruct(made, "AcceptBuyerCaused", T0 + 10, **payload)
        made.at(T0 + 10)
        verdict = judged(made, T0 + 10)[key]
        assert verdict.phase == "Rejected"
        assert says in str(verdict.reason)


class TestSubstitution:
    def test_acknowledged(self) -> None:
        """Terms ask for no consent, so nothing follows from it but that it was given."""
        made = delivering()
        made.at(T0 + 5)
        before = {**made.status, "instructions": None, "outbox": None}
        assert done(made, "AcceptSubstitution", T0 + 10, substitution={"product": "h200"}) == "Applied"
        assert {**made.status, "instructions": None, "outbox": None} == before
        assert done(made, "AcceptSubstitution", T0 + 20, substitution={"product": "h100"}) == "NotSubstituted"


def test_every_event_says_where_the_chain_stands() -> None:
    """The head and what follows from it are part of the contract in every event."""
    made = delivering()
    done(made, "Suspend", T0 + 10)
    assert made.told[-1]["data"]["contract"]["instructions"] == made.status["instructions"]
    assert answer(made, T0 + 10) == {"desk/i000": "Applied"}
