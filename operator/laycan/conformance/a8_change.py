"""A8: the end of a window, and the next holder."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager

from laycan.conformance.attack import Seen, attack
from laycan.conformance.scene import HOLDER, NEXT, STRANGER, Scene, now
from laycan.conformance.waiting import beside, until


class Visitors:
    """Namespaces of strangers seen on the nodes, and owners that the fence gave them, by looking again and again."""

    def __init__(self, scene: Scene, nodes: tuple[str, ...]) -> None:
        self.strangers: set[str] = set()
        self.owners: set[str] = set()
        self._scene, self._nodes = scene, nodes

    async def look(self) -> None:
        entries = await self._scene.owners()
        self.owners |= {entries.get(node, "") for node in self._nodes}
        found = await self._scene.strangers(self._nodes, "")
        self.strangers |= {name.partition("/")[0] for name in found} - {HOLDER, NEXT}

    def watch(self) -> AbstractAsyncContextManager[None]:
        return beside(self.look)


@attack("A8", "holder-to-holder", "the first holder's pod goes, the next one's runs; never a stranger, never a free moment")
async def holder_to_holder(scene: Scene) -> Seen:
    """At the end of a window the node passes to the next holder without having been anybody else's in between."""
    length = 8 + scene.settings.drain_seconds + scene.settings.lead_seconds
    first = await scene.deliver(HOLDER, seconds=length)
    others = [node for node in scene.fleet.nodes if node not in first.nodes]
    blocked = [await scene.deliver(NEXT, len(others))] if others else []  # so that the next one must come here
    second = await scene.accepted(await scene.sell(NEXT, 1, first.end, busy=True))
    if second.nodes != first.nodes:
        return Seen(False, f"the next holder was bound to {', '.join(second.nodes)}, not to {', '.join(first.nodes)}")
    await scene.pod(scene.holder, HOLDER, "worker", gpus=scene.gpus)
    await until("the worker runs", lambda: scene.runs(HOLDER, "worker"))
    await scene.pod(scene.admin, NEXT, "worker", gpus=scene.gpus, node=first.nodes[0])
    await scene.pod(scene.stranger, STRANGER, "waits", gpus=scene.gpus, node=first.nodes[0])
    seen = Visitors(scene, first.nodes)
    async with seen.watch():
        await scene.await_held(second)
        await until("the next worker runs", lambda: scene.runs(NEXT, "worker"))
        seconds = time.time() - first.end
    gone = await scene.gone(f"/api/v1/namespaces/{HOLDER}/pods/worker")
    for delivery in (second, *blocked):
        await scene.end(delivery)
    held = gone and not seen.strangers and "" not in seen.owners
    observed = f"strangers: {', '.join(sorted(seen.strangers)) or 'none'}; free in between: {'yes' if '' in seen.owners else 'no'}"
    return Seen(held, observed, {"next holder's pod runs, seconds after the end of the window before": seconds})


@attack("A8", "window-end", "the holder's pod goes and the node is free")
async def window_end(scene: Scene) -> Seen:
    """When the window is over and nobody follows, the holder's pods go, and the node is anybody's."""
    delivery = await scene.deliver(HOLDER, seconds=max(5, scene.settings.lead_seconds + 5))
    await scene.pod(scene.holder, HOLDER, "worker", gpus=scene.gpus)
    await until("the worker runs", lambda: scene.runs(HOLDER, "worker"))
    await until("the node is free", lambda: scene.are(delivery.nodes, ""), scene.patience + delivery.end - now())
    seconds = time.time() - delivery.end
    gone = await scene.gone(f"/api/v1/namespaces/{HOLDER}/pods/worker")
    return Seen(gone and seconds > 0, "gone, and free" if gone else "the pod is still there", {"node free, seconds after the end": seconds})
