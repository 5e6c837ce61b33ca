"""What holds for the status of a contract whatever happens: seeded storms of failures, plans, acknowledgements and restarts."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control.lifecycle import TABLE, Phase
from laycan.resources.verdict import Found
from tests.laycan.control.desk import T0, Desk, short
from tests.laycan.delivery.worlds import meter

NODES = ("n1", "n2", "n3", "n4")
TOLD = {"HandedOver", "AtRisk", "Shortfall", "Curtailed", "Degraded"}

acts = st.one_of(
    st.tuples(st.just("fail"), st.sampled_from(NODES), st.integers(0, 50)),
    st.tuples(st.just("recover"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("gone"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("give"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("take"), st.sampled_from(NODES), st.just(0)),
    st.tuples(st.just("plan"), st.sampled_from(NODES), st.integers(0, 7)),
    st.tuples(st.just("find"), st.sampled_from(NODES), st.integers(0, 2)),
    st.tuples(st.just("deaf"), st.just(""), st.integers(0, 1)),
    st.tuples(st.just("delete"), st.just(""), st.integers(0, 9)),
)
storms = st.lists(st.tuples(st.integers(1, 60), acts), min_size=4, max_size=30)  # (seconds after the one before, act)
BEGIN = T0 - 40


def fresh() -> Desk:
    desk = Desk(seconds=600, tolerance={"graceSeconds": 20, "cureSeconds": 60})
    desk.world.products["h100"]["spec"] |= {"health": {"version": "1", "acceptDegraded": ["PcieDegraded"]}}  # type: ignore[index]
    desk.nodes(*NODES)
    desk.bind(T0 - 100, ("n1", T0, desk.end), ("n2", T0, desk.end))
    return desk


def act(desk: Desk, now: int, what: str, name: str, number: int) -> None:
    """One thing that happens in the cluster."""
    if what in ("fail", "recover", "give", "take") and name not in desk.world.nodes:
        desk.nodes(name, since=now)
    if what == "fail":
        desk.fail(name, at=now, heartbeat=now - number)
    elif what == "recover":
        desk.recover(name, at=now)
    elif what == "gone":
        desk.world.nodes.pop(name, None)
    elif what == "give":
        desk.hand_over(name)
    elif what == "take":
        desk.hand_over(name, holder="other" if number else "")
    elif what == "plan" and now < desk.end:
        plan(desk, now, name, number)
    elif what == "find":
        find(desk, now, name, number)
    elif what == "deaf":
        desk.deaf = bool(number)
    elif what == "delete" and number == 0:
        desk.delete()


def plan(desk: Desk, now: int, name: str, number: int) -> None:
    """The contract is bound to this node and another, or one lot stays without; most often access comes at once."""
    other = NODES[number % 4] if NODES[number % 4] != name else NODES[(number + 1) % 4]
    lost = (short(now, desk.end),) if number == 7 else ()
    desk.bind(now, (name, now, desk.end), *([] if lost else [(other, now, desk.end)]), short=lost)
    if number > 2:
        for each in {name, other} & desk.world.nodes.keys():
            desk.hand_over(each)


def find(desk: Desk, now: int, name: str, number: int) -> None:
    """The agent of the node reports nothing wrong, a GPU that is slower than it should be, or a broken one besides."""
    found = (Found("GPU-1", "PcieDegraded", 0, 8, now - 5, None), Found("GPU-2", "Xid", 79, 0, now - 5, None))[:number]
    desk.world.meters[name] = meter(name, *found, at=now)


def perform(desk: Desk, storm: list[tuple[int, tuple[str, str, int]]], extra: set[int] = frozenset()) -> list[dict[str, Any]]:  # type: ignore[assignment]
    """Plays the storm; looks after each act, at what the contract asks for, and at the `extra` instants. Returns all statuses."""
    written = []
    desk.hand_over("n1", "n2")
    todo = [(BEGIN + sum(gap for gap, _ in storm[: i + 1]), what) for i, (_, what) in enumerate(storm)]
    looks = sorted({BEGIN, *extra, *(at for at, _ in todo), *range(T0, desk.end + 240, 60), desk.end + 300})
    for now in looks:
        for at, (what, name, number) in todo:
            if at == now:
                act(desk, now, what, name, number)
        if (status := desk.at(now)) is not None:
            written.append(status)
    desk.deaf = False
    written += [status for now in range(desk.end + 301, desk.end + 306) if (status := desk.at(now)) is not None]
    return written


@given(storms)
@settings(max_examples=150, deadline=None)
def test_invariants(storm: list[tuple[int, tuple[str, str, int]]]) -> None:
    """Identity at every write, phases by the table, one event for each move and flip, numbered without a gap, eight at most waiting."""
    check(storm)


@pytest.mark.parametrize("seed", range(25))
def test_invariants_in_long_storms(seed: int) -> None:
    """The same for forty acts at a time, most of them failures, returns and re-binds."""
    chance = random.Random(seed)
    kinds = ["fail"] * 4 + ["recover"] * 4 + ["give"] * 3 + ["plan"] * 5 + ["gone", "take", "deaf", "find"]
    storm = [(chance.randint(3, 25), (chance.choice(kinds), chance.choice(NODES), chance.randint(0, 7))) for _ in range(40)]
    assert len(check(storm).told) > 4


def check(storm: list[tuple[int, tuple[str, str, int]]]) -> Desk:
    desk = fresh()
    written = perform(desk, storm)
    moves, flips = 0, Counter[str]()
    before: dict[str, Any] = {}
    for status in written:
        q = status.get("quantities")
        if q:
            assert q["contractedGpuSeconds"] == sum(v for k, v in q.items() if k != "contractedGpuSeconds")
            assert q["contractedGpuSeconds"] >= (before.get("quantities") or {}).get("contractedGpuSeconds", 0)
        assert len(status.get("outbox", ())) <= 8
        old, new = before.get("phase", ""), status.get("phase", "")
        moves += _steps(old, new)
        flips += _flips(before, status)
        before = status
    names = Counter(event["type"].split(".")[2] for event in desk.told)
    assert names["contract"] == moves
    expired = sum(event["type"].endswith("cure_expired.v1") for event in desk.told)
    assert names["delivery"] + names["shortfall"] + names["risk"] - expired == sum(flips.values())
    assert [int(event["sequence"]) for event in desk.told] == list(range(1, len(desk.told) + 1))
    return desk


def _steps(old: str, new: str) -> int:
    """How many rows of the table lead from one phase to another; fails when none do."""
    steps, reached = 0, {Phase(old)}
    while Phase(new) not in reached:
        reached = {target for (origin, _), target in TABLE.items() if origin in reached}
        assert reached, f"{old} -> {new} is not in the table"
        steps += 1
    return steps


def _flips(old: dict[str, Any], new: dict[str, Any]) -> Counter[str]:
    def true(status: dict[str, Any]) -> set[str]:
        return {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"} & TOLD

    return Counter(true(old) ^ true(new))


@given(storms, st.sets(st.integers(BEGIN, T0 + 900), max_size=12))
@settings(max_examples=150, deadline=None)
def test_looking_more_often_counts_nothing_twice(storm: list[tuple[int, tuple[str, str, int]]], extra: set[int]) -> None:
    """The final counters do not depend on when else the contract was looked at: a restart at any instant changes nothing."""
    storm = [(gap, what) for gap, what in storm if what[0] in ("fail", "recover", "plan", "give")]
    one, two = fresh(), fresh()
    perform(one, storm)
    perform(two, storm, extra)
    assert one.quantities == two.quantities
    assert one.phase == two.phase


@given(storms)
@settings(max_examples=50, deadline=None)
def test_same_history_same_bytes(storm: list[tuple[int, tuple[str, str, int]]]) -> None:
    """Nothing in a status comes from anywhere but the arguments."""
    assert json.dumps(perform(fresh(), storm)) == json.dumps(perform(fresh(), storm))
