"""Writes the statuses of Outages; what cannot be written now is tried again while it is still about the same object."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from laycan.control.outages import OutageDesk, version_of
from laycan.kube.client import ApiError, Client
from laycan.kube.world import World
from laycan.resources.constants import API_VERSION

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0


@dataclass(slots=True)
class OutageWrites:
    client: Client
    world: World
    desk: OutageDesk

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.desk.told.wait()
            self.desk.told.clear()
            failed = [name for name in list(self.desk.wanted) if not await self._write(name)]
            if failed:
                await asyncio.sleep(RETRY_SECONDS)
                self.desk.told.set()

    async def _write(self, name: str) -> bool:
        """Whether nothing is left to be written; a verdict on what was edited meanwhile is void."""
        version, status = self.desk.wanted[name]
        raw = self.world.outages.get(name)
        if raw is None or version_of(raw) != version:
            del self.desk.wanted[name]
            return True
        body = {"metadata": {"resourceVersion": str(raw["metadata"].get("resourceVersion", ""))}, "status": status}
        try:
            answer = await self.client.patch_merge(f"/apis/{API_VERSION}/outages/{name}/status", body)
        except ApiError as error:
            log.log(logging.DEBUG if error.status in (404, 409) else logging.WARNING, "status of outage %s: %s", name, error)
            return False
        del self.desk.wanted[name]
        self.world.take_answer("outages", name, answer)
        return True
