"""Now and then everything is looked at again, whatever was or was not heard of it.

The watches, timers and listeners should make this idle work. It heals what they missed: kopf never tells of objects that were
deleted while its watch was broken, so the small kinds are listed; every contract is compared with what it should be; and no node
may be bound twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from laycan.control.lifecycle import COMMITTED
from laycan.control.planner import Planner
from laycan.control.writer import Writer
from laycan.kube.client import ApiError, Client
from laycan.kube.reflector import object_key
from laycan.kube.views import physical_gpus
from laycan.kube.world import World
from laycan.resources.constants import API_VERSION, PLURALS

log = logging.getLogger(__name__)

SMALL_KINDS = {"ComputeProduct": "products", "ExchangeEndpoint": "endpoints", "Outage": "outages"}  # kind -> table of the World
REPLAN_SHORT_SECONDS = 300  # how often a plan is tried for contracts that are short and maintenance that waits, without any change


async def list_small_kinds(client: Client, world: World) -> None:
    """Makes their tables what the API server has now."""
    for kind, table in SMALL_KINDS.items():
        before = world.keys(table)
        listing = await client.get(f"/apis/{API_VERSION}/{PLURALS[kind]}")
        found = set()
        for item in listing["items"]:
            item |= {"apiVersion": API_VERSION, "kind": kind}
            found.add(object_key(item))
            world.put(table, object_key(item), item)
        for key in before - found:  # what came while the list was on its way is not in `before`
            log.info("%s %s went while nobody watched", kind, key)
            world.drop(table, key)


@dataclass(slots=True)
class Reconcile:
    client: Client
    world: World
    writer: Writer
    planner: Planner
    clock: Callable[[], int]
    period_seconds: int
    double_bookings: int = 0
    compared: float = field(default_factory=time.monotonic)  # when the last look was over
    _replanned: int = 0
    _told: set[str] = field(default_factory=set)  # nodes about which the alarm was raised

    async def run(self) -> None:
        self._replanned = self.clock()
        while True:
            await asyncio.sleep(self.period_seconds)
            try:
                await self.step()
            except ApiError as error:
                log.warning("the periodic look was broken off: %s", error)

    async def step(self) -> None:
        await list_small_kinds(self.client, self.world)
        self.writer.touch_all()
        self._scan()
        now = self.clock()
        if now - self._replanned >= REPLAN_SHORT_SECONDS and (self._any_short() or self.planner.outages.waiting(now)):
            self._replanned = now
            self.planner.replan()
        self.compared = time.monotonic()

    def _scan(self) -> None:
        built_in = {name: physical_gpus(node) or len(self.world.devices(name)) for name, node in self.world.nodes.items()}
        capacity = {name: gpus for name, gpus in built_in.items() if gpus}
        found = dict(self.writer.claims.double_held(self.clock(), capacity))
        for node in found.keys() - self._told:
            self.double_bookings += 1
            log.critical("ALARM node %s is bound twice: %s", node, ", ".join(found[node]))
        self._told = set(found)
        if found:
            self.planner.replan()

    def _any_short(self) -> bool:
        return any(
            decision.undelivered and (contract := self.world.contracts.get(key)) is not None and contract.phase in COMMITTED
            for key, decision in self.writer.decisions.items()
        )
