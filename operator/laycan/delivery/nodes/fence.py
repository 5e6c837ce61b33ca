"""NodeFence/cluster: who owns which node, for the API server's policy. Every change goes through here.

Writers of many contracts meet: whoever comes first sends one merge patch with all changes that wait by then, under the object's
resourceVersion, and waits until the API server is seen to enforce it. Each writer gives a function from the entries as they are to
the entries it wants, which is asked again after a conflict; so nothing is decided on a stale view.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from laycan.delivery.lead import drains_of, with_drains
from laycan.delivery.nodes.probe import Probe
from laycan.kube.client import ApiError, Client
from laycan.kube.views import fence_view
from laycan.kube.world import ONLY, World
from laycan.resources.constants import API_VERSION, DRAINS_ANNOTATION, GROUP, PLURALS, SINGLETON, VERSION

log = logging.getLogger(__name__)

COLLECTION = f"/apis/{GROUP}/{VERSION}/{PLURALS['NodeFence']}"
PATH = f"{COLLECTION}/{SINGLETON}"
LIVE_WITHIN_SECONDS = 5.0  # measured: 60 ms after a write, 3 s after the CRD was made anew
SETTLES_WITHIN_SECONDS = 2.0  # what a look grants to an entry that was not seen enforced yet; 0.5 was a false alarm on a busy API server
_ATTEMPTS = 5
_PROBES_AT_ONCE = 16

Entries = Mapping[str, str]  # node -> owner
Wanted = Callable[[Entries], Mapping[str, str | None]]  # None removes


class FenceDownError(Exception):
    """The fence is not enforced, or cannot be seen to be; nothing may be frozen or handed over."""


class Fence:
    """`live` is False from the first probe that failed to the next that succeeds; `failures` counts the probes that failed."""

    def __init__(self, client: Client, world: World, probe: Probe, epoch: int) -> None:
        self.live, self.failures = True, 0
        self._client, self._world, self._probe = client, world, probe
        self._epoch = epoch  # the one in which this process leads, whatever LeaderEpoch/cluster says by now
        self._waiting: list[tuple[Wanted, asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()
        self._proven: dict[str, str] = {}  # node -> owner that was seen enforced
        self._drains: list[int] = []  # seconds that drains took, not written yet

    @property
    def entries(self) -> Entries:
        return self._world.fence.nodes if self._world.fence else {}

    async def write(self, wanted: Wanted) -> None:
        """Makes the entries as `wanted`, and returns when that is enforced. Raises ApiError, FenceDownError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, done))
        await asyncio.sleep(0)  # let the others of this pass come too
        async with self._writing:
            if not done.done():
                await self._write_waiting()
        await done

    def note_drain(self, seconds: int) -> None:
        """Remembers with the next write how long a drain took."""
        self._drains.append(seconds)

    async def prove(self, nodes: Mapping[str, str]) -> None:
        """Returns when each of these entries (node -> owner) was seen enforced since it was written. Raises FenceDownError."""
        unproven = {node: owner for node, owner in nodes.items() if self._proven.get(node) != owner}
        gate = asyncio.Semaphore(_PROBES_AT_ONCE)

        async def one(node: str, owner: str) -> None:
            async with gate:
                await self._see(node, owner, {node: owner})

        await asyncio.gather(*(one(node, owner) for node, owner in unproven.items()))

    async def look(self, node: str) -> None:
        """One round on a node that has an entry, to see that the fence is (still, or again) live."""
        owner = self.entries.get(node)
        if owner is not None:
            known = self._proven.get(node) == owner  # else it may have been written this very moment
            answer = await self._probe.wait(node, owner, 0.0 if known else SETTLES_WITHIN_SECONDS)
            self._judge(answer.live, answer.why)

    async def create(self, nodes: Entries) -> None:
        """Makes NodeFence/cluster, with the entries that the node labels tell of. Raises ApiError."""
        self._proven.clear()
        body = {
            "apiVersion": API_VERSION,
            "kind": "NodeFence",
            "metadata": {"name": SINGLETON},
            "spec": {"epoch": self._epoch, "nodes": dict(nodes)},
        }
        try:
            self._take(await self._client.create(COLLECTION, body))
        except ApiError as error:
            if error.status != 409:
                raise
            self._take(await self._client.get(PATH))

    async def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            await self._apply([wanted for wanted, _ in waiting])
        except BaseException as error:
            for _, done in waiting:
                done.set_exception(
                    error if isinstance(error, ApiError | FenceDownError) else FenceDownError(f"the write was broken off: {error!r}")
                )
                done.exception()  # each writer gets it from its own await, if it still waits
            if not isinstance(error, ApiError | FenceDownError):
                raise
        else:
            for _, done in waiting:
                done.set_result(None)

    async def _apply(self, all_wanted: list[Wanted]) -> None:
        for attempt in range(_ATTEMPTS):
            changes = self._changes(all_wanted)
            if not changes:
                return
            try:
                await self._patch(changes)
            except ApiError as error:
                if error.status != 409 or attempt == _ATTEMPTS - 1:
                    raise
                self._take(await self._client.get(PATH))
                continue
            closed = {node: owner for node, owner in changes.items() if owner is not None}
            if closed:  # one object, one version: what is enforced for one entry is for all of this patch
                await self._see(*next(iter(closed.items())), closed)
            return

    def _changes(self, all_wanted: list[Wanted]) -> dict[str, str | None]:
        entries = self.entries
        changes: dict[str, str | None] = {}
        for wanted in all_wanted:
            changes |= {node: owner for node, owner in wanted(entries).items() if entries.get(node) != owner}
        return changes

    async def _patch(self, changes: Mapping[str, str | None]) -> None:
        if self._world.fence is None:
            raise FenceDownError("NodeFence/cluster is not there")
        for node in changes:
            self._proven.pop(node, None)
        meta: dict[str, Any] = {"resourceVersion": str(self._world.fence.resource_version)}
        told = tuple(self._drains)
        if told:
            meta["annotations"] = {DRAINS_ANNOTATION: with_drains(drains_of(self._world.fence), told)}
        body = {"metadata": meta, "spec": {"epoch": self._epoch, "nodes": dict(changes)}}
        self._world.take_answer("fence", ONLY, fence_view(await self._client.patch_merge(PATH, body)))
        del self._drains[: len(told)]

    def _take(self, raw: Mapping[str, Any]) -> None:
        self._world.put("fence", ONLY, fence_view(raw))

    async def _see(self, node: str, owner: str, proven: Mapping[str, str]) -> None:
        answer = await self._probe.wait(node, owner, LIVE_WITHIN_SECONDS)
        self._judge(answer.live, answer.why)
        if not answer.live:
            raise FenceDownError(answer.why)
        self._proven |= proven

    def _judge(self, live: bool, why: str) -> None:
        if live and not self.live:
            log.warning("the fence is live again")
        if not live:
            self.failures += 1
            self._proven.clear()
            if self.live:
                log.error("ALARM the fence is not enforced; nothing is frozen or handed over until it is: %s", why)
        self.live = live
