"""What the status of an Outage says: the verdict, its figures, and in words what a person can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laycan.control.conditions import Conditions
from laycan.control.judging import Judged
from laycan.control.outlook import rounded_up
from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.kube.world import World
from laycan.resources.planned import may_go_ahead
from laycan.resources.times import format_time
from laycan_solver.model import FOREVER

VERDICTS = ("Covered", "AtRisk", "Blocked")

Raw = Mapping[str, Any]


def outage_status(raw: Raw, judged: Judged | None, world: World, now: int) -> dict[str, Any] | None:
    """The status to write, None when what is written is right; without a verdict the old one is about this generation, too."""
    old, generation = mapping(raw.get("status")), int(raw["metadata"].get("generation") or 0)
    if judged is None:
        status = {**old, "observedGeneration": generation}
        return status if status != old else None
    found = Conditions(old.get("conditions") or (), generation, now)
    for verdict in VERDICTS:
        holds = verdict == judged.cover
        found.put(verdict, holds, _reason(raw, judged) if holds else judged.cover, message(raw, judged, world) if holds else "")
    status = {
        "observedGeneration": generation,
        "conditions": found.dump(),
        "verdict": judged.cover,
        "judgedStart": text_at(raw, "spec", "start"),
        "lotsShort": judged.lots_short,
        "affectedContracts": judged.harmed,
        "shortfallProbabilityPpm": rounded_up(judged.ppm),
    }
    return status if status != old else None


def _is_planned(raw: Raw, judged: Judged) -> bool:
    spec = mapping(raw.get("spec"))
    return spec.get("type") != "Planned" or may_go_ahead(judged.cover, spec)


def _reason(raw: Raw, judged: Judged) -> str:
    if judged.cover == "AtRisk" and mapping(raw.get("spec")).get("type") == "Planned":
        return "RiskAccepted" if _is_planned(raw, judged) else "TargetExceeded"
    return {"Covered": "Planned", "AtRisk": "TargetExceeded", "Blocked": "LotsShort"}[judged.cover]


def message(raw: Raw, judged: Judged, world: World) -> str:
    """The finding, and what to do about it."""
    chance = f"the chance that a failure finds no spare node while it lasts is {rounded_up(judged.ppm)} ppm"
    if judged.cover == "Covered":
        return f"nobody is short for it; {chance}" if judged.ppm else "nobody is short for it"
    if judged.cover == "AtRisk":
        spares = f"{judged.spare_nodes} spare node{_s(judged.spare_nodes)} left"
        whose = f"{_names(judged.missed, len(judged.missed))} and whoever stands like it"
        found = f"nobody is short for it, but {chance}, the target {judged.target_ppm} ppm, {spares}: {whose}"
        if _is_planned(raw, judged):
            return f"{found}; it is planned" + (" since spec.acceptRisk is true" if raw["spec"].get("type") == "Planned" else "")
        return f"{found}; it is not planned, and nothing moves: {_advice(judged, 'or set spec.acceptRisk: true')}"
    start, end = judged.window
    until = f" to {format_time(end)}" if end < FOREVER else " on"
    lots = f"{judged.lots_short} lot{_s(judged.lots_short)} short from {format_time(start)}{until}"
    found = f"{lots}: {_names([h.contract for h in judged.harms], judged.harmed)}; spare nodes needed: {_needed(judged, world)}"
    if _is_planned(raw, judged):
        return f"{found}; it is a fact all the same: add nodes by then, or settle with the buyers"
    return f"{found}; it is not planned, and nothing moves: {_advice(judged, 'or add nodes')}"


def _advice(judged: Judged, last: str) -> str:
    found = [f"shift it after {format_time(judged.after)}"] if judged.after is not None else []
    found += [f"make it two halves, one after the other ({judged.halves})"] if judged.halves is not None else []
    return ", ".join([*(found or ["shift it, or take fewer nodes at a time"]), last])


def _names(named: tuple[str, ...] | list[str], of: int) -> str:
    more = of - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _needed(judged: Judged, world: World) -> int:
    """Whole nodes for the lots that are short."""
    contract = world.contracts.get(judged.harms[0].contract) if judged.harms else None
    terms = mapping(contract.spec.get("terms")) if contract is not None else {}
    product = world.products.get(str(mapping(terms.get("productRef")).get("name", "")))
    lot, node = seconds_at(terms, "delivery", "lotGpus") or 1, seconds_at(product, "spec", "nodeGpus") or 1
    return -(-judged.lots_short * lot // node)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
