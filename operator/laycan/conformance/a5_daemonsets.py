"""A5: node agents through a delivery."""

from __future__ import annotations

from laycan.conformance import objects
from laycan.conformance.attack import NotRun, Seen, attack
from laycan.conformance.objects import Object
from laycan.conformance.scene import HOLDER, STRANGER, Scene
from laycan.conformance.waiting import NeverError, until

ALL = "/apis/apps/v1/daemonsets"


async def _agents(scene: Scene) -> list[Object]:
    """The cluster's own DaemonSets that run everywhere: of exempt and agent namespaces."""
    spared = {*scene.settings.exempt_namespaces, *scene.settings.agent_namespaces}
    return [each for each in (await scene.admin.get(ALL))["items"] if each["metadata"]["namespace"] in spared and _desired(each)]


def _desired(each: Object) -> int:
    return int(each.get("status", {}).get("desiredNumberScheduled", 0))


def _ready(each: Object) -> bool:
    status = each.get("status", {})
    current = status.get("observedGeneration") == each["metadata"]["generation"]
    return bool(current and status.get("numberReady", 0) == _desired(each) == status.get("updatedNumberScheduled", 0))


@attack("A5", "agents", "ready = desired before, while held, and after; the same number desired throughout")
async def agents(scene: Scene) -> Seen:
    """Device plugins, drivers and monitoring stay Ready on a node from before the freeze to after the release."""
    if not await _agents(scene):
        raise NotRun("needs a DaemonSet in an exempt or agent namespace")
    before = await until("the agents are ready", lambda: _all_ready(scene))
    wrong: list[str] = []
    delivery = await scene.deliver(HOLDER)
    wrong += await _changed(scene, before)
    await scene.end(delivery)
    wrong += await _changed(scene, before)
    return Seen(not wrong, f"not so: {', '.join(sorted(set(wrong)))}" if wrong else f"{len(before)} DaemonSets: always so")


async def _all_ready(scene: Scene) -> dict[str, Object]:
    """Path -> DaemonSet, once all are ready."""
    found = {_path(each): each for each in await _agents(scene)}
    return found if all(_ready(each) for each in found.values()) else {}


async def _changed(scene: Scene, before: dict[str, Object]) -> list[str]:
    wrong = []
    for path, each in before.items():
        now = await scene.admin.get(path)
        if not _ready(now) or _desired(now) != _desired(each):
            wrong.append(path)
    return wrong


def _path(each: Object) -> str:
    return f"/apis/apps/v1/namespaces/{each['metadata']['namespace']}/daemonsets/{each['metadata']['name']}"


@attack("A5", "tenant", "fewer desired while held, none Pending, through a rollout; all desired again after the release")
async def tenant(scene: Scene) -> Seen:
    """A tenant's DaemonSet leaves a node when it is delivered to somebody else, does not hang there, and comes back."""
    where = f"/apis/apps/v1/namespaces/{STRANGER}/daemonsets"
    made = objects.daemonset("agent", scene.options.image)
    await scene.stranger.create(where, made)
    path = f"{where}/agent"
    everywhere = await _settles(scene, path, 0)
    delivery = await scene.deliver(HOLDER)
    while_held = await _settles(scene, path, everywhere - 1)
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    await scene.stranger.patch_merge(path, restart)
    restarted = await _settles(scene, path, everywhere - 1)
    await scene.end(delivery)
    after = await _settles(scene, path, everywhere)
    held = while_held == restarted == everywhere - 1 and after == everywhere
    return Seen(held, f"desired and ready: {everywhere}, held: {while_held}, after a rollout: {restarted}, released: {after}")


async def _settles(scene: Scene, path: str, wanted: int) -> int:
    """How many are desired once all are ready; waits for so many if that is known. -1: never ready."""

    async def settled() -> int:
        found = await scene.admin.get(path)
        return _desired(found) if _desired(found) and _ready(found) and wanted in (0, _desired(found)) else 0

    try:
        return await until(f"{path} is ready", settled, 30)
    except NeverError:
        return -1
