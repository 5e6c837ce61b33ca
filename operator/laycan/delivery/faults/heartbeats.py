"""Which kubelets have fallen silent: judged by their Leases, faster than the Ready condition tells, and never by our own deafness.

A kubelet renews its Lease every 10 s, and the node controller needs some 40 s of silence before it calls the node Unknown. A product
may ask for less (`detection.heartbeatSeconds`). Then the Leases are watched, and what counts is the time *since a renewal was seen
here*: clocks of nodes never matter, nor what was written while nobody watched.

Silence of one node proves something only while others are heard. Two things guard against taking a stalled watch, API server or etcd
for dead nodes. While the stream is broken, or fewer than half of all nodes were heard within one renewal, nobody is judged, and after
it everybody gets the full time again: the loss of most of a cluster at once is left to the Ready condition. And a short stall makes
all of them late together, so a node's silence counts once a quarter of the others renewed after it was due, one of them so long ago
that a living kubelet would have tried again since (which makes some 18 s the fastest).
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from laycan.kube.client import Client
from laycan.kube.reflector import Reflector
from laycan.kube.sound import mapping, text_at
from laycan.resources.times import parse_time

log = logging.getLogger(__name__)

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_PREFIX = "kube-node-lease/"
RENEWAL_SECONDS = 11  # a kubelet renews every 10 s (a quarter of its Lease's 40 s), give or take 4 %
RETRY_SECONDS = 7  # the longest pause between two attempts of a kubelet that cannot renew (client-go's lease controller)


def renewal(lease: Mapping[str, Any]) -> int | None:
    """When a Lease was last renewed, Unix seconds; None when it does not say.

    By the clock of the API server, which notes when who owns `renewTime` wrote it last (managedFields): a kubelet's clock that is wrong
    would make an outage longer or shorter than it was. Only where nobody is noted `renewTime` itself counts.
    """
    entries = mapping(lease.get("metadata")).get("managedFields")
    renewers = [entry for entry in entries or () if "f:renewTime" in mapping(mapping(mapping(entry).get("fieldsV1")).get("f:spec"))]
    times = [text_at(entry, "time") for entry in renewers] or [text_at(mapping(lease.get("spec")), "renewTime")]
    try:
        return max(parse_time(f"{text[:19]}Z") for text in times)  # renewTime has microseconds
    except ValueError:
        return None


class Heartbeats:
    """The renewals that were seen, by node: takes what a Reflector reads. `look` before anything is asked; Unix seconds throughout."""

    def __init__(self, clock: Callable[[], int] = lambda: 0) -> None:
        self.renewed: dict[str, int] = {}  # node -> when its Lease was renewed
        self._clock = clock
        self._heard: dict[str, int] = {}  # node -> when that was seen
        self._since: int | None = None  # since when it is true that whoever renews is heard; None: it is not
        self._now, self._connected = 0, False
        self._times: list[int] = []  # when they were heard, at the last look, in order

    # --- what a Reflector asks of the table that it fills

    def put(self, _kind: str, lease: str, renewed: int) -> None:
        node = lease.removeprefix(_PREFIX)
        if self.renewed.get(node) != renewed:
            self.renewed[node] = renewed
            self._heard[node] = self._clock()

    def drop(self, _kind: str, lease: str) -> None:
        node = lease.removeprefix(_PREFIX)
        self.renewed.pop(node, None)
        self._heard.pop(node, None)

    def keys(self, _kind: str) -> set[str]:
        return {f"{_PREFIX}{node}" for node in self.renewed}

    # --- what is made of it

    def look(self, connected: bool, now: int) -> None:
        """Takes note of whether the others can be heard now."""
        if (connected, now) == (self._connected, self._now):
            return  # seconds are whole, passes are not
        self._connected, self._now = connected, now
        self._times = sorted(self._heard.values())
        lately = len(self._times) - bisect_left(self._times, now - RENEWAL_SECONDS)
        if not connected or 2 * lately < len(self._times) or not lately:
            if self._since is not None:
                log.warning("heartbeats are not judged: %s", "few nodes are heard" if connected else "their watch is broken")
            self._since = None
        elif self._since is None:
            self._since = now

    def deaf(self) -> None:
        """Nobody watches any more: what was heard says nothing about the time from here on."""
        self._heard.clear()
        self._times.clear()
        self.renewed.clear()
        self._since = None

    def silent_since(self, node: str) -> int | None:
        """From when on the node's silence counts; None where nothing can be said. It has failed when that is long enough ago."""
        if self._since is None or node not in self._heard:
            return None
        return max(self._since, self._heard[node])

    def silent(self, node: str, seconds: int) -> bool:
        """Whether the node was not heard for so long, and others were."""
        since = self.silent_since(node)
        if since is None or self._now - since < seconds:
            return False
        first = bisect_left(self._times, since + RENEWAL_SECONDS)  # of those that renewed after it was due
        later = len(self._times) - first
        return later > 0 and self._times[first] + RETRY_SECONDS <= self._now and 4 * later >= len(self._times) - 1

    def late(self) -> set[str]:
        """Nodes that should have renewed by now."""
        if self._since is None:
            return set()
        return {node for node, heard in self._heard.items() if self._now - max(heard, self._since) > RENEWAL_SECONDS}


class LeaseWatch:
    """Keeps `heartbeats` fed while they are wanted, and only then: a renewal of each node every 10 s is not free."""

    def __init__(self, client: Client, clock: Callable[[], int]) -> None:
        self.heartbeats = Heartbeats(clock)
        self._client = client
        self._reflector: Reflector | None = None
        self._task: asyncio.Task[None] | None = None

    def want(self, wanted: bool) -> None:
        """Starts or stops the watch."""
        if wanted and self._task is None:
            self._reflector = Reflector(self._client, self.heartbeats, "leases", PATH, renewal, time.monotonic)
            self._task = asyncio.create_task(self._reflector.run(), name="watch leases")
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = self._reflector = None
            self.heartbeats.deaf()

    def look(self, now: int) -> None:
        """Before each judgement; does nothing while nobody wants to know."""
        if self._task is None or self._reflector is None:
            return
        if self._task.done():
            self._task.result()  # a defect ends the process
        self.heartbeats.look(self._reflector.synced.is_set() and self._reflector.connected, now)

    async def stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
