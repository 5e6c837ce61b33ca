"""What this cluster can enforce, asked of its API server at the start: exact GPUs, or whole nodes only.

Exact GPUs need the API of dynamic resource allocation, and a guard on the claims that hold them: an admin of a namespace may
otherwise delete a claim, and with it the delivery. The guard shows itself by refusing, to everybody, a claim that is never made.
"""

from __future__ import annotations

from dataclasses import dataclass

from laycan.kube.client import ApiError, Client
from laycan.resources.constants import GPU_DRIVER

API = "/apis/resource.k8s.io/v1"
GUARD = "laycan-claim-guard"
_CANARY = "laycan-never"


@dataclass(frozen=True, slots=True)
class Devices:
    """`served`: slices and claims can be watched. `trouble`: why exact GPUs cannot be delivered, "" when they can."""

    served: bool
    trouble: str


async def find_devices(client: Client, probe_namespace: str) -> Devices:
    """Asks the API server. Raises ApiError when it does not answer."""
    try:
        resources = {found["name"] for found in (await client.get(API))["resources"]}
    except ApiError as error:
        if error.status != 404:
            raise
        resources = set()
    if not {"resourceslices", "resourceclaims"} <= resources:
        return Devices(False, "the API server does not serve resource.k8s.io/v1 (Kubernetes 1.34 or newer does)")
    return Devices(True, await _guard_trouble(client, probe_namespace))


async def _guard_trouble(client: Client, namespace: str) -> str:
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": _CANARY, "namespace": namespace},
        "spec": {"devices": {"requests": [{"name": "gpus", "exactly": {"deviceClassName": GPU_DRIVER}}]}},
    }
    try:
        await client.create(f"{API}/namespaces/{namespace}/resourceclaims", claim, {"dryRun": "All"})
    except ApiError as error:
        if error.status == 403 and GUARD in error.message:
            return ""
        if error.status == 0:
            raise
        return f"the policy {GUARD} did not answer: {error.status} {error.message}"
    return f"the policy {GUARD} is not in force: a ResourceClaim that it must refuse would have been made"
