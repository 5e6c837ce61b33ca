"""May the pods of a dead node be declared dead? The two-copies question, answered by whoever can know.

Of a node that is not heard nobody in the cluster can tell whether it lost power or only its network; its pods may run on. They are
never deleted by force: they go when the kubelet comes back, when the Node is deleted, or when it carries the taint
`node.kubernetes.io/out-of-service`, by which Kubernetes lets go of pods and volumes at once. Laycan sets that taint on a node in
quarantine only where the product says so (`planning.deadNodes: OutOfService`: two copies for a while are better than none), or where
a person or the automation of a management controller confirmed the power-off in an annotation; and takes it off when the node is
heard again. A taint that somebody else set is not touched.
"""

from __future__ import annotations

from typing import Any

from laycan.delivery.faults.health import Health
from laycan.delivery.nodes.desired import QUARANTINE
from laycan.delivery.nodes.labels import Op, patch, tests
from laycan.kube.client import Client
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView, NodeView, is_paused
from laycan.kube.world import World
from laycan.resources.constants import OUT_OF_SERVICE, POWERED_OFF_ANNOTATION
from laycan.resources.times import parse_time

TAINT = {"key": OUT_OF_SERVICE, "value": "laycan", "effect": "NoExecute"}  # the value says whose it is


def is_ours(taint: Any) -> bool:
    return all(text_at(taint, field) == value for field, value in TAINT.items())


def declared_dead(node: NodeView) -> bool:
    """Whether it carries our taint."""
    return any(is_ours(taint) for taint in node.taints)


def change_wanted(world: World, health: Health, name: str, now: int) -> bool | None:
    """True: the taint is to be set now, False: taken off, None: neither."""
    node = world.nodes.get(name)
    if node is None or not node.managed:
        return None
    if world.alive(node):
        return False if declared_dead(node) else None
    owner = world.fence.nodes.get(name, "") if world.fence else ""
    closed = owner.startswith(QUARANTINE) and node.holder == owner  # first nobody new may come
    if not closed or any(text_at(taint, "key") == OUT_OF_SERVICE for taint in node.taints):
        return None
    contracts = _contracts(world, name, owner.removeprefix(QUARANTINE))
    if any(is_paused(contract) for contract in contracts):
        return None
    allowed = bool(contracts) and all(_allowed(world, contract) for contract in contracts)
    return True if _powered_off(node, health, now) or allowed else None


def _powered_off(node: NodeView, health: Health, now: int) -> bool:
    """Confirmed for this failure: an earlier word was about an earlier one, and nobody knows the future."""
    try:
        at = parse_time(node.annotations.get(POWERED_OFF_ANNOTATION, ""))
    except ValueError:
        return False
    return health.declared.get(node.name, node.ready_since) < at <= now


def _contracts(world: World, name: str, uid: str) -> list[ContractView]:
    """The one on whose account the node is in quarantine, and all that still have a claim to GPUs of it."""
    uids = {uid, *(world.resource_claims[key].contract for key in world.claims_on.get(name, ()))}
    return [contract for contract in world.contracts.values() if contract.uid in uids]


def _allowed(world: World, contract: ContractView) -> bool:
    product = world.products.get(text_at(contract.spec, "terms", "productRef", "name"))
    return text_at(product, "spec", "planning", "deadNodes") == "OutOfService"


async def set_taint(client: Client, world: World, node: NodeView) -> None:
    """Raises ApiError; the world has the node's new view on return."""
    known = list(node.taints)
    add: Op = {"op": "add", "path": "/spec/taints/-", "value": TAINT} if known else {"op": "add", "path": "/spec/taints", "value": [TAINT]}
    await patch(client, world, node, [*tests(node), {"op": "test", "path": "/spec/taints", "value": known or None}, add])


async def remove_taint(client: Client, world: World, node: NodeView) -> None:
    """Raises ApiError; the world has the node's new view on return."""
    known = list(node.taints)
    rest = [taint for taint in known if not is_ours(taint)]
    change: Op = {"op": "replace", "path": "/spec/taints", "value": rest} if rest else {"op": "remove", "path": "/spec/taints"}
    await patch(client, world, node, [*tests(node), {"op": "test", "path": "/spec/taints", "value": known}, change])
