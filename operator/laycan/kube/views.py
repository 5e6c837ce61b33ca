"""Projections of API objects: just what planning and delivery look at, taken once when an object arrives.

A raw node is 11 kB, its view a few hundred bytes. Views are immutable; a newer object makes a new view. All times are Unix
seconds; a time that the object lacks is 0.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laycan.kube.sound import mapping, sound_status, text_at
from laycan.resources.constants import HANDOVER_VALUE, HOLDER_LABEL, MANAGED_LABEL, PAUSE_ANNOTATION
from laycan.resources.times import parse_time

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeView:
    name: str
    uid: str
    resource_version: int
    raw: Raw  # labels, spec.unschedulable, status.capacity, allocatable and conditions only: what planning.problem reads
    managed: bool
    ready: bool
    ready_since: int  # lastTransitionTime of the Ready condition, whichever way it points
    gpus: int  # healthy: the smaller of capacity and allocatable
    holder: str  # value of the holder label, "" without, and during a `handover`
    annotations: Mapping[str, str]  # laycan.dev/* only
    conditions: tuple[tuple[str, str, int], ...] = ()  # (type, status, lastTransitionTime) of all but Ready
    taints: tuple[Raw, ...] = ()
    handover: bool = False  # others' new pods are kept off while GPUs of it change hands; it is nobody's
    created: int = 0


@dataclass(frozen=True, slots=True)
class PodView:
    namespace: str
    name: str
    uid: str
    resource_version: int
    node: str
    phase: str
    owner_kind: str  # kind of the controlling owner, "" without
    mirror: bool  # a static pod's mirror
    gpus: int  # nvidia.com/* requested
    deleting: bool
    claims: tuple[str, ...] = ()  # names of the ResourceClaims that it names itself


@dataclass(frozen=True, slots=True)
class ContractView:
    """`spec` is the raw JSON, `status` what of it can be read (see `sound`); nothing may change them in place."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: int
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str]
    spec: Raw
    status: Raw

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def exchange(self) -> str:
        """Key `<namespace>/<name>` of its ExchangeEndpoint, which may not be there; "" without one."""
        return self._beside("exchangeRef")

    @property
    def quote(self) -> str:
        """Key of the quote that it names, which may not be there; "" without one."""
        return self._beside("quoteRef")

    @property
    def is_quote(self) -> bool:
        """Whether it only asks."""
        return bool(self.spec.get("intent") == "Quote")

    def _beside(self, field: str) -> str:
        """Key of what a reference names in the contract's own namespace."""
        name = text_at(self.spec, field, "name")
        return f"{self.namespace}/{name}" if name else ""


@dataclass(frozen=True, slots=True)
class NamespaceView:
    name: str
    labels: Mapping[str, str]
    terminating: bool


@dataclass(frozen=True, slots=True)
class FenceView:
    """NodeFence/cluster: node -> owner. A value with a dot is a state (frozen., quarantine., end.), else a holder namespace."""

    resource_version: int
    nodes: Mapping[str, str]
    annotations: Mapping[str, str]
    epoch: int = 0  # of the operator that wrote it last


def is_paused(view: NodeView | ContractView | FenceView | None) -> bool:
    """Whether a person has stopped Laycan's writes about it."""
    return view is not None and view.annotations.get(PAUSE_ANNOTATION) == "true"


def _time(value: str | None) -> int:
    return parse_time(value) if value else 0


def _version(meta: Raw) -> int:
    return int(meta.get("resourceVersion") or 0)


def _gpu_count(quantities: Raw, key: str = "nvidia.com/gpu") -> int:
    try:
        return int(quantities.get(key, 0))
    except (TypeError, ValueError):
        return 0  # a quantity such as "8k" is no count of GPUs


def node_view(obj: Raw) -> NodeView:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = meta.get("labels") or {}
    capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or {}
    conditions = status.get("conditions") or ()
    ready: Raw = next((c for c in conditions if c.get("type") == "Ready"), {})
    holder = labels.get(HOLDER_LABEL, "")
    gpu_keys = [k for k in {*capacity, *allocatable} if k.startswith("nvidia.com/")]
    return NodeView(
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=_version(meta),
        raw={
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": meta["name"], "labels": labels},
            "spec": {"unschedulable": bool(spec.get("unschedulable"))},
            "status": {
                "capacity": {k: capacity[k] for k in sorted(gpu_keys) if k in capacity},
                "allocatable": {k: allocatable[k] for k in sorted(gpu_keys) if k in allocatable},
                "conditions": [{"type": "Ready", "status": ready.get("status", "Unknown")}],
            },
        },
        managed=labels.get(MANAGED_LABEL) == "true",
        ready=ready.get("status") == "True",
        ready_since=_time(ready.get("lastTransitionTime")),
        gpus=min(_gpu_count(capacity), _gpu_count(allocatable)),
        holder=holder if holder != HANDOVER_VALUE else "",
        annotations={k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith("laycan.dev/")},
        taints=tuple(spec.get("taints") or ()),
        conditions=tuple(_condition(c) for c in conditions if c.get("type") != "Ready"),
        handover=holder == HANDOVER_VALUE,
        created=_time(meta.get("creationTimestamp")),
    )


def _condition(raw: Raw) -> tuple[str, str, int]:
    try:
        since = _time(raw.get("lastTransitionTime"))
    except ValueError:  # some agents write fractions
        since = 0
    return sys.intern(str(raw.get("type", ""))), sys.intern(str(raw.get("status", ""))), since


def physical_gpus(node: NodeView) -> int:
    """GPUs that are built in, healthy or not."""
    return _gpu_count(node.raw["status"]["capacity"])


def _pod_gpus(spec: Raw) -> int:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    limits = [(c.get("resources") or {}).get("limits") or {} for c in containers]
    return sum(_gpu_count(limit, key) for limit in limits for key in limit if key.startswith("nvidia.com/"))


def pod_view(obj: Raw) -> PodView:
    meta, spec = obj["metadata"], obj.get("spec") or {}
    owners = [o for o in meta.get("ownerReferences") or () if o.get("controller")]
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=_version(meta),
        node=spec.get("nodeName", ""),
        phase=(obj.get("status") or {}).get("phase", ""),
        owner_kind=owners[0].get("kind", "") if owners else "",
        mirror="kubernetes.io/config.mirror" in (meta.get("annotations") or {}),
        gpus=_pod_gpus(spec),
        deleting="deletionTimestamp" in meta,
        claims=tuple(name for c in spec.get("resourceClaims") or () if (name := c.get("resourceClaimName"))),
    )


def contract_view(obj: Raw) -> ContractView:
    meta, spec = obj["metadata"], mapping(obj.get("spec"))
    return ContractView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=_version(meta),
        generation=int(meta.get("generation") or 0),
        created=_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        annotations=meta.get("annotations") or {},
        spec=spec,
        status=sound_status(obj.get("status"), f"{meta['namespace']}/{meta['name']}", text_at(spec, "terms", "productRef", "name")),
    )


def namespace_view(obj: Raw) -> NamespaceView:
    meta = obj["metadata"]
    phase = (obj.get("status") or {}).get("phase", "")
    return NamespaceView(meta["name"], meta.get("labels") or {}, "deletionTimestamp" in meta or phase == "Terminating")


def fence_view(obj: Raw) -> FenceView:
    meta = obj["metadata"]
    spec = obj.get("spec") or {}
    return FenceView(_version(meta), dict(spec.get("nodes") or {}), dict(meta.get("annotations") or {}), int(spec.get("epoch") or 0))
