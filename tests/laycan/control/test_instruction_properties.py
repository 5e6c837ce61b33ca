"""What holds whatever is instructed, in whatever order, by whomever, while nodes fail and come back."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control.conditions import SUSPENDED
from laycan.resources.times import format_time
from tests.laycan.control.acts import HEAD, act_of, answer, envelope, store, trust, trusted
from tests.laycan.control.desk import T0, Desk
from tests.laycan.control.test_receipts import receipts, seal
from tests.laycan.control.test_status_properties import _steps

BEGIN = T0 - 40


class Order(NamedTuple):
    """An instruction: `key` 1 is trusted, 0 unsigned; `effective` seconds after it came; windows in seconds after the start."""

    action: str
    key: int
    effective: int
    previous: str
    lots: str
    start: int
    seconds: int


ACTIONS = ("Terminate", "AcceptDelivery", "Dispute", "AcceptSubstitution", "AcceptBuyerCaused", "ElectMakeGood", "Suspend", "Resume")
actions = st.sampled_from(ACTIONS)
usual = st.one_of(actions, st.sampled_from(["Suspend", "Resume", "AcceptBuyerCaused"]))
orders = st.builds(
    Order,
    usual,
    st.sampled_from([1, 1, 1, 1, 0, 2]),
    st.sampled_from([0, 0, 0, -30, 90]),
    st.sampled_from([HEAD, HEAD, HEAD, HEAD, "", "sha256:" + "7" * 64]),
    st.sampled_from(["0", "0-1", "1", "2"]),
    st.integers(-60, 660),
    st.integers(0, 300),
)
faults = st.tuples(st.sampled_from(["fail", "recover", "hold", "give", "deaf", "hear"]), st.sampled_from(["a", "b"]))
storms = st.lists(st.tuples(st.integers(1, 90), st.one_of(orders, orders, faults)), min_size=3, max_size=20)
Storm = list[tuple[int, Order | tuple[str, str]]]


def fresh() -> Desk:
    desk = Desk(seconds=600, tolerance={"graceSeconds": 20, "cureSeconds": 60})
    trust(desk, trusted(1))
    desk.seal = seal()
    desk.nodes("a", "b")
    desk.bind(T0 - 100, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 100)
    return desk


def order(desk: Desk, number: int, now: int, told: Order) -> None:
    payload: dict[str, Any] = {}
    if told.action == "AcceptBuyerCaused":
        start = T0 + told.start
        payload = {"buyerCaused": {"lots": told.lots, "start": format_time(start), "end": format_time(start + told.seconds)}}
    elif told.action == "ElectMakeGood":
        payload = {"makeGood": {"mode": "Extend", "lots": 1 + len(told.lots)}}
    elif told.action == "AcceptSubstitution":
        payload = {"substitution": {"product": "h200"}}
    act = act_of(desk, told.action, now + told.effective, told.previous, **payload)
    store(desk, act, now, envelope=envelope(act, told.key) if told.key else "", name=f"order-{number:03}")


def fault(desk: Desk, now: int, what: str, name: str) -> None:
    if what == "fail":
        desk.fail(name, at=now, heartbeat=now)
    elif what == "recover":
        desk.recover(name, at=now)
    elif what in ("hold", "give"):
        desk.hand_over(name, **({"holder": "frozen.uid-1"} if what == "hold" else {}))
    else:
        desk.deaf = what == "deaf"


def perform(storm: Storm, without: frozenset[str] = frozenset()) -> tuple[Desk, list[dict[str, Any]], dict[str, str]]:
    """Plays the storm and looks every 30 s and at each act; the statuses, and what was said of each instruction first and last."""
    desk, written, said = fresh(), list[dict[str, Any]](), dict[str, str]()
    desk.hand_over("a", "b")
    todo: dict[int, list[tuple[int, Order | tuple[str, str]]]] = {}
    at = BEGIN
    for number, (gap, what) in enumerate(storm):
        at += gap
        todo.setdefault(at, []).append((number, what))
    for now in sorted({*todo, *range(BEGIN, T0 + 2400, 30)}):
        for number, what in todo.get(now, ()):
            if not isinstance(what, Order):
                fault(desk, now, *what)
            elif f"desk/order-{number:03}" not in without:
                order(desk, number, now, what)
        if (status := desk.at(now)) is not None:
            written.append(status)
        said = answer(desk, now)
    return desk, written, said


@given(storms)
@settings(max_examples=80, deadline=None)
def test_invariants(storm: Storm) -> None:
    """Classes add up, phases go by the table, each flip of Suspended is told once, receipts add up, and the head follows the chain."""
    desk, written, said = perform(storm)
    before: dict[str, Any] = {}
    heads, flips, moves = [""], 0, 0
    for status in written:
        q = status.get("quantities", {"contractedGpuSeconds": 0})
        assert q["contractedGpuSeconds"] == sum(n for k, n in q.items() if k not in ("contractedGpuSeconds", "estimatedGpuSeconds"))
        assert q["contractedGpuSeconds"] >= before.get("quantities", {}).get("contractedGpuSeconds", 0)
        assert len(status.get("outbox", ())) <= 8
        moves += _steps(before.get("phase", "Accepted"), status["phase"])
        flips += held(status) != held(before)
        assert held(status) == ("suspendedSince" in status["instructions"])
        if (head := status["instructions"].get("headDigest", "")) != heads[-1]:
            heads.append(head)
        before = status
    names = [name for name in desk.news if name in ("contract.suspended", "contract.resumed")]
    assert len(names) == flips if not desk.deaf else len(names) <= flips
    assert [int(event["sequence"]) for event in desk.told] == list(range(1, len(desk.told) + 1))
    done = {view.digest: view for view in desk.world.instructions.values() if said[view.key] == "Applied"}
    assert set(heads[1:]) <= done.keys()
    for view in done.values():
        assert view.previous == "" or view.previous in done
        assert view.key in said
    assert len({view.previous for view in done.values()}) == len(done), "each act is cited by one at most"
    if desk.phase in ("Settled", "Terminated") and desk.status["quantities"]["contractedGpuSeconds"]:
        assert receipts(desk)[-1]["cumulative"] == {"estimatedGpuSeconds": 0, **desk.status["quantities"]}


def held(status: dict[str, Any]) -> bool:
    return any(c["type"] == SUSPENDED and c["status"] == "True" for c in status.get("conditions", ()))


@given(storms)
@settings(max_examples=60, deadline=None)
def test_what_is_rejected_changes_nothing(storm: Storm) -> None:
    """With all rejected instructions left out, every status is the same to the byte."""
    _, written, said = perform(storm)
    rejected = frozenset(key for key, word in said.items() if word not in ("Applied", "NotYetEffective", "AwaitsPrevious", "Due"))
    assert json.dumps(perform(storm, rejected)[1]) == json.dumps(written)
