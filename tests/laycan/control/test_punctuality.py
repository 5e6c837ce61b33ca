"""Late start, rebinding and early stop, in the status and in what the exchange is told."""

from __future__ import annotations

from typing import Any

from tests.laycan.control.desk import HOLDER, T0, Desk, accepted, delivering, short

TOLERANCE = {"graceSeconds": 300, "cureSeconds": 1200}
INTERRUPTIBLE = {"firmness": {"class": "Interruptible", "interruption": {"noticeSeconds": 600, "maxHours": 1}}}


def record(desk: Desk) -> dict[str, Any]:
    return dict(desk.status.get("handover", {}))


class TestStart:
    def test_on_time(self) -> None:
        """Handed over in the first second of the window: not late."""
        assert record(delivering()) == {"lateSeconds": 0, "interruptions": 0}

    def test_late(self) -> None:
        """Late is counted to the last lot, and the event that tells of the start says so too."""
        desk = accepted()
        desk.hand_over("a")
        desk.at(T0)
        assert record(desk) == {}
        desk.at(T0 + 40)
        desk.hand_over("b")
        desk.at(T0 + 45)
        assert record(desk) == {"lateSeconds": 45, "interruptions": 0}
        told = desk.told[desk.news.index("delivery.started")]
        assert told["data"]["contract"]["handover"] == record(desk)

    def test_on_a_node_that_he_has(self) -> None:
        """The lot that was missing goes to a node that has been his from the start: it is late all the same."""
        desk = Desk(gpus=8, lot_gpus=4)
        desk.nodes("a", "b")
        desk.bind(T0 - 3600, ("a", T0, desk.end), ("b", T0, desk.end), gpus=4)
        desk.at(T0 - 3600)
        desk.hand_over("a")
        desk.fail("b", at=T0 - 100)
        desk.run(T0 - 60, T0 + 499)
        desk.bind(T0 + 500, ("a", T0 + 500, desk.end))
        desk.run(T0 + 500, T0 + 600)
        assert record(desk) == {"lateSeconds": 500, "interruptions": 0}

    def test_lost_before_it_began(self) -> None:
        """What was handed over in the lead and is out when the window begins is late until it is back."""
        desk = accepted()
        desk.hand_over("a", "b")
        desk.at(T0 - 30)
        desk.fail("b", at=T0 + 1, heartbeat=T0 - 10)
        desk.at(T0 + 1)
        assert record(desk) == {}
        desk.recover("b", at=T0 + 240)
        desk.at(T0 + 241)
        assert record(desk) == {"lateSeconds": 240, "interruptions": 0}

    def test_never(self) -> None:
        """A delivery that was never complete was late for the whole window."""
        desk = accepted()
        desk.hand_over("a")
        desk.run(T0, desk.end + 60)
        assert record(desk) == {"lateSeconds": 3600, "earlyStopSeconds": 0}


class TestInterruption:
    def test_rebind(self) -> None:
        """From the last heartbeat, not from the news, until the spare is the holder's; the longest is remembered."""
        desk = delivering(tolerance=TOLERANCE)
        desk.fail("a", at=T0 + 645, heartbeat=T0 + 600)
        desk.at(T0 + 645)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 1, "interruptedSince": "2027-01-04T00:10:00Z"}
        desk.bind(T0 + 650, ("c", T0 + 650, desk.end), ("b", T0, desk.end))
        desk.at(T0 + 650)
        desk.hand_over("c")
        desk.at(T0 + 660)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 1, "rebindSeconds": 60, "longestRebindSeconds": 60}
        desk.hand_over("b", holder="quarantine.uid-1")
        desk.at(T0 + 700)
        desk.hand_over("b", holder=HOLDER)
        desk.at(T0 + 705)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 2, "rebindSeconds": 5, "longestRebindSeconds": 60}

    def test_early_stop(self) -> None:
        """What is not mended by the end is an early stop from its onset; the record does not change after the end."""
        desk = delivering()
        desk.run(T0 + 1, T0 + 3000)
        desk.fail("a", at=desk.end - 100, heartbeat=desk.end - 110)
        desk.run(desk.end - 100, desk.end + 60)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 1, "earlyStopSeconds": 110}
        desk.recover("a", desk.end + 70)
        desk.run(desk.end + 70, desk.end + 700)
        assert record(desk)["earlyStopSeconds"] == 110

    def test_to_the_last_second(self) -> None:
        """A delivery without fault stops when it should."""
        desk = delivering()
        desk.run(T0 + 1, desk.end + 60)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 0, "earlyStopSeconds": 0}

    def test_curtailment_is_none(self) -> None:
        """What is withdrawn by right after notice interrupts nothing."""
        desk = delivering(**INTERRUPTIBLE)
        desk.bind(T0 + 100, ("a", T0, desk.end), ("b", T0, T0 + 700), short=(short(T0 + 700, desk.end),))
        desk.run(T0 + 100, T0 + 699)
        desk.run(T0 + 700, desk.end + 60)
        assert record(desk) == {"lateSeconds": 0, "interruptions": 0, "earlyStopSeconds": 0}
