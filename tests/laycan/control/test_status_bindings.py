"""Bindings in the status: lot numbers, history, when something was bound and handed over."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control.decision import PlannedBinding
from laycan.control.rebind import rebind
from laycan.delivery.metering.served import Bound
from tests.laycan.control.desk import T0, accepted, delivering


def plan(node: str, start: int, end: int, gpus: int = 8) -> PlannedBinding:
    return PlannedBinding(node, "h100", gpus, start, end)


def test_numbers_from_zero() -> None:
    """Lots are numbered from 0; bindings say since when they are bound, and level Node."""
    desk = accepted()
    assert desk.lots() == {"a": [0], "b": [1]}
    assert {(b["boundAt"], b["level"], b["gpus"]) for b in desk.status["bindings"]} == {("2027-01-03T23:00:00Z", "Node", 8)}


def test_of_the_largest_contract() -> None:
    """65,536 GPUs on 8,192 nodes are numbered in less than a second, not most of a minute, of the loop that everything waits for."""
    plan = [PlannedBinding(f"n{i:04}", "h100", 8, T0, T0 + 3600) for i in range(8192)]
    begun = time.process_time()
    made = rebind((), plan, 8192, 8, T0 - 60)
    assert time.process_time() - begun < 10
    assert [bound.lots for bound in made] == [(lot,) for lot in range(8192)]


def test_a_replaced_lot_takes_the_number_of_the_lost_one() -> None:
    """Node b is lost: c gets lot 1, a keeps lot 0 and everything about it."""
    desk = delivering()
    before = next(b for b in desk.status["bindings"] if b["node"] == "a")
    desk.fail("b", at=T0 + 100)
    desk.at(T0 + 100)
    desk.bind(T0 + 101, ("a", T0, desk.end), ("c", T0 + 101, desk.end))
    desk.at(T0 + 101)
    assert desk.lots() == {"a": [0], "b": [1], "c": [1]}
    assert next(b for b in desk.status["bindings"] if b["node"] == "a") == before
    ends = {b["node"]: b["end"] for b in desk.status["bindings"]}
    assert ends["b"] == "2027-01-04T00:01:41Z"
    new = next(b for b in desk.status["bindings"] if b["node"] == "c")
    assert new["boundAt"] == "2027-01-04T00:01:41Z"
    assert "handedOverAt" not in new


def test_history_goes_when_the_meter_has_passed() -> None:
    """A binding that has ended is kept as long as the meter needs it, and no longer."""
    desk = delivering()
    desk.bind(T0 + 100, ("a", T0, desk.end), ("c", T0 + 100, desk.end))
    desk.at(T0 + 100)
    desk.hand_over("c")
    desk.at(T0 + 102)
    desk.at(T0 + 159)
    assert set(desk.lots()) == {"a", "b", "c"}
    desk.at(T0 + 160)
    desk.run(T0 + 161, T0 + 300)
    assert set(desk.lots()) == {"a", "c"}


def test_handed_over_in_the_lead() -> None:
    """Access that was given shortly before the start counts from the start; far ahead of it nothing is noted."""
    desk = accepted()
    desk.hand_over("a", "b")
    desk.at(T0 - 600)
    assert not any("handedOverAt" in b for b in desk.status["bindings"])
    desk.at(T0 - 20)
    assert {b.get("handedOverAt") for b in desk.status["bindings"]} == {"2027-01-03T23:59:40Z"}
    desk.run(T0 - 19, desk.end + 60)
    assert desk.quantities == {"contracted": 57_600, "delivered": 57_600}


def test_access_lost_again_in_the_lead() -> None:
    """What was handed over early and taken away before the start was never handed over."""
    desk = accepted()
    desk.hand_over("a", "b")
    desk.at(T0 - 20)
    desk.hand_over("a", holder="")
    desk.at(T0 - 10)
    assert [b["node"] for b in desk.status["bindings"] if "handedOverAt" in b] == ["b"]


@pytest.mark.parametrize("missing", ["fence", "label", "ready"])
def test_handover_takes_all_three(missing: str) -> None:
    """Handed over is: fence and label name the holder, and the node is Ready."""
    desk = accepted()
    desk.hand_over("a", "b")
    if missing == "fence":
        desk.world.fence = None
    elif missing == "label":
        desk.nodes("a", "b")
    else:
        for name in "ab":
            desk.fail(name, at=T0 - 10)
    desk.at(T0 + 1)
    assert not any("handedOverAt" in b for b in desk.status["bindings"])


def test_shrunk_and_grown_on_one_node() -> None:
    """A contract of lots of four: fewer lots on a node cut the old binding, those that stay keep number and access."""
    bounds = (Bound("a", "h100", 8, (0, 1), 0, 100, bound_at=-5, handed_over_at=0),)
    less = rebind(bounds, [plan("a", 50, 100, 4), plan("b", 50, 100, 4)], lots=2, lot_gpus=4, now=50)
    assert [(b.node, b.lots, b.start, b.end, b.handed_over_at) for b in less] == [
        ("a", (0, 1), 0, 50, 0),
        ("a", (0,), 50, 100, 0),
        ("b", (1,), 50, 100, None),
    ]
    more = rebind(less, [plan("a", 60, 100, 8)], lots=2, lot_gpus=4, now=60)
    assert [(b.node, b.lots, b.start, b.end) for b in more if b.end > 60] == [("a", (0, 1), 60, 100)]


def test_a_chain_crosses_numbers() -> None:
    """A binding across two others' times needs a number that is free for all of it; later ones give way."""
    bounds = (Bound("a", "h100", 8, (0,), 0, 10, 0), Bound("b", "h100", 8, (1,), 20, 30, 0))
    made = rebind(bounds, [plan("a", 0, 10), plan("c", 5, 25), plan("b", 20, 30)], lots=2, lot_gpus=8, now=0)
    assert {b.node: b.lots for b in made} == {"a": (0,), "c": (1,), "b": (0,)}


def test_exact_gpus_lot_by_lot() -> None:
    """Where exact GPUs are delivered each lot has a binding of its own, and keeps it, its cards and its access when others come or go."""

    def exact(node: str, start: int, end: int, gpus: int) -> PlannedBinding:
        return plan(node, start, end, gpus)._replace(level="Device")

    first = rebind((), [exact("a", 0, 100, 8)], lots=3, lot_gpus=4, now=0)
    assert [(b.lots, b.gpus, b.level) for b in first] == [((0,), 4, "Device"), ((1,), 4, "Device")]
    had = tuple(replace(b, devices=(f"U{b.lots[0]}",), handed_over_at=b.lots[0]) for b in first)
    assert rebind(had, [exact("a", 0, 100, 8)], lots=3, lot_gpus=4, now=50) == had
    grown = rebind(had, [exact("a", 50, 100, 12)], lots=3, lot_gpus=4, now=50)
    assert grown[:2] == had
    assert (grown[2].lots, grown[2].start, grown[2].devices, grown[2].handed_over_at) == ((2,), 50, (), None)
    moved = rebind(had, [exact("a", 50, 100, 4), exact("b", 50, 100, 4)], lots=2, lot_gpus=4, now=50)
    assert [(b.node, b.lots, b.start, b.end, b.devices) for b in moved if b.end > 50] == [
        ("a", (0,), 0, 100, ("U0",)),
        ("b", (1,), 50, 100, ()),
    ]
    whole = rebind(had, [plan("a", 50, 100, 8)], lots=3, lot_gpus=4, now=50)
    assert [(b.lots, b.level, b.devices, b.handed_over_at) for b in whole if b.end > 50] == [((0, 1), "Node", (), None)]


@st.composite
def chains(draw: st.DrawFn) -> list[PlannedBinding]:
    """Chains of bindings of up to four lots, as a planner makes them: a node serves whole lots, joined per node and time."""
    made: list[PlannedBinding] = []
    for lot in range(draw(st.integers(1, 4))):
        cuts = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=5)))
        for a, b in itertools.pairwise(cuts):
            if draw(st.booleans()):
                made.append(plan(f"n{lot}-{draw(st.integers(0, 2))}", a, b))
    return made


@given(chains(), chains(), st.integers(0, 40), st.sampled_from(["Node", "Device"]))
@settings(max_examples=300, deadline=None)
def test_no_lot_is_in_two_places(first: list[PlannedBinding], second: list[PlannedBinding], now: int, level: str) -> None:
    """However plans change, a lot has one binding at a time, the plan is bound exactly, history is not rewritten, and twice is once."""
    first, second = [p._replace(level=level) for p in first], [p._replace(level=level) for p in second]
    before = rebind((), first, lots=4, lot_gpus=8, now=0)
    after = rebind(before, second, lots=4, lot_gpus=8, now=now)
    for lot in range(4):
        mine = sorted((b for b in after if lot in b.lots), key=lambda b: b.start)
        assert all(a.end <= b.start for a, b in itertools.pairwise(mine))
    assert sum(b.end - max(b.start, now) for b in after if b.end > now) == sum(p.end - max(p.start, now) for p in second if p.end > now)

    def past(bounds: tuple[Bound, ...]) -> set[tuple[str, int, int]]:
        return {(b.node, lot, t) for b in bounds for lot in b.lots for t in range(b.start, min(b.end, now))}

    assert past(after) == past(before)
    assert rebind(after, second, lots=4, lot_gpus=8, now=now) == after
