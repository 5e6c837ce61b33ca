"""The delivery office: everything that runs while this process leads, in the order in which it may begin.

    lease -> clock -> epoch -> the old epoch is refused -> the world is complete -> write, plan, deliver, tell

Nothing is decided before the world is complete: a contract must not be refused for a product or a node that was merely not read
yet. Whatever ends, ends the process; a restart finds everything in the API.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from laycan.control.announce import Announcer
from laycan.control.epoch import advance_epoch, await_epoch_fence
from laycan.control.exchanges import Exchanges
from laycan.control.gate import Gate
from laycan.control.leader import Identity, Leader
from laycan.control.measure import Measure
from laycan.control.metrics import Metrics, both
from laycan.control.outage_writes import OutageWrites
from laycan.control.outcomes import Outcomes
from laycan.control.planner import Planner
from laycan.control.products import Products
from laycan.control.reconcile import Reconcile, list_small_kinds
from laycan.control.requests import DeposedError, Requests
from laycan.control.solver_process import Solver
from laycan.control.writer import Authority, Writer
from laycan.delivery.devices.features import API as DEVICES
from laycan.delivery.devices.features import find_devices
from laycan.delivery.drift import DriftWatch
from laycan.delivery.protocol import Delivery
from laycan.events.cloudevents import source_of
from laycan.kube.client import ApiError, Client
from laycan.kube.credentials import Credentials
from laycan.kube.device_views import claim_view, slice_view
from laycan.kube.instruction_views import instruction_view
from laycan.kube.meter_views import meter_view
from laycan.kube.reflector import SILENCE_SECONDS, Reflector
from laycan.kube.steady import SteadyClock
from laycan.kube.views import contract_view, fence_view, namespace_view, node_view, pod_view
from laycan.kube.world import World
from laycan.resources.constants import API_VERSION, GPU_DRIVER, SINGLETON
from laycan.settings import Settings

log = logging.getLogger(__name__)

_LAG_SECONDS = 5.0  # a loop that lags more is not alive
_CUSTOM = f"/apis/{API_VERSION}"


class Office:
    """`run()` until something ends; `troubles()` and `not_ready()` at any time, for the probes."""

    def __init__(self, credentials: Credentials, settings: Settings, identity: Identity, clock: Callable[[], int]) -> None:
        self.world = World()
        self.settings = settings
        self._credentials, self._clock = credentials, clock
        self._leader = Leader(credentials, settings.namespace, identity, clock)
        self._reflectors: list[Reflector] = []
        self._solver = Solver()
        self._planner: Planner | None = None
        self.metrics = Metrics()
        self._leads = False
        self._heartbeat = time.monotonic()

    async def run(self) -> None:
        """Raises what ended it."""
        self._leader.start()
        heart = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            await self._until(self._leader.acquired())
            self._leads = True
            self.metrics.office.leads(True)
            async with Client(self._credentials) as client:
                await self._lead(client)
        finally:
            heart.cancel()
            await self._solver.stop()
            await self._leader.stop()

    def troubles(self) -> list[str]:
        """What makes this process unfit to live; none while it waits for the lease."""
        now = time.monotonic()
        found = [f"the event loop is {now - self._heartbeat:.0f} s behind"] if now - self._heartbeat > _LAG_SECONDS else []
        found += [
            f"no event of {r.kind} for {now - r.last_event:.0f} s" for r in self._reflectors if now - r.last_event > 2 * SILENCE_SECONDS
        ]
        if self._leads and not self._leader.holds():
            found.append("the lease was not renewed in time")
        return found

    def not_ready(self) -> list[str]:
        """What it waits for before it decides anything, besides what makes it unfit."""
        if not self._leads:
            return ["it waits for the lease", *self.troubles()]
        waiting = [r.kind for r in self._reflectors if not r.synced.is_set()]
        found = [f"not all {', '.join(waiting)} are read"] if waiting else []
        if self._planner is None or not self._planner.looked:
            found.append("nothing is planned yet")
        return [*found, *self.troubles()]

    async def _beat(self) -> None:
        while True:
            self._heartbeat = time.monotonic()
            await asyncio.sleep(1.0)

    async def _until(self, begun: Coroutine[Any, Any, Any]) -> Any:
        """The result, unless leadership is lost before."""
        task, lost = asyncio.ensure_future(begun), asyncio.ensure_future(self._leader.lost.wait())
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise DeposedError("leadership is lost")
            return task.result()
        finally:
            task.cancel()
            lost.cancel()

    async def _lead(self, client: Client) -> None:
        begun = time.monotonic()
        cluster = await client.get("/api/v1/namespaces/kube-system")
        if isinstance(self._clock, SteadyClock):
            self._clock.begin(client.dated)
        epoch = await advance_epoch(client)
        await await_epoch_fence(client, epoch)
        found = await find_devices(client, self.settings.probe_namespace)
        self.world.no_devices = found.trouble
        log.info("exact GPUs: %s", found.trouble or "can be delivered where a DRA driver publishes them")
        self._reflectors = self._make_reflectors(client, found.served)
        tasks = [asyncio.create_task(r.run(), name=f"watch {r.kind}") for r in self._reflectors]
        exchanges: Exchanges | None = None
        try:
            await self._until(_all_synced(self._reflectors))
            await list_small_kinds(client, self.world)
            log.info("epoch %d: %s, %.1f s after the lease", epoch, self._seen(), time.monotonic() - begun)
            authority = Authority(self.settings, source_of(cluster), epoch)
            operator = self.settings.operator(cluster["metadata"]["uid"])
            exchanges = Exchanges(client, self.world, self.settings, operator, authority.source, self._clock, self.metrics.appended)
            await exchanges.evidence.look()
            tasks += [asyncio.create_task(work, name=name) for name, work in self._works(client, authority, exchanges).items()]
            await self._until(_first_end(tasks))
        finally:
            await _end(tasks)
            if exchanges is not None:
                await exchanges.close()

    def _works(self, client: Client, authority: Authority, exchanges: Exchanges) -> dict[str, Coroutine[Any, Any, None]]:
        delivery = Delivery(client, self.world, self.settings, self._clock, lambda: not self._leader.holds())
        announcer = Announcer(client, str(self._leader.identity), self._clock)
        gate = Gate(self.world, lambda: planner.replan())
        requests = Requests(client, self.world, gate, self._leader.holds)
        writer = Writer(self.world, authority, self._clock, requests, both(announcer.tell, self.metrics.told), exchanges.receipts)
        self._planner = planner = Planner(
            self.world, writer, self._solver, delivery, self.settings, self._clock, metrics=self.metrics.plans
        )
        reconcile = Reconcile(client, self.world, writer, planner, self._clock, self.settings.reconcile_seconds)
        products = Products(client, self.world, planner.specs, delivery.downtime, self._clock)
        drift = DriftWatch(client, self.settings, str(self._leader.identity), self._clock)
        measure = Measure(self.metrics, self.settings, self._clock, self._reflectors, planner, delivery, exchanges, reconcile, drift)
        writer.start()
        planner.start()
        return {
            "deliver": delivery.run(),
            "write": writer.run(),
            "plan": planner.run(),
            **exchanges.works(writer.taken),
            "answer": Outcomes(client, self.world, self._clock, self._leader.holds).run(),
            "announce": announcer.run(),
            "devices": self._watch_devices(client, planner.replan),
            "drift": drift.run(),
            "reconcile": reconcile.run(),
            "products": products.run(),
            "outages": OutageWrites(client, self.world, planner.outages).run(),
            "measure": measure.run(),
            "epoch": self._watch_epoch(authority.epoch),
            "clock": self._watch_clock(client),
        }

    async def _watch_epoch(self, epoch: int) -> None:
        """Returns never; a higher one, of another leader or of a hand, makes every write of ours impossible."""
        risen = asyncio.Event()
        self.world.listeners.append(lambda kind, _: risen.set() if kind in ("epoch", "fence") else None)
        while (seen := max(self.world.epoch, self.world.fence.epoch if self.world.fence else 0)) <= epoch:
            await risen.wait()
            risen.clear()
        raise DeposedError(f"another operator leads in epoch {seen}")

    async def _watch_clock(self, client: Client) -> None:
        while True:
            await asyncio.sleep(1.0)
            if isinstance(self._clock, SteadyClock):
                self._clock.heard(client.dated)

    async def _watch_devices(self, client: Client, replan: Callable[[], None]) -> None:
        """Asks again now and then: the guard of the claims may come after us (an install), be deleted by hand, or be put back."""
        while True:
            await asyncio.sleep(self.settings.reconcile_seconds)
            try:
                found = await find_devices(client, self.settings.probe_namespace)
            except ApiError as error:
                log.warning("whether exact GPUs can be delivered could not be asked: %s", error)
                continue
            trouble = found.trouble if "resource_claims" in {r.kind for r in self._reflectors} else self.world.no_devices
            if trouble != self.world.no_devices:
                log.warning("exact GPUs: %s", trouble or "can be delivered again")
                self.world.no_devices = trouble
                replan()

    def _make_reflectors(self, client: Client, devices: bool) -> list[Reflector]:
        def one(view: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return lambda obj: view(obj) if obj["metadata"]["name"] == SINGLETON else None

        running = {"fieldSelector": "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"}
        exact = (
            ("resource_slices", f"{DEVICES}/resourceslices", slice_view, {"fieldSelector": f"spec.driver={GPU_DRIVER}"}),
            ("resource_claims", f"{DEVICES}/resourceclaims", claim_view, None),
        )
        return [
            Reflector(client, self.world, kind, path, view, time.monotonic, params, optional=kind == "meters")
            for kind, path, view, params in (
                ("nodes", "/api/v1/nodes", node_view, None),
                ("pods", "/api/v1/pods", pod_view, running),
                ("namespaces", "/api/v1/namespaces", namespace_view, None),
                ("contracts", f"{_CUSTOM}/computecontracts", contract_view, None),
                ("instructions", f"{_CUSTOM}/contractinstructions", instruction_view, None),
                ("fence", f"{_CUSTOM}/nodefences", one(fence_view), None),
                ("epoch", f"{_CUSTOM}/leaderepochs", one(lambda obj: int((obj.get("spec") or {}).get("epoch") or 0)), None),
                ("meters", f"{_CUSTOM}/gpumeters", meter_view, None),
                *(exact if devices else ()),
            )
        ]

    def _seen(self) -> str:
        world = self.world
        return f"{len(world.nodes)} nodes, {len(world.pods)} pods, {len(world.contracts)} contracts, {len(world.products)} products"


async def _first_end(tasks: list[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # raises what ended it
        raise RuntimeError(f"{task.get_name()} ended by itself")


async def _all_synced(reflectors: list[Reflector]) -> None:
    for reflector in reflectors:
        await reflector.synced.wait()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels until they have ended: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the same turn as its result."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)
