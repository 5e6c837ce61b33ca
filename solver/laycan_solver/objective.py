"""What a contract's bindings cost: the tiers of the objective, and whether its moves are allowed.

All money inside is in units of a micro / 3,600,000,000, in which the rate of a contract is per GPU-second: exact integers, rounded
half up to micros once per contract and kind when totals are made. A lot is counted, not named: what a node serves of a contract is
a number of lots over time, and the contract is interrupted at an instant at which lots leave some nodes and as many or fewer
arrive at others. At `now` only what leaves a node that could have kept it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .eligible import Demand
from .fleet import Fleet

SCALE = 3_600_000_000  # units per micro
MONTH = 30 * 86_400  # seconds; the window of the move limit


class Segment(NamedTuple):
    """`lots` lots on the node `column` for the seconds [start, end)."""

    column: int
    start: int
    end: int
    lots: int


Tiers = tuple[int, int, int, int, int, int]
"""Owed + interruption of Firm, the same of Interruptible, shortage of reserves, substitution, changed announcements, lots moved.
Lower is better, first difference decides. Tier 4 of the semantics is nought because a candidate is accepted whole or refused.

Reserves are short of GPU-seconds, all alike, as nobody is owed anything for them: money would make the spare capacity of a dear
product worth more than that of a cheap one, whose contracts are promised the same."""

NOTHING: Tiers = (0, 0, 0, 0, 0, 0)


def plus(a: Tiers, b: Tiers) -> Tiers:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5])


def minus(a: Tiers, b: Tiers) -> Tiers:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4], a[5] - b[5])


def micros(units: int) -> int:
    """Rounded half up."""
    return (2 * units + SCALE) // (2 * SCALE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A contract's cost in units, its interrupted instants, and whether its planned cuts keep within its limits.

    A reserve costs nothing but `spare`, the GPU-seconds that it is short of. `curtailed` lot-seconds are missing by right: owed to
    nobody, in no tier.
    """

    owed: int
    interruption: int
    substitution: int
    changes: int
    moved: int
    instants: tuple[int, ...]
    planned: tuple[int, ...]
    legal: bool
    firm: bool
    spare: int = 0
    curtailed: int = 0

    @property
    def due(self) -> int:
        return self.owed + self.interruption

    @property
    def tiers(self) -> Tiers:
        first, second = (self.due, 0) if self.firm else (0, self.due)
        return (first, second, self.spare, self.substitution, self.changes, self.moved)

    @property
    def wanting(self) -> bool:
        """Would more lots make it better?"""
        return self.owed > 0 or self.spare > 0


def flows_at_now(demand: Demand, fleet: Fleet, serving: dict[int, int]) -> tuple[int, int, int]:
    """Lots that leave, arrive and had to leave at now, where `serving` is column -> lots right after now."""
    left = arrived = forced = 0
    for column in demand.running.keys() | serving.keys():
        change = serving.get(column, 0) - demand.running.get(column, 0)
        if change > 0:
            arrived += change
        elif change < 0:
            left -= change
            forced -= 0 if fleet.serves_on(demand, column, demand.start) else change
    return left, arrived, forced


def within_limit(planned: list[int], limit: int) -> bool:
    """At most `limit` planned cuts in any 30 days."""
    if limit == 0:
        return not planned
    return all(planned[i + limit] - planned[i] > MONTH for i in range(len(planned) - limit))
