"""A7: a node falls silent."""

from __future__ import annotations

import time

from laycan.conformance.attack import Ability, Seen, attack
from laycan.conformance.scene import HOLDER, Delivery, Scene
from laycan.conformance.waiting import until


@attack("A7", "heartbeat", "re-bound to an empty node; the dead one quarantined, also after its return", needs=[Ability.SILENCE])
async def heartbeat(scene: Scene) -> Seen:
    """A silent node is replaced, and stays in quarantine after its return until it is empty and was well for its hysteresis."""
    delivery = await scene.deliver(HOLDER)
    (victim,) = delivery.nodes
    await scene.pod(scene.holder, HOLDER, "left", gpus=1)
    await until("its pod runs", lambda: scene.runs(HOLDER, "left"))
    await scene.act(scene.harness.silence, victim)
    silent = time.monotonic()
    spare = await until("re-bound", lambda: _elsewhere(scene, delivery), 120)
    await until("the spare is held", lambda: scene.are([spare], HOLDER), scene.patience)
    seconds = time.monotonic() - silent
    quarantine = f"quarantine.{delivery.uid}"
    dead = await scene.are([victim], quarantine)
    kept = await scene.runs(HOLDER, "left")
    await scene.act(scene.harness.revive, victim)
    await until("it is back", lambda: scene.ready(victim))
    back, still = time.monotonic(), await scene.are([victim], quarantine)
    await until("out of quarantine", lambda: scene.are([victim], ""), scene.patience + scene.settings.hysteresis_seconds)
    waited, left = time.monotonic() - back, await scene.strangers([victim], "")
    await scene.end(delivery)
    held = dead and still and not left and waited >= scene.settings.hysteresis_seconds - 2
    pod = "kept" if kept else "gone"
    observed = f"quarantined: {dead}, after its return: {still}; pods left when it was freed: {len(left)}; its pod while dead: {pod}"
    return Seen(held, observed, {"spare held, seconds after the silence": seconds})


async def _elsewhere(scene: Scene, delivery: Delivery) -> str:
    found = set(await scene.bound(delivery.name)) - set(delivery.nodes)
    return found.pop() if found else ""
