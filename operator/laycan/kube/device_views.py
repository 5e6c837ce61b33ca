"""Projections of the objects of dynamic resource allocation (DRA, resource.k8s.io/v1): which GPUs there are, and who has them.

NVIDIA's driver publishes each node's GPUs in ResourceSlices of a pool named like the node. A device's name (`gpu-<minor>`) is all
that an allocation says, and after a reboot it may be another card: the card itself is known by its uuid.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.resources.constants import CONTRACT_LABEL, GPU_DRIVER, GROUP

Raw = Mapping[str, Any]

_KEEPS_OFF = ("NoSchedule", "NoExecute")


class DeviceView(NamedTuple):
    name: str
    uuid: str  # "" where the driver tells none: such a device cannot be promised
    product: str
    unfit: str  # key of the taint that makes it undeliverable (gpu.nvidia.com/xid, /gpu-lost, …), "" without


@dataclass(frozen=True, slots=True)
class ResourceSliceView:
    """GPUs of one node. A pool may be spread over `count` slices; those of an older generation no longer count."""

    name: str
    resource_version: int
    node: str
    generation: int
    count: int
    devices: tuple[DeviceView, ...]


def published(slices: Collection[ResourceSliceView]) -> tuple[DeviceView, ...]:
    """The GPUs of one node's slices: of its pool's newest generation, once that is complete."""
    newest = max((found.generation for found in slices), default=0)
    current = [found for found in slices if found.generation == newest]
    if not current or len(current) < current[0].count:
        return ()
    return tuple(device for found in current for device in found.devices)


@dataclass(frozen=True, slots=True)
class ResourceClaimView:
    """A claim and what the scheduler gave it. `pods` and `keepers` are what it is reserved for, so that nobody else gets it."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    contract: str  # uid of the contract that it delivers, "" of anybody else's
    deleting: bool
    allocated: bool
    devices: frozenset[tuple[str, str]]  # (pool = node, device name) of NVIDIA's driver
    pods: tuple[tuple[str, str], ...]  # (name, uid)
    keepers: tuple[tuple[str, str, str], ...]  # (group/resource, name, uid) of all that is no pod
    asks: frozenset[str] = frozenset()  # uuids of the GPUs that a contract's claim is for; of others' claims nothing is read

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def kept_for(self, uid: str) -> bool:
        """Whether it is reserved for the ComputeContract of this uid."""
        return any(keeper[0] == KEEPER and keeper[2] == uid for keeper in self.keepers)


KEEPER = f"{GROUP}/computecontracts"


def slice_view(obj: Raw) -> ResourceSliceView | None:
    """None for what is no node's GPUs: another driver's, or a pool of the network."""
    meta, spec = obj["metadata"], mapping(obj.get("spec"))
    if spec.get("driver") != GPU_DRIVER or not text_at(spec, "nodeName"):
        return None
    pool = mapping(spec.get("pool"))
    return ResourceSliceView(
        name=meta["name"],
        resource_version=int(meta.get("resourceVersion") or 0),
        node=spec["nodeName"],
        generation=seconds_at(pool, "generation"),
        count=seconds_at(pool, "resourceSliceCount"),
        devices=tuple(_device(raw) for raw in spec.get("devices") or () if _text(raw, "type") in ("", "gpu")),
    )


def _device(raw: Raw) -> DeviceView:
    taints: Iterable[Raw] = raw.get("taints") or ()
    unfit = next((taint.get("key", "") for taint in taints if taint.get("effect") in _KEEPS_OFF), "")
    return DeviceView(raw["name"], uuid_of(raw), _text(raw, "productName"), unfit)


def uuid_of(device: Raw) -> str:
    """The card behind a device of a ResourceSlice, "" where its driver tells none."""
    return _text(device, "uuid")


def _text(raw: Raw, attribute: str) -> str:
    attributes = mapping(raw.get("attributes"))
    return text_at(attributes.get(attribute) or attributes.get(f"{GPU_DRIVER}/{attribute}"), "string")


def claim_view(obj: Raw) -> ResourceClaimView:
    meta, status = obj["metadata"], mapping(obj.get("status"))
    results = mapping(mapping(status.get("allocation")).get("devices")).get("results") or ()
    reserved: list[Raw] = list(status.get("reservedFor") or ())
    return ResourceClaimView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=int(meta.get("resourceVersion") or 0),
        contract=text_at(meta, "labels", CONTRACT_LABEL),
        deleting="deletionTimestamp" in meta,
        allocated=bool(status.get("allocation")),
        devices=frozenset((found["pool"], found["device"]) for found in results if _has(found)),
        pods=tuple((found["name"], found["uid"]) for found in reserved if found.get("resource") == "pods"),
        keepers=tuple(
            (f"{found.get('apiGroup', '')}/{found.get('resource', '')}", found["name"], found["uid"])
            for found in reserved
            if found.get("resource") != "pods"
        ),
        asks=_asked(obj) if text_at(meta, "labels", CONTRACT_LABEL) else frozenset(),
    )


def _has(result: Raw) -> bool:
    """Whether a device of the driver's is the claim's own: an administrator's access, say for monitoring, takes it from nobody."""
    return result.get("driver") == GPU_DRIVER and not result.get("adminAccess")


def asking(uuids: Iterable[str]) -> str:
    """The selector (CEL) of a claim for exactly these GPUs."""
    return f"{_ASKS}{json.dumps(sorted(uuids))}"


_ASKS = f"device.attributes['{GPU_DRIVER}'].uuid in "


def _asked(obj: Raw) -> frozenset[str]:
    try:
        expression = obj["spec"]["devices"]["requests"][0]["exactly"]["selectors"][0]["cel"]["expression"]
        return frozenset(json.loads(expression.removeprefix(_ASKS)))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return frozenset()  # not as Laycan writes them: fits no lot
