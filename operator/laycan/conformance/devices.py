"""What attacks on exact GPUs share: a contract of single-GPU lots, its claims, and who has which device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from laycan.conformance import objects
from laycan.conformance.attack import NotRun
from laycan.conformance.objects import RUN_LABELS, Object
from laycan.conformance.scene import CONTRACTS, WINDOW_SECONDS, Delivery, Scene, now
from laycan.conformance.waiting import until
from laycan.delivery.devices.exact import claim_name
from laycan.kube.device_views import ResourceClaimView, asking, claim_view
from laycan.resources.constants import GPU_DRIVER

API = "/apis/resource.k8s.io/v1"


def claims_of(namespace: str) -> str:
    return f"{API}/namespaces/{namespace}/resourceclaims"


async def sell(scene: Scene, holder: str, lots: int, start: int = 0) -> Delivery:
    """An accepted contract of so many GPUs, one per lot. Raises NotRun, NeverError."""
    if scene.devices is None:
        raise NotRun(f"no level Device: {scene.no_devices}")
    start = max(start, now() + (scene.settings.lead_seconds + 10 if scene.devices.exposed else 0))
    name = scene.new_name()
    await scene.admin.create(CONTRACTS, objects.contract(name, holder, lots, 1, start, start + WINDOW_SECONDS, "Device"))
    return await scene.accepted(name)


async def deliver(scene: Scene, holder: str, lots: int = 1, start: int = 0) -> tuple[Delivery, list[ResourceClaimView]]:
    """The same, once each lot's claim is allocated and kept for the contract and nobody else; the claims by lot."""
    delivery = await sell(scene, holder, lots, start)
    seconds = scene.patience + max(0, delivery.start - now())
    return delivery, await until(f"contract {delivery.name} has its GPUs", lambda: kept(scene, delivery, lots), seconds)


async def kept(scene: Scene, delivery: Delivery, lots: int) -> list[ResourceClaimView]:
    """The claims of all lots; empty while one is not delivered."""
    found = []
    for number in range(lots):
        raw = await scene.find(f"{claims_of(delivery.holder)}/{claim_name(delivery.name, number)}")
        claim = claim_view(raw) if raw else None
        if claim is None or claim.deleting or not claim.allocated or not claim.kept_for(delivery.uid) or claim.pods:
            return []
        found.append(claim)
    return found


async def twice(scene: Scene) -> list[tuple[str, str]]:
    """(pool, device) of all that two claims have at once, whoever's."""
    claims = [claim_view(raw) for raw in (await scene.admin.get(f"{API}/resourceclaims"))["items"]]
    held = Counter(device for claim in claims for device in claim.devices)
    return [device for device, number in held.items() if number > 1]


async def cards(scene: Scene) -> Mapping[tuple[str, str], str]:
    """(pool, device) -> uuid, as the drivers publish them."""
    found = {}
    for raw in (await scene.admin.get(f"{API}/resourceslices"))["items"]:
        spec = raw["spec"]
        if spec.get("driver") == GPU_DRIVER:
            for device in spec.get("devices") or ():
                found[spec["pool"]["name"], device["name"]] = device["attributes"]["uuid"]["string"]
    return found


def claim(name: str, uuids: Sequence[str], **exactly: Any) -> Object:
    """A stranger's ResourceClaim for exactly these GPUs."""
    selector = {"cel": {"expression": asking(uuids)}}
    request = {"deviceClassName": GPU_DRIVER, "count": len(uuids), "selectors": [selector], **exactly}
    meta = {"name": name, "labels": RUN_LABELS}
    spec = {"devices": {"requests": [{"name": "gpus", "exactly": request}]}}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": meta, "spec": spec}


def using(name: str) -> dict[str, Any]:
    """What the spec of a pod says that uses a claim."""
    return {"resourceClaims": [{"name": "gpus", "resourceClaimName": name}]}
