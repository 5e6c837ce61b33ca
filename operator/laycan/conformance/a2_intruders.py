"""A2: what tenants, and for binds the cluster's admin, try in order to get onto a delivered node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from laycan.conformance import objects
from laycan.conformance.attack import Attack, Seen, add, attack
from laycan.conformance.objects import EVERY_TAINT, on_nodes, requiring
from laycan.conformance.scene import FENCE, GROUP, HOLDER, STRANGER, Scene, fences, pods
from laycan.kube.client import ApiError, Client
from laycan.resources.constants import DESK_LABEL, HOLDER_LABEL, PLACEMENT_ANNOTATION

MIRROR = {"kubernetes.io/config.mirror": "forged", "kubernetes.io/config.source": "file"}
PENDING = "Pending: the scheduler finds no node, and preempts nothing"
BY_FENCE = "403 by the fence"
BY_RBAC = "403 by RBAC"

# What a stranger asks of the scheduler; `n` is a delivered node. Name -> (claim, options of the pod).
SCHEDULED: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "plain": ("A stranger's pod that selects a delivered node finds none.", lambda n: {"node": n}),
    "tolerations": ("Tolerating every taint opens nothing.", lambda n: {"node": n, "tolerations": EVERY_TAINT}),
    "gpu": ("Asking for a GPU there opens nothing.", lambda n: {"node": n, "gpus": 1}),
    "affinity": ("Requiring the node by affinity opens nothing.", lambda n: {"affinity": requiring(on_nodes(n))}),
    "terms": (
        "Hiding the node among several terms and matchFields opens nothing.",
        lambda n: {
            "affinity": requiring(
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [n]}]},
                on_nodes(n),
                {"matchExpressions": [{"key": HOLDER_LABEL, "operator": "Exists"}]},
            )
        },
    ),
    "empty-term": ("An empty term among others stays empty.", lambda n: {"affinity": requiring({}, on_nodes(n))}),
    "other-affinity": ("Having only other affinities opens nothing.", lambda n: {"node": n, "affinity": {"podAntiAffinity": {}}}),
    "null-affinity": ("A node affinity that requires nothing opens nothing.", lambda n: {"node": n, "affinity": {"nodeAffinity": {}}}),
    "holder-selector": ("Selecting the holder's label opens nothing.", lambda _: {"nodeSelector": {HOLDER_LABEL: HOLDER}, "gpus": 1}),
    "placement": ("Claiming to be held opens nothing.", lambda n: {"node": n, "annotations": {PLACEMENT_ANNOTATION: "held"}}),
    "critical": (
        "A system PriorityClass opens nothing.",
        lambda n: {"node": n, "gpus": 1, "priorityClassName": "system-node-critical"},
    ),
    "spread": (
        "Spreading over all nodes opens nothing.",
        lambda n: {
            "node": n,
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}],
        },
    ),
}  # fmt: skip


def _scheduled(name: str, options: Callable[[str], dict[str, Any]]) -> Callable[[Scene], Any]:
    async def play(scene: Scene) -> Seen:
        delivery = await scene.standing()
        await scene.pod(scene.stranger, STRANGER, name, **options(delivery.nodes[0]))
        place = await scene.place(STRANGER, name)
        return Seen(place == "nowhere", "Pending" if place == "nowhere" else f"on {place}")

    return play


for _name, (_claim, _options) in SCHEDULED.items():
    add(Attack("A2", _name, _claim, PENDING, _scheduled(_name, _options), stands=True))


@attack("A2", "job", PENDING, stands=True)
async def job(scene: Scene) -> Seen:
    """Pods that a controller of the cluster makes for the stranger are treated like his own."""
    delivery = await scene.standing()
    spec = objects.pod("job", node=delivery.nodes[0], image=scene.options.image, restartPolicy="Never")["spec"]
    path = f"/apis/batch/v1/namespaces/{STRANGER}/jobs"
    await scene.stranger.create(
        path, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": {"spec": spec}}}
    )
    made = await _first_pod(scene, "job-name=job")
    place = await scene.place(STRANGER, made)
    return Seen(place == "nowhere", "Pending" if place == "nowhere" else f"on {place}")


async def _first_pod(scene: Scene, selector: str) -> str:
    from laycan.conformance.waiting import until

    async def found() -> str:
        items = (await scene.stranger.get(pods(STRANGER), {"labelSelector": selector}))["items"]
        return str(items[0]["metadata"]["name"]) if items else ""

    return await until(f"a pod {selector}", found)


@attack("A2", "gated", f"422 for dropping the affinity; {PENDING.lower()} once ungated", stands=True)
async def gated(scene: Scene) -> Seen:
    """While gated a pod's affinity may be narrowed, not dropped; ungated, with a new toleration, it still finds no node."""
    delivery = await scene.standing()
    gates = [{"name": "example.com/wait"}]
    made = await scene.pod(scene.stranger, STRANGER, "gated", node=delivery.nodes[0], schedulingGates=gates)
    path = f"{pods(STRANGER)}/gated"
    dropped = await scene.refusal(scene.stranger.patch_merge(path, {"spec": {"affinity": None}}))
    tolerations = [*made["spec"].get("tolerations", ()), *EVERY_TAINT]
    await scene.stranger.patch_merge(path, {"spec": {"schedulingGates": None, "tolerations": tolerations}})
    place = await scene.place(STRANGER, "gated")
    return Seen(dropped is not None and dropped.status == 422 and place == "nowhere", f"{_told(dropped)}; {place}")


async def _node_name(scene: Scene, who: Client, namespace: str, **options: Any) -> Seen:
    node = (await scene.standing()).nodes[0]
    error = await scene.refusal(scene.pod(who, namespace, "named", nodeName=node, tolerations=EVERY_TAINT, **options))
    return Seen(error is not None and fences(error, node), _told(error))


@attack("A2", "node-name", BY_FENCE, stands=True)
async def node_name(scene: Scene) -> Seen:
    """A stranger's pod that names its node itself is refused."""
    return await _node_name(scene, scene.stranger, STRANGER)


@attack("A2", "node-name-by-admin", BY_FENCE, stands=True)
async def node_name_by_admin(scene: Scene) -> Seen:
    """The cluster's admin is refused the same."""
    return await _node_name(scene, scene.admin, STRANGER)


@attack("A2", "forged-mirror", BY_FENCE, stands=True)
async def forged_mirror(scene: Scene) -> Seen:
    """Pretending to be a static pod's mirror changes nothing."""
    return await _node_name(scene, scene.stranger, STRANGER, annotations=MIRROR)


async def _bind(scene: Scene, who: Client, legacy: bool) -> ApiError | None:
    node = (await scene.standing()).nodes[0]
    await scene.pod(scene.stranger, STRANGER, "unbound", schedulerName="nobody")
    return await scene.refusal(scene.bind(who, "unbound", node, legacy=legacy))


async def _bind_refused_by_fence(scene: Scene, who: Client, legacy: bool) -> Seen:
    error = await _bind(scene, who, legacy)
    return Seen(error is not None and fences(error, (await scene.standing()).nodes[0]), _told(error))


@attack("A2", "bind-by-admin", BY_FENCE, stands=True)
async def bind_by_admin(scene: Scene) -> Seen:
    """A stranger's pod cannot be bound to a delivered node by the cluster's admin."""
    return await _bind_refused_by_fence(scene, scene.admin, legacy=False)


@attack("A2", "legacy-bind-by-admin", BY_FENCE, stands=True)
async def legacy_bind_by_admin(scene: Scene) -> Seen:
    """Neither through the legacy resource `bindings`."""
    return await _bind_refused_by_fence(scene, scene.admin, legacy=True)


@attack("A2", "bind-by-scheduler", BY_FENCE, stands=True)
async def bind_by_scheduler(scene: Scene) -> Seen:
    """Not even by the scheduler, should it ever want to."""
    return await _bind_refused_by_fence(scene, scene.scheduler, legacy=False)


@attack("A2", "bind-by-tenant", BY_RBAC, stands=True)
async def bind_by_tenant(scene: Scene) -> Seen:
    """A tenant's own binding fails earlier."""
    error = await _bind(scene, scene.stranger, legacy=False)
    return Seen(error is not None and error.status == 403 and "cannot create resource" in error.message, _told(error))


@attack("A2", "removed-selector", "422: a pod's selector is immutable", stands=True)
async def removed_selector(scene: Scene) -> Seen:
    """The holder cannot take the selector off again that ties his GPU pods to what was delivered."""
    await scene.standing()
    await scene.pod(scene.holder, HOLDER, "tied", gpus=1)
    error = await scene.refusal(scene.holder.patch_merge(f"{pods(HOLDER)}/tied", {"spec": {"nodeSelector": {HOLDER_LABEL: None}}}))
    return Seen(error is not None and error.status == 422, _told(error))


@attack("A2", "holder-elsewhere", PENDING, stands=True)
async def holder_elsewhere(scene: Scene) -> Seen:
    """The holder's GPU pods get no other node than the delivered ones, whatever they select."""
    delivery = await scene.standing()
    other = next((node for node in scene.fleet.nodes if node not in delivery.nodes), "elsewhere")
    await scene.pod(scene.holder, HOLDER, "away", gpus=1, nodeSelector={"kubernetes.io/hostname": other, HOLDER_LABEL: "x"})
    place = await scene.place(HOLDER, "away")
    return Seen(place == "nowhere", "Pending" if place == "nowhere" else f"on {place}")


@attack("A2", "label-edits", BY_RBAC, stands=True)
async def label_edits(scene: Scene) -> Seen:
    """A tenant can label neither his namespace as a buyer's nor a node as his, nor open the fence, nor write a contract."""
    node, who = (await scene.standing()).nodes[0], scene.stranger
    attempts = {
        "namespace": who.patch_merge(f"/api/v1/namespaces/{STRANGER}", {"metadata": {"labels": {DESK_LABEL: STRANGER}}}),
        "node": who.patch_merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": {HOLDER_LABEL: STRANGER}}}),
        "fence": who.patch_merge(FENCE, {"spec": {"nodes": {node: None}}}),
        "contract": who.create(f"{GROUP}/namespaces/{STRANGER}/computecontracts", objects.contract("own", STRANGER, 1, 1, 0, 60)),
    }
    open_to_him = []
    for what, attempt in attempts.items():
        error = await scene.refusal(attempt)
        if error is None or error.status != 403:
            open_to_him.append(what)
    return Seen(not open_to_him, f"not refused: {', '.join(open_to_him)}" if open_to_him else "403 for all four")


def _told(error: ApiError | None) -> str:
    if error is None:
        return "not refused"
    return f"{error.status} {error.message.rpartition('denied request: ')[2]}" if error.status == 403 else str(error.status)
