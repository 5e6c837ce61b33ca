"""Small clusters for preflight's checks: what each names is all there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laycan.delivery.policies import COLLECTIONS
from laycan.preflight.cluster import LISTS, Cluster
from laycan.settings import Settings

Raw = dict[str, Any]
GOOD_LABELS = {
    "laycan.dev/managed": "true",
    "nvidia.com/gpu.product": "H100",
    "topology.kubernetes.io/zone": "z",
    "network.topology.nvidia.com/spine": "s",
    "network.topology.nvidia.com/leaf": "r",
    "nvidia.com/gpu.clique": "c",
}


def cluster(*, mode: str = "Enforce", installed: bool = True, **items: list[Raw]) -> Cluster:
    """A cluster of these objects that serves everything; its settings are the chart's in this mode."""
    served = {f"admissionregistration.k8s.io/v1/{plural}" for plural in COLLECTIONS} | {"resource.k8s.io/v1/resourceclaims"}
    found: dict[str, list[Any]] = {key: [] for key in LISTS} | items
    return Cluster((1, 36), frozenset(served), found, installed, Settings.model_validate({"mode": mode}))


def node(name: str = "n0", capacity: dict[str, str] | None = None, labels: Mapping[str, str | None] | None = None) -> Raw:
    """A managed node with all labels, changed by these; None removes one."""
    all_labels = {key: value for key, value in {**GOOD_LABELS, **(labels or {})}.items() if value is not None}
    return {"metadata": {"name": name, "labels": all_labels}, "status": {"capacity": capacity or {"nvidia.com/gpu": "8"}}}


def daemonset(namespace: str, name: str, **pod: Any) -> Raw:
    """A DaemonSet with this in its pods' spec."""
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"template": {"spec": {"containers": [], **pod}}}}


def pod(namespace: str, name: str, on: str = "", of: str = "", gpus: int = 0, **more: Any) -> Raw:
    """A pod on a node, or on none; `of` is the DaemonSet that owns it."""
    owners = [{"kind": "DaemonSet", "name": of, "controller": True}] if of else []
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": str(gpus)} if gpus else {}}}
    spec = {"containers": [container], **({"nodeName": on} if on else {}), **more.pop("spec", {})}
    return {"metadata": {"namespace": namespace, "name": name, "ownerReferences": owners, **more}, "spec": spec}


def named(name: str, **more: Any) -> Raw:
    """An object of which the name matters, and what else is given."""
    return {"metadata": {"name": name}, **more}


def meter(node: str = "n0", **spec: Any) -> Raw:
    """What the agent of a node wrote at the beginning of 2027-01-04; nothing is wrong unless this says so."""
    at = "2027-01-04T00:00:00Z"
    return {"metadata": {"name": node}, "spec": {"nodeUid": "", "since": at, "at": at, "reportSeconds": 300, "gpus": [], **spec}}
