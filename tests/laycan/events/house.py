"""What is between the contracts' outboxes and one exchange, with real logs in a folder: contracts are written by hand, and kills too."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan.events.appender import Appender
from laycan.events.attempt import Courier
from laycan.events.channel import Channel
from laycan.events.outbox import CAPACITY, Outbox
from laycan.events.sender import Sender
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.keys import Ed25519Signer, Signer
from laycan.ledger.ledgers import Beginning, Ledgers, Place
from laycan.ledger.log import origin_of
from tests.laycan.events.clockwork import LeapingLoop, unix
from tests.laycan.events.exchange import SECRET, Exchange

GCX = Place("desk", "gcx")
_VERSIONS = itertools.count(1)  # of objects, whoever writes them


def key(number: int, use: str = "checkpoints") -> Ed25519Signer:
    return Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)), use)


class House:
    """Outboxes in a World, entries leave them a little after the log has them, as the writer would have it."""

    def __init__(
        self,
        exchange: Exchange,
        folder: Path,
        *,
        signers: Sequence[Signer] = (),
        checkpoints: Signer | None = None,
        heartbeat_seconds: float = 60.0,
        timeout_seconds: float = 15.0,
    ) -> None:
        self.exchange, self.folder = exchange, folder
        self.world = World()
        self.signers, self.checkpoints = signers, checkpoints
        self.taken: list[str] = []  # ids that the log has, in order
        self.secret = SECRET
        self.spec: dict[str, Any] = {}
        self._heartbeat, self._timeout = heartbeat_seconds, timeout_seconds
        self.point(exchange.url)
        self.begin()

    # --- the process

    def begin(self) -> None:
        """A new process: nothing but the world and the folder is what it was."""

        async def get_secret(namespace: str, name: str, key: str) -> bytes:
            if not self.secret:
                raise LookupError(f"no Secret {namespace}/{name}")
            return self.secret.encode()

        self.ledgers = self.new_ledgers()
        self.courier = Courier(get_secret, lambda: self.signers, unix, timeout_seconds=self._timeout)
        self.sender = Sender(self.world, self.ledgers, self.courier, lambda: self.checkpoints, unix, heartbeat_seconds=self._heartbeat)
        self.appender = Appender(self.world, self.ledgers, self.on_taken, self.sender.grown, lambda: self.checkpoints)

    def new_ledgers(self) -> Ledgers:
        return Ledgers(self.folder, lambda place: Beginning(origin_of("op", *place)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        tasks = [asyncio.create_task(self.appender.run()), asyncio.create_task(self.sender.run())]
        try:
            await asyncio.sleep(0.01)  # by then there is a channel for each endpoint
            yield self
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.ledgers.close()
            assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    @asynccontextmanager
    async def restarted(self) -> AsyncIterator[House]:
        self.begin()
        async with self.running():
            yield self

    @property
    def channel(self) -> Channel:
        return self.sender.channels["desk/gcx"]

    # --- the API server and the writer

    def point(self, url: str, annotations: dict[str, str] | None = None, **more: Any) -> None:
        self.spec = {"url": url, "secretRef": {"name": "hook", "key": "hmac"}, **more}
        self.world.put("endpoints", "desk/gcx", {"metadata": {"annotations": annotations or {}}, "spec": self.spec})

    def on_taken(self, key: str, event_id: str) -> None:
        self.taken.append(event_id)
        asyncio.get_running_loop().call_later(0.005, self.drop, key, event_id)

    def drop(self, key: str, event_id: str) -> None:
        contract = self.world.contracts.get(key)
        if contract is not None:
            left = [e for e in contract.status["outbox"] if e["id"] != event_id]
            self.put(contract.name, {**contract.status, "outbox": left}, contract.spec)

    def put(self, name: str, status: dict[str, Any], spec: Any = None) -> None:
        spec = spec or {"exchangeRef": {"name": "gcx"}, "terms": {"contractId": name.upper()}}
        self.world.put(
            "contracts", f"desk/{name}", ContractView("desk", name, f"uid-{name}", next(_VERSIONS), 1, 0, False, (), {}, spec, status)
        )

    def say(self, name: str, count: int = 1, spec: Any = None) -> None:
        """`count` more events of a contract; its outbox must have room."""
        contract = self.world.contracts.get(f"desk/{name}")
        status = dict(contract.status) if contract else {}
        outbox = Outbox.open(status, uid=f"uid-{name}", contract_id=name.upper(), source="urn:laycan:k", taken=frozenset(), hurried=False)
        for i in range(count):
            assert outbox.say("risk.raised" if i % 2 else "risk.cleared", {"i": i})
        outbox.seal({"phase": "Accepted", "conditions": []}, unix())
        ledger = {"sequence": outbox.sequence, "headDigest": outbox.head_digest}
        made = {"phase": "Accepted", "outbox": outbox.entries, "ledger": ledger}
        self.put(name, made, spec or (contract.spec if contract else None))

    async def say_all(self, name: str, count: int) -> None:
        """As many, as the outbox gets room."""
        while count:
            contract = self.world.contracts.get(f"desk/{name}")
            some = min(count, CAPACITY - len(contract.status["outbox"] if contract else ()))
            if some:
                self.say(name, some)
                count -= some
            await asyncio.sleep(0.01)

    # --- what became of it

    async def all_taken(self) -> None:
        await until(lambda: not any(c.status["outbox"] for c in self.world.contracts.values()))

    async def all_sent(self) -> None:
        """Every event is in the log, and the exchange has it."""
        await self.all_taken()
        await until(lambda: "desk/gcx" in self.sender.channels and self.channel.opened.is_set() and self.channel.pending == 0)


async def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Polls, in real time; on a leaping loop for as long as it takes."""
    deadline = time.monotonic() + seconds
    pause = 20.0 if isinstance(asyncio.get_running_loop(), LeapingLoop) else 0.005
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(pause)


def run(test: Callable[[Exchange], Awaitable[None]], start: Callable[[Any], None] = asyncio.run) -> Exchange:
    """With an exchange; what arrived in the end has no gap, is in order per contract, and always the same bytes under an id."""
    exchange = Exchange()

    async def main() -> None:
        async with exchange.open():
            await test(exchange)

    start(main())
    assert (exchange.ledger.gaps, exchange.ledger.disorder, exchange.ledger.altered) == (0, 0, 0)
    bodies: dict[str, set[bytes]] = {}
    places: dict[str, set[int]] = {}
    for arrival in exchange.events:
        bodies.setdefault(arrival.id, set()).add(arrival.body)
        places.setdefault(arrival.id, set()).add(arrival.index)
    assert {len(found) for found in bodies.values()} | {len(found) for found in places.values()} <= {1}, "one id: the same bytes, one index"
    return exchange


def numbers(exchange: Exchange, name: str) -> list[int]:
    return [int(e["sequence"]) for e in exchange.ledger.events if e["subject"] == name.upper()]


def bodies(exchange: Exchange) -> list[Any]:
    return [json.loads(arrival.body) for arrival in exchange.events]
