"""How far the receipts of one contract go, and what the next one starts from: `status.receipts`.

The opening is what `classify` counted at the end of the last receipt, by what was known then. An outage that was open there may be
judged otherwise once it is over; then the periods that have a part of it are corrected, and the opening with them, before anything new
is issued. Most often that is the last period; where all of a day was the buyer's in between, earlier ones are among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
import rfc8785

from laycan.delivery.metering.reading import (
    Reading,
    dump_meter,
    dump_outage,
    dump_quantities,
    parse_counters,
    parse_outage,
    parse_reading,
)
from laycan.evidence.readings import Readings
from laycan_verify.classes import Class, Counters, Outage


class Period(NamedTuple):
    """The latest receipt of a period that has a part of an outage which is still open."""

    sequence: int
    said: str  # its predicate, JSON
    parts: tuple[Outage, ...]  # of those outages, as that receipt judges them; `seconds` are those in the period

    def moved(self, judged: Mapping[int, Class], lot_gpus: int) -> Counter[Class]:
        """GPU-seconds by which its classes change, if the outage of each lot is of this class."""
        moved: Counter[Class] = Counter()
        for part in self.parts:
            moved[part.cls] -= part.seconds * lot_gpus
            moved[judged[part.lot]] += part.seconds * lot_gpus
        return Counter({cls: amount for cls, amount in moved.items() if amount})

    def later(self, moved: Mapping[Class, int]) -> Period:
        """After a correction of an earlier period."""
        said = orjson.loads(self.said)
        total = dump_quantities(plus(parse_counters(said["cumulative"]), moved))
        return self._replace(said=rfc8785.dumps({**said, "cumulative": {**said["cumulative"], **total}}).decode())


@dataclass(frozen=True, slots=True)
class Books:
    sequence: int = 0  # of the last receipt
    head_digest: str = ""  # of its payload
    opening: Counters | None = None  # at its end; None before the first
    periods: tuple[Period, ...] = ()  # that may have to be corrected, oldest first
    readings: Readings = field(default_factory=Readings)  # of the time after the opening
    begun: bool = False  # readings are kept from the first metered second on; there may be none yet, where nothing was delivered

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> Books:
        raw = status.get("receipts") or {}
        return cls(
            raw.get("sequence", 0),
            raw.get("headDigest", ""),
            parse_reading(raw["opening"]).counters if raw.get("opening") else None,
            tuple(Period(p["sequence"], p["predicate"], tuple(map(parse_outage, p["outages"]))) for p in raw.get("periods") or ()),
            Readings.parse(raw.get("readings") or ()),
            bool(raw),
        )

    def dump(self) -> dict[str, Any]:
        """Empty before anything was metered."""
        raw: dict[str, Any] = {}
        if self.sequence:
            raw |= {"sequence": self.sequence, "headDigest": self.head_digest}
        if self.opening is not None:
            raw["opening"] = {"quantities": dump_quantities(self.opening), "meter": dump_meter(Reading(self.opening))}
        if self.periods:
            raw["periods"] = [
                {"sequence": period.sequence, "predicate": period.said, "outages": [dump_outage(part) for part in period.parts]}
                for period in self.periods
            ]
        readings = self.readings.dump()
        if readings or (self.begun and not raw):  # empty ones say that receipts will come
            raw["readings"] = readings
        return raw

    def closed(self, closing: Counters, said: str, grace_seconds: int) -> Books:
        """With the period up to `closing`, of which the next receipt says this.

        An outage that is longer than grace is decided: its periods need no correction any more.
        """
        before = {(each.lot, each.since): each.seconds for each in self.opening.outages} if self.opening else {}
        undecided = {(each.lot, each.since): each for each in closing.outages if each.seconds <= grace_seconds}
        grown = {key: each.seconds - before.get(key, 0) for key, each in undecided.items()}
        parts = tuple(replace(each, seconds=grown[key]) for key, each in undecided.items() if grown[key])
        kept = [p._replace(parts=tuple(q for q in p.parts if (q.lot, q.since) in undecided)) for p in self.periods]
        periods = [*kept, Period(self.sequence + 1, said, parts)]
        return replace(self, opening=closing, periods=tuple(p for p in periods if p.parts), readings=self.readings.after(closing.until))

    def settled(self, carried: Iterable[Outage], lot_gpus: int) -> Books:
        """With the opening as its outages are judged now; `carried` are the same ones."""
        if self.opening is None:
            return self
        judged = {each.lot: each.cls for each in carried}
        moved = Period(0, "", self.opening.outages).moved(judged, lot_gpus)
        outages = tuple(replace(each, cls=judged[each.lot]) for each in self.opening.outages)
        return replace(self, opening=replace(plus(self.opening, moved), outages=outages))


def plus(before: Counters, moved: Mapping[Class, int]) -> Counters:
    total = {cls: before.gpu_seconds.get(cls, 0) + moved.get(cls, 0) for cls in Class}
    if min(total.values()) < 0:
        raise ArithmeticError(f"a correction up to {before.until} leaves less than nothing of a class: {total}")
    return replace(before, gpu_seconds={cls: amount for cls, amount in total.items() if amount})
