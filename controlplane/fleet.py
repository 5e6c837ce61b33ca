"""A fleet of GPU nodes with what every real one has: NVIDIA's labels, and the DaemonSets of the GPU operator, monitoring and networking.

Nodes are plain manifests. Their kubelets are played by KWOK as long as they carry its label; taking the label away silences the kubelet,
and the real node-lifecycle controller then finds out by itself, as for a node that lost power.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from controlplane.api import JSON_PATCH, STRATEGIC, Api, Object
from controlplane.components import LIVE_KUBELET

GPU = "nvidia.com/gpu"
DRIVER = "gpu.nvidia.com"  # of NVIDIA's ResourceSlices, and the name of its DeviceClass
MANAGED = "laycan.dev/managed"
KUBELET_LABEL, ALIVE = LIVE_KUBELET.split("=")
H100, H200, A100, GB200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200", "NVIDIA-A100-SXM4-80GB", "NVIDIA-GB200"

EVERY_TAINT = [{"operator": "Exists"}]
NVIDIA_TAINTS = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]


def node(
    name: str,
    *,
    product: str = H100,
    gpus: int = 8,
    zone: str = "z1",
    rack: str = "",
    clique: str = "",
    managed: bool = True,
    plugin: bool = True,
    labels: dict[str, str] | None = None,
) -> Object:
    """One GPU node: `product` is the value of the label nvidia.com/gpu.product, `rack` its leaf switch, `clique` its NVLink domain.

    Without `plugin` no device plugin reports the GPUs: a DRA driver does, see gpu_slice().
    """
    reported = {GPU: str(gpus)} if gpus and plugin else {}
    resources = {"cpu": "192", "memory": "2048Gi", "ephemeral-storage": "1Ti", "pods": "110", **reported}
    known = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": zone,
        "network.topology.nvidia.com/leaf": rack,
        "nvidia.com/gpu.clique": clique,
        MANAGED: "true" if managed else "",
        KUBELET_LABEL: ALIVE,
    }
    if gpus:
        known |= {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {key: value for key, value in known.items() if value} | (labels or {})},
        "status": {"capacity": resources, "allocatable": resources},
    }


def nodes(count: int, *, prefix: str = "n", product: str = H100, rack_size: int = 4, racks_per_zone: int = 4, **more: Any) -> list[Object]:
    """So many equal nodes `<prefix>000`, `<prefix>001`, …, in racks `<prefix>-r0`, … and those in zones `z1`, …; see node() for more."""
    racks = [number // rack_size for number in range(count)]
    return [
        node(f"{prefix}{i:03}", product=product, rack=f"{prefix}-r{rack}", zone=f"z{rack // racks_per_zone + 1}", **more)
        for i, rack in enumerate(racks)
    ]


def device_class() -> Object:
    """The DeviceClass of NVIDIA's DRA driver: whole GPUs, by claim or as the extended resource nvidia.com/gpu."""
    whole = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'"
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": DRIVER},
        "spec": {"extendedResourceName": GPU, "selectors": [{"cel": {"expression": whole}}]},
    }


def gpu_slice(node: str, *, gpus: int = 8, product: str = "NVIDIA H100 80GB HBM3") -> Object:
    """The GPUs of a node as NVIDIA's DRA driver publishes them: pool = node, device = gpu-<minor>, the card itself by its uuid."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": slice_name(node)},
        "spec": {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [_gpu(minor, gpu_uuid(node, minor), product) for minor in range(gpus)],
        },
    }


def slice_name(node: str) -> str:
    """The name that gpu_slice() gives (the real driver appends a random part)."""
    return f"{node}-{DRIVER}"


def gpu_uuid(node: str, minor: int) -> str:
    """The uuid that gpu_slice() gives to a GPU; the same for the same node and minor."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{minor}.{node}')}"


def taint_gpu(api: Api, node: str, minor: int, key: str = "gpu.nvidia.com/xid", effect: str = "NoSchedule", value: str = "79") -> None:
    """What the driver's health checks do to a device that failed; an empty key takes the taints off."""
    taints = [{"key": key, "value": value, "effect": effect}] if key else []
    _change_gpu(api, node, minor, lambda device: device | {"taints": taints})


def swap_gpu(api: Api, node: str, minor: int, card: str) -> None:
    """Another card under the same device name, as after a repair or a reboot that renumbers."""
    _change_gpu(api, node, minor, lambda device: device | {"attributes": device["attributes"] | {"uuid": {"string": card}}})


def _change_gpu(api: Api, node: str, minor: int, change: Callable[[Object], Object]) -> None:
    path = f"/apis/resource.k8s.io/v1/resourceslices/{slice_name(node)}"
    found = api.get(path)
    devices = [change(each) if each["name"] == f"gpu-{minor}" else each for each in found["spec"]["devices"]]
    pool = found["spec"]["pool"] | {"generation": found["spec"]["pool"]["generation"] + 1}
    api.patch(path, {"spec": {"devices": devices, "pool": pool}})


def _gpu(minor: int, card: str, product: str) -> Object:
    texts = {"type": "gpu", "uuid": card, "productName": product, "brand": "Nvidia", "architecture": "Hopper"}
    attributes: Object = {name: {"string": text} for name, text in texts.items()}
    attributes |= {"cudaComputeCapability": {"version": "9.0.0"}, "driverVersion": {"version": "580.65.6"}}
    return {"name": f"gpu-{minor}", "attributes": attributes, "capacity": {"memory": {"value": "81559Mi"}}}


def daemonsets() -> list[Object]:
    """The namespaces and DaemonSets of a usual GPU cluster, with the tolerations and selectors they have there."""
    gpu_nodes = {"nvidia.com/gpu.present": "true"}
    return [
        namespace("gpu-operator"),
        namespace("monitoring"),
        _daemonset("gpu-operator", "nvidia-device-plugin-daemonset", NVIDIA_TAINTS, gpu_nodes, "system-node-critical"),
        _daemonset("monitoring", "node-exporter", EVERY_TAINT, {"kubernetes.io/os": "linux"}),
        _daemonset("kube-system", "kube-proxy", EVERY_TAINT, {"kubernetes.io/os": "linux"}, "system-node-critical"),
    ]


def namespace(name: str, labels: dict[str, str] | None = None) -> Object:
    """A Namespace manifest."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def pod(namespace: str, name: str, *, gpus: int = 0, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Pod manifest of one container that asks for so many GPUs; more fields of its spec by name."""
    limits = {GPU: str(gpus)} if gpus else {}
    container = {"name": "main", "image": "example.invalid/pause:1", "resources": {"limits": limits}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {"containers": [container], **spec},
    }


def apply_fleet(api: Api, manifests: Iterable[Object]) -> None:
    """Creates or changes the objects in their order. A Node's status is kept: at creation as it is, later through its subresource."""
    for manifest in manifests:
        api.apply(manifest)
        if manifest["kind"] == "Node" and "status" in manifest:
            api.patch(f"{_path(manifest['metadata']['name'])}/status", {"status": manifest["status"]}, content_type=STRATEGIC)


def kill_node(api: Api, name: str) -> None:
    """Silences the node's kubelet: no heartbeats, and its pods stay as they are. Ready becomes Unknown after the grace period."""
    api.patch(_path(name), {"metadata": {"labels": {KUBELET_LABEL: None}}})


def revive_node(api: Api, name: str) -> None:
    """Lets the kubelet of a killed node speak again: Ready within a second or two, and its pods go on."""
    api.patch(_path(name), {"metadata": {"labels": {KUBELET_LABEL: ALIVE}}})


def set_gpus(api: Api, name: str, allocatable: int) -> None:
    """Sets the GPUs that the device plugin reports healthy; capacity stays."""
    operation = {"op": "replace", "path": "/status/allocatable/nvidia.com~1gpu", "value": str(allocatable)}
    api.patch(f"{_path(name)}/status", [operation], content_type=JSON_PATCH)


def ready(node: Object) -> str:
    """The status of the node's Ready condition: True, False, Unknown, or nothing before its kubelet registered."""
    conditions: Sequence[Object] = node.get("status", {}).get("conditions", ())
    return next((str(condition["status"]) for condition in conditions if condition["type"] == "Ready"), "")


def _path(name: str) -> str:
    return f"/api/v1/nodes/{name}"


def _daemonset(namespace: str, name: str, tolerations: list[Object], selector: dict[str, str], priority: str = "") -> Object:
    labels = {"app": name}
    spec = {
        "nodeSelector": selector,
        "tolerations": tolerations,
        "containers": [{"name": "main", "image": f"example.invalid/{name}:1", "resources": {"requests": {"cpu": "50m"}}}],
        **({"priorityClassName": priority} if priority else {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
