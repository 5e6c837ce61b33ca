"""Announced outages are told to whom they concern, once."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.resources.times import format_time
from tests.laycan.control.desk import T0, Desk, accepted, delivering


def announce(desk: Desk, uid: str = "o-1", verdict: str = "Covered", generation: int = 1, **spec: Any) -> None:
    """An outage of node `a` from 1000 to 2000 s after the start, unless said otherwise; of its first generation the verdict is."""
    known = {"type": "Planned", "nodes": ["a"], "start": format_time(T0 + 1000), "end": format_time(T0 + 2000)} | spec
    raw: dict[str, Any] = {"metadata": {"name": "repair-of-rack-7", "uid": uid, "generation": generation}}
    raw["spec"] = {key: value for key, value in known.items() if value is not None}
    raw["status"] = {"verdict": verdict, "observedGeneration": 1} if verdict else {}
    desk.world.outages[uid] = raw


def planned(desk: Desk) -> list[dict[str, Any]]:
    return [event["data"]["change"] for event in desk.told if event["type"] == "dev.laycan.outage.planned.v1"]


def test_told_once() -> None:
    """Which lots, how many GPUs and when; not where, and not again."""
    desk = accepted()
    announce(desk)
    desk.at(T0 - 3000)
    window = {"start": format_time(T0 + 1000), "end": format_time(T0 + 2000)}
    assert planned(desk) == [{"outage": "o-1", "type": "Planned", "window": window, "lots": [0], "gpus": 8, "covered": True}]
    assert [mark.partition("/")[0] for mark in desk.status["outages"]] == ["o-1"]
    assert "rack-7" not in str(desk.told)
    desk.at(T0 - 2000)
    assert len(planned(desk)) == 1


def test_told_with_the_plan_that_follows() -> None:
    """The lots are taken elsewhere in the very status that tells of it: who was bound there hears why."""
    desk = accepted()
    announce(desk)
    desk.bind(T0 - 3000, ("a", T0, T0 + 1000), ("c", T0 + 1000, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 3000)
    assert len(planned(desk)) == 1
    desk.at(T0 - 2000)
    assert len(planned(desk)) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "Forced"},
        {"nodes": ["c"]},
        {"nodes": None, "nodeSelector": {"rack": "r2"}},
        {"start": format_time(T0 + 3600), "end": format_time(T0 + 4000)},
        {"start": format_time(T0 - 900), "end": format_time(T0)},
        {"start": 7},
        {"nodes": 7},
    ],
    ids=str,
)
def test_what_does_not_concern_it(spec: dict[str, Any]) -> None:
    """A fault, another node, another time, and what cannot be read."""
    desk = accepted()
    announce(desk, **spec)
    desk.at(T0 - 3000)
    assert planned(desk) == []


@pytest.mark.parametrize(("verdict", "covered"), [("Covered", True), ("AtRisk", True), ("Blocked", False)])
def test_retirement(verdict: str, covered: bool) -> None:
    """One without an end is announced too, whatever it breaks: that is said."""
    desk = accepted()
    announce(desk, type="Retirement", end=None, verdict=verdict)
    desk.at(T0 - 3000)
    (change,) = planned(desk)
    assert (change["window"], change["covered"]) == ({"start": format_time(T0 + 1000)}, covered)


@pytest.mark.parametrize(
    "more",
    [{"verdict": ""}, {"verdict": "Blocked"}, {"verdict": "AtRisk"}, {"generation": 2}, {"verdict": "", "type": "Retirement"}],
    ids=str,
)
def test_not_before_it_may_go_ahead(more: dict[str, Any]) -> None:
    """Of what is not judged, of maintenance that may not go ahead or that was edited nothing is told until it may."""
    desk = accepted()
    announce(desk, **more)
    desk.at(T0 - 3000)
    assert planned(desk) == []
    announce(desk, type=more.get("type", "Planned"))
    desk.at(T0 - 2000)
    assert planned(desk)[0]["covered"] is True


def test_an_accepted_risk_is_told() -> None:
    """Everybody is served by the plan."""
    desk = accepted()
    announce(desk, verdict="AtRisk", acceptRisk=True)
    desk.at(T0 - 3000)
    assert planned(desk)[0]["covered"] is True


def test_called_off_and_on_again() -> None:
    """What was told is not told again when it may go ahead once more."""
    desk = accepted()
    announce(desk)
    desk.at(T0 - 3000)
    announce(desk, verdict="Blocked")
    desk.at(T0 - 2000)
    announce(desk)
    desk.at(T0 - 1000)
    assert len(planned(desk)) == 1


def test_shifted() -> None:
    """Whoever heard of one time hears of the other, once; an edit that leaves the window as it is tells nothing."""
    desk = accepted()
    announce(desk)
    desk.at(T0 - 3000)
    announce(desk, reason="new firmware")
    desk.at(T0 - 2500)
    for now in (T0 - 2000, T0 - 1500):
        announce(desk, start=format_time(T0 + 1500), end=format_time(T0 + 2500))
        desk.at(now)
    starts = [change["window"]["start"] for change in planned(desk)]
    assert starts == [format_time(T0 + 1000), format_time(T0 + 1500)]
    assert len(desk.status["outages"]) == 1


def test_no_more_than_the_schema_has_room_for() -> None:
    """A status with more could never be written again: what is beyond 256 waits for one that is over."""
    desk = accepted()
    for number in range(5):
        announce(desk, f"o-{number:03}")
    desk.at(T0 - 3000)
    for number in range(5, 300):
        announce(desk, f"o-{number:03}")
    for second in range(40):
        desk.at(T0 - 2999 + second)
    assert len(planned(desk)) == len(desk.status["outages"]) == 256


def test_several_and_their_end() -> None:
    """Each is told; one that is over or withdrawn is forgotten, so that the list stays short."""
    desk = delivering()
    announce(desk)
    announce(desk, "o-2", nodes=["a", "b"])
    desk.at(T0 + 10)
    assert [change["lots"] for change in planned(desk)] == [[0], [0, 1]]
    del desk.world.outages["o-2"]
    desk.at(T0 + 20)
    assert [mark.partition("/")[0] for mark in desk.status["outages"]] == ["o-1"]
    desk.run(T0 + 21, T0 + 2100)
    assert "outages" not in desk.status


def test_waits_for_room() -> None:
    """A full outbox delays it, and it is not lost."""
    desk = accepted()
    desk.deaf = True
    for number in range(9):
        announce(desk, f"o-{number}")
        desk.at(T0 - 3000 + number)
    assert len(planned(desk)) == 6
    desk.deaf = False
    desk.at(T0 - 2000)
    assert len(planned(desk)) == 9
