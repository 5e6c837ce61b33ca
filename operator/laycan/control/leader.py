"""At most one operator leads: a Lease keeps a second process waiting while the first is alive.

It is renewed in a thread of its own, so that a busy event loop does not lose it. A process that was stopped for a while and goes on
does not know that its lease has passed to another: that is what `epoch` is for.

A holder that died leaves its lease behind, which must lapse first; only a container that was restarted in the same pod need not
wait, because its predecessor is surely dead (and fenced, were it not).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from laycan.kube.client import ApiError, Client, Json
from laycan.kube.credentials import Credentials
from laycan.resources.times import format_time

log = logging.getLogger(__name__)

LEASE = "laycan-operator"
LEASE_SECONDS, DEADLINE_SECONDS, RETRY_SECONDS = 15, 10.0, 2.0
_EXIT_SECONDS = 15.0  # a process that lost its lease and does not end by itself is ended


@dataclass(frozen=True, slots=True)
class Identity:
    """`process` is fresh for each start; `pod` is "" outside of pods."""

    pod: str
    process: str

    def __str__(self) -> str:
        return f"{self.pod}_{self.process}"


def may_take(spec: Json, identity: Identity, unchanged_seconds: float) -> bool:
    """Whether the lease is free for us, having stood unchanged for so long by our own clock (never by the holder's)."""
    holder = str(spec.get("holderIdentity") or "")
    same_pod = bool(identity.pod) and holder.rpartition("_")[0] == identity.pod
    return not holder or same_pod or unchanged_seconds >= int(spec.get("leaseDurationSeconds") or LEASE_SECONDS)


class Leader:
    """`await acquired()`, then ask `holds()` before each write; `lost` is set once, and then the process must end."""

    def __init__(self, credentials: Credentials, namespace: str, identity: Identity, clock: Callable[[], int]) -> None:
        self.identity = identity
        self.lost = asyncio.Event()
        self._credentials, self._clock = credentials, clock
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._acquired = asyncio.Event()
        self._stop = threading.Event()
        self._valid_until = 0.0  # monotonic seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._thread_main, name="lease", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def acquired(self) -> None:
        await self._acquired.wait()

    def holds(self) -> bool:
        return time.monotonic() < self._valid_until and not self.lost.is_set()

    async def stop(self) -> None:
        """Hands the lease back, so that the next operator need not wait for it to lapse."""
        self._stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5.0)

    def _thread_main(self) -> None:
        try:
            asyncio.run(self._lead())
        except Exception:
            log.exception("the thread of the lease failed")
        finally:
            self._valid_until = 0.0
            if not self._stop.is_set():
                self._tell(self.lost)
                force = threading.Timer(_EXIT_SECONDS, os._exit, [1])  # the event loop may be what hangs
                force.daemon = True
                force.start()

    def _tell(self, event: asyncio.Event) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    async def _lead(self) -> None:
        async with Client(self._credentials, timeout_seconds=5.0, connections=2) as client:
            lease = await self._wait_for_lease(client)
            if lease is None:
                return
            log.info("lease %s is ours: %s", LEASE, self.identity)
            self._tell(self._acquired)
            while lease is not None and not self._stopping(RETRY_SECONDS):
                lease = await self._renew(client, lease)
            if lease is not None:
                await self._release(client, lease)

    def _stopping(self, seconds: float) -> bool:
        return self._stop.wait(seconds)  # this thread has no other work, so it may block its own loop

    async def _wait_for_lease(self, client: Client) -> Json | None:
        version, since = "", time.monotonic()
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                lease = await self._read(client)
                if lease["metadata"].get("resourceVersion", "") != version:
                    version, since = lease["metadata"].get("resourceVersion", ""), begun
                if may_take(lease.get("spec") or {}, self.identity, begun - since):
                    taken = await self._write(client, lease)
                    self._valid_until = begun + DEADLINE_SECONDS
                    return taken
            except ApiError as error:
                log.log(logging.DEBUG if error.status == 409 else logging.WARNING, "lease %s: %s", LEASE, error)
            self._stopping(RETRY_SECONDS)
        return None

    async def _read(self, client: Client) -> Json:
        try:
            return await client.get(f"{self._collection}/{LEASE}")
        except ApiError as error:
            if error.status != 404:
                raise
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": {}}
            return await client.create(self._collection, body)

    async def _write(self, client: Client, lease: Json) -> Json:
        old, now = lease.get("spec") or {}, _micro_time(self._clock())
        spec: dict[str, Any] = {"renewTime": now}
        if old.get("holderIdentity") != str(self.identity):
            transitions = int(old.get("leaseTransitions") or 0) + 1
            spec |= {"holderIdentity": str(self.identity), "acquireTime": now, "leaseTransitions": transitions}
            spec["leaseDurationSeconds"] = LEASE_SECONDS
        return await self._patch(client, lease, spec)

    async def _patch(self, client: Client, lease: Json, spec: Json) -> Json:
        body = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        return await client.patch_merge(f"{self._collection}/{LEASE}", body)

    async def _renew(self, client: Client, lease: Json) -> Json | None:
        """The renewed lease; the old one when the server did not answer, None when leadership is over."""
        begun = time.monotonic()
        if begun >= self._valid_until:
            log.error("lease %s was not renewed for %d s: leadership is lost", LEASE, DEADLINE_SECONDS)
            return None
        try:
            renewed = await self._write(client, lease)
            self._valid_until = begun + DEADLINE_SECONDS
            return renewed
        except ApiError as error:
            if error.status != 409:
                log.warning("lease %s: %s", LEASE, error)
                return lease
        return await self._recheck(client, lease)

    async def _recheck(self, client: Client, lease: Json) -> Json | None:
        try:
            found = await self._read(client)
        except ApiError as error:
            log.warning("lease %s: %s", LEASE, error)
            return lease
        holder = (found.get("spec") or {}).get("holderIdentity")
        if holder == str(self.identity):
            return found  # an answer was lost
        log.error("lease %s is held by %s: leadership is lost", LEASE, holder)
        return None

    async def _release(self, client: Client, lease: Json) -> None:
        self._valid_until = 0.0
        try:
            await self._patch(client, lease, {"holderIdentity": ""})
        except ApiError as error:
            log.warning("lease %s was not handed back: %s", LEASE, error)


def _micro_time(seconds: int) -> str:
    return format_time(seconds).removesuffix("Z") + ".000000Z"
