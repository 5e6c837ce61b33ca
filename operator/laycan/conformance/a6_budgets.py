"""A6: PodDisruptionBudgets."""

from __future__ import annotations

import asyncio
import time

from laycan.conformance import objects
from laycan.conformance.attack import Seen, attack
from laycan.conformance.scene import HOLDER, STRANGER, Scene, now, pods
from laycan.conformance.waiting import until


@attack("A6", "budget", "the guarded pod stays until the window begins; then it goes, and the node is handed over")
async def budget(scene: Scene) -> Seen:
    """A budget that allows no eviction keeps its pod on the frozen node until the deadline, and not longer."""
    start = now() + scene.settings.lead_seconds + 12  # the lead is learnt: it may have grown
    delivery = await scene.deliver(HOLDER, start=start, held=False)
    node = delivery.nodes[0]
    for name in ("guarded", "plain"):
        await scene.pod(scene.stranger, STRANGER, name, node=node)
        await until(f"{name} runs", lambda name=name: scene.runs(STRANGER, name))  # type: ignore[misc]
    path = f"/apis/policy/v1/namespaces/{STRANGER}/poddisruptionbudgets"
    await scene.stranger.create(path, objects.budget("guarded"))
    await until("the budget counts", lambda: _counts(scene, f"{path}/guarded"))
    await until("the plain pod is evicted", lambda: scene.gone(f"{pods(STRANGER)}/plain"), scene.patience)
    frozen = (await scene.owners()).get(node, "")
    looks = early = 0
    while time.time() < start - 0.5:
        looks, early = looks + 1, early + (await scene.runs(STRANGER, "guarded") != node)
        await asyncio.sleep(0.2)
    late = await scene.await_held(delivery)
    left = await scene.strangers([node])
    await scene.end(delivery)
    held = frozen == f"frozen.{delivery.uid}" and looks > 0 and not early and not left
    observed = f"there in {looks - early} of {looks} looks before the window, {'still there' if left else 'gone'} at the hand-over"
    return Seen(held, observed, {"hand-over, seconds after the start of a window that a budget held up": late})


async def _counts(scene: Scene, path: str) -> bool:
    return bool((await scene.admin.get(path)).get("status", {}).get("currentHealthy") == 1)
