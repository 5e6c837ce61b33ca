"""What stands in the status of each ExchangeEndpoint: whether it is reached, what it has not acknowledged, and how far its log goes.

A flip of a condition is written at once, everything else twice a minute at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from laycan.control import conditions as c
from laycan.control.conditions import Conditions
from laycan.events.channel import Channel
from laycan.events.sender import Sender
from laycan.kube.client import ApiError, Client
from laycan.kube.sound import mapping
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers
from laycan.resources.constants import API_VERSION
from laycan.resources.times import format_time

log = logging.getLogger(__name__)

EVERY_SECONDS = 30


def endpoint_status(raw: Mapping[str, Any], channel: Channel, ledgers: Ledgers, trouble: str, now: int) -> dict[str, Any]:
    """The status as it should be; `trouble` is why nothing is signed, "" where all is, `now` in Unix seconds."""
    old, generation, health = mapping(raw.get("status")), int(raw["metadata"].get("generation") or 0), channel.health
    found = Conditions(old.get("conditions") or (), generation, now)
    if health.reachable is not None:
        parked = len(channel.stream.parked) if channel.stream else 0
        words = health.message or (f"{parked} events are refused and parked" if parked else "")
        found.put(c.REACHABLE, health.reachable, health.reason, words)
    failing = ledgers.troubles.get(channel.place)
    if failing is not None:
        found.put(c.EVIDENCE, False, "NoLog", str(failing))
    elif trouble:
        found.put(c.EVIDENCE, False, "NoKeys", trouble)
    elif health.contradiction:
        found.put(c.EVIDENCE, False, "Contradicted", health.contradiction)
    else:
        found.put(c.EVIDENCE, True, "Signed", "")
    status = {"observedGeneration": generation, "conditions": found.dump(), "pendingEvents": channel.pending}
    acked = format_time(health.acked_at) if health.acked_at is not None else old.get("lastAcknowledgedAt")
    known = {"origin": channel.origin, "size": ledgers.sizes.get(channel.place, 0)} if channel.origin else old.get("log")
    return status | ({"lastAcknowledgedAt": acked} if acked else {}) | ({"log": known} if known else {})


class EndpointReporter:
    """`run` until cancelled."""

    def __init__(
        self, client: Client, world: World, sender: Sender, ledgers: Ledgers, trouble: Callable[[], str], clock: Callable[[], int]
    ) -> None:
        self._client, self._world, self._sender, self._ledgers, self._trouble, self._clock = client, world, sender, ledgers, trouble, clock
        self._written: dict[str, int] = {}  # key -> when, Unix seconds

    async def run(self) -> None:
        while True:
            self._sender.flipped.clear()
            await self.tell()
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._sender.flipped.wait()
            except TimeoutError:
                continue

    async def tell(self) -> None:
        """Writes what is due; one endpoint that cannot be written does not stop the others."""
        for key, channel in list(self._sender.channels.items()):
            raw, now = self._world.endpoints.get(key), self._clock()
            if raw is None or channel.stream is None:
                continue
            old = mapping(raw.get("status"))
            status = endpoint_status(raw, channel, self._ledgers, self._trouble(), now)
            flips = _states(status) != _states(old)
            if status == old or not (flips or now >= self._written.get(key, 0) + EVERY_SECONDS):
                continue
            self._written[key] = now
            namespace, _, name = key.partition("/")
            path = f"/apis/{API_VERSION}/namespaces/{namespace}/exchangeendpoints/{name}/status"
            version = {"resourceVersion": str(raw["metadata"].get("resourceVersion", ""))}
            try:
                self._world.take_answer("endpoints", key, await self._client.patch_merge(path, {"metadata": version, "status": status}))
            except ApiError as error:
                log.log(logging.DEBUG if error.status in (404, 409) else logging.WARNING, "status of endpoint %s: %s", key, error)


def _states(status: Mapping[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
