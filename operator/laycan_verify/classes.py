"""The classes of a lot's seconds, and the counters that add them up.

A *lot-second* is one second of one lot; multiplied by the lot's GPUs it is counted in GPU-seconds. Which class it has is decided by
`classify` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DAY_SECONDS = 86_400
MONTH_SECONDS = 30 * DAY_SECONDS


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
    """Lot `lot` in [start, end), Unix seconds: a sample when Delivered, else an event.

    `estimated`: no sample was taken in it, but what was read before and after speaks for delivery.
    """

    lot: int
    start: int
    end: int
    cls: Class = Class.DELIVERED
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What is due: `lots` lots of `lot_gpus` GPUs in [start, end), and the product's tolerance.

    Its caps are parts of what was agreed: a contract that is ended early does not lose what it was forgiven before.
    """

    start: int
    end: int
    lots: int
    lot_gpus: int
    grace_seconds: int = 300
    grace_cap_ppm: int = 1_000  # of what was agreed for a contract-month
    estimate_cap_ppm: int = 5_000  # of what was agreed of a lot for a UTC day
    agreed_end: int = 0  # later than `end` where the contract was ended early

    def gpu_seconds(self, until: int) -> int:
        """Due before `until`."""
        return max(0, min(until, self.end) - self.start) * self.lots * self.lot_gpus

    def agreed_seconds(self, start: int, end: int) -> int:
        """What of [start, end) was agreed."""
        return max(0, min(end, max(self.end, self.agreed_end)) - max(start, self.start))


@dataclass(frozen=True, slots=True, order=True)
class Outage:
    """Open at `Counters.until`; `seconds` leaves out what inside it is curtailed, the buyer's or excused by an event."""

    since: int
    lot: int
    seconds: int
    cls: Class = Class.SHORTFALL


@dataclass(frozen=True, slots=True, order=True)
class Estimate:
    """How much of lot `lot` was estimated in the UTC day number `day` (from the Unix epoch), seconds."""

    lot: int
    day: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Counters:
    """GPU-seconds by class from the start of the window to `until`, and what it takes to go on from there."""

    until: int
    gpu_seconds: Mapping[Class, int] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()  # open ones; their GPU-seconds are counted
    month: int = 0  # contract-month in which grace was last granted for good
    grace_used: int = 0  # GPU-seconds granted in it
    estimated: int = 0  # of the delivered GPU-seconds, those that were estimated
    estimates: tuple[Estimate, ...] = ()  # of the UTC day in which `until` lies
