"""Announced outages are told to whom they concern, once."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.resources.times import format_time
from tests.laycan.control.desk import T0, Desk, accepted, delivering


def announce(desk: Desk, uid: str = "o-1", **spec: Any) -> None:
    """An outage of node `a` from 1000 to 2000 s after the start, unless said otherwise."""
    known = {"type": "Planned", "nodes": ["a"], "start": format_time(T0 + 1000), "end": format_time(T0 + 2000)} | spec
    raw = {"metadata": {"name": "repair-of-rack-7", "uid": uid}, "spec": {key: value for key, value in known.items() if value is not None}}
    desk.world.outages[uid] = raw


def planned(desk: Desk) -> list[dict[str, Any]]:
    return [event["data"]["change"] for event in desk.told if event["type"] == "dev.laycan.outage.planned.v1"]


def test_told_once() -> None:
    """Which lots, how many GPUs and when; not where, and not again."""
    desk = accepted()
    announce(desk)
    desk.at(T0 - 3000)
    window = {"start": format_time(T0 + 1000), "end": format_time(T0 + 2000)}
    assert planned(desk) == [{"outage": "o-1", "type": "Planned", "window": window, "lots": [0], "gpus": 8}]
    assert desk.status["outages"] == ["o-1"]
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


def test_retirement() -> None:
    """One without an end is announced too."""
    desk = accepted()
    announce(desk, type="Retirement", end=None)
    desk.at(T0 - 3000)
    assert planned(desk)[0]["window"] == {"start": format_time(T0 + 1000)}


def test_several_and_their_end() -> None:
    """Each is told; one that is over or withdrawn is forgotten, so that the list stays short."""
    desk = delivering()
    announce(desk)
    announce(desk, "o-2", nodes=["a", "b"])
    desk.at(T0 + 10)
    assert [change["lots"] for change in planned(desk)] == [[0], [0, 1]]
    del desk.world.outages["o-2"]
    desk.at(T0 + 20)
    assert desk.status["outages"] == ["o-1"]
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
