"""Contracts, nodes and products as the watches deliver them, for tests of the control loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from laycan.kube.views import ContractView, contract_view, namespace_view, node_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings

NOW = 1_800_000_000  # Unix seconds
HOUR = 3600
SETTINGS = Settings.model_validate({"planEffort": 50})


def contract(name: str, *, namespace: str = "desk", created: int = NOW - 60, status: Any = None, **more: Any) -> ContractView:
    """One whole node of h100 for acme from one to two hours from now; `more` replaces parts of the terms, `delivery_*` of the delivery."""
    delivery = {"start": format_time(NOW + HOUR), "end": format_time(NOW + 2 * HOUR), "gpus": 8, "lotGpus": 8}
    delivery |= {"handover": {"namespace": "acme"}}
    delivery |= {key.removeprefix("delivery_"): more.pop(key) for key in tuple(more) if key.startswith("delivery_")}
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": more.pop("version", "5")}
    meta |= {"creationTimestamp": format_time(created)} | more.pop("meta", {})
    spec = {"intent": "Firm"} | more.pop("spec", {})
    terms = {"contractId": name, "productRef": {"name": "h100"}, "delivery": delivery} | more
    return contract_view({"metadata": meta, "spec": spec | {"terms": terms}, "status": status or {}})


def bound(*nodes: str, start: int = NOW + HOUR, end: int = NOW + 2 * HOUR, phase: str = "Accepted", gpus: int = 8) -> dict[str, Any]:
    """The status of a contract that has these nodes."""
    row = {"product": "h100", "gpus": gpus, "level": "Node", "start": format_time(start), "end": format_time(end)}
    return {"phase": phase, "bindings": [{"node": node, **row} for node in nodes]}


def node(
    name: str, version: int = 1, *, gpus: int = 8, ready: bool = True, managed: bool = True, labels: dict[str, str] | None = None
) -> Any:
    known = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "laycan.dev/managed": "true" if managed else "false"}
    count = {"nvidia.com/gpu": str(gpus)}
    condition = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": format_time(NOW - HOUR)}
    return node_view(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": known | (labels or {})},
            "status": {"capacity": {"nvidia.com/gpu": "8"}, "allocatable": count, "conditions": [condition]},
        }
    )


def world(contracts: Iterable[ContractView] = (), nodes: Iterable[str] = ("n1", "n2")) -> World:
    made = World(
        nodes={name: node(name) for name in nodes},
        contracts={found.key: found for found in contracts},
        products={"h100": product("h100")},
    )
    for name, labels in (("acme", {"laycan.dev/desk": "desk"}), ("desk", {}), ("beta", {})):
        made.namespaces[name] = namespace_view({"metadata": {"name": name, "labels": labels}})
    return made


def product(name: str, **spec: Any) -> dict[str, Any]:
    known = {"gpuProducts": ["NVIDIA-H100-80GB-HBM3"], "nodeGpus": 8}
    return {"metadata": {"name": name, "resourceVersion": "1"}, "spec": known | spec}


class Fleet:
    """Health as a test says it is."""

    def __init__(self, made: World) -> None:
        self.world, self.failed = made, frozenset[str]()

    def unusable(self) -> frozenset[str]:
        return self.failed

    def planning_gpus(self, name: str) -> int:
        return self.world.nodes[name].gpus
