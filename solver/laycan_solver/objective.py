"""What a contract's bindings cost: the tiers of the objective, and whether its moves are allowed.

All money inside is in units of a micro / 3,600,000,000, in which the rate of a contract is per GPU-second: exact integers, rounded
half up to micros once per contract and kind when totals are made. A lot is counted, not named: what a node serves of a contract is
a number of lots over time, and the contract is interrupted at an instant at which lots leave some nodes and as many or fewer
arrive at others. At `now` only what leaves a node that could have kept it counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .eligible import Demand, Fleet

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

    A reserve costs nothing but `spare`, the GPU-seconds that it is short of.
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


class NetChanges:
    """time -> column -> lots that arrive (+) or leave (-); abutting segments on one node cancel out."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.at: dict[int, dict[int, int]] = {}
        for column, start, end, lots in segments:
            arrivals = self.at.setdefault(start, {})
            arrivals[column] = arrivals.get(column, 0) + lots
            leavings = self.at.setdefault(end, {})
            leavings[column] = leavings.get(column, 0) - lots

    def flows(self, time: int) -> tuple[int, int]:
        """Lots that leave and lots that arrive at `time`."""
        changes = self.at.get(time, {}).values()
        return -sum(d for d in changes if d < 0), sum(d for d in changes if d > 0)


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


def interruptions(demand: Demand, fleet: Fleet, segments: Sequence[Segment]) -> tuple[list[int], list[int]]:
    """All instants at which the contract is interrupted, and those of them that are planned cuts."""
    net = NetChanges(s for s in segments if s.start > demand.start or s.end < demand.end)
    instants, planned = [], []
    if demand.running:
        serving: dict[int, int] = {}
        for s in segments:
            if s.start == demand.start:
                serving[s.column] = serving.get(s.column, 0) + s.lots
        left, arrived, forced = flows_at_now(demand, fleet, serving)
        if min(left, arrived) > min(forced, arrived):
            instants.append(demand.start)
            planned.append(demand.start)
    for time in sorted(net.at):
        if demand.start < time < demand.end and min(net.flows(time)) > 0:
            instants.append(time)
            if any(d < 0 and fleet.serves_on(demand, c, time) for c, d in net.at[time].items()):
                planned.append(time)
    return instants, planned


def within_limit(planned: list[int], limit: int) -> bool:
    """At most `limit` planned cuts in any 30 days."""
    if limit == 0:
        return not planned
    return all(planned[i + limit] - planned[i] > MONTH for i in range(len(planned) - limit))


def delivered_lot_seconds(segments: Iterable[Segment], start: int) -> int:
    return sum(lots * max(0, end - max(begin, start)) for _, begin, end, lots in segments)


def undelivered_owed(demand: Demand, now: int, segments: list[Segment]) -> int:
    """Lot-seconds neither served nor curtailed by right."""
    contract = demand.contract
    missing = demand.lots * (demand.end - demand.start) - sum([lots * (end - start) for _, start, end, lots in segments])
    if contract.firm or contract.notice_seconds is None:
        return missing
    noticed = max(demand.start, now + contract.notice_seconds)
    after = demand.lots * max(0, demand.end - noticed) - delivered_lot_seconds(segments, noticed)
    return missing - min(after, demand.lots * contract.curtailable_seconds)


def judge(demand: Demand, fleet: Fleet, now: int, segments: list[Segment]) -> Verdict:
    """What the contract costs when it is served by `segments` (inside its due window, together never more than its lots)."""
    contract = demand.contract
    if contract.reserve:
        missing = demand.lots * (demand.end - demand.start) - delivered_lot_seconds(segments, demand.start)
        return Verdict(0, 0, 0, 0, 0, (), (), legal=True, firm=contract.firm, spare=missing * contract.lot_gpus)
    uncut = not demand.running and all(s.start == demand.start and s.end == demand.end for s in segments)
    instants, planned = ([], []) if uncut else interruptions(demand, fleet, segments)
    substitution = 0
    if any(option.cost for option in demand.options.values()):
        for column, start, end, lots in segments:
            cost = demand.options[int(fleet.grade[column])].cost
            if cost:
                substitution += cost * 1_000_000 * lots * contract.lot_gpus * (end - start)
    changes, moved = kept_of(demand, fleet, segments)
    return Verdict(
        undelivered_owed(demand, now, segments) * demand.lot_rate,
        len(instants) * demand.move_seconds * contract.rate * contract.gpus,
        substitution, changes, moved, tuple(instants), tuple(planned),
        within_limit(planned, demand.moves_per_month), contract.firm,
    )  # fmt: skip


def kept_of(demand: Demand, fleet: Fleet, segments: list[Segment]) -> tuple[int, int]:
    """Announced bindings that are not kept whole, and lots that leave a node on which they run."""
    if not demand.announced and not demand.running:
        return 0, 0
    there: dict[int, list[Segment]] = {}
    for s in segments:
        there.setdefault(s.column, []).append(s)
    changes = 0
    for binding in demand.announced:
        kept = sum(
            s.lots * (min(s.end, binding.end) - max(s.start, binding.start))
            for s in there.get(fleet.column[binding.node], ())
            if s.start < binding.end and binding.start < s.end
        )
        changes += kept < binding.gpus // demand.contract.lot_gpus * (binding.end - binding.start)
    moved = 0
    for column, lots in demand.running.items():
        moved += max(0, lots - sum(s.lots for s in there.get(column, ()) if s.start <= demand.start))
    return changes, moved


def missing_profile(demand: Demand, segments: Iterable[Segment]) -> list[tuple[int, int, int]]:
    """(start, end, lots) where lots are missing, in time order, cut only where the number changes."""
    steps: dict[int, int] = {demand.start: 0, demand.end: 0}
    for _, start, end, lots in segments:
        steps[start] = steps.get(start, 0) + lots
        steps[end] = steps.get(end, 0) - lots
    times = sorted(steps)
    out: list[tuple[int, int, int]] = []
    serving = 0
    for i in range(bisect_left(times, demand.end)):
        serving += steps[times[i]]
        lots = demand.lots - serving
        assert lots >= 0, f"{demand.contract.key}: more lots served than contracted"
        if lots and out and out[-1][1] == times[i] and out[-1][2] == lots:
            out[-1] = (out[-1][0], times[i + 1], lots)
        elif lots:
            out.append((times[i], times[i + 1], lots))
    return out
