"""What a contract's segments cost, worked out from scratch: the plain reading of the semantics that `Tally` must agree with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from laycan_solver.eligible import Demand, Fleet
from laycan_solver.objective import Segment, Verdict, flows_at_now, within_limit


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


def delivered_lot_seconds(segments: Iterable[Segment], start: int) -> int:
    return sum(lots * max(0, end - max(begin, start)) for _, begin, end, lots in segments)


def undelivered(demand: Demand, now: int, segments: list[Segment]) -> tuple[int, int]:
    """Lot-seconds neither served nor curtailed by right, and those curtailed by right."""
    contract = demand.contract
    missing = demand.lots * (demand.end - demand.start) - sum([lots * (end - start) for _, start, end, lots in segments])
    if contract.firm or contract.notice_seconds is None:
        return missing, 0
    noticed = max(demand.start, now + contract.notice_seconds)
    after = demand.lots * max(0, demand.end - noticed) - delivered_lot_seconds(segments, noticed)
    curtailed = min(after, demand.lots * contract.curtailable_seconds)
    return missing - curtailed, curtailed


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
    owed, curtailed = undelivered(demand, now, segments)
    return Verdict(
        owed * demand.lot_rate,
        len(instants) * demand.move_seconds * contract.rate * contract.gpus,
        substitution, changes, moved, tuple(instants), tuple(planned),
        within_limit(planned, demand.moves_per_month), contract.firm, curtailed=curtailed,
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
