"""Outages that are planned and touch what a contract is bound to: told once for each contract, Outage and window, before anything moves.

Nothing is told of one before it was judged, nor of maintenance that may not go ahead. The plan that follows the verdict takes the lots
elsewhere, so it is the bindings as they are written that count: whoever is bound there then hears of it, whatever becomes of it. An
event names no node and not the Outage either, whose name may.
"""

from __future__ import annotations

from typing import Any

from laycan.control.draft import Draft
from laycan.delivery.metering.served import due
from laycan.kube.outage_views import takes, window
from laycan.kube.sound import text_at
from laycan.kube.world import World
from laycan.resources.planned import ANNOUNCED, is_planned
from laycan.resources.times import format_time

MOST = 256  # as the schema says


def tell_outages(draft: Draft, world: World) -> None:
    """`status.outages` keeps whose announcement was told, for as long as it lies ahead as it was announced."""
    text = format_time(draft.now)
    ahead = {
        _mark(uid, raw): (uid, raw) for raw in world.outages.values() if (uid := text_at(raw, "metadata", "uid")) and _ahead(raw, text)
    }
    told = [mark for mark in draft.fields.get("outages") or () if mark in ahead]
    for mark in sorted(ahead.keys() - set(told)):
        uid, raw = ahead[mark]
        lots = _hit(raw, draft, world) if len(told) < MOST and is_planned(raw, text) else []
        if lots and draft.outbox.say("outage.planned", _change(raw, uid, lots, due(draft.contract).lot_gpus)):
            told.append(mark)
    draft.fields.pop("outages", None)
    if told:
        draft.fields["outages"] = sorted(told)


def _mark(uid: str, raw: Any) -> str:
    """Of an Outage in its window: one that is shifted is told again."""
    return "/".join((uid, *window(raw)))


def _ahead(raw: Any, text: str) -> bool:
    """Whether it is one that was announced, and is not over."""
    start, end = window(raw)
    return text_at(raw, "spec", "type") in ANNOUNCED and bool(start) and text < end


def _hit(raw: Any, draft: Draft, world: World) -> list[int]:
    """Numbers of the lots that are bound to its nodes while it lasts."""
    start, end = window(raw)
    here = [b for b in draft.bounds if b.end > draft.now and format_time(b.start) < end and start < format_time(b.end)]
    return sorted({lot for bound in here if takes(raw, bound.node, world) for lot in bound.lots})


def _change(raw: Any, uid: str, lots: list[int], lot_gpus: int) -> dict[str, Any]:
    spec, verdict = raw["spec"], text_at(raw, "status", "verdict")
    times = {"start": spec["start"]} | ({"end": spec["end"]} if text_at(spec, "end") else {})
    change = {"outage": uid, "type": spec["type"], "window": times, "lots": lots, "gpus": len(lots) * lot_gpus}
    return change | ({"covered": verdict != "Blocked"} if verdict else {})
