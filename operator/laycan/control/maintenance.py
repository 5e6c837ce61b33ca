"""Outages that were announced and touch what a contract is bound to: told once for each contract and Outage, before anything moves.

The plan that follows an announcement takes the lots elsewhere, so it is the bindings as they are written that count: whoever is bound
there when the Outage comes hears of it, whatever becomes of it. An event names no node and not the Outage either, whose name may.
"""

from __future__ import annotations

from typing import Any

from laycan.control.draft import Draft
from laycan.delivery.metering.served import due
from laycan.kube.sound import mapping, text_at
from laycan.kube.world import World
from laycan.resources.times import format_time

TYPES = ("Planned", "Retirement")  # a Forced one was not planned
MOST = 256  # as the schema says
_NEVER = "~"  # sorts after every time


def tell_outages(draft: Draft, world: World) -> None:
    """`status.outages` keeps whose announcement was told, for as long as it lies ahead."""
    ahead = {uid: raw for raw in world.outages.values() if (uid := text_at(raw, "metadata", "uid")) and _ahead(raw, draft.now)}
    told = [uid for uid in draft.fields.get("outages") or () if uid in ahead]
    for uid in sorted(ahead.keys() - set(told)) if len(told) < MOST else ():
        lots = _hit(ahead[uid], draft, world)
        if lots and draft.outbox.say("outage.planned", _change(ahead[uid], uid, lots, due(draft.contract).lot_gpus)):
            told.append(uid)
    draft.fields.pop("outages", None)
    if told:
        draft.fields["outages"] = sorted(told)


def _ahead(raw: Any, now: int) -> bool:
    """Whether it is one that was planned, and is not over. Times of RFC 3339 in UTC sort as text."""
    spec = mapping(raw.get("spec"))
    return spec.get("type") in TYPES and bool(text_at(spec, "start")) and format_time(now) < (text_at(spec, "end") or _NEVER)


def _hit(raw: Any, draft: Draft, world: World) -> list[int]:
    """Numbers of the lots that are bound to its nodes while it lasts."""
    spec = mapping(raw["spec"])
    start, end = text_at(spec, "start"), text_at(spec, "end") or _NEVER
    named, selector = spec.get("nodes"), mapping(spec.get("nodeSelector"))
    lots: set[int] = set()
    for bound in draft.bounds:
        node = world.nodes.get(bound.node)
        labels = mapping(mapping(node.raw.get("metadata")).get("labels")) if node is not None else {}
        meets = bound.end > draft.now and format_time(bound.start) < end and start < format_time(bound.end)
        if meets and ((isinstance(named, list) and bound.node in named) or (selector and selector.items() <= labels.items())):
            lots.update(bound.lots)
    return sorted(lots)


def _change(raw: Any, uid: str, lots: list[int], lot_gpus: int) -> dict[str, Any]:
    spec = raw["spec"]
    window = {"start": spec["start"]} | ({"end": spec["end"]} if text_at(spec, "end") else {})
    return {"outage": uid, "type": spec["type"], "window": window, "lots": lots, "gpus": len(lots) * lot_gpus}
