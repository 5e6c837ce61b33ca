"""Problems of a few nodes, written by hand: hours from `NOW`, one grade, defaults for the rest."""

from __future__ import annotations

from typing import Any

from laycan_solver.model import Binding, Contract, Node, Outage, OutageType, Problem, Product

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
HOUR = 3_600


def node(name: str, gpus: int = 8, **more: Any) -> Node:
    rack = more.pop("rack", "r0")
    return Node(name, more.pop("grade", "H100"), gpus, ("z0", "f0", rack, f"node/{name}"), **more)


def contract(name: str, start: int, end: int, gpus: int = 8, **more: Any) -> Contract:
    lot = more.pop("lot_gpus", min(gpus, 8))
    return Contract(f"desk/{name}", name, more.pop("product", "h100"), NOW + start * HOUR, NOW + end * HOUR, gpus, lot, **more)


def binding(name: str, on: str, start: int, end: int, gpus: int = 8) -> Binding:
    return Binding(f"desk/{name}", on, "h100", gpus, NOW + start * HOUR, NOW + end * HOUR)


def outage(on: str, start: int, end: int) -> Outage:
    return Outage(f"outage-{on}-{start}", OutageType.PLANNED, frozenset({on}), NOW + start * HOUR, NOW + end * HOUR)


def product(name: str = "h100", grade: str = "H100", **more: Any) -> Product:
    return Product(name, frozenset({grade}), **more)


def problem(nodes: list[Node], contracts: list[Contract], **more: Any) -> Problem:
    return Problem(
        NOW,
        tuple(nodes),
        tuple(more.get("products", [product()])),
        tuple(contracts),
        tuple(more.get("outages", [])),
        tuple(more.get("previous", [])),
    )


def hours(b: Binding) -> tuple[str, int, int]:
    return b.node, (b.start - NOW) // HOUR, (b.end - NOW) // HOUR
