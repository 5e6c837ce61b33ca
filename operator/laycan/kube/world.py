"""What the operator has observed: one view per object, nothing that it only intends.

Reflectors and kopf write here in the event loop's thread; everybody else reads. No state of the operator lives anywhere else:
after a restart the same watch streams make the same world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.kube.views import ContractView, FenceView, NamespaceView, NodeView, PodView

ONLY = "cluster"  # the key of kinds of which there is one object: `fence` and `epoch`

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
        """Stores a view unless a newer one is already there; `kind` is the name of the attribute."""
        old = self._get(kind, key)
        if old is not None and (_version(old) > _version(view) or old == view):
            return  # older, or the echo of an answer that was taken already
        self._set(kind, key, view)
        if kind == "pods":
            self._index_pod(key, old, view)
        self.changed(kind, key)

    def drop(self, kind: str, key: str) -> None:
        """Forgets an object that the API server no longer has (or that is of no interest any more)."""
        old = self._get(kind, key)
        if old is None:
            return
        self._set(kind, key, None)
        if kind == "pods":
            self._index_pod(key, old, None)
        self.changed(kind, key)

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

    def _index_pod(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if old is not None and (new is None or old.node != new.node):
            self.pods_on.get(old.node, set()).discard(key)
        if new is not None:
            self.pods_on.setdefault(new.node, set()).add(key)


def _version(view: Any) -> int:
    if isinstance(view, Mapping):  # the small kinds are kept raw
        return int(view["metadata"].get("resourceVersion") or 0)
    return getattr(view, "resource_version", 0)
