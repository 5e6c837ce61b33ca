"""Sends what stands in the logs to the exchanges: a channel for each ExchangeEndpoint, with its heartbeat, for as long as there is one.

What an endpoint was not sent when it went stays in its log, and is sent when there is one of its name again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from laycan.events.attempt import Courier
from laycan.events.channel import Channel
from laycan.events.health import GONE, OUTAGE_SECONDS
from laycan.events.heartbeat import Heartbeat
from laycan.events.stream import Jitter
from laycan.kube.sound import mapping, seconds_at
from laycan.kube.world import World
from laycan.ledger.keys import Signer
from laycan.ledger.ledgers import Ledgers, Place

log = logging.getLogger(__name__)


class Sender:
    """`run` until cancelled; `grown` after each append."""

    def __init__(
        self,
        world: World,
        ledgers: Ledgers,
        courier: Courier,
        signer: Callable[[], Signer | None],
        clock: Callable[[], int],
        *,
        jitter: Jitter = random.uniform,
        heartbeat_seconds: float = 60.0,
    ) -> None:
        """`signer` gives the key for checkpoints, None while there is none; `clock` gives Unix seconds."""
        self.refused = 0  # checkpoints that their receivers contradicted, since the start
        self.channels: dict[str, Channel] = {}  # key of the ExchangeEndpoint -> its channel
        self.hearts: dict[str, Heartbeat] = {}
        self.flipped = asyncio.Event()  # an exchange has become reachable, or is not any more
        self._world, self._ledgers, self._courier, self._signer, self._clock = world, ledgers, courier, signer, clock
        self._jitter, self._every = jitter, heartbeat_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, object] = {}  # key -> what of the endpoint matters here
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """What was in flight at the end is sent again by the next one."""
        async with self._courier, asyncio.TaskGroup() as self._group:
            self._world.listeners.append(self._on_change)
            try:
                for key in list(self._world.endpoints):
                    self._on_change("endpoints", key)
                await asyncio.Event().wait()
            finally:
                self._world.listeners.remove(self._on_change)

    def grown(self, place: Place) -> None:
        """The log of an endpoint has more."""
        if (channel := self.channels.get(str(place))) is not None:
            channel.grown()

    @property
    def parked(self) -> list[str]:
        """Which entries are refused by their receivers, as `<namespace>/<name>#<index>`."""
        return sorted(f"{key}#{index}" for key, channel in self.channels.items() for index in _parked(channel))

    def _count(self) -> None:
        self.refused += 1

    def _on_change(self, kind: str, key: str) -> None:
        if kind != "endpoints" or self._group is None:
            return
        endpoint = self._world.endpoints.get(key)
        seen = None if endpoint is None else (endpoint.get("spec"), (endpoint.get("metadata") or {}).get("annotations"))
        if seen == self._seen.get(key):
            return
        if endpoint is None or seen is None:
            del self._seen[key], self.channels[key], self.hearts[key]
            self._tasks[key].cancel()  # it stays, for one of the same name to wait for its end
            return
        self._seen[key] = seen
        if key in self.channels:
            self.channels[key].changed(endpoint.get("spec") or {})
        else:
            self._begin(key, endpoint, self._group)

    def _begin(self, key: str, endpoint: Mapping[str, Any], group: asyncio.TaskGroup) -> None:
        spec, paused = endpoint.get("spec") or {}, was_gone(endpoint)
        channel = Channel(key, spec, self._ledgers, self._courier, self._clock, self._jitter, paused=paused)
        if paused:
            log.error("ALARM endpoint %s answered 410 before this start: it stays paused until it is changed", key)
        channel.health.flipped = self.flipped.set
        channel.health.outage_seconds = max(OUTAGE_SECONDS, 2.5 * self._every)
        self.channels[key], self.hearts[key] = channel, Heartbeat(channel, self._signer, self._clock, self._every, self._count)
        self._tasks[key] = group.create_task(self._serve(channel, self.hearts[key], self._tasks.get(key)), name=f"send {key}")

    async def _serve(self, channel: Channel, heart: Heartbeat, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})  # of an endpoint of this name that went a moment ago
        async with asyncio.TaskGroup() as group:
            group.create_task(channel.run(), name=f"channel {channel.endpoint}")
            group.create_task(heart.run(), name=f"heartbeat {channel.endpoint}")


def was_gone(endpoint: Mapping[str, Any]) -> bool:
    """Whether its receiver wanted nothing any more, by its status, and its spec is still the same."""
    generation, found = seconds_at(endpoint, "metadata", "generation"), mapping(endpoint.get("status")).get("conditions")
    conditions = [mapping(each) for each in found] if isinstance(found, list) else []
    return any(
        (each.get("type"), each.get("status"), each.get("reason"), each.get("observedGeneration"))
        == ("Reachable", "False", GONE, generation)
        for each in conditions
    )


def _parked(channel: Channel) -> Iterator[int]:
    yield from channel.stream.parked if channel.stream is not None else ()
