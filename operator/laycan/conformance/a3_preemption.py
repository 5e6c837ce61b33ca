"""A3: priority."""

from __future__ import annotations

from laycan.conformance.attack import Seen, attack
from laycan.conformance.objects import EVERY_TAINT, STEM
from laycan.conformance.scene import HOLDER, STRANGER, Scene, pods


@attack("A3", "preemption", "the stranger's pod is Pending and nominated nowhere; the holder's pod is the same one", stands=True)
async def preemption(scene: Scene) -> Seen:
    """A stranger of higher priority who needs the GPUs of the holder's pod is not considered, so that pod stays."""
    node = (await scene.standing()).nodes[0]
    mine = await scene.pod(scene.holder, HOLDER, "victim", gpus=scene.gpus, node=node)
    if await scene.place(HOLDER, "victim") != node:
        return Seen(False, "the holder's pod does not run on the delivered node")
    await scene.pod(scene.stranger, STRANGER, "rival", gpus=scene.gpus, node=node, priorityClassName=STEM, tolerations=EVERY_TAINT)
    place = await scene.place(STRANGER, "rival")
    after = await scene.find(f"{pods(HOLDER)}/victim")
    stays = after is not None and after["metadata"]["uid"] == mine["metadata"]["uid"] and "deletionTimestamp" not in after["metadata"]
    nominated = (await scene.admin.get(f"{pods(STRANGER)}/rival"))["status"].get("nominatedNodeName", "")
    observed = f"the stranger: {'Pending' if place == 'nowhere' else place}; the holder's pod {'stays' if stays else 'was preempted'}"
    return Seen(stays and place == "nowhere" and not nominated, observed)
