"""How far the receipts of one contract go, and what the next one starts from: `status.receipts`.

The opening is what `classify` counted at the end of the last receipt, by what was known then. An outage that was open there may be
judged otherwise once it is over; then the last period is corrected, and the opening with it, before anything new is issued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from laycan.delivery.metering.reading import QUANTITIES, Reading, dump_meter, dump_quantities, parse_reading
from laycan.evidence.readings import Readings
from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Counters, Outage


class Period(NamedTuple):
    """What the latest receipt of a period says, GPU-seconds by class."""

    start: int
    end: int
    gpu_seconds: Mapping[Class, int]
    estimated: int
    sequence: int  # of that receipt
    said: str  # its predicate, JSON


@dataclass(frozen=True, slots=True)
class Books:
    sequence: int = 0  # of the last receipt
    head_digest: str = ""  # of its payload
    opening: Counters | None = None  # at its end; None before the first
    last: Period | None = None
    readings: Readings = field(default_factory=Readings)  # of the time after the opening

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> Books:
        raw = status.get("receipts") or {}
        last = raw.get("last")
        return cls(
            raw.get("sequence", 0),
            raw.get("headDigest", ""),
            parse_reading(raw["opening"]).counters if raw.get("opening") else None,
            _parse_period(last) if last else None,
            Readings.parse(raw.get("readings") or ()),
        )

    def dump(self) -> dict[str, Any]:
        """Empty before anything was metered."""
        raw: dict[str, Any] = {}
        if self.sequence:
            raw |= {"sequence": self.sequence, "headDigest": self.head_digest}
        if self.opening is not None:
            raw["opening"] = {"quantities": dump_quantities(self.opening), "meter": dump_meter(Reading(self.opening))}
        if self.last is not None:
            raw["last"] = _dump_period(self.last)
        if readings := self.readings.dump():
            raw["readings"] = readings
        return raw

    def restated(self, carried: tuple[Outage, ...], lot_gpus: int) -> Books | None:
        """With the outages that were open at the end of the last receipt as they are judged now; None where nothing changed."""
        if self.opening is None or self.last is None or carried == tuple(sorted(self.opening.outages)):
            return None
        moved: Counter[Class] = Counter()
        for before, now in zip(sorted(self.opening.outages), carried, strict=True):
            moved[before.cls] -= before.seconds * lot_gpus
            moved[now.cls] += now.seconds * lot_gpus
        return replace(
            self,
            opening=replace(self.opening, gpu_seconds=_sum(self.opening.gpu_seconds, moved), outages=carried),
            last=self.last._replace(gpu_seconds=_sum(self.last.gpu_seconds, moved)),
        )


def _sum(before: Mapping[Class, int], moved: Mapping[Class, int]) -> dict[Class, int]:
    total = {cls: before.get(cls, 0) + moved.get(cls, 0) for cls in Class}
    return {cls: amount for cls, amount in total.items() if amount}


def _dump_period(period: Period) -> dict[str, Any]:
    quantities = dump_quantities(Counters(period.end, period.gpu_seconds, estimated=period.estimated))
    times = {"start": format_time(period.start), "end": format_time(period.end)}
    return {**times, "quantities": quantities, "sequence": period.sequence, "predicate": period.said}


def _parse_period(raw: Mapping[str, Any]) -> Period:
    quantities = raw["quantities"]
    by_class = {classes[0]: quantities[name] for name, classes in QUANTITIES.items() if quantities.get(name)}
    times = parse_time(raw["start"]), parse_time(raw["end"])
    return Period(*times, by_class, quantities.get("estimatedGpuSeconds", 0), raw["sequence"], raw["predicate"])
