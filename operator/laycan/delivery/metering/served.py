"""What stands in a contract's `status.bindings`: lots by number, on nodes, over time.

A binding is a promise until the buyer has access (`handed_over_at`) and history once its end has passed; history is kept until the
meter has passed it too. At level Device each binding is of one lot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laycan.kube.views import ContractView
from laycan.resources.times import format_time, parse_time


@dataclass(frozen=True, slots=True)
class Bound:
    """Lots `lots` with `gpus` GPUs together on one node in [start, end); `product` is the grade that the node is."""

    node: str
    product: str
    gpus: int
    lots: tuple[int, ...]
    start: int
    end: int
    bound_at: int
    handed_over_at: int | None = None
    level: str = "Node"
    devices: tuple[str, ...] = ()  # uuids, at level Device once they are chosen
    metered_since: int | None = None  # from then on the node's agent proves delivery; before, and without one, the node does

    @property
    def exact(self) -> bool:
        return self.level == "Device"

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Bound:
        start, handed_over, metered = parse_time(raw["start"]), raw.get("handedOverAt"), raw.get("meteredSince")
        return cls(
            node=raw["node"],
            product=raw["product"],
            gpus=raw["gpus"],
            lots=tuple(raw.get("lots") or ()),
            start=start,
            end=parse_time(raw["end"]),
            bound_at=parse_time(raw["boundAt"]) if "boundAt" in raw else start,
            handed_over_at=parse_time(handed_over) if handed_over else None,
            level=raw["level"],
            devices=tuple(raw.get("devices") or ()),
            metered_since=parse_time(metered) if metered else None,
        )

    def dump(self) -> dict[str, Any]:
        raw: dict[str, Any] = {
            "node": self.node,
            "product": self.product,
            "gpus": self.gpus,
            "level": self.level,
            "start": format_time(self.start),
            "end": format_time(self.end),
            "lots": list(self.lots),
            "boundAt": format_time(self.bound_at),
        }
        if self.devices:
            raw["devices"] = list(self.devices)
        if self.handed_over_at is not None:
            raw["handedOverAt"] = format_time(self.handed_over_at)
        if self.metered_since is not None:
            raw["meteredSince"] = format_time(self.metered_since)
        return raw

    def running(self, now: int) -> bool:
        return self.start <= now < self.end


@dataclass(frozen=True, slots=True)
class Due:
    """What a contract is owed, read from its spec: times in Unix seconds, quantities in GPUs."""

    start: int  # owed from here: a contract created after its start owes from its creation
    end: int
    gpus: int
    lot_gpus: int
    holder: str
    product: str

    @property
    def lots(self) -> int:
        return self.gpus // self.lot_gpus


def due(contract: ContractView) -> Due:
    """Raises KeyError or ValueError for a spec that no validation has seen (an object older than the CRD's rules)."""
    terms = contract.spec["terms"]
    delivery = terms["delivery"]
    return Due(
        start=max(parse_time(delivery["start"]), contract.created),
        end=parse_time(delivery["end"]),
        gpus=delivery["gpus"],
        lot_gpus=delivery["lotGpus"],
        holder=(delivery.get("handover") or {}).get("namespace", ""),
        product=terms["productRef"]["name"],
    )
