"""Make-good: the quantity that was short, delivered after the window where the buyer elects it.

What is owed are the shortfall's GPU-seconds; they stay Shortfall, and what is made good is a credit beside them (`status.makeGood`). It is
delivered in whole settlement intervals, rounded up, on the lots that the buyer named, within thirty days of the window's end, and only
where capacity is free: to the planner it weighs next to nothing, so nothing else that was accepted gives way to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from laycan.delivery.metering.served import Bound, Due
from laycan.resources.times import parse_time
from laycan_solver.model import Contract, Scope

INTERVAL_SECONDS = 300  # contract.md 5.1
PERIOD_SECONDS = 30 * 86_400  # after the window's end; then the rest is settled in damages
NOTICE_SECONDS = 120  # a node is emptied before it is handed over, so nothing begins sooner
WEIGHT_MICROS = 1_000  # per GPU-hour: enough to be wanted at all, too little to be weighed against anything that was sold


@dataclass(frozen=True, slots=True)
class MakeGood:
    owed: int = 0  # GPU-seconds of shortfall, as it was told
    delivered: int = 0  # GPU-seconds made good
    lots: int = 0  # side by side, as elected; 0: nobody elected it

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> MakeGood:
        raw = status.get("makeGood") or {}
        return cls(raw.get("owedGpuSeconds", 0), raw.get("deliveredGpuSeconds", 0), raw.get("lots", 0))

    def dump(self) -> dict[str, Any]:
        """Empty where nothing was ever short and nothing elected."""
        raw: dict[str, Any] = {"owedGpuSeconds": self.owed} if self.owed or self.lots else {}
        raw |= {"deliveredGpuSeconds": self.delivered} if self.delivered else {}
        return raw | ({"mode": "Extend", "lots": self.lots} if self.lots else {})

    @property
    def open(self) -> int:
        """What was elected and is still to be made good, GPU-seconds."""
        return max(0, self.owed - self.delivered) if self.lots else 0


class Extension(NamedTuple):
    """`lots` lots in [start, end), after the window."""

    start: int
    end: int
    lots: int


def extended(bounds: Iterable[Bound], owed: Due) -> tuple[Bound, ...]:
    """The bindings that make good: those after the window."""
    return tuple(bound for bound in bounds if bound.start >= owed.end)


def extension(good: MakeGood, starts: Iterable[int], owed: Due, now: int) -> Extension | None:
    """When and on how many lots the rest is to be made good; None: nothing is left, or no time.

    `starts` of the contract's bindings: where one lies after the window, the stretch has begun there and stays where it is.
    """
    soonest = owed.end + INTERVAL_SECONDS * max(0, -(-(now + NOTICE_SECONDS - owed.end) // INTERVAL_SECONDS))
    start = min((start for start in starts if start >= owed.end), default=soonest)
    room = (owed.end + PERIOD_SECONDS - start) // INTERVAL_SECONDS  # intervals
    intervals = -(-good.open // (owed.lot_gpus * INTERVAL_SECONDS))  # of one lot
    if not intervals or room <= 0:
        return None
    lots = min(owed.lots, intervals, max(good.lots, -(-intervals // room)))
    return Extension(start, start + min(room, -(-intervals // lots)) * INTERVAL_SECONDS, lots)


def pursued(status: Mapping[str, Any], starts: Iterable[int], owed: Due, now: int) -> Extension | None:
    """The same by a contract's status: from when its window is metered to its end, while it is Delivering."""
    good, until = MakeGood.parse(status), (status.get("meter") or {}).get("until")
    if status.get("phase") != "Delivering" or not good.open or not until or parse_time(until) < owed.end:
        return None
    return extension(good, starts, owed, now)


def as_planned(contract: Contract, found: Extension) -> Contract:
    """The contract as it is planned while it makes good: its window is over, so this takes its place."""
    return replace(
        contract,
        start=found.start,
        end=found.end,
        gpus=found.lots * contract.lot_gpus,
        scope=Scope.ANY,
        spread_level=Scope.ANY,
        spread_domains=1,
        all_or_nothing=False,
        firm=False,
        notice_seconds=None,
        curtailable_seconds=0,
        price_micros=WEIGHT_MICROS,
        multiple_ppm=1_000_000,
        forced_moves_only=True,
    )
