"""The writer against an API server that loses answers, has rivals and refuses: every write once, in an order that is always safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from laycan.control.agenda import Priority
from laycan.control.decision import Decision, PlannedBinding, Reason
from laycan.control.gate import Gate
from laycan.control.requests import DeposedError, Requests
from laycan.control.writer import Authority, Writer
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.resources.constants import FINALIZER
from laycan.resources.times import format_time
from laycan.resources.verdict import Found
from tests.laycan.control.apiserver import Contracts, Fault
from tests.laycan.control.town import HOUR, NOW, SETTINGS, bound, contract, product, world
from tests.laycan.delivery.worlds import meter
from tests.laycan.events.house import until
from tests.laycan.kube.scripted import serving

BEGUN = int(time.time()) - 60
START, END = BEGUN + HOUR, BEGUN + 2 * HOUR


def raw(name: str, holder: str, node: str = "") -> dict[str, Any]:
    """A contract that was just applied, or one that was accepted and has a node."""
    delivery = {"start": format_time(START), "end": format_time(END), "gpus": 8, "lotGpus": 8, "handover": {"namespace": holder}}
    meta = {"namespace": "desk", "name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "5"}
    made: dict[str, Any] = {
        "metadata": {**meta, "creationTimestamp": format_time(BEGUN)},
        "spec": {"intent": "Firm", "terms": {"contractId": name, "productRef": {"name": "h100"}, "delivery": delivery}},
    }
    if node:
        made["metadata"]["finalizers"] = [FINALIZER]
        made["status"] = bound(node, start=START, end=END) | {"epoch": 1}
    return made


def to(node: str, name: str) -> Decision:
    return Decision(True, BEGUN, bindings=(PlannedBinding(node, "h100", 8, START, END),), uid=f"uid-{name}")


def write(
    objects: dict[str, Any], decisions: Mapping[str, Decision], fault: Fault = lambda number, name: "", seconds: float = 20, epoch: int = 1
) -> Contracts:
    """Lets the writer work until every decision is written and nothing is left to do."""
    api = Contracts(objects, fault)
    made = world(nodes=["n1", "n2", "n3", "n4"])
    made.products["h100"] = product("h100")

    async def go() -> None:
        async with serving(api.handle) as client:
            api.show(made)
            authority = Authority(SETTINGS, "urn:laycan:x", epoch)
            requests = Requests(client, made, Gate(made, lambda: None), lambda: True)
            writer = Writer(made, authority, lambda: int(time.time()), requests)
            writer.start()
            writer.decide({f"desk/{name}": decision for name, decision in decisions.items()})
            task = asyncio.create_task(writer.run())
            try:
                async with asyncio.timeout(seconds):
                    while not (task.done() or all(arrived(api, name, d) for name, d in decisions.items())):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            finally:
                task.cancel()
                (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, DeposedError):
                raise ended

    asyncio.run(go())
    return api


def arrived(api: Contracts, name: str, decision: Decision) -> bool:
    status = api.objects[name].get("status", {})
    if not decision.accepted:
        return bool(status.get("phase") == "Rejected")
    return status.get("phase") == "Accepted" and [b["node"] for b in status.get("bindings", ())] == [b.node for b in decision.bindings]


def never_twice(api: Contracts, before: Mapping[str, str]) -> None:
    """Replays the writes: no node is on two contracts after any of them."""
    held = {name: {node} for name, node in before.items() if node}
    for name, state in api.writes:
        held[name] = {b["node"] for b in state.get("status", {}).get("bindings", ())}
        nodes = [node for found in held.values() for node in found]
        assert len(nodes) == len(set(nodes)), (name, held)


def test_a_new_promise_takes_two_writes_finalizer_first() -> None:
    """What was promised must not vanish unseen, so the finalizer is there before the promise."""
    api = write({"a": raw("a", "acme")}, {"a": to("n1", "a")})
    assert [FINALIZER in state["metadata"].get("finalizers", ()) for _, state in api.writes] == [True, True]
    assert [state.get("status", {}).get("phase") for _, state in api.writes] == [None, "Accepted"]


def test_a_refusal_takes_one_write() -> None:
    """And leaves no finalizer behind."""
    api = write({"a": raw("a", "acme")}, {"a": Decision(False, BEGUN, Reason("NoCapacity", "h100 is short"), uid="uid-a")})
    assert len(api.writes) == 1
    assert "finalizers" not in api.objects["a"]["metadata"]


def test_a_chain_of_moves_releases_before_it_acquires() -> None:
    """a leaves n1 for n2, which b leaves for n3, which c leaves for n4: the last goes first."""
    before = {"a": "n1", "b": "n2", "c": "n3"}
    api = write({n: raw(n, f"h{n}", node) for n, node in before.items()}, {"a": to("n2", "a"), "b": to("n3", "b"), "c": to("n4", "c")})
    assert [name for name, _ in api.writes] == ["c", "b", "a"]
    never_twice(api, before)


def test_who_comes_in_the_same_turn_waits() -> None:
    """Two acquire the same before either is sent, as lots that choose their cards at once: one is written, the other waits."""
    objects = {name: raw(name, f"h{name}", node) for name, node in (("a", "n2"), ("b", "n3"))}
    with pytest.raises(TimeoutError):
        write(objects, {"a": to("n1", "a"), "b": to("n1", "b")}, seconds=1)
    assert sorted(each["status"]["bindings"][0]["node"] for each in objects.values())[:1] == ["n1"]
    assert len({each["status"]["bindings"][0]["node"] for each in objects.values()}) == 2


def test_a_swap_is_written_in_two_phases() -> None:
    """Neither can go first, so one lets go before the other comes."""
    before = {"a": "n1", "b": "n2"}
    api = write({n: raw(n, f"h{n}", node) for n, node in before.items()}, {"a": to("n2", "a"), "b": to("n1", "b")})
    never_twice(api, before)
    assert len(api.writes) == 3


@pytest.mark.parametrize("seed", range(6))
def test_lost_answers_and_rivals_change_nothing_but_the_number_of_tries(seed: int) -> None:
    """F5, F6: the outcome is that of a quiet run, and no state on the way is wrong."""
    rng = random.Random(seed)
    before = {"a": "n1", "b": "n2", "c": "n3", "d": ""}
    wanted = {"a": "n2", "b": "n3", "c": "n1", "d": "n4"}

    def fault(number: int, name: str) -> str:
        return rng.choice(["", "", "lose", "drop", "rival"]) if number < 12 else ""

    api = write({n: raw(n, f"h{n}", node) for n, node in before.items()}, {n: to(node, n) for n, node in wanted.items()}, fault, seconds=60)
    never_twice(api, before)


def test_one_object_that_is_always_refused_delays_nobody() -> None:
    """It is tried again, later and later; the others are written meanwhile."""
    objects = {name: raw(name, "acme") for name in ("bad", "b", "c", "d")}
    api = write(
        objects,
        {name: to(node, name) for name, node in (("b", "n1"), ("c", "n2"), ("d", "n3"))},
        lambda number, name: "refuse" if name == "bad" else "",
        seconds=5,
    )
    assert {name for name, _ in api.writes} == {"b", "c", "d"}


def test_nothing_is_written_without_the_lease() -> None:
    """The lease is asked before each write, not once."""
    api = Contracts({"a": raw("a", "acme")})
    made = world()

    async def go() -> None:
        async with serving(api.handle) as client:
            api.show(made)
            requests = Requests(client, made, Gate(made, lambda: None), lambda: False)
            writer = Writer(made, Authority(SETTINGS, "urn:laycan:x", 1), lambda: int(time.time()), requests)
            writer.start()
            writer.decide({"desk/a": to("n1", "a")})
            with pytest.raises(DeposedError):
                await asyncio.wait_for(writer.run(), 10)

    asyncio.run(go())
    assert api.writes == []


def test_only_news_of_a_meter_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that time went by wakes nobody (12,500 agents write 42 a second); what was found is urgent to those on its node alone."""
    made = world([contract("a", status=bound("n1")), contract("b", status=bound("n2"))])
    requests = Requests(Client(Credentials("http://127.0.0.1:1", None, str)), made, Gate(made, lambda: None), lambda: True)
    writer, touched = Writer(made, Authority(SETTINGS, "urn:laycan:x", 1), lambda: NOW, requests), list[tuple[str, Priority]]()
    writer.start()
    made.put("meters", "n1", meter("n1"))
    monkeypatch.setattr(Writer, "touch", lambda _, key, priority: touched.append((key, priority)))
    made.put("meters", "n1", meter("n1", version=2))
    assert touched == []
    made.put("meters", "n1", meter("n1", Found("GPU-0", "Missing", 0, 0, NOW, None), version=3))
    assert touched == [("desk/a", Priority.FAILURE)]


def test_a_wake_that_comes_while_it_is_written() -> None:
    """One request of a contract is under way at a time, also where its start comes while the answer is still out."""
    api, made, now = Contracts({"a": raw("a", "acme", "n1")}), world(nodes=["n1", "n2"]), [BEGUN]
    made.products["h100"] = product("h100")
    writers, under_way, most = list[Writer](), 0, 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for writer in writers:
            now[0] = START + 1
            writer.touch_all()
        await asyncio.sleep(0.05)
        under_way -= 1
        return await api.handle(request)

    async def go() -> None:
        async with serving(slow) as client:
            api.show(made)
            requests = Requests(client, made, Gate(made, lambda: None), lambda: True)
            writer = Writer(made, Authority(SETTINGS, "urn:laycan:x", 1), lambda: now[0], requests)
            writer.start()
            task = asyncio.create_task(writer.run())
            await until(writer.idle)
            writers.append(writer)
            writer.decide({"desk/a": to("n2", "a")})
            await until(lambda: writer.idle() and api.objects["a"]["status"]["phase"] == "Delivering")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    assert most == 1
