"""A4: a flood of strangers while a node changes hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from laycan.conformance.attack import Seen, attack
from laycan.conformance.objects import EVERY_TAINT, on_nodes, requiring
from laycan.conformance.scene import HOLDER, STRANGER, Scene
from laycan.conformance.waiting import beside, until


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


def flood(scene: Scene, nodes: Sequence[str]) -> Pour:
    """A stranger who creates pods that tolerate everything and fit nowhere but on these nodes."""
    return Pour(scene, nodes, 1.0 / scene.options.flood_per_second)


@dataclass(slots=True)
class Pour:
    scene: Scene
    nodes: Sequence[str]
    pause_seconds: float
    numbers: count[int] = field(default_factory=lambda: count(1))
    created: int = 0

    async def drop(self) -> None:
        name, where = f"flood-{next(self.numbers)}", requiring(on_nodes(*self.nodes))
        await self.scene.pod(self.scene.stranger, STRANGER, name, affinity=where, tolerations=EVERY_TAINT)
        self.created += 1
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
