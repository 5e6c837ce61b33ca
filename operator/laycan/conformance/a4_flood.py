"""A4: a flood of strangers while a node changes hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from laycan.conformance.attack import Ability, Seen, attack
from laycan.conformance.objects import EVERY_TAINT, on_nodes, requiring
from laycan.conformance.scene import HOLDER, STRANGER, Scene
from laycan.conformance.waiting import beside, until
from laycan.kube.client import ApiError


@dataclass(slots=True)
class Sentry:
    """From the moment at which the fence refuses a bind to each of the nodes, no stranger may be added on them."""

    scene: Scene
    nodes: Sequence[str]
    closed_at: float = 0.0  # monotonic seconds, 0 while a node is open
    present: set[str] = field(default_factory=set)  # strangers at that time
    after: set[str] = field(default_factory=set)  # those that came too late
    looks: int = 0

    async def look(self) -> None:
        if not self.closed_at:
            if all([await self.scene.fenced(node) for node in self.nodes]):
                self.closed_at = time.monotonic()
                self.present = await self.scene.strangers(self.nodes)
            return
        self.after |= await self.scene.strangers(self.nodes) - self.present
        self.looks += 1


def flood(scene: Scene, nodes: Sequence[str], undaunted: bool = False) -> Pour:
    """A stranger who creates pods that tolerate everything and fit nowhere but on these nodes; `undaunted` by any refusal."""
    return Pour(scene, nodes, 1.0 / scene.options.flood_per_second, undaunted)


@dataclass(slots=True)
class Pour:
    scene: Scene
    nodes: Sequence[str]
    pause_seconds: float
    undaunted: bool
    numbers: count[int] = field(default_factory=lambda: count(1))
    created: int = 0

    async def drop(self) -> None:
        name, where = f"flood-{next(self.numbers)}", requiring(on_nodes(*self.nodes))
        error = await self.scene.refusal(self.scene.pod(self.scene.stranger, STRANGER, name, affinity=where, tolerations=EVERY_TAINT))
        if error is not None and not self.undaunted:
            raise error
        self.created += error is None
        await asyncio.sleep(self.pause_seconds)


@attack("A4", "flood", "no stranger is added after the first refused bind; none is left at the hand-over")
async def under_flood(scene: Scene) -> Seen:
    """Under a flood of pods that tolerate everything, none comes onto the nodes once the fence refuses a bind."""
    count_of = min(4, len(await scene.free()))
    pour = flood(scene, scene.fleet.nodes)
    async with beside(pour.drop):
        await until("strangers on the nodes", lambda: _everywhere(scene))
        delivery = await scene.deliver(HOLDER, count_of, held=False)
        sentry = Sentry(scene, delivery.nodes)
        async with beside(sentry.look):
            await scene.await_held(delivery)
            left = await scene.strangers(delivery.nodes)
            await asyncio.sleep(scene.options.flood_seconds)  # the flood's length is an option
            await _looks_again(sentry)
    await scene.clear_pods()
    await scene.end(delivery)
    numbers = {
        "nodes": count_of,
        "pods of the flood": pour.created,
        "strangers present at the probe": len(sentry.present),
        "new ones after it": len(sentry.after),
    }
    held = bool(sentry.closed_at) and bool(sentry.looks) and not sentry.after and not left
    return Seen(held, f"{len(sentry.after)} after the probe in {sentry.looks} looks, {len(left)} left at the hand-over", numbers)


async def _everywhere(scene: Scene) -> bool:
    return all([await scene.strangers([node]) for node in scene.fleet.nodes])


async def _looks_again(sentry: Sentry) -> None:
    begun = sentry.looks

    async def looked() -> bool:
        return sentry.looks > begun

    await until("the sentry looked again", looked)


@attack("A4", "api-restart", "no stranger on the delivered node, before, while and after", needs=[Ability.RESTART_API])
async def api_restart(scene: Scene) -> Seen:
    """The API server is away for seconds under a flood; while its fence has no data after the restart, keep-off and the operator hold."""
    delivery = await scene.deliver(HOLDER)
    found: set[str] = set()
    looks = 0

    async def look() -> None:
        nonlocal looks
        with suppress(ApiError):  # it is away
            found.update(await scene.strangers(delivery.nodes))
            looks += 1

    async with beside(flood(scene, delivery.nodes, undaunted=True).drop), beside(look):  # an API server knows no rights at first
        await scene.act(scene.harness.restart_api_server)
        begun = time.monotonic()
        await until("fenced again", lambda: _closed(scene, delivery.nodes[0]), 90)
        seconds = time.monotonic() - begun
        held = await until("held", lambda: scene.are(delivery.nodes, HOLDER))
        await asyncio.sleep(scene.options.flood_seconds)
    await scene.clear_pods()
    await scene.end(delivery)
    numbers = {"seconds until the fence had its data again": seconds, "strangers seen": len(found)}
    return Seen(held and not found, f"{len(found)} strangers in {looks} looks", numbers)


async def _closed(scene: Scene, node: str) -> bool:
    try:
        return await scene.fenced(node)
    except ApiError:
        return False
