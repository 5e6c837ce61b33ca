"""The sender against a real HTTP receiver that fails in every way: nothing lost, order kept, the same bytes for each id."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from laycan.events import retries
from laycan.events.outbox import Outbox
from laycan.events.sender import Sender
from laycan.kube.views import ContractView
from laycan.kube.world import World
from tests.laycan.events.exchange import SECRET, Exchange, answer, hang, lose_reply, slow

FAST = (0.0, 0.01, 0.02, 0.05)  # seconds, in place of hours


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAYS", FAST)


class Office:
    """Outboxes in a World, acknowledged entries leave them a little later, as the writer would have it."""

    def __init__(self, exchange: Exchange, **options: Any) -> None:
        self.world = World()
        self.acks: list[str] = []
        self.forgets = False  # acknowledgements get lost, as when the operator dies before its next write
        self.secret = SECRET
        self.versions = itertools.count(1)
        self.options = options
        self.point(exchange.url)
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        async def get_secret(namespace: str, name: str, key: str) -> bytes:
            if not self.secret:
                raise LookupError(f"no Secret {namespace}/{name}")
            return self.secret.encode()

        return Sender(self.world, get_secret, self.on_ack, lambda: int(time.time()), **self.options)

    def point(self, url: str, **annotations: str) -> None:
        spec = {"url": url, "secretRef": {"name": "hook", "key": "hmac"}}
        self.world.put("endpoints", "desk/gcx", {"metadata": {"annotations": annotations}, "spec": spec})

    def on_ack(self, key: str, event_id: str) -> None:
        if self.forgets:
            return
        self.acks.append(event_id)
        asyncio.get_running_loop().call_later(0.005, self.drop, key, event_id)

    def drop(self, key: str, event_id: str) -> None:
        contract = self.world.contracts[key]
        left = [e for e in contract.status["outbox"] if e["id"] != event_id]
        self.put(contract.name, {**contract.status, "outbox": left})

    def put(self, name: str, status: dict[str, Any]) -> None:
        spec = {"exchangeRef": {"name": "gcx"}, "terms": {"contractId": name.upper()}}
        self.world.put(
            "contracts", f"desk/{name}", ContractView("desk", name, f"uid-{name}", next(self.versions), 1, 0, False, (), {}, spec, status)
        )

    def say(self, name: str, count: int) -> None:
        """`count` more events of a contract."""
        contract = self.world.contracts.get(f"desk/{name}")
        status = dict(contract.status) if contract else {}
        outbox = Outbox.open(status, uid=f"uid-{name}", contract_id=name.upper(), source="urn:laycan:k", acked=frozenset(), silent=False)
        for i in range(count):
            assert outbox.say("risk.raised" if i % 2 else "risk.cleared", {"i": i})
        outbox.seal({"phase": "Accepted", "conditions": []}, int(time.time()))
        self.put(name, {"outbox": outbox.entries, "ledger": {"sequence": outbox.sequence}})

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[Sender]:
        task = asyncio.create_task(self.sender.run())
        try:
            yield self.sender
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def all_sent(self, seconds: float = 10.0) -> None:
        await until(lambda: not any(c.status["outbox"] for c in self.world.contracts.values()), seconds)


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


def run(test: Callable[[Exchange], Awaitable[None]]) -> Exchange:
    exchange = Exchange()

    async def main() -> None:
        async with exchange.open():
            await test(exchange)

    asyncio.run(main())
    assert (exchange.heard.gaps, exchange.heard.disorder, exchange.heard.altered) == (0, 0, 0)
    bodies: dict[str, set[bytes]] = {}
    for _, event_id, body, _ in exchange.arrivals:
        bodies.setdefault(event_id, set()).add(body)
    assert all(len(b) == 1 for b in bodies.values()), "an id must always have the same bytes"
    return exchange


def numbers(exchange: Exchange, name: str) -> list[int]:
    return [int(e["sequence"]) for e in exchange.heard.events if e["subject"] == name.upper()]


def test_order_per_contract_and_contracts_side_by_side() -> None:
    """Twelve contracts with five events each arrive in order, several contracts at once but never more than eight."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [slow] * 60
        office = Office(exchange)
        for i in range(12):
            office.say(f"c{i}", 5)
        async with office.sending():
            await office.all_sent()

    exchange = run(test)
    assert all(numbers(exchange, f"c{i}") == [1, 2, 3, 4, 5] for i in range(12))
    assert 2 <= exchange.most_busy <= 8
    assert exchange.heard.requests == 60


@pytest.mark.parametrize("status", [301, 408, 429, 500, 503, 404])
def test_failures_are_repeated_in_order(status: int) -> None:
    """After three refusals of any kind the same event is tried again before those behind it."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(status, location=exchange.url)] * 3
        office = Office(exchange)
        office.say("c", 4)
        async with office.sending():
            await office.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3, 4]
    assert [a[1] for a in exchange.arrivals] == ["uid-c/1"] * 4 + ["uid-c/2", "uid-c/3", "uid-c/4"]


def test_hang_and_lost_reply() -> None:
    """A receiver that hangs costs a time-out; one that took the event and lost the reply sees it again and knows its id."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [hang, lose_reply]
        office = Office(exchange, timeout_seconds=0.2)
        office.say("c", 3)
        async with office.sending():
            await office.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3]
    assert exchange.heard.duplicates == 1


def test_retry_after() -> None:
    """Nobody is called again before the time that a receiver asked for, other contracts of the endpoint included."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(503, retry_after="1")]
        office = Office(exchange)
        office.say("c", 2)
        async with office.sending():
            await until(lambda: office.sender.counts.failed == 1)  # the answer has been read: who comes now waits too
            office.say("d", 1)
            await office.all_sent()

    exchange = run(test)
    first, second = exchange.arrivals[0][0], exchange.arrivals[1][0]
    assert second - first >= 0.95


def test_each_attempt_is_stamped_anew() -> None:
    """The timestamp is that of the attempt: late retries pass the receiver's five minutes."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(503, retry_after="2")]
        office = Office(exchange)
        office.say("c", 1)
        async with office.sending():
            await office.all_sent()

    exchange = run(test)
    stamps = [int(headers["webhook-timestamp"]) for *_, headers in exchange.arrivals]
    assert stamps[1] - stamps[0] >= 1
    assert exchange.heard.bad_signatures == 0


def test_restart_between_take_and_ack() -> None:
    """The sender dies after the exchange took an event and before anybody noted it: sent again, taken once."""

    async def test(exchange: Exchange) -> None:
        office = Office(exchange)
        office.forgets = True
        office.say("c", 3)
        async with office.sending():
            await until(lambda: len(exchange.heard.events) == 3)
        office.forgets = False
        office.sender = office.new_sender()
        async with office.sending():
            await office.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3]
    assert exchange.heard.duplicates == 3


def test_restarts_during_an_outage() -> None:
    """Scenario 9: the endpoint is down, the sender is killed again and again, events go on: all arrive once, in order."""

    async def test(exchange: Exchange) -> None:
        office = Office(exchange)
        exchange.faults = [answer(503)] * 40
        total = 0
        for count in (3, 2, 2, 1):
            for name in ("c", "d", "e", "f", "g"):
                office.say(name, count)
                total += count
            async with office.sending():
                await asyncio.sleep(0.05)
            office.sender = office.new_sender()
        exchange.faults.clear()
        async with office.sending():
            await office.all_sent()
        assert len(exchange.heard.events) == total == 40

    exchange = run(test)
    assert all(numbers(exchange, name) == list(range(1, 9)) for name in ("c", "d", "e", "f", "g"))


def test_gone_pauses_until_the_endpoint_is_changed() -> None:
    """410 stops all contracts of the endpoint; changing the endpoint starts them again; nothing is lost."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(410)]
        office = Office(exchange)
        office.say("c", 2)
        async with office.sending() as sender:
            await until(lambda: "desk/gcx" in sender.paused)
            office.say("d", 1)
            await asyncio.sleep(0.2)
            assert len(exchange.arrivals) == 1
            office.point(exchange.url, resumed="2026-11-21")
            await office.all_sent()

    exchange = run(test)
    assert (numbers(exchange, "c"), numbers(exchange, "d")) == ([1, 2], [1])


def test_a_parked_event_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is refused for too long is passed by those behind it, stays in the outbox and is tried again."""
    monkeypatch.setattr(retries, "PARK_SECONDS", 0.1)

    async def test(exchange: Exchange) -> None:
        async def refuse_first(request: web.Request, handler: Any) -> web.StreamResponse:
            exchange.faults.insert(0, refuse_first)
            if request.headers["webhook-id"] == "uid-c/1":
                return web.Response(status=422)
            return await handler(request)  # type: ignore[no-any-return]

        exchange.faults = [refuse_first]
        office = Office(exchange)
        office.say("c", 3)
        async with office.sending() as sender:
            await until(lambda: office.acks == ["uid-c/2", "uid-c/3"])
            assert sender.parked == ["uid-c/1"]
            exchange.faults = []
            exchange.heard.last.clear()  # what comes now is late by design
            await office.all_sent()

    exchange = Exchange()

    async def main() -> None:
        async with exchange.open():
            await test(exchange)

    asyncio.run(main())
    assert [e["id"] for e in exchange.heard.events] == ["uid-c/2", "uid-c/3", "uid-c/1"]


def test_the_key_is_missing_then_there() -> None:
    """Without its Secret an event waits; nothing unsigned or wrongly signed is ever taken."""

    async def test(exchange: Exchange) -> None:
        office = Office(exchange)
        office.secret = ""
        office.say("c", 2)
        async with office.sending() as sender:
            await until(lambda: sender.counts.failed >= 2)
            assert exchange.arrivals == []
            office.secret = SECRET
            await office.all_sent()

    assert numbers(run(test), "c") == [1, 2]


def test_a_changed_key_is_read_again() -> None:
    """The receiver refuses the old key with 401; the new one is read at the next attempt."""

    async def test(exchange: Exchange) -> None:
        office = Office(exchange)
        office.secret = "whsec_" + base64.b64encode(b"the old key, now revoked").decode()
        office.say("c", 1)
        async with office.sending():
            await until(lambda: exchange.heard.bad_signatures >= 1)
            office.secret = SECRET
            await office.all_sent()

    assert numbers(run(test), "c") == [1]


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://gcx.example/", "https://[fe80::1]/"])
def test_forbidden_addresses_are_never_called(url: str) -> None:
    """The event waits in the outbox while the endpoint points where no webhook may go."""

    async def test(exchange: Exchange) -> None:
        good = exchange.url
        office = Office(exchange)
        office.point(url)
        office.say("c", 1)
        async with office.sending() as sender:
            await until(lambda: sender.counts.failed >= 2)
            assert exchange.arrivals == []
            office.point(good)
            await office.all_sent()

    assert numbers(run(test), "c") == [1]


def test_a_corrected_endpoint_is_called_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts the endpoint right does not wait for the hour that the last failure has earned."""
    monkeypatch.setattr(retries, "DELAYS", (3600.0,))

    async def test(exchange: Exchange) -> None:
        good = exchange.url
        office = Office(exchange)
        office.point("http://127.0.0.1:9/")
        office.say("c", 2)
        async with office.sending() as sender:
            await until(lambda: sender.counts.failed == 1)
            office.point(good)
            await office.all_sent()

    assert numbers(run(test), "c") == [1, 2]
