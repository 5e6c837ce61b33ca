"""Webhooks from a real operator on a real API server to a receiver that fails: at least once, in order, not lost by a kill."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from tests.cluster.operator import GROUP, Market, at, await_phase, contract, market, read
from tests.laycan.events.exchange import SECRET, Exchange, answer, lose_reply

pytestmark = pytest.mark.xdist_group("webhooks")


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market whose operator may read the desk's webhook key."""
    with market(tmp_path_factory.mktemp("webhooks"), tools, nodes=4) as made:
        made.installed.install("upgrade", "Enforce", "--set", "exchangeNamespaces={desk}")
        key = {"hmac": base64.b64encode(SECRET.encode()).decode()}
        made.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "desk"}, "data": key})
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    yield town
    town.close()


@contextmanager
def listening(desk: Market, *, faults: int = 0) -> Iterator[Exchange]:
    """The exchange in a thread of its own, with the ExchangeEndpoint `gcx` that points to it."""
    exchange, loop = Exchange(published=True, faults=[answer(503)] * faults), asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with exchange.open():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        spec = {"url": exchange.url, "secretRef": {"name": "hook", "key": "hmac"}, "disputeSeconds": 2}
        meta = {"name": "gcx", "namespace": "desk"}
        desk.admin.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": spec})
        yield exchange
        desk.admin.delete(f"{GROUP}/namespaces/desk/exchangeendpoints/gcx")
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def traded(name: str, start: str, end: str, **more: Any) -> Object:
    made = contract(name, start, end, **more)
    made["spec"]["exchangeRef"] = {"name": "gcx"}
    return made


def news(exchange: Exchange, name: str) -> list[str]:
    """What the exchange has heard of a contract, in order; its sequence has no gap and each id one content."""
    assert (exchange.ledger.gaps, exchange.ledger.disorder, exchange.ledger.altered, exchange.ledger.bad_signatures) == (0, 0, 0, 0)
    events = [e for e in exchange.ledger.events if e["subject"] == name]
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
    return [e["type"].removeprefix("dev.laycan.").removesuffix(".v1") for e in events]


def test_a_whole_life_is_told(desk: Market) -> None:
    """From received to settled, through refusals, a lost reply and a kill -9 with events unsent: each event once, in order."""
    with listening(desk, faults=2) as exchange:
        exchange.faults.append(lose_reply)
        operator = desk.operator()
        desk.admin.create(traded("life", at(8), at(20)))
        await_phase(desk.admin, "life", "Accepted")
        operator.kill()
        desk.operator()
        found = await_phase(desk.admin, "life", "Settled", seconds=60)
        until("all is acknowledged", lambda: not (read(desk.admin, "life") or {})["status"].get("outbox"))
        told = news(exchange, "life")
        assert told[:2] == ["contract.received", "contract.accepted"]
        assert told[-2:] == ["contract.delivered", "contract.settled"]
        assert {"contract.delivering", "delivery.started"} <= set(told)
        assert len(told) == found["status"]["ledger"]["sequence"]
        last = [e for e in exchange.ledger.events if e["subject"] == "life"][-1]
        assert last["data"]["contract"]["quantities"] == found["status"]["quantities"]
        assert found["status"]["quantities"]["contractedGpuSeconds"] == 12 * 8
        uid = desk.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
        assert last["source"] == f"urn:laycan:{uid}"


def test_an_interruption_is_told(desk: Market) -> None:
    """A node dies under a contract: interrupted, then restored on another node; the exchange learns no node's name."""
    with listening(desk) as exchange:
        desk.operator()
        desk.admin.create(traded("hurt", at(2), at(600)))
        until("it is delivered", lambda: "delivery.started" in news(exchange, "hurt"), seconds=40)
        (binding,) = (read(desk.admin, "hurt") or {})["status"]["bindings"]
        fleet.kill_node(desk.admin, binding["node"])
        until("it is restored", lambda: "delivery.restored" in news(exchange, "hurt"), seconds=60)
        told = news(exchange, "hurt")
        assert told.index("delivery.started") < told.index("delivery.interrupted") < told.index("delivery.restored")
        assert not any(node in str(event["data"]) for event in exchange.ledger.events for node in desk.nodes)


def test_the_last_event_is_sent_before_a_contract_goes(desk: Market) -> None:
    """A contract that is deleted in its window stays until the exchange, away at first, has heard that it is terminated."""
    with listening(desk) as exchange:
        desk.operator()
        desk.admin.create(traded("cut", at(2), at(600)))
        until("it is delivered", lambda: "delivery.started" in news(exchange, "cut"), seconds=40)
        exchange.faults.extend([answer(503)] * 2)
        desk.delete("cut")
        until(
            "it is terminated",
            lambda: (read(desk.admin, "cut") or {"status": {}})["status"].get("phase") in ("Terminated", None),
            seconds=30,
        )
        until("it is gone", lambda: read(desk.admin, "cut") is None, seconds=60)
        assert news(exchange, "cut")[-1] == "contract.terminated"
        assert exchange.faults == []


def test_a_refusal_is_told(desk: Market) -> None:
    """What cannot be delivered is told with code, message and pool."""
    with listening(desk) as exchange:
        desk.operator()
        desk.admin.create(traded("huge", at(600), at(1200), gpus=8 * 5))
        await_phase(desk.admin, "huge", "Rejected")
        until("it is told", lambda: news(exchange, "huge") == ["contract.received", "contract.rejected"], seconds=30)
        reason = exchange.ledger.events[-1]["data"]["change"]["reason"]
        assert (reason["code"], reason["pool"]) == ("ExceedsFleet", "h100")
