"""What the operator has observed: one view per object, nothing that it only intends.

Reflectors and kopf write here in the event loop's thread; everybody else reads. No state of the operator lives anywhere else:
after a restart the same watch streams make the same world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.kube.device_views import DeviceView, ResourceClaimView, ResourceSliceView, published
from laycan.kube.instruction_views import InstructionView
from laycan.kube.meter_views import MeterView, tells_more
from laycan.kube.views import ContractView, FenceView, NamespaceView, NodeView, PodView

ONLY = "cluster"  # the key of kinds of which there is one object: `fence` and `epoch`

Listener = Callable[[str, str], None]  # (kind, key of the object that changed)

_INDEXED: Mapping[str, Callable[[Any], Collection[str]]] = {  # kind -> the nodes (or the contract) that an object of it concerns
    "contracts": lambda contract: {binding["node"] for binding in contract.status.get("bindings") or ()},
    "pods": lambda pod: (pod.node,),
    "resource_slices": lambda found: (found.node,),
    "resource_claims": lambda claim: {pool for pool, _ in claim.devices},
    "instructions": lambda instruction: (instruction.contract,),
}


@dataclass(slots=True)
class World:
    """A change of a ResourceSlice or ResourceClaim is told as one of the nodes whose GPUs it is about, too; so is news of a meter."""

    nodes: dict[str, NodeView] = field(default_factory=dict)  # name -> node
    pods: dict[str, PodView] = field(default_factory=dict)  # namespace/name -> pod that has a node
    contracts: dict[str, ContractView] = field(default_factory=dict)  # namespace/name -> contract
    namespaces: dict[str, NamespaceView] = field(default_factory=dict)
    products: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> raw object
    endpoints: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # namespace/name -> raw object
    outages: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> raw object
    resource_slices: dict[str, ResourceSliceView] = field(default_factory=dict)  # name -> GPUs that a DRA driver publishes
    resource_claims: dict[str, ResourceClaimView] = field(default_factory=dict)  # namespace/name -> anybody's claim
    meters: dict[str, MeterView] = field(default_factory=dict)  # node -> what its agent measured
    instructions: dict[str, InstructionView] = field(default_factory=dict)  # namespace/name -> an act on a contract
    fence: FenceView | None = None  # None: NodeFence/cluster is not there
    epoch: int = 0  # LeaderEpoch/cluster
    last_seen: dict[str, int] = field(default_factory=dict)  # node -> last good sample before it failed (the renewal of its Lease)
    lost: dict[str, int] = field(default_factory=dict)  # node -> the NotReady, by its time, of which last_seen was read
    silent: dict[str, int] = field(default_factory=dict)  # node whose kubelet is heard no more -> last renewal of its Lease
    no_devices: str = "ResourceClaims are not watched"  # why exact GPUs cannot be delivered in this cluster; "" = they can
    pods_on: dict[str, set[str]] = field(default_factory=dict)  # node -> keys of the pods on it
    contracts_on: dict[str, set[str]] = field(default_factory=dict)  # node -> keys of the contracts whose status binds it
    slices_on: dict[str, set[str]] = field(default_factory=dict)  # node -> its ResourceSlices
    claims_on: dict[str, set[str]] = field(default_factory=dict)  # node -> keys of the ResourceClaims that have a device of it
    instructions_on: dict[str, set[str]] = field(default_factory=dict)  # contract -> keys of the instructions that name it
    listeners: list[Listener] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in _INDEXED:
            for key, view in getattr(self, kind).items():
                self._index(kind, key, None, view)

    def put(self, kind: str, key: str, view: Any) -> None:
        """Stores a view unless a newer one is already there; `kind` is the name of the attribute."""
        old = self._get(kind, key)
        if old is not None and (_version(old) > _version(view) or old == view):
            return  # older, or the echo of an answer that was taken already
        self._set(kind, key, view)
        self._index(kind, key, old, view)
        self.changed(kind, key)
        if kind == "meters" and tells_more(old, view):
            self.changed("nodes", key)

    def take_answer(self, kind: str, key: str, view: Any) -> None:
        """Stores what a write was answered. It may come after the watch has told that the object is gone, and must not bring it back."""
        known = self._get(kind, key)
        if known is not None and _uid(known) == _uid(view):
            self.put(kind, key, view)

    def drop(self, kind: str, key: str) -> None:
        """Forgets an object that the API server no longer has (or that is of no interest any more)."""
        old = self._get(kind, key)
        if old is None:
            return
        self._set(kind, key, None)
        self._index(kind, key, old, None)
        self.changed(kind, key)
        if kind == "meters":
            self.changed("nodes", key)

    def keys(self, kind: str) -> set[str]:
        value = getattr(self, kind)
        if isinstance(value, dict):
            return set(value)
        return {ONLY} if value else set()

    def _get(self, kind: str, key: str) -> Any:
        value = getattr(self, kind)
        return value.get(key) if isinstance(value, dict) else value

    def _set(self, kind: str, key: str, view: Any) -> None:
        table = getattr(self, kind)
        if not isinstance(table, dict):
            setattr(self, kind, 0 if kind == "epoch" and view is None else view)
        elif view is None:
            del table[key]
        else:
            table[key] = view

    def changed(self, kind: str, key: str) -> None:
        for listener in self.listeners:
            listener(kind, key)

    def alive(self, node: NodeView) -> bool:
        """Whether its kubelet can be relied on: Ready, and not known to have fallen silent since."""
        return node.ready and node.name not in self.silent

    def heard_last(self, node: NodeView) -> int | None:
        """The last sign of life of a kubelet that is not heard now; None while it is not known."""
        if node.name in self.silent:
            return self.silent[node.name]
        return self.last_seen.get(node.name) if not node.ready and self.lost.get(node.name) == node.ready_since else None

    def devices(self, node: str) -> tuple[DeviceView, ...]:
        """The GPUs of a node as its DRA driver publishes them, by name: of the pool's newest generation, once that is complete."""
        return tuple(sorted(published([self.resource_slices[name] for name in self.slices_on.get(node, ())])))

    def gpus(self, node: NodeView) -> int:
        """The healthy GPUs of a node: those that a DRA driver publishes as fit, else what the device plugin reports."""
        if self.slices_on.get(node.name):
            return sum(not device.unfit for device in self.devices(node.name))
        return node.gpus

    def _index(self, kind: str, key: str, old: Any, new: Any) -> None:
        nodes = _INDEXED.get(kind)
        if nodes is None:
            return
        table: dict[str, set[str]] = getattr(self, f"{kind.removeprefix('resource_')}_on")
        before = set(nodes(old)) if old is not None else set()
        after = set(nodes(new)) if new is not None else set()
        for node in before - after:
            table.get(node, set()).discard(key)
        for node in after:
            table.setdefault(node, set()).add(key)
        for node in before | after if kind.startswith("resource_") else ():
            self.changed("nodes", node)


def _uid(view: Any) -> str:
    if isinstance(view, Mapping):
        return str(view["metadata"].get("uid", ""))
    return str(getattr(view, "uid", ""))


def _version(view: Any) -> int:
    if isinstance(view, Mapping):  # the small kinds are kept raw
        return int(view["metadata"].get("resourceVersion") or 0)
    return getattr(view, "resource_version", 0)
