"""Manifests that attackers and their victims apply. All carry the label of the run, by which it cleans up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from laycan.resources.constants import API_VERSION, DESK_LABEL, GPU_RESOURCE
from laycan.resources.times import format_time

Object = dict[str, Any]

STEM = "laycan-conformance"
RUN_LABELS = {"laycan-conformance": "run"}
IMAGE = "busybox:1"
EVERY_TAINT = [{"operator": "Exists"}]


def namespace(name: str, desk: str = "") -> Object:
    """A namespace, of a desk's buyer if one is named."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": RUN_LABELS | ({DESK_LABEL: desk} if desk else {})},
    }


def pod(name: str, gpus: int = 0, node: str = "", image: str = IMAGE, annotations: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A pod that sleeps, meant for one node if that is named; more fields of its spec by name."""
    container = {
        "name": "main",
        "image": image,
        "command": ["sleep", "1000000"],
        "resources": {"limits": {GPU_RESOURCE: str(gpus)} if gpus else {}},
    }
    meta = {"name": name, "labels": {**RUN_LABELS, "app": name}, "annotations": dict(annotations or {})}
    where = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **where, **spec},
    }


def binding(pod_name: str, node: str) -> Object:
    """A Binding of a pod to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod_name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def on_nodes(*names: str, operator: str = "In") -> Object:
    """A node selector term by hostname."""
    return {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": operator, "values": list(names)}]}


def requiring(*terms: Object) -> Object:
    """The affinity that requires one of the terms."""
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def admin_binding(user: str) -> Object:
    """The stock ClusterRole `admin` for a user in one namespace."""
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": user, "labels": RUN_LABELS},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
    }


def product(level: str, grade: str, node_gpus: int) -> Object:
    """A ComputeProduct of one grade and level, with impatient terms."""
    spec = {"gpuProducts": [grade], "nodeGpus": node_gpus, "level": level, "detection": {"seconds": 2}}
    meta = {"name": product_name(level), "labels": RUN_LABELS}
    return {"apiVersion": API_VERSION, "kind": "ComputeProduct", "metadata": meta, "spec": spec}


def product_name(level: str) -> str:
    return f"{STEM}-{level.lower()}"


def contract(name: str, holder: str, gpus: int, lot_gpus: int, start: int, end: int, level: str = "Node") -> Object:
    """A Firm ComputeContract; times are Unix seconds."""
    delivery = {
        "start": format_time(start), "end": format_time(end), "gpus": gpus, "lotGpus": lot_gpus, "handover": {"namespace": holder},
        "partial": "AllOrNothing",
    }  # fmt: skip
    terms = {"contractId": f"{STEM}-{name}", "productRef": {"name": product_name(level)}, "delivery": delivery}
    return {
        "apiVersion": API_VERSION,
        "kind": "ComputeContract",
        "metadata": {"name": name, "labels": RUN_LABELS},
        "spec": {"intent": "Firm", "terms": terms},
    }


def outage(nodes: Sequence[str], start: int, end: int, level: str) -> Object:
    """Keeps the planner off nodes that the run was not given: at once, so it is no plan that would be judged first."""
    spec = {"type": "Forced", "nodes": list(nodes), "start": format_time(start), "end": format_time(end), "reason": "laycan conformance"}
    return {"apiVersion": API_VERSION, "kind": "Outage", "metadata": {"name": product_name(level), "labels": RUN_LABELS}, "spec": spec}


def budget(name: str) -> Object:
    """A PodDisruptionBudget that allows no eviction of the pod of this name."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": RUN_LABELS},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def daemonset(name: str, image: str = IMAGE) -> Object:
    """A DaemonSet that tolerates everything."""
    template = pod(name, image=image, tolerations=EVERY_TAINT)
    labels = {"app": name}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels | RUN_LABELS}, "spec": template["spec"]}}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "labels": RUN_LABELS}, "spec": spec}


def priority_class(value: int) -> Object:
    """One above all that pods have by default."""
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": STEM, "labels": RUN_LABELS}, "value": value}
