"""The objects by which a lot holds its GPUs: its ResourceClaim, the pod that makes the scheduler allocate it, and the entry that keeps it.

The scheduler is the only one who allocates: an allocation that anybody else writes can collide with one it makes at that moment.
"""

from __future__ import annotations

from typing import Any

from laycan.delivery.devices.features import API
from laycan.delivery.devices.lots import HOLD_PREFIX, Lot
from laycan.kube.device_views import ResourceClaimView, asking
from laycan.resources.constants import CONTRACT_LABEL, GPU_DRIVER, GROUP, PLURALS

Object = dict[str, Any]

PRIORITY_CLASS = "laycan-hold"  # of the chart: first in the scheduler's queue, preempts nobody
STRIKE = {"gracePeriodSeconds": 0}  # a hold pod, which uses no GPU: a dead node's kubelet would never say that it has ended


def claims_path(namespace: str) -> str:
    return f"{API}/namespaces/{namespace}/resourceclaims"


def pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def hold_pod_name(claim_uid: str) -> str:
    return f"{HOLD_PREFIX}{claim_uid}"


def resource_claim(lot: Lot) -> Object:
    """A claim to exactly the lot's GPUs."""
    exactly = {
        "deviceClassName": GPU_DRIVER,
        "allocationMode": "ExactCount",
        "count": len(lot.devices),
        "selectors": [{"cel": {"expression": asking(lot.devices)}}],
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": lot.name, "namespace": lot.namespace, "labels": {CONTRACT_LABEL: lot.uid}},
        "spec": {"devices": {"requests": [{"name": "gpus", "exactly": exactly}]}},
    }


def hold_pod(lot: Lot, claim: ResourceClaimView, image: str) -> Object:
    """It has to be bound, not to run: small enough for any quota, and within the strictest of the Pod Security Standards."""
    container = {
        "name": "hold",
        "image": image,
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "32Mi"}, "claims": [{"name": "lot"}]},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [lot.node]}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": hold_pod_name(claim.uid), "namespace": lot.namespace, "labels": {CONTRACT_LABEL: lot.uid}},
        "spec": {
            "priorityClassName": PRIORITY_CLASS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "tolerations": [{"operator": "Exists"}],  # whether the node will do is not the pod's to judge
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}},
            "resourceClaims": [{"name": "lot", "resourceClaimName": lot.name}],
            "containers": [container],
        },
    }


def keeping(lot: Lot, claim: ResourceClaimView) -> list[Object]:
    """A JSON patch that reserves the claim for the contract, if it is still what was verified."""
    entry = {"apiGroup": GROUP, "resource": PLURALS["ComputeContract"], "name": lot.contract, "uid": lot.uid}
    reserved = bool(claim.pods or claim.keepers)
    add = {"op": "add", "path": "/status/reservedFor/-" if reserved else "/status/reservedFor", "value": entry if reserved else [entry]}
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": str(claim.resource_version)}, add]


def letting_go(raw: Object) -> list[Object]:
    """A JSON patch that takes the contract's entry off a claim as it was read; empty where it has none."""
    uid = raw["metadata"]["labels"][CONTRACT_LABEL]
    reserved = (raw.get("status") or {}).get("reservedFor") or []
    found = [i for i, entry in enumerate(reserved) if entry["uid"] == uid]
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]}
    return [version, {"op": "remove", "path": f"/status/reservedFor/{found[0]}"}] if found else []
