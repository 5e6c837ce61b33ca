"""The classes of a lot's seconds, and the counters that add them up.

A *lot-second* is one second of one lot; multiplied by the lot's GPUs it is counted in GPU-seconds. Which class it has is decided by
`classify` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MONTH_SECONDS = 30 * 86_400


class Class(StrEnum):  # in order of precedence
    NOT_DUE = "NotDue"
    DELIVERED = "Delivered"
    CURTAILED = "CurtailedByRight"
    BUYER_CAUSED = "BuyerCaused"
    FORCE_MAJEURE = "Excused:ForceMajeureUpheld"
    PLANNED_OUTAGE = "Excused:PlannedOutageAllowed"
    GRACE = "Excused:Grace"
    SHORTFALL = "Shortfall"


RANK = {cls: rank for rank, cls in enumerate(Class)}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lot `lot` in [start, end), Unix seconds: a sample when Delivered, else an event."""

    lot: int
    start: int
    end: int
    cls: Class = Class.DELIVERED


@dataclass(frozen=True, slots=True)
class Terms:
    """What is due: `lots` lots of `lot_gpus` GPUs in [start, end), and the product's tolerance."""

    start: int
    end: int
    lots: int
    lot_gpus: int
    grace_seconds: int = 300
    grace_cap_ppm: int = 1_000  # of what is contracted in a contract-month

    def gpu_seconds(self, start: int, end: int) -> int:
        return max(0, min(end, self.end) - max(start, self.start)) * self.lots * self.lot_gpus


@dataclass(frozen=True, slots=True, order=True)
class Outage:
    """Open at `Counters.until`; `seconds` leaves out what inside it is curtailed, the buyer's or excused by an event."""

    since: int
    lot: int
    seconds: int
    cls: Class = Class.SHORTFALL


@dataclass(frozen=True, slots=True)
class Counters:
    """GPU-seconds by class from the start of the window to `until`, and what it takes to go on from there."""

    until: int
    gpu_seconds: Mapping[Class, int] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()  # open ones; their GPU-seconds are counted
    month: int = 0  # contract-month in which grace was last granted for good
    grace_used: int = 0  # GPU-seconds granted in it
