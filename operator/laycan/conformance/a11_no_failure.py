"""A11: what is no failure, and what is too much of it."""

from __future__ import annotations

import asyncio

from laycan.conformance.attack import Ability, Seen, attack
from laycan.conformance.scene import HOLDER, Delivery, Scene
from laycan.conformance.waiting import until


@attack("A11", "cordon", "no move, nothing taken away", disruptive=True)
async def cordon(scene: Scene) -> Seen:
    """A cordon is no failure: the node keeps its holder, and the contract its binding."""
    delivery = await scene.deliver(HOLDER)
    path = f"/api/v1/nodes/{delivery.nodes[0]}"
    await scene.admin.patch_merge(path, {"spec": {"unschedulable": True}})
    try:
        await asyncio.sleep(2 * scene.settings.reconcile_seconds)  # two full looks of the operator
        seen = await _unmoved(scene, delivery)
    finally:
        await scene.admin.patch_merge(path, {"spec": {"unschedulable": None}})
    await scene.end(delivery)
    return seen


@attack("A11", "plugin-restart", "no move", needs=[Ability.SET_GPUS])
async def plugin_restart(scene: Scene) -> Seen:
    """All nodes report no GPU for less than the dwell, as when the device plugin restarts: nothing moves."""
    delivery = await scene.deliver(HOLDER)
    for node in scene.fleet.nodes:
        await scene.act(scene.harness.set_gpus, node, 0)
    await asyncio.sleep(scene.settings.dwell_seconds / 2)
    for node in scene.fleet.nodes:
        await scene.act(scene.harness.set_gpus, node, scene.gpus)
    await asyncio.sleep(scene.settings.dwell_seconds)
    seen = await _unmoved(scene, delivery)
    await scene.end(delivery)
    return seen


async def _unmoved(scene: Scene, delivery: Delivery) -> Seen:
    bound, owners = await scene.bound(delivery.name), await scene.owners()
    entries = [owners.get(node, "nobody") for node in delivery.nodes]
    held = bound == delivery.nodes and await scene.are(delivery.nodes, HOLDER)
    return Seen(held, "the same node, held" if held else f"was on {delivery.nodes}, now bound to {bound}, which is {entries}")


@attack("A11", "breaker", "one is given up, the others keep what they hold", needs=[Ability.SILENCE, Ability.KILL_OPERATOR])
async def breaker(scene: Scene) -> Seen:
    """Half the nodes fall silent at once: the circuit breaker gives up no more than its share without a person."""
    half = scene.fleet.nodes[: max(2, len(scene.fleet.nodes) // 2)]
    share = 1_000_000 // len(scene.fleet.nodes)  # of the fleet: one node
    await scene.act(scene.harness.start_operator, breaker={"sharePpm": share, "windowSeconds": 600})
    delivery = await scene.deliver(HOLDER, len(await scene.free()))
    for node in half:
        await scene.act(scene.harness.silence, node)
    await until("all are silent", lambda: _silent(scene, half), 60)
    await asyncio.sleep(5 + scene.settings.reconcile_seconds)  # detection, and a full look
    owners = await scene.owners()
    lost = [node for node in delivery.nodes if owners.get(node) != HOLDER]
    for node in half:
        await scene.act(scene.harness.revive, node)
    await until("all are back", lambda: _back(scene, half), 60)
    await scene.act(scene.harness.start_operator)
    await scene.end(delivery)
    await until("all are free", lambda: scene.are(scene.fleet.nodes, ""), scene.patience + scene.settings.hysteresis_seconds)
    return Seen(len(lost) == 1, f"{len(half)} of {len(scene.fleet.nodes)} silent, {len(lost)} given up")


async def _silent(scene: Scene, nodes: tuple[str, ...]) -> bool:
    return not any([await scene.ready(node) for node in nodes])


async def _back(scene: Scene, nodes: tuple[str, ...]) -> bool:
    return all([await scene.ready(node) for node in nodes])
