"""Writes the GpuMeter of this node: always the newest account, so that nothing waits in a queue and nothing is lost by a failed write.

The write is a merge patch without a precondition: nobody else writes this object, and one that was lost is made anew. Where the API
server finds that the account contradicts the object (its history began otherwise, its reading is later), the object is read and decides:
another agent has written since ours last looked.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from laycan.agent.timetable import Timetable
from laycan.kube.client import ApiError, Client
from laycan.resources.constants import API_VERSION, PLURALS

log = logging.getLogger(__name__)

Json = dict[str, Any]
COLLECTION = f"/apis/{API_VERSION}/{PLURALS['GpuMeter']}"


def said(meter: Json) -> Json:
    """Without the nulls, by which a patch takes away what an earlier report said."""
    return {key: said(value) if isinstance(value, dict) else value for key, value in meter.items() if value is not None}


class Publisher:
    """`look` asks for what the report needs, `meter` is the newest report (None: nothing to say yet), `yield_to` takes another's object."""

    def __init__(
        self,
        client: Client,
        node: str,
        report_seconds: int,
        look: Callable[[], Awaitable[None]],
        meter: Callable[[], Json | None],
        yield_to: Callable[[Json], None],
    ) -> None:
        self.outcomes: Counter[str] = Counter()  # written, failed
        self.written_at = 0.0  # Unix seconds of the latest success
        self._client, self._path = client, f"{COLLECTION}/{node}"
        self._look, self._meter, self._yield_to = look, meter, yield_to
        self._timetable = Timetable(node, report_seconds)
        self._urged = asyncio.Event()
        self._trouble = ""

    def urge(self) -> None:
        """Something changed that must be told at once."""
        self._timetable.urge(time.monotonic())
        self._urged.set()

    async def run(self) -> None:
        """Writes when it is time to, until cancelled."""
        while True:
            wait = self._timetable.wait(time.monotonic(), time.time())
            if wait:
                self._urged.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._urged.wait(), wait)
                continue
            await self.write()

    async def write(self) -> bool:
        """One write, now. Whether the API server has the newest account."""
        self._timetable.begin()
        try:
            await self._look()
            meter = self._meter()
            if meter is not None:
                await self._send(meter)
        except ApiError as error:
            self.outcomes["failed"] += 1
            self._timetable.failed(time.monotonic(), random.random())  # noqa: S311 - jitter, not a secret
            self._say(str(error))
            return False
        self._timetable.wrote(time.monotonic(), time.time())
        if meter is not None:
            self.outcomes["written"] += 1
            self.written_at = time.time()
            self._say("")
        return True

    async def _send(self, meter: Json) -> None:
        try:
            await self._client.patch_merge(self._path, {key: meter[key] for key in ("metadata", "spec")})
        except ApiError as error:
            if error.status == 404:
                await self._client.create(COLLECTION, said(meter))
                return
            if error.status == 422:
                self._yield_to(await self._client.get(self._path))
            raise

    def _say(self, trouble: str) -> None:
        """Once, and again when it changes."""
        if trouble != self._trouble:
            if trouble:
                log.warning("the meter is not written, and tried again: %s", trouble)
            else:
                log.info("the meter is written again")
        self._trouble = trouble
