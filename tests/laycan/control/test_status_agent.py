"""Contracts whose nodes have an agent: its word counts, its silence too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan.control.status import next_wake
from laycan.kube.meter_views import MeterView, MissedView
from laycan.resources.times import format_time
from laycan.resources.verdict import Found, resolved
from tests.laycan.control.desk import T0, Desk

REPORT = 60
OUT = {False: "excused", True: "shortfall"}  # beyond grace?


def meter(desk: Desk, name: str, at: int, *findings: Found, missed: tuple[MissedView, ...] = ()) -> None:
    """The agent of the node reports its sample of that instant."""
    gpus = frozenset(f"GPU-{name}-{i}" for i in range(8))
    desk.world.meters[name] = MeterView(name, at, f"uid-{name}", T0 - 9_000, at, T0 - 9_000, REPORT, gpus, findings, missed, 0, 0)


def xid(name: str, start: int, end: int | None = None, code: int = 79) -> Found:
    return Found(f"GPU-{name}-3", "Xid", code, 0, start, end)


def delivered(seconds: int = 3600) -> Desk:
    """Two lots on nodes `a` and `b`, handed over before the start, both metered by agents."""
    desk = handed_over(seconds)
    desk.at(T0)
    return desk


def handed_over(seconds: int = 3600) -> Desk:
    """The same, not looked at since before its start."""
    desk = Desk(seconds=seconds)
    desk.nodes("a", "b", "spare")
    desk.bind(T0 - 7000, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 7000)
    desk.hand_over("a", "b")
    for name in ("a", "b", "spare"):
        meter(desk, name, T0 - 40)
    desk.at(T0 - 30)
    return desk


def reports(desk: Desk, start: int, end: int, *names: str) -> None:
    """The agents report every minute of [start, end], and the contract is looked at each time."""
    for now in range(start, end + 1, REPORT):
        for name in names:
            old = desk.world.meters[name]
            meter(desk, name, now, *old.findings, missed=old.missed)
        desk.at(now)


def test_metered_by_the_agent() -> None:
    """Delivered in full; the status and every event say whose word it is."""
    desk = delivered()
    assert {b["meteredSince"] for b in desk.status["bindings"]} == {b["handedOverAt"] for b in desk.status["bindings"]}
    reports(desk, T0, desk.end + 120, "a", "b")
    assert desk.phase == "Delivered"
    assert desk.quantities == {"contracted": 3600 * 16, "delivered": 3600 * 16}
    metered = [event["data"]["contract"]["meter"]["kind"] for event in desk.told if "meter" in event["data"]["contract"]]
    assert metered
    assert set(metered[:-1]) <= {"agent"}


def test_the_meter_trails_the_latest_sample() -> None:
    """What no sample covers yet is not written, however late it is; the end of the window waits for a sample after it."""
    desk = delivered()
    for now in range(T0, T0 + 240, 60):
        desk.at(now)
    assert desk.quantities.get("contracted", 0) == 0
    reports(desk, T0 + 240, desk.end - 60, "a", "b")
    for late in range(60, 200, 10):
        desk.at(desk.end + late)
    assert desk.phase == "Delivering"
    reports(desk, desk.end + 200, desk.end + 200, "a", "b")
    assert desk.phase == "Delivered"


def test_a_fatal_xid_and_a_hot_spare() -> None:
    """From the last good sample to the access on the spare, within grace; the exchange hears of both, with the true onset."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    fault, back = T0 + 610, T0 + 635
    meter(desk, "a", fault + 2, xid("a", fault))
    desk.at(fault + 3)
    assert desk.news[-1] == "delivery.interrupted"
    assert desk.told[-1]["data"]["change"]["since"] == "2027-01-04T00:10:10Z"
    desk.bind(fault + 4, ("spare", fault + 4, desk.end), ("b", T0, desk.end))
    desk.at(fault + 4)
    desk.hand_over("spare")
    meter(desk, "spare", back)
    desk.at(back)
    assert desk.news[-1] == "delivery.restored"
    reports(desk, T0 + 660, desk.end + 120, "a", "b", "spare")
    assert desk.quantities == {"contracted": 57_600, "delivered": 57_600 - 25 * 8, "excused": 25 * 8}
    assert "shortfall.opened" not in desk.news


def test_told_in_the_second_that_it_is_due() -> None:
    """Beyond grace, and beyond cure, by the instants that the contract asks to be woken at: no report, plan or reading need come by."""
    desk = delivered()
    for name in ("a", "b"):
        meter(desk, name, T0 + 612, *([xid("a", T0 + 610)] if name == "a" else []))
        desk.world.meters[name] = replace(desk.world.meters[name], report_seconds=3600)
    desk.run(T0 + 612, T0 + 1000)
    assert [(event["type"][11:-3], event["time"]) for event in desk.told[-3:]] == [
        ("delivery.interrupted", format_time(T0 + 612)),
        ("shortfall.opened", format_time(T0 + 610 + 31)),
        ("shortfall.cure_expired", format_time(T0 + 610 + 300)),
    ]


def test_held_up_by_samples_it_is_read_on_soon() -> None:
    """Reports wake nobody: a meter that waits for one looks again every `meterSeconds`."""
    desk = delivered()
    for name in ("a", "b"):
        meter(desk, name, T0 + 10)
    desk.run(T0 + 1, T0 + 400)
    assert desk.quantities.get("contracted", 0) == 0
    wake = next_wake(desk.contract, T0 + 400, desk.world, desk.settings)
    assert wake is not None
    assert wake <= T0 + 400 + desk.settings.meter_seconds


def test_silent_at_the_same_second_whenever_it_is_looked_at() -> None:
    """A second before its agent counts as silent a lot is had, whoever looks."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    silent = desk.world.meters["a"].silent_at
    meter(desk, "b", T0 + 660)
    desk.at(silent - 1)
    assert desk.condition("HandedOver") == ("True", "Complete")
    desk.at(silent)
    assert desk.condition("HandedOver") == ("False", "Interrupted")


def test_late_by_a_broken_gpu() -> None:
    """Handed over before the start, broken when it came: late until the clean time after the reset is over."""
    desk = handed_over()
    meter(desk, "a", T0 - 2, xid("a", T0 - 5))
    reports(desk, T0, T0 + 60, "a", "b")
    meter(desk, "a", T0 + 102, xid("a", T0 - 5, T0 + 100))
    reports(desk, T0 + 120, T0 + 1200, "a", "b")
    assert desk.status["handover"] == {"lateSeconds": 1000, "interruptions": 0}


def test_on_time_though_nobody_looked() -> None:
    """An outage inside the window that was over when the operator came back is not what the buyer waited for at its start."""
    desk = handed_over()
    meter(desk, "b", T0 + 300)
    meter(desk, "a", T0 + 300, missed=(MissedView(T0 + 100, T0 + 130, False, 30, 0, 0),))
    desk.at(T0 + 300)
    assert desk.status["handover"] == {"lateSeconds": 0, "interruptions": 0}


def test_moved_at_the_first_look() -> None:
    """Where the fault and the move away from it are seen at once, the outage is told from the last good sample all the same."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    meter(desk, "a", T0 + 612, xid("a", T0 + 610))
    desk.bind(T0 + 614, ("spare", T0 + 614, desk.end), ("b", T0, desk.end))
    desk.at(T0 + 614)
    assert desk.told[-1]["data"]["change"]["since"] == "2027-01-04T00:10:10Z"
    assert desk.status["handover"]["interruptedSince"] == "2027-01-04T00:10:10Z"


def test_a_slow_stretch_is_known_at_its_end() -> None:
    """How slow a GPU was is told for whole stretches of 300 s: none is read as delivered before that is known."""
    desk = delivered()
    reports(desk, T0, T0 + 540, "a", "b")
    assert desk.status["meter"]["until"] == format_time(T0 + 300)
    meter(desk, "a", T0 + 600, Found("GPU-a-3", "Slowdown", 0, 80_000, T0 + 300, T0 + 600))
    reports(desk, T0 + 600, T0 + 1200, "a", "b")
    assert desk.quantities["shortfall"] == 300 * 8
    reports(desk, T0 + 1260, desk.end + 120, "a", "b")
    assert desk.quantities == {"contracted": 57_600, "delivered": 57_600 - 2400, "shortfall": 2400}


def test_an_application_error_is_delivered() -> None:
    """XID 13 is the buyer's job: take or pay."""
    desk = delivered()
    meter(desk, "a", T0 + 60, xid("a", T0 + 50, code=13))
    reports(desk, T0 + 60, desk.end + 120, "a", "b")
    assert desk.quantities == {"contracted": 57_600, "delivered": 57_600}


def test_the_policy_of_the_acceptance_counts() -> None:
    """A policy that the product got later changes nothing for this contract."""
    desk = delivered()
    desk.contract = replace(desk.contract, status={**desk.status, "healthPolicy": resolved({"version": "1", "fatalXids": [13]})})
    desk.world.products["h100"] = {"spec": {**desk.world.products["h100"]["spec"], "health": {"version": "2", "fatalXids": [79]}}}
    meter(desk, "a", T0 + 60, xid("a", T0 + 50))
    meter(desk, "b", T0 + 60, xid("b", T0 + 50, code=13))
    desk.at(T0 + 61)
    assert desk.told[-1]["data"]["change"]["lots"] == [1]


def test_a_silent_agent() -> None:
    """Two reports missed: interrupted, then short, until it is heard again; what speaks for delivery counts within the cap of the day."""
    desk = delivered(seconds=86_400)
    reports(desk, T0, T0 + 600, "a", "b")
    silent = desk.world.meters["a"].silent_at
    for now in range(T0 + 660, silent, REPORT):
        reports(desk, now, now, "b")
    assert desk.news[-1] == "delivery.started" or "contract.delivering" in desk.news[-1]
    desk.at(silent)
    assert desk.news[-2:] == ["delivery.interrupted", "shortfall.opened"]
    reports(desk, silent + 30, T0 + 1800, "b")
    assert desk.status["meter"]["until"] == "2027-01-04T00:10:00Z", "the meter waits for the next sample"
    gap = MissedView(T0 + 600, T0 + 2100, True, 1500, 80, 600)
    meter(desk, "a", T0 + 2100, missed=(gap,))
    meter(desk, "b", T0 + 2100)
    desk.at(T0 + 2101)
    assert desk.news[-3:] == ["delivery.restored", "shortfall.cured", "makegood.owed"]
    reports(desk, T0 + 2160, T0 + 2400, "a", "b")
    assert desk.quantities["estimated"] == 432 * 8
    assert desk.quantities["shortfall"] == (1500 - 432) * 8
    assert desk.status["meter"]["estimates"] == [{"lot": 0, "day": T0 // 86_400, "seconds": 432}]
    reports(desk, T0 + 2460, desk.end + 120, "a", "b")
    assert desk.quantities == {
        "contracted": 16 * 86_400,
        "delivered": 16 * 86_400 - 1068 * 8,
        "shortfall": 1068 * 8,
        "estimated": 432 * 8,
    }


def test_an_agent_that_never_comes_back() -> None:
    """After the wait the time without samples counts as not delivered, and the contract ends."""
    desk = delivered(seconds=600)
    reports(desk, T0, T0 + 300, "a", "b")
    wait = desk.settings.estimate_wait_seconds
    reports(desk, T0 + 360, T0 + 300 + wait - 30, "b")
    assert desk.phase == "Delivering"
    reports(desk, T0 + 300 + wait, T0 + 300 + wait, "b")
    assert desk.phase == "Delivered"
    assert desk.quantities == {"contracted": 9600, "delivered": 9600 - 300 * 8, "shortfall": 300 * 8}


def test_a_deleted_meter_hides_nothing() -> None:
    """Without the object that proved delivery nothing is proven, though the node is Ready."""
    desk = delivered(seconds=600)
    reports(desk, T0, T0 + 300, "a", "b")
    del desk.world.meters["a"]
    desk.at(T0 + 301)
    assert desk.news[-2:] == ["delivery.interrupted", "shortfall.opened"]
    assert desk.told[-2]["data"]["change"]["since"] == desk.status["meter"]["until"] == "2027-01-04T00:04:00Z"
    wait = desk.settings.estimate_wait_seconds
    reports(desk, T0 + 360, T0 + 360 + wait, "b")
    assert desk.quantities["shortfall"] > 300 * 8


def test_terminated_up_to_the_last_sample() -> None:
    """A contract that is deleted in its window ends when the agents have told of its last second."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    desk.delete()
    desk.at(T0 + 630)
    assert desk.phase == "Delivering"
    assert all(b["end"] == "2027-01-04T00:10:30Z" for b in desk.status["bindings"])
    meter(desk, "a", T0 + 900, xid("a", T0 + 620))
    meter(desk, "b", T0 + 900)
    desk.at(T0 + 901)
    assert desk.phase == "Terminated"
    assert desk.quantities == {"contracted": 630 * 16, "delivered": 630 * 16 - 80, "excused": 80}


@pytest.mark.parametrize("deleted", [False, True], ids=["silent", "meter deleted"])
@pytest.mark.parametrize("terminated", [False, True], ids=["window over", "contract deleted"])
def test_woken_when_the_wait_is_over(deleted: bool, terminated: bool) -> None:
    """Without another word of the agent the contract ends by itself, at the instant that it asked to be woken at."""
    desk = delivered(seconds=600)
    reports(desk, T0, T0 + 300, "a", "b")
    meter(desk, "b", T0 + 100_000)
    if deleted:
        del desk.world.meters["a"]
    if terminated:
        desk.delete()
    end, read = (301 if terminated else 600), (240 if deleted else 300)
    desk.run(T0 + 301, T0 + read + desk.settings.estimate_wait_seconds + 99)
    assert desk.phase == ("Terminated" if terminated else "Delivered")
    assert desk.status["phaseSince"] == format_time(T0 + read + desk.settings.estimate_wait_seconds)
    assert desk.quantities == {"contracted": end * 16, "delivered": (end + read) * 8, OUT[end - read > 30]: (end - read) * 8}


@pytest.mark.parametrize("terminated", [False, True], ids=["window over", "contract deleted"])
def test_an_agent_that_came_unseen(terminated: bool) -> None:
    """Its first report came while the operator was away: what it found counts all the same."""
    desk = Desk(seconds=600)
    desk.nodes("a", "b")
    desk.bind(T0 - 7000, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 7000)
    desk.hand_over("a", "b")
    desk.at(T0)
    for name in ("a", "b"):
        meter(desk, name, T0 + 700, *([xid("a", T0 + 300)] if name == "a" else []))
        desk.world.meters[name] = replace(desk.world.meters[name], since=T0 + 100, complete_since=T0 + 100)
    if terminated:
        desk.delete()
    end = 599 if terminated else 600
    desk.at(T0 + (599 if terminated else 700))
    assert desk.quantities == {"contracted": end * 16, "delivered": (end + 300) * 8, "shortfall": (end - 300) * 8}


def test_terminated_while_a_lot_is_out() -> None:
    """An outage that lasts at the end ends there, and says nothing more."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    desk.world.nodes["a"] = replace(desk.world.nodes["a"], gpus=7)
    desk.at(T0 + 610)
    desk.delete()
    desk.at(T0 + 630)
    for name in ("a", "b"):
        meter(desk, name, T0 + 900)
    desk.at(T0 + 900)
    assert desk.quantities == {"contracted": 630 * 16, "delivered": 630 * 16 - 20 * 8, "excused": 20 * 8}


def test_an_outage_before_the_termination() -> None:
    """It is kept while the end waits for an agent's last sample, though nothing had been metered before."""
    desk = handed_over()
    meter(desk, "b", T0 + 10)
    desk.recover("a", at=T0 + 40)
    desk.delete()
    desk.at(T0 + 60)
    assert desk.phase == "Accepted"
    for name in ("a", "b"):
        meter(desk, name, T0 + 300)
    desk.at(T0 + 300)
    assert desk.quantities == {"contracted": 960, "delivered": 960 - 320, "shortfall": 320}


def test_a_death_found_out_after_the_termination() -> None:
    """The node had died before its contract was deleted: it turns NotReady while the end waits for the agent, which samples on."""
    desk = delivered()
    reports(desk, T0, T0 + 600, "a", "b")
    desk.delete()
    desk.at(T0 + 630)
    desk.fail("a", at=T0 + 650, heartbeat=T0 + 605)
    desk.at(T0 + 650)
    for name in ("a", "b"):
        meter(desk, name, T0 + 900)
    desk.at(T0 + 900)
    assert desk.quantities == {"contracted": 630 * 16, "delivered": 630 * 16 - 25 * 8, "excused": 25 * 8}


def test_an_agent_that_comes_later() -> None:
    """Before its first sample the node is the verdict; from then on the agent."""
    desk = Desk()
    desk.nodes("a", "b")
    desk.bind(T0 - 7000, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 7000)
    desk.hand_over("a", "b")
    desk.at(T0)
    desk.at(T0 + 100)
    assert all("meteredSince" not in b for b in desk.status["bindings"])
    meter(desk, "a", T0 + 130)
    desk.world.meters["a"] = replace(desk.world.meters["a"], since=T0 + 120, complete_since=T0 + 120)
    desk.at(T0 + 131)
    assert [b.get("meteredSince") for b in desk.status["bindings"]] == ["2027-01-04T00:02:00Z", None]
    assert desk.told[-1]["data"]["contract"].get("meter", {}).get("kind") in (None, "node", "mixed")
    desk.at(T0 + 240)
    assert desk.quantities["delivered"] == desk.quantities["contracted"]
