"""Which Outages are planned for: those that are facts, and maintenance that was judged and may go ahead.

A Planned outage is judged first; it may where nobody is short for it, or where a person accepts the risk. What was planned is a fact
from its start on, whatever is edited then; one that is shifted into the past was not. A Retirement is a fact as soon as it was judged,
so that those whom it touches are told before anything moves. A Forced one is a fact at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANNOUNCED = ("Planned", "Retirement")  # types of those that are known ahead; a Forced one was nobody's plan

Raw = Mapping[str, Any]


def is_planned(raw: Raw, instant: str) -> bool:
    """Whether an Outage object, of any shape, is planned for at this instant (RFC 3339, UTC: sorts as text)."""
    spec, status = _mapping(raw.get("spec")), _mapping(raw.get("status"))
    begun = str(spec.get("start", "")) <= instant
    if spec.get("type") != "Planned":
        return spec.get("type") != "Retirement" or begun or bool(status.get("verdict"))
    if not is_judged(raw) and (not begun or str(status.get("judgedStart", "")) > instant):
        return False
    return may_go_ahead(str(status.get("verdict", "")), spec)


def is_judged(raw: Raw) -> bool:
    """Whether its verdict is about what it says today."""
    meta, status = _mapping(raw.get("metadata")), _mapping(raw.get("status"))
    return bool(status.get("verdict")) and status.get("observedGeneration") == int(meta.get("generation") or 0)


def may_go_ahead(verdict: str, spec: Raw) -> bool:
    """Whether maintenance of this verdict is planned."""
    return verdict == "Covered" or (verdict == "AtRisk" and spec.get("acceptRisk") is True)


def _mapping(value: Any) -> Raw:
    return value if isinstance(value, Mapping) else {}
