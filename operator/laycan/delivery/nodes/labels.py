"""The holder label of a node and the annotations that keep autoscalers off it.

A write is a JSON patch that first tests what it was decided on: that the node is the same machine, is (still) of the fleet, and
carries the label's old value. Anything else on the node may change meanwhile. A patch whose test fails changes nothing and is
answered 422; the next pass sees the node as it is by then.
"""

from __future__ import annotations

from typing import Any

from laycan.kube.client import ApiError, Client
from laycan.kube.views import NodeView, node_view
from laycan.kube.world import World
from laycan.resources.constants import AUTOSCALERS_ANNOTATION, HANDOVER_VALUE, HOLDER_LABEL, MANAGED_LABEL

AUTOSCALER_ANNOTATIONS = ("cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt")

Op = dict[str, Any]


async def label(client: Client, world: World, node: NodeView, owner: str, held: bool) -> None:
    """Sets the label; `held` also keeps autoscalers off. Raises ApiError; the world has the node's new view on return."""
    ops = [*tests(node), {"op": "add", "path": _at("labels", HOLDER_LABEL), "value": owner}]
    if not held or AUTOSCALERS_ANNOTATION in node.annotations:
        await patch(client, world, node, ops)
        return
    try:
        await patch(client, world, node, [*ops, *_keep_off(AUTOSCALER_ANNOTATIONS)])
    except ApiError as error:
        if error.status != 422:
            raise
        annotations = (await client.get(f"/api/v1/nodes/{node.name}"))["metadata"].get("annotations")
        absent = tuple(name for name in AUTOSCALER_ANNOTATIONS if name not in (annotations or {}))
        first = [] if annotations else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
        await patch(client, world, node, [*ops, *first, *_keep_off(absent)])


async def unlabel(client: Client, world: World, node: NodeView) -> None:
    """Takes the label and our annotations off. Raises ApiError."""
    ops = [*tests(node), {"op": "remove", "path": _at("labels", HOLDER_LABEL)}]
    for name in filter(None, node.annotations.get(AUTOSCALERS_ANNOTATION, "").split(",")):
        path = _at("annotations", name)
        ops += [{"op": "add", "path": path, "value": ""}, {"op": "remove", "path": path}]  # somebody may have removed it already
    if AUTOSCALERS_ANNOTATION in node.annotations:
        ops.append({"op": "remove", "path": _at("annotations", AUTOSCALERS_ANNOTATION)})
    await patch(client, world, node, ops)


async def keep_off(client: Client, world: World, node: NodeView) -> None:
    """Keeps others' new pods off a node that is nobody's, for the moment in which GPUs of it change hands. Raises ApiError."""
    await patch(client, world, node, [*tests(node), {"op": "add", "path": _at("labels", HOLDER_LABEL), "value": HANDOVER_VALUE}])


def tests(node: NodeView) -> list[Op]:
    """That the node is the same machine, of the fleet, and carries the label that was seen."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": node.uid},
        {"op": "test", "path": _at("labels", MANAGED_LABEL), "value": "true"},
        {"op": "test", "path": _at("labels", HOLDER_LABEL), "value": node.holder or (HANDOVER_VALUE if node.handover else None)},
    ]


def _keep_off(names: tuple[str, ...]) -> list[Op]:
    tests = [{"op": "test", "path": _at("annotations", name), "value": None} for name in names]
    adds = [{"op": "add", "path": _at("annotations", name), "value": "true"} for name in names]
    return [*tests, *adds, {"op": "add", "path": _at("annotations", AUTOSCALERS_ANNOTATION), "value": ",".join(names)}]


def _at(group: str, key: str) -> str:
    return f"/metadata/{group}/{key.replace('~', '~0').replace('/', '~1')}"


async def patch(client: Client, world: World, node: NodeView, ops: list[Op]) -> None:
    world.take_answer("nodes", node.name, node_view(await client.patch_json(f"/api/v1/nodes/{node.name}", ops)))
