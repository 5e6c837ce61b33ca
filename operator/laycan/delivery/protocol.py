"""Delivery: makes the bindings of contracts true in the cluster, and keeps them so.

A pass looks at the world, sees what each node's target is (nodes/desired.py) and what is to be done for lots of exact GPUs
(devices/lots.py), and starts one attempt (nodes/attempt.py, devices/steps.py) for each contract that is not there yet. Attempts of
different contracts run side by side, so that one slow drain delays nobody; their fence writes meet in one patch (nodes/fence.py).
Passes are made when something changed, when the clock makes something due, and now and then anyway. Nothing is remembered that a
restart could not see again in the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

from laycan.delivery.bulletin import Bulletin
from laycan.delivery.devices.agenda import LotAgenda
from laycan.delivery.devices.steps import LotSteps
from laycan.delivery.faults.downtime import Downtime
from laycan.delivery.faults.failures import pauses_all
from laycan.delivery.faults.heartbeats import LeaseWatch
from laycan.delivery.nodes.attempt import Steps
from laycan.delivery.nodes.drain import Drain
from laycan.delivery.nodes.fence import Fence, FenceDownError
from laycan.delivery.nodes.probe import Probe
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import ApiError, Client
from laycan.kube.views import PodView
from laycan.kube.world import World
from laycan.settings import Settings

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0  # how often a fence that nobody writes to is looked at
_RETRY_SECONDS = 1.0  # between two attempts for a contract that waits for pods to go
_SOON_SECONDS = 0.1  # the same when the watch shows that they have gone
_DEBOUNCE_SECONDS = 0.02


class Delivery:
    """`paused` stops everything, as when another operator leads; `epoch` is that of this process, by default the world's of now.

    The world must be complete before. One `Delivery` per process; `run()` or `step()`, not both.
    """

    def __init__(
        self,
        client: Client,
        world: World,
        settings: Settings,
        clock: Callable[[], int],
        paused: Callable[[], bool] = lambda: False,
        epoch: int | None = None,
    ) -> None:
        self._client, self._world, self._settings, self._clock, self._paused = client, world, settings, clock, paused
        self._changed = asyncio.Event()
        self.situation = Situation(world, settings, self._changed.set)
        self._leases = LeaseWatch(client, clock)
        self.situation.health.heartbeats = self._leases.heartbeats
        self.fence = Fence(client, world, Probe(client, settings.probe_namespace), world.epoch if epoch is None else epoch)
        self._drain = Drain(client, world, settings)
        self._bulletin = Bulletin(client, world)
        self._steps = Steps(client, world, self.situation, self.fence, self._drain, settings, clock)
        self._lots = LotAgenda(world, self.situation, settings, self._changed.set)
        self._lot_steps = LotSteps(client, world, self._lots, self._drain, settings, clock)
        self._leftovers = True  # of an operator that ended: not looked for yet
        self._groups: dict[str, list[str]] = {}  # contract uid -> its nodes on which something is to be done
        self._attempts: dict[str, asyncio.Task[None]] = {}  # contract uid -> what runs for it
        self._tried: dict[str, float] = {}  # contract uid -> event loop's time at the end of the last attempt
        self._probed = 0.0
        self._looks = 0
        self._full_look = 0.0  # event loop's time of the next one
        self._unsettled: set[str] = set()  # nodes on which something may have to be done
        self.passes = 0  # so far, for whoever wants to know that something was looked at
        self._strangers: dict[str, tuple[str, int]] = {}  # pod on a held node -> the node, and when it was first seen there

    @property
    def problems(self) -> Mapping[str, str]:
        """What stands in the way of a contract's exact GPUs, by the contract's uid."""
        return self._lots.problems

    def unusable(self) -> frozenset[str]:
        """Nodes that a plan must not use now; changes are announced through `World.changed`."""
        return self.situation.unusable(self._clock())

    def planning_gpus(self, name: str) -> int:
        """GPUs of a node that a plan may count on: a drop counts once it has lasted for the dwell."""
        return self.situation.planning_gpus(name, self._clock())

    def downtime(self, asked: Iterable[str]) -> Downtime | None:
        """Which nodes are down by nobody's plan, None before the first look; `asked`: of which it matters whether they are well again."""
        return self.situation.downtime(self._clock(), asked) if self._full_look else None

    async def run(self) -> None:
        """Passes until cancelled."""
        try:
            while True:
                while self._paused():  # noqa: ASYNC110 - leadership does not tell when it is back
                    await asyncio.sleep(_RETRY_SECONDS)
                try:
                    await self._begin()
                except (ApiError, FenceDownError) as error:
                    log.warning("the pass was broken off: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS)
                await self._wait()
        finally:
            await self.stop()

    async def step(self) -> None:
        """One pass, and the attempts that it starts, to their end. Raises what a pass raises; what attempts meet is logged."""
        await self._begin()
        if self._attempts:
            await asyncio.gather(*self._attempts.values())

    async def stop(self) -> None:
        """Breaks off what runs; everything it did so far stands and is found again."""
        self.situation.close()
        self._lots.close()
        await self._leases.stop()
        for task in self._attempts.values():
            task.cancel()
        await asyncio.gather(*self._attempts.values(), return_exceptions=True)

    async def _begin(self) -> None:
        self._changed.clear()
        self.passes += 1
        for uid, task in list(self._attempts.items()):
            if task.done():
                del self._attempts[uid]
                task.result()  # a defect ends the process; a restart finds everything in the API
        if self._paused():
            return
        enforce = self._settings.mode == "Enforce"
        if self._world.fence is None and enforce:
            await self._make_fence()
        touched = self._look()
        await self._bulletin.failures(self.situation, self.fence.entries, touched)
        if not enforce:
            self._bulletin.targets(self.situation.targets)
            self._lots.tell(self._clock())
            return
        await self._evict_strangers(touched)
        await self._look_at_fence()
        if pauses_all(self._world, self._settings):
            self._groups = {}
            return
        self._start_attempts()
        await self._lot_steps.open_nodes()
        if self._leftovers:
            await self._lot_steps.remove_leftovers()
            self._leftovers = False

    def _look(self) -> set[str]:
        """Nodes on which something may have changed; all of them now and then, in case a change was overlooked."""
        time = asyncio.get_running_loop().time()
        full = time >= self._full_look
        if full:
            self._full_look = time + self._settings.reconcile_seconds
        self._leases.look(self._clock())
        touched = self.situation.look(self._clock(), full)
        self._unsettled |= touched
        self._lots.look(touched, self._clock(), full)
        self._leases.want(self.situation.listens)
        return touched

    def _start_attempts(self) -> None:
        time = asyncio.get_running_loop().time()
        groups: dict[str, list[str]] = {uid: [] for uid in self._lots.unsettled}
        for uid, names in self._unsettled_nodes().items() if self.fence.live else ():
            groups.setdefault(uid, []).extend(names)
        self._groups = groups
        self._tried = {uid: tried for uid, tried in self._tried.items() if uid in groups}
        for uid, names in groups.items():
            if uid not in self._attempts and time >= self._due(uid, names):
                self._attempts[uid] = asyncio.create_task(self._attempt(uid, names), name=f"deliver {uid}")
                self._attempts[uid].add_done_callback(lambda _: self._changed.set())

    def _unsettled_nodes(self) -> dict[str, list[str]]:
        """By the contract on whose account something is to be done there."""
        groups: dict[str, list[str]] = {}
        targets, looked_at, self._unsettled = self.situation.targets, self._unsettled, set()
        for name in looked_at & targets.keys():
            if not self._steps.settled(name, targets[name]):
                self._unsettled.add(name)
                groups.setdefault(targets[name].uid, []).append(name)
        return groups

    def _due(self, uid: str, names: list[str]) -> float:
        """When the next attempt may begin, by the event loop's time."""
        if uid not in self._tried:
            return 0.0
        targets = self.situation.targets
        waits = any(self._steps.strangers(name, targets[name].keep) for name in names if name in targets)
        waits = waits or (not names and uid not in self._lots.fresh)
        return self._tried[uid] + (_RETRY_SECONDS if waits else _SOON_SECONDS)

    async def _attempt(self, uid: str, names: list[str]) -> None:
        try:
            if names:
                await self._steps.attempt(uid, names)
        except (ApiError, FenceDownError) as error:
            log.warning("contract %s: %s", uid, error)
        if uid in self._lots.unsettled:
            await self._lot_steps.attempt(uid)  # what fails there is noted there
        self._tried[uid] = asyncio.get_running_loop().time()

    async def _make_fence(self) -> None:
        """The first start, or somebody deleted it: then the labels tell what it held."""
        marked = {name: node.holder for name, node in self._world.nodes.items() if node.managed and node.holder}
        if marked:
            log.error("ALARM NodeFence/cluster was gone; made again from the labels of %d nodes", len(marked))
        await self.fence.create(marked)

    async def _look_at_fence(self) -> None:
        """Now and then, and soon again while it is not live, asks whether the fence still holds."""
        time = asyncio.get_running_loop().time()
        if not self.fence.entries:
            self.fence.live = True  # nothing to see; the next freeze proves itself
        elif time - self._probed >= (PROBE_SECONDS if self.fence.live else _RETRY_SECONDS):
            self._probed = time
            self._looks += 1
            names = sorted(self.fence.entries)
            await self.fence.look(names[self._looks % len(names)])

    async def _evict_strangers(self, touched: set[str]) -> None:
        """After the hand-over the watch stays: whoever is on a held node and not the holder's goes."""
        found: dict[str, PodView] = {}
        for name in touched | {node for node, _ in self._strangers.values()}:
            owner, node = self.fence.entries.get(name, ""), self._world.nodes.get(name)
            if owner and "." not in owner and node is not None and node.managed and node.holder == owner:
                found |= {f"{pod.namespace}/{pod.name}": pod for pod in self._steps.strangers(name, owner)}
        now, before = self._clock(), self._strangers
        self._strangers = {key: before.get(key, (pod.node, now)) for key, pod in found.items() if key in before or not pod.deleting}
        for key in self._strangers.keys() - before.keys():
            log.error("ALARM pod %s is on node %s, which is not its own; it is evicted", key, found[key].node)
        await asyncio.gather(
            *(self._drain.remove([found[key]], since + self._settings.drain_seconds, now) for key, (_, since) in self._strangers.items())
        )

    async def _wait(self) -> None:
        """Until something changed or is due. `clock` has whole seconds, so the last one before an instant is waited for in steps."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.reconcile_seconds
        if self.fence.entries:
            end = min(end, self._probed + (PROBE_SECONDS if self.fence.live else _RETRY_SECONDS))
        end = min([end, *(self._due(uid, names) for uid, names in self._groups.items() if uid not in self._attempts)])
        while not self._changed.is_set() and loop.time() < end:
            wake = self.situation.wake
            if wake is not None and self._clock() >= wake:
                break
            seconds = end - loop.time() if wake is None else min(end - loop.time(), max(0.05, wake - self._clock() - 1))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.001)):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._changed.wait()
        await asyncio.sleep(_DEBOUNCE_SECONDS)
