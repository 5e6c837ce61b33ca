"""A12 and A13: where the operator must keep its hands still."""

from __future__ import annotations

import asyncio

from laycan.conformance.attack import NotRun, Seen, attack
from laycan.conformance.scene import HOLDER, Scene
from laycan.conformance.waiting import NeverError, until
from laycan.resources.constants import HOLDER_LABEL

_PROBE = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"


@attack("A12", "unmanaged-nodes", "no field of any is the operator's; its write is refused by laycan-operator-bounds")
async def unmanaged_nodes(scene: Scene) -> Seen:
    """No node outside the fleet was ever written by the operator, and the API server would not let it (asked as a dry run)."""
    names = scene.fleet.unmanaged
    if not names:
        raise NotRun("needs a node that is not managed")
    written = [name for name in names if "laycan" in await _writers(scene, name)]
    patch = {"metadata": {"labels": {HOLDER_LABEL: HOLDER}}}
    error = await scene.refusal(scene.operator.patch_merge(f"/api/v1/nodes/{names[0]}", patch, {"dryRun": "All"}))
    refused = error is not None and error.status == 403 and "Laycan does not write to it" in error.message
    observed = f"{len(names)} nodes, written: {', '.join(written) or 'none'}; a try is {'refused' if refused else 'not refused'}"
    return Seen(refused and not written, observed)


async def _writers(scene: Scene, node: str) -> set[str]:
    """Field managers of the node."""
    entries = (await scene.admin.get(f"/api/v1/nodes/{node}"))["metadata"].get("managedFields") or ()
    return {entry.get("manager", "") for entry in entries}


@attack("A13", "blind-probe", "nothing is labelled or handed over until the right is back", disruptive=True)
async def blind_probe(scene: Scene) -> Seen:
    """Without the probe's RoleBinding the operator cannot see the fence, so it hands nothing over; with it again, it does."""
    collection = _PROBE.format(scene.settings.probe_namespace)
    kept = await scene.admin.get(f"{collection}/laycan-probe")
    free = await scene.free()
    await scene.admin.delete(f"{collection}/laycan-probe")
    try:
        delivery = await scene.deliver(HOLDER, held=False)
        try:
            await until("handed over blindly", lambda: _touched(scene, free), 5 + scene.settings.reconcile_seconds)
            blind = True
        except NeverError:
            blind = False
    finally:
        meta = {key: kept["metadata"][key] for key in ("name", "labels", "annotations") if key in kept["metadata"]}
        await scene.admin.create(collection, {key: kept[key] for key in ("apiVersion", "kind", "roleRef", "subjects")} | {"metadata": meta})
    await scene.await_held(delivery)
    await scene.end(delivery)
    return Seen(not blind, "handed over without a proof" if blind else "nothing, and all once it could see")


async def _touched(scene: Scene, nodes: list[str]) -> bool:
    return any(await asyncio.gather(*(scene.label(node) for node in nodes)))
