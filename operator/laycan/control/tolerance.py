"""What a contract forgives and what may be withdrawn from it: from its terms, else from its product, else the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.product import CURE_SECONDS

GRACE_SECONDS, GRACE_CAP_PPM = 300, 1_000  # contract.md 5


@dataclass(frozen=True, slots=True)
class Tolerance:
    grace_seconds: int
    cure_seconds: int
    grace_cap_ppm: int


def tolerance(contract: ContractView, world: World | None) -> Tolerance:
    """Of the terms, else of the product, else the default."""
    terms = contract.spec["terms"]
    product = _product(terms, world)
    named = terms.get("tolerance") or product.get("tolerance") or {}
    own = product.get("tolerance") or {}
    return Tolerance(
        named.get("graceSeconds", GRACE_SECONDS),
        named.get("cureSeconds", CURE_SECONDS),
        named.get("graceCapPpm", own.get("graceCapPpm", GRACE_CAP_PPM)),
    )


def _product(terms: Mapping[str, Any], world: World | None) -> Mapping[str, Any]:
    product = world.products.get(terms["productRef"]["name"]) if world else None
    return (product or {}).get("spec") or {}


def interruption(contract: ContractView, world: World) -> tuple[int, int] | None:
    """(notice in seconds, seconds that each lot may be curtailed); None: no right of curtailment."""
    terms = contract.spec["terms"]
    firmness = terms.get("firmness") or {}
    if firmness.get("class") != "Interruptible":
        return None
    right = firmness.get("interruption") or _product(terms, world).get("interruption")
    return (right["noticeSeconds"], right["maxHours"] * 3600) if right else None
