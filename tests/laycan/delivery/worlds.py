"""Small worlds for the pure parts of delivery: no API server, and a clock that is a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from laycan.kube.meter_views import MeterView
from laycan.kube.views import ContractView, FenceView, NodeView
from laycan.kube.world import World
from laycan.resources.constants import GRADE_LABEL
from laycan.resources.times import format_time
from laycan.resources.verdict import Found
from laycan.settings import Settings

T0 = 1_800_000_000  # Unix seconds
SETTINGS = Settings.model_validate(
    {"mode": "Enforce", "leadSeconds": 60, "drainSeconds": 30, "hysteresisSeconds": 900, "dwellSeconds": 120}
)
PRODUCT = "h100"


def node(
    name: str, *, ready: bool = True, since: int = T0 - 86_400, gpus: int = 8, capacity: int = 8, uid: str = "", **more: Any
) -> NodeView:
    """A managed node, Ready (or not) since long ago; of the hardware `grade` if that is named."""
    labels = {GRADE_LABEL: more.pop("grade")} if "grade" in more else {}
    values: dict[str, Any] = {"managed": True, "holder": "", "annotations": {}, **more}
    raw = {"metadata": {"labels": labels}, "spec": {}, "status": {"capacity": {"nvidia.com/gpu": str(capacity)}}}
    return NodeView(name=name, uid=uid or f"uid-{name}", resource_version=1, raw=raw, ready=ready, ready_since=since, gpus=gpus, **values)


def meter(node: str, *findings: Found, gpus: Sequence[str] = (), at: int = T0, version: int = 1, uid: str = "") -> MeterView:
    """What the agent of a node has written; its GPUs are eight unless these are named."""
    cards = frozenset(gpus or (f"GPU-{i}" for i in range(8)))
    return MeterView(node, version, uid or f"uid-{node}", at - 86_400, at, at - 86_400, 300, cards, findings, (), 0, None)


def binding(
    node: str, start: int, end: int, *, gpus: int = 8, bound_at: int | None = None, lots: Sequence[int] | None = None
) -> dict[str, Any]:
    """One entry of status.bindings; times in seconds after T0."""
    made: dict[str, Any] = {
        "node": node,
        "product": PRODUCT,
        "gpus": gpus,
        "level": "Node",
        "start": format_time(T0 + start),
        "end": format_time(T0 + end),
    }
    made |= {} if lots is None else {"lots": list(lots)}
    return made if bound_at is None else {**made, "boundAt": format_time(T0 + bound_at)}


def contract(
    name: str, holder: str, bindings: Sequence[Mapping[str, Any]], *, phase: str = "Accepted", deleting: bool = False, **more: Any
) -> ContractView:
    """A contract of the namespace `desk`; its uid is `uid-<name>`, its window ends with its last binding unless `end` says otherwise."""
    delivery = {"handover": {"namespace": holder}, "end": more.pop("end", max((b["end"] for b in bindings), default=""))}
    spec = {"terms": {"productRef": {"name": PRODUCT}, "delivery": delivery}, **more.pop("spec", {})}
    status = {"phase": phase, "bindings": list(bindings)}
    annotations = more.pop("annotations", {})
    return ContractView("desk", name, f"uid-{name}", 1, 1, T0, deleting, (), annotations, spec, status)


def world(
    nodes: Sequence[NodeView],
    contracts: Sequence[ContractView] = (),
    fence: Mapping[str, str] | None = None,
    product: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> World:
    """What a synced operator would see."""
    return World(
        nodes={each.name: each for each in nodes},
        contracts={each.key: each for each in contracts},
        products={PRODUCT: {"metadata": {"name": PRODUCT}, "spec": dict(product or {})}},
        fence=FenceView(1, dict(fence or {}), dict(annotations or {})),
    )
