"""Keeps one table of the World equal to one collection of the API server.

A stream begins with every object as it is now (a "watch list"), marks the end of that with a bookmark, and goes on with changes.
After a break it resumes from the last resourceVersion that it saw; when the server has forgotten that (410) it begins anew and
drops what is no longer there: deletions that fell into the gap are told by nobody.

Each object is projected to its view and forgotten at once: 12,500 nodes cost 1 s of CPU and 39 MB instead of 2 s and 840 MB.
The stream never waits for anybody: `World.put` runs the listeners, which only mark what is to be looked at.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
import orjson

from laycan.kube.client import ApiError, Client, pause_before

log = logging.getLogger(__name__)

Raw = Mapping[str, Any]

SILENCE_SECONDS = 130.0  # bookmarks come a minute apart, later on a busy server; 75 s broke healthy streams
_SERVER_SECONDS = (290, 320)  # the server ends the stream after this; at random between them, so that not all streams restart at once
_EVENTS_PER_TURN = 256
_ABSENT_SECONDS = 30.0  # how often it is asked for a kind that is not there
_INITIAL_END = "k8s.io/initial-events-end"


class Sink(Protocol):
    """What is kept equal to the collection: the World, or a table of its own for what no one else needs."""

    def put(self, kind: str, key: str, view: Any) -> None: ...

    def drop(self, kind: str, key: str) -> None: ...

    def keys(self, kind: str) -> set[str]: ...


class CompactedError(Exception):
    """The server no longer knows our resourceVersion."""


def object_key(obj: Raw) -> str:
    """ "namespace/name", or the name of a cluster-scoped object."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


class Reflector:
    """`view` projects a raw object; None means that this object is not of interest (any more).

    An `optional` kind may not be there (a CRD that an upgrade is yet to bring): then its collection is empty, and is looked for again.
    """

    def __init__(
        self,
        client: Client,
        world: Sink,
        kind: str,
        path: str,
        view: Callable[[Raw], Any],
        clock: Callable[[], float],
        params: Mapping[str, str] | None = None,
        optional: bool = False,
    ) -> None:
        self.kind = kind
        self.synced = asyncio.Event()
        self.last_event = clock()  # monotonic seconds; bookmarks count
        self.relists = 0
        self.connected = False  # a stream is open; what the server ends by plan is resumed at once and does not count
        self._client, self._world, self._path, self._view, self._clock = client, world, path, view, clock
        self._params, self._optional = dict(params or {}), optional
        self._version = ""  # "" = begin anew
        self._listed: set[str] | None = None  # keys seen since the stream began; None once it is complete
        self._failures = 0

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
                self._failures = 0
            except CompactedError:
                log.info("%s: the watch was compacted away, listing anew", self.kind)
                self._version = ""
            except ApiError as error:
                if self._optional and error.status == 404:
                    await self._do_without()
                else:
                    await self._wait_after(error)

    async def _do_without(self) -> None:
        if not self.synced.is_set() or self._world.keys(self.kind):
            log.warning("%s are not served here; they are looked for again", self.kind)
        self.connected, self._version, self._listed, self._failures = False, "", set(), 0
        self.last_event = self._clock()
        self._complete()
        await asyncio.sleep(_ABSENT_SECONDS)

    async def _wait_after(self, error: ApiError) -> None:
        self.connected = False
        level = logging.WARNING if self._failures in (3, 30, 300) else logging.DEBUG
        log.log(level, "watch of %s failed %d times: %s", self.kind, self._failures + 1, error)
        if error.status == 410:
            self._version = ""
        await asyncio.sleep(pause_before(self._failures, error.retry_after))
        self._failures += 1

    async def _follow(self) -> None:
        anew = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        if not self._version:
            self._listed = set()
            self.relists += 1
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randrange(*_SERVER_SECONDS)),  # noqa: S311
            **({"resourceVersion": self._version} if self._version else anew),
            **self._params,
        }
        async with self._client.stream(self._path, params, SILENCE_SECONDS) as content:
            self.connected = True
            await self._read(content)

    async def _read(self, content: aiohttp.StreamReader) -> None:
        rest, count = b"", 0
        async for chunk in content.iter_any():
            self.last_event = self._clock()
            self._failures = 0
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    self._apply(orjson.loads(line))
                count += 1
                if count % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)

    def _apply(self, event: Raw) -> None:
        what, obj = event["type"], event["object"]
        if what == "ERROR":
            if obj.get("code") == 410:
                raise CompactedError
            raise ApiError(int(obj.get("code") or 500), str(obj.get("reason", "")), str(obj.get("message", "")))
        meta = obj["metadata"]
        if what == "BOOKMARK":
            if (meta.get("annotations") or {}).get(_INITIAL_END) == "true":
                self._complete()
        else:
            self._take(what, object_key(obj), obj)
        if self._listed is None:  # the objects of an unfinished beginning do not come in the order of their versions
            self._version = meta.get("resourceVersion", self._version)

    def _take(self, what: str, key: str, obj: Raw) -> None:
        view = None if what == "DELETED" else self._view(obj)
        if view is None:
            self._world.drop(self.kind, key)
            return
        if self._listed is not None:
            self._listed.add(key)
        self._world.put(self.kind, key, view)

    def _complete(self) -> None:
        listed = self._listed or set()
        for key in self._world.keys(self.kind) - listed:
            log.info("%s %s went while nobody watched", self.kind, key)
            self._world.drop(self.kind, key)
        self._listed = None
        self.synced.set()
