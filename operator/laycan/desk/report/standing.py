"""What a contract's status says of it, where the book was read from a cluster or an export of one.

A status is read leniently: whoever looks at a page wants to see what is there, and what is malformed is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laycan.planning.manifests import ReadContract
from laycan.resources.times import parse_time

PARTS = ("contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall")


@dataclass(frozen=True, slots=True)
class Quantities:
    """Metered until `until`, GPU-seconds: contracted is the sum of the others."""

    contracted: int
    delivered: int
    curtailed: int
    buyer_caused: int
    excused: int
    shortfall: int

    @property
    def due(self) -> int:
        """What availability is measured against (contract.md 5.8)."""
        return self.contracted - self.curtailed - self.buyer_caused


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one contract, with what was asked. `conditions` are those that are True; `until` is 0 where nothing was metered."""

    key: str
    contract_id: str
    product: str
    phase: str
    quantities: Quantities | None
    until: int
    conditions: tuple[Condition, ...]
    code: str
    message: str
    pool: str
    gpus: int = 0
    start: int = 0  # Unix seconds
    end: int = 0


def standing_of(contract: ReadContract) -> Standing | None:
    """None where the operator has said nothing of the contract yet."""
    status = contract.status
    if not status:
        return None
    terms, reason, meter = contract.spec.terms, _mapping(status.get("reason")), _mapping(status.get("meter"))
    return Standing(
        contract.key,
        terms.contract_id,
        terms.product_ref.name,
        _text(status.get("phase")),
        _quantities(_mapping(status.get("quantities"))),
        _time(meter.get("until")),
        tuple(_conditions(status.get("conditions"))),
        _text(reason.get("code")),
        _text(reason.get("message")),
        _text(reason.get("pool")),
        terms.delivery.gpus,
        parse_time(terms.delivery.start),
        parse_time(terms.delivery.end),
    )


def _quantities(raw: Mapping[str, Any]) -> Quantities | None:
    values = [raw.get(f"{part}GpuSeconds", 0) for part in PARTS]
    if not raw or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        return None
    return Quantities(*values)


def _conditions(raw: Any) -> list[Condition]:
    given = [_mapping(entry) for entry in raw] if isinstance(raw, list) else []
    told = [c for c in given if c.get("status") == "True" and isinstance(c.get("type"), str)]
    return [Condition(c["type"], _text(c.get("reason")), _text(c.get("message"))) for c in told]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> int:
    try:
        return parse_time(value) if isinstance(value, str) else 0
    except ValueError:
        return 0
