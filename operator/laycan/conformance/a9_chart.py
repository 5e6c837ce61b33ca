"""A9: parts of Laycan are edited or deleted under it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from laycan.conformance import objects
from laycan.conformance.a4_flood import flood
from laycan.conformance.attack import Ability, Seen, attack
from laycan.conformance.objects import EVERY_TAINT
from laycan.conformance.scene import FENCE, HOLDER, LEADER_EPOCH, NEXT, STRANGER, Scene, now
from laycan.conformance.waiting import NeverError, beside, until
from laycan.delivery.policies import PATH
from laycan.kube.client import ApiError
from laycan.resources.constants import GROUP, HOLDER_LABEL

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FENCE_BINDING = f"{PATH}/validatingadmissionpolicybindings/laycan-node-fence"


class Canary:
    """Somebody who creates pods in kube-system all the time, as dry runs, and counts refusals."""

    def __init__(self, scene: Scene, node: str) -> None:
        self.created, self.refused = 0, list[str]()
        self._scene, self._node = scene, node

    def sing(self) -> AbstractAsyncContextManager[None]:
        return beside(self._once)

    async def _once(self) -> None:
        pod = objects.pod("canary", nodeName=self._node, tolerations=EVERY_TAINT)
        try:
            await self._scene.admin.create("/api/v1/namespaces/kube-system/pods", pod, {"dryRun": "All"})
            self.created += 1
        except ApiError as error:
            if error.status:  # else the API server is away, which is not the fence's doing
                self.refused.append(str(error))

    @property
    def well(self) -> bool:
        return bool(self.created) and not self.refused

    def __str__(self) -> str:
        return f"{self.created} pod creates in kube-system, {len(self.refused)} refused"


@attack("A9", "delete-fence", "403: NodeFence/cluster still holds nodes", stands=True)
async def delete_fence(scene: Scene) -> Seen:
    """While nodes are held the fence's object cannot be deleted, not even by the cluster's admin (asked as a dry run)."""
    await scene.standing()
    return _still_holds(await scene.refusal(scene.admin.delete(FENCE, params={"dryRun": "All"})))


@attack("A9", "delete-crds", "403 for both: NodeFence/cluster still holds nodes", stands=True)
async def delete_crds(scene: Scene) -> Seen:
    """Nor can its CRD, or that of the contracts (asked as a dry run): the objects would go with them, unasked."""
    await scene.standing()
    seen = [
        _still_holds(await scene.refusal(scene.admin.delete(f"{CRDS}/{plural}.{GROUP}", params={"dryRun": "All"})))
        for plural in ("nodefences", "computecontracts")
    ]
    return Seen(all(each.held for each in seen), "; ".join(each.observed for each in seen))


def _still_holds(error: ApiError | None) -> Seen:
    held = error is not None and error.status == 403 and "still holds nodes" in error.message
    return Seen(held, f"{error.status} {error.message.rpartition('denied request: ')[2]}" if error else "not refused")


async def _restored(scene: Scene, node: str) -> tuple[bool, bool]:
    """Whether the delivery is closed again, and whether no stranger was on it meanwhile."""
    clean = True

    async def whole() -> bool:
        nonlocal clean
        clean = clean and not await scene.strangers([node])
        return await scene.are([node], HOLDER)

    try:
        await until("the delivery is whole again", whole, scene.patience)
    except NeverError:
        return False, clean
    return True, clean


@attack("A9", "entry-removed", "the entry is back; no stranger came in", disruptive=True, stands=True)
async def entry_removed(scene: Scene) -> Seen:
    """A fence entry that an administrator took out of NodeFence by hand comes back while the contract lasts."""
    return await _entry(scene, None)


@attack("A9", "entry-changed", "the holder's entry is back; no stranger came in", disruptive=True, stands=True)
async def entry_changed(scene: Scene) -> Seen:
    """An entry that an administrator gave to a stranger's namespace by hand is the holder's again."""
    return await _entry(scene, STRANGER)


async def _entry(scene: Scene, value: str | None) -> Seen:
    node = (await scene.standing()).nodes[0]
    epoch = (await scene.admin.get(FENCE))["spec"]["epoch"]
    async with beside(flood(scene, [node]).drop):
        await scene.admin.patch_merge(FENCE, {"spec": {"epoch": epoch, "nodes": {node: value}}})
        back, clean = await _restored(scene, node)
    return Seen(back and clean, f"{'restored' if back else 'not restored'}; strangers meanwhile: {'none' if clean else 'some'}")


@attack("A9", "label-removed", "the label is back; no stranger came in", disruptive=True, stands=True)
async def label_removed(scene: Scene) -> Seen:
    """The holder label that an administrator took off a delivered node comes back, and the fence refuses binds meanwhile."""
    node = (await scene.standing()).nodes[0]
    async with beside(flood(scene, [node]).drop):
        await scene.admin.patch_merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": {HOLDER_LABEL: None}}})
        fenced = await scene.fenced(node)
        back, clean = await _restored(scene, node)
    held = fenced and back and clean
    return Seen(held, f"{'restored' if back else 'not restored'}; fenced meanwhile: {fenced}; strangers: {'none' if clean else 'some'}")


@attack("A9", "old-epoch", "422 by the CRD, or 403 by laycan-epoch", disruptive=True, stands=True)
async def old_epoch(scene: Scene) -> Seen:
    """A write to the fence that carries an older leader's epoch is refused to everybody."""
    await scene.standing()
    epoch = (await scene.admin.get(FENCE))["spec"]["epoch"]
    patch = {"spec": {"epoch": epoch - 1, "nodes": {"laycan-conformance.invalid": "x"}}}
    error = await scene.refusal(scene.admin.patch_merge(FENCE, patch))
    held = error is not None and error.status in (403, 422) and "epoch" in error.message
    return Seen(held, f"{error.status} {error.message.rpartition('denied request: ')[2]}" if error else "not refused")


@attack("A9", "epoch-raised", "a new leader goes above it, and hands over", disruptive=True, stands=True)
async def epoch_raised(scene: Scene) -> Seen:
    """An epoch that an administrator raised by hand, on the fence or on LeaderEpoch, ends the leader; its successor leads on."""
    node = (await scene.standing()).nodes[0]
    strangers: set[str] = set()
    for path in (FENCE, LEADER_EPOCH):
        epoch = max([(await scene.admin.get(each))["spec"]["epoch"] for each in (FENCE, LEADER_EPOCH)])
        await scene.admin.patch_merge(path, {"spec": {"epoch": epoch + 1000}})
        delivery = await scene.deliver(NEXT)
        strangers |= await scene.strangers([node])
        await scene.end(delivery)
    return Seen(not strangers, f"handed over after both; strangers on the standing delivery: {len(strangers)}")


@attack(
    "A9", "policy-deleted", "nothing is handed over while the fence is off, and all is once it is back; no pod of kube-system is refused",
    needs=[Ability.CHART],
)  # fmt: skip
async def policy_deleted(scene: Scene) -> Seen:
    """Without the fence's binding the operator hands nothing over; back again, everything goes on by itself."""
    standing = await scene.deliver(HOLDER)
    canary = Canary(scene, standing.nodes[0])
    async with canary.sing():
        await scene.admin.delete(FENCE_BINDING)
        await until("the fence is off", lambda: _open(scene, standing.nodes[0]))
        start = now()
        waiting = await scene.deliver(HOLDER, start=start, held=False)
        try:
            await until("handed over without a fence", lambda: scene.are(waiting.nodes, HOLDER), 8)
            premature = True
        except NeverError:
            premature = False
        await scene.act(scene.harness.upgrade)
        await scene.await_held(waiting)
        closed = await scene.fenced(standing.nodes[0])
    for delivery in (standing, waiting):
        await scene.end(delivery)
    return Seen(not premature and closed and canary.well, f"handed over meanwhile: {premature}; closed again: {closed}; {canary}")


async def _open(scene: Scene, node: str) -> bool:
    return not await scene.fenced(node)


_SURVIVES = "NodeFence and contracts survive and are in force again; no pod of kube-system is refused"


@attack("A9", "reinstall", _SURVIVES, needs=[Ability.CHART])
async def reinstall(scene: Scene) -> Seen:
    """`helm uninstall` and `helm install`: what was delivered is delivered again, without a stale entry."""
    return await _comes_back(scene, by_namespace=False)


@attack("A9", "namespace-deleted", _SURVIVES, needs=[Ability.CHART])
async def namespace_deleted(scene: Scene) -> Seen:
    """The same when somebody deletes the release's namespace, with the operator in it, and installs the chart again."""
    return await _comes_back(scene, by_namespace=True)


async def _comes_back(scene: Scene, by_namespace: bool) -> Seen:
    delivery = await scene.deliver(HOLDER)
    canary = Canary(scene, delivery.nodes[0])
    async with canary.sing():
        await scene.act(scene.harness.reinstall, by_namespace)
        await until("held again", lambda: scene.are(delivery.nodes, HOLDER), scene.patience)
        closed = await until("fenced again", lambda: scene.fenced(delivery.nodes[0]), scene.patience)
    stale = set(await scene.owners()) - set(delivery.nodes)
    await scene.end(delivery)
    return Seen(closed and not stale and canary.well, f"fenced again; {len(stale)} stale entries; {canary}")
