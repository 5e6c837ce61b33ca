"""What the operator has observed: one view per object, nothing that it only intends.

Reflectors and kopf write here in the event loop's thread; everybody else reads. No state of the operator lives anywhere else:
after a restart the same watch streams make the same world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.kube.views import ContractView, FenceView, NamespaceView, NodeView, PodView

Listener = Callable[[str, str], None]  # (kind, key of the object that changed)


@dataclass(slots=True)
class World:
    nodes: dict[str, NodeView] = field(default_factory=dict)  # name -> node
    pods: dict[str, PodView] = field(default_factory=dict)  # namespace/name -> pod that has a node
    contracts: dict[str, ContractView] = field(default_factory=dict)  # namespace/name -> contract
    namespaces: dict[str, NamespaceView] = field(default_factory=dict)
    products: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> raw object
    endpoints: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # namespace/name -> raw object
    outages: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> raw object
    fence: FenceView | None = None  # None: NodeFence/cluster is not there
    epoch: int = 0  # LeaderEpoch/cluster
    last_seen: dict[str, int] = field(default_factory=dict)  # node -> last good sample before it failed (its Lease's renewTime)
    pods_on: dict[str, set[str]] = field(default_factory=dict)  # node -> keys of the pods on it
    listeners: list[Listener] = field(default_factory=list)

    def put(self, kind: str, key: str, view: Any) -> None:
        """Stores a view unless a newer one is already there; `kind` is the name of the table."""
        table: dict[str, Any] = getattr(self, kind)
        old = table.get(key)
        if old is not None and getattr(old, "resource_version", 0) > getattr(view, "resource_version", 0):
            return
        table[key] = view
        if kind == "pods":
            self._index_pod(key, old, view)
        self.changed(kind, key)

    def drop(self, kind: str, key: str) -> None:
        table: dict[str, Any] = getattr(self, kind)
        old = table.pop(key, None)
        if old is not None:
            if kind == "pods":
                self._index_pod(key, old, None)
            self.changed(kind, key)

    def changed(self, kind: str, key: str) -> None:
        for listener in self.listeners:
            listener(kind, key)

    def _index_pod(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if old is not None and (new is None or old.node != new.node):
            self.pods_on.get(old.node, set()).discard(key)
        if new is not None:
            self.pods_on.setdefault(new.node, set()).add(key)
