"""Gives every node back: what an uninstall does before the policies go.

Labels come off before fence entries, as when one node is opened, and nobody is evicted: exact GPUs go with the last pod that uses
their claim. Each round reads the cluster as it is, so
it may be broken off and repeated; the object itself stays, empty, so that its deletion is not refused by the guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from laycan.delivery.devices.features import API
from laycan.delivery.devices.holding import STRIKE, claims_path, hold_pod_name, letting_go, pods_path
from laycan.delivery.faults.out_of_service import declared_dead, remove_taint
from laycan.delivery.nodes.fence import PATH
from laycan.delivery.nodes.labels import unlabel
from laycan.kube.client import ApiError, Client, Json
from laycan.kube.views import NodeView, fence_view, node_view
from laycan.kube.world import World
from laycan.resources.constants import CONTRACT_LABEL, HOLDER_LABEL

_AT_ONCE = 16
_ATTEMPTS = 5  # at a fence that somebody else writes, too


@dataclass(frozen=True, slots=True)
class Released:
    """What one round did. `left`: nodes whose label could not be taken off, because they are no longer managed."""

    nodes: int
    entries: int
    left: tuple[str, ...]
    claims: int = 0


async def release(client: Client, epoch: int) -> Released:
    """One round, written under this epoch. Raises ApiError when the API server refuses or a node changes meanwhile."""
    answer = await client.get("/api/v1/nodes", {"labelSelector": HOLDER_LABEL})
    labelled = [node_view(raw) for raw in answer["items"]]
    gate = asyncio.Semaphore(_AT_ONCE)
    world = World()

    async def off(node: NodeView) -> None:
        async with gate:
            if declared_dead(node):
                await remove_taint(client, world, node)
            await unlabel(client, world, node)

    managed = [node for node in labelled if node.managed]
    await asyncio.gather(*(off(node) for node in managed))
    left = tuple(node.name for node in labelled if not node.managed)
    return Released(len(managed), await _open_fence(client, epoch), left, await _let_claims_go(client))


async def _let_claims_go(client: Client) -> int:
    try:
        claims = (await client.get(f"{API}/resourceclaims", {"labelSelector": CONTRACT_LABEL}))["items"]
    except ApiError as error:
        if error.status == 404:  # not served here
            return 0
        raise
    for raw in claims:
        namespace, name, uid = (raw["metadata"][key] for key in ("namespace", "name", "uid"))
        path = f"{claims_path(namespace)}/{name}"
        await _gone(client.delete(f"{pods_path(namespace)}/{hold_pod_name(uid)}", STRIKE))
        await _gone(client.delete(path))
        found = await _gone(client.get(path))
        if found is not None and (ops := letting_go(found)):
            await client.patch_json(f"{path}/status", ops)
    return len(claims)


async def _gone(request: Awaitable[Json]) -> Json | None:
    """The answer, None where there is no such object (any more)."""
    try:
        return await request
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def _open_fence(client: Client, epoch: int) -> int:
    """How many nodes it held. Whoever writes it meanwhile is not overwritten: it is read again."""
    for attempt in range(_ATTEMPTS):
        try:
            fence = fence_view(await client.get(PATH))
            if fence.nodes:
                version = {"resourceVersion": str(fence.resource_version)}
                await client.patch_merge(PATH, {"metadata": version, "spec": {"epoch": epoch, "nodes": dict.fromkeys(fence.nodes)}})
            return len(fence.nodes)
        except ApiError as error:
            if error.status == 404:  # neither the object nor its CRD
                return 0
            if error.status != 409 or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")
