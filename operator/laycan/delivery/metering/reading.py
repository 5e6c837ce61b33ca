"""Where the meter of one contract stands, and how that is kept in `status.quantities` and `status.meter`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Counters, Estimate, Outage


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Lots that `node` did not serve in [start, end) although it had been handed over; end None: it still does not.

    `estimable`: it was only not sampled, and what was read around it speaks for delivery.
    """

    node: str
    start: int
    end: int | None
    lots: tuple[int, ...]
    estimable: bool = False
    cause: str = field(default="", compare=False)  # one word in CamelCase

    def covers(self, instant: int) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the meter of one contract stands. Without counters nothing has been due yet."""

    counters: Counters | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def until(self) -> int:
        return self.counters.until if self.counters else 0


# What of this stands in the status.
QUANTITIES: Mapping[str, tuple[Class, ...]] = {
    "deliveredGpuSeconds": (Class.DELIVERED,),
    "curtailedGpuSeconds": (Class.CURTAILED,),
    "buyerCausedGpuSeconds": (Class.BUYER_CAUSED,),
    "excusedGpuSeconds": (Class.GRACE, Class.FORCE_MAJEURE, Class.PLANNED_OUTAGE),
    "shortfallGpuSeconds": (Class.SHORTFALL,),
}


def dump_quantities(counters: Counters) -> dict[str, int]:
    """`status.quantities`: contracted is what was due until `meter.until`, and the others add up to it."""
    parts = {name: sum(counters.gpu_seconds.get(c, 0) for c in classes) for name, classes in QUANTITIES.items()}
    estimated = {"estimatedGpuSeconds": counters.estimated} if counters.estimated else {}
    return {"contractedGpuSeconds": sum(parts.values()), **parts, **estimated}


def parse_counters(quantities: Mapping[str, Any], until: int = 0) -> Counters:
    """The other way round; what is excused counts as grace."""
    totals = {classes[0]: quantities.get(name, 0) for name, classes in QUANTITIES.items()}
    amounts = {cls: amount for cls, amount in totals.items() if amount}
    return Counters(until, amounts, estimated=quantities.get("estimatedGpuSeconds", 0))


def dump_meter(reading: Reading) -> dict[str, Any] | None:
    """`status.meter`, None before anything was due."""
    counters = reading.counters
    if counters is None:
        return None
    raw: dict[str, Any] = {"until": format_time(counters.until)}
    if counters.outages:
        raw["outages"] = [dump_outage(outage) for outage in counters.outages]
    if reading.gaps:
        raw["gaps"] = [_dump_gap(gap) for gap in reading.gaps]
    if counters.grace_used:
        raw["graceMonth"], raw["graceGpuSeconds"] = counters.month, counters.grace_used
    if counters.estimates:
        raw["estimates"] = [{"lot": e.lot, "day": e.day, "seconds": e.seconds} for e in counters.estimates]
    return raw


def dump_outage(outage: Outage) -> dict[str, Any]:
    return {"lot": outage.lot, "since": format_time(outage.since), "seconds": outage.seconds, "class": outage.cls.value}


def parse_outage(raw: Mapping[str, Any]) -> Outage:
    return Outage(parse_time(raw["since"]), raw["lot"], raw["seconds"], Class(raw["class"]))


def _dump_gap(gap: Gap) -> dict[str, Any]:
    raw: dict[str, Any] = {"node": gap.node, "lots": list(gap.lots), "start": format_time(gap.start)}
    raw |= {"cause": gap.cause} if gap.cause else {}
    return raw if gap.end is None else raw | {"end": format_time(gap.end)}


def _parse_gap(raw: Mapping[str, Any]) -> Gap:
    end = parse_time(raw["end"]) if raw.get("end") else None
    return Gap(raw["node"], parse_time(raw["start"]), end, tuple(raw["lots"]), cause=raw.get("cause", ""))


def parse_reading(status: Mapping[str, Any]) -> Reading:
    """The meter as an earlier status left it."""
    raw, quantities = status.get("meter"), status.get("quantities") or {}
    if not raw:
        return Reading()
    counters = replace(
        parse_counters(quantities, parse_time(raw["until"])),
        outages=tuple(map(parse_outage, raw.get("outages") or ())),
        month=raw.get("graceMonth", 0),
        grace_used=raw.get("graceGpuSeconds", 0),
        estimates=tuple(Estimate(e["lot"], e["day"], e["seconds"]) for e in raw.get("estimates") or ()),
    )
    return Reading(counters, tuple(_parse_gap(g) for g in raw.get("gaps") or ()))
