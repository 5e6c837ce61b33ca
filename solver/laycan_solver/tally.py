"""What a contract costs, kept up to date segment by segment.

A trial changes a few segments of a contract that may have thousands. The verdict is a sum over lot-seconds and over instants; so it
is enough to know the lot-seconds served, and at which instants lots leave some nodes and arrive on others: an instant is looked at
again only when a segment that begins or ends there comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from .eligible import Demand
from .fleet import Fleet
from .objective import Segment, Verdict, flows_at_now, within_limit


class Tally:
    def __init__(self, demand: Demand, fleet: Fleet, now: int) -> None:
        self.demand, self.fleet = demand, fleet
        contract = demand.contract
        self.noticed = demand.end  # first second from which the contract may be curtailed by right
        if not contract.firm and contract.notice_seconds is not None:
            self.noticed = min(max(demand.start, now + contract.notice_seconds), demand.end)
        self.costs = {g: o.cost * 1_000_000 * contract.lot_gpus for g, o in demand.options.items() if o.cost}
        self.served = self.late = self.substitution = 0  # lot-seconds, those after notice, units
        self.steps: dict[int, int] = {}  # time inside the window -> lots more or fewer from then on
        self.throughout = 0  # lots that are served from the first second to the last
        self.net: dict[int, dict[int, int]] = {}  # time inside the window -> column -> lots that arrive or leave
        self.cuts: dict[int, bool] = {}  # interrupted instant -> planned?
        self.first: dict[int, int] = {}  # column -> lots in the first second, if some ran there before
        self.kept = [0] * len(demand.announced)  # lot-seconds of each announced binding
        self.of_column: dict[int, list[int]] = {}  # column -> announced bindings there
        for i, b in enumerate(demand.announced):
            self.of_column.setdefault(fleet.column[b.node], []).append(i)

    def copy(self, fleet: Fleet) -> Tally:
        """The same for a copy of the fleet."""
        other = copy(self)
        other.fleet, other.steps, other.net = fleet, dict(self.steps), {time: dict(there) for time, there in self.net.items()}
        other.cuts, other.first, other.kept = dict(self.cuts), dict(self.first), list(self.kept)
        return other

    def add(self, sign: int, segments: Iterable[Segment]) -> None:
        """Segments come (1) or go (-1)."""
        demand, touched = self.demand, set[int]()
        for column, start, end, lots in segments:
            lots *= sign
            self.served += lots * (end - start)
            if end > self.noticed:
                self.late += lots * (end - max(start, self.noticed))
            if self.costs:
                self.substitution += self.costs.get(int(self.fleet.grade[column]), 0) * lots * (end - start)
            if start == demand.start and end == demand.end:
                self.throughout += lots
            else:
                self._edge(start, column, lots)
                self._edge(end, column, -lots)
                touched.update((start, end))
            if demand.running and start == demand.start:
                self.first[column] = self.first.get(column, 0) + lots
            for i in self.of_column.get(column, ()):
                b = demand.announced[i]
                self.kept[i] += lots * max(0, min(end, b.end) - max(start, b.start))
        for time in touched:
            if demand.start < time < demand.end:
                self._look(time)

    def _edge(self, time: int, column: int, lots: int) -> None:
        self.steps[time] = self.steps.get(time, 0) + lots
        there = self.net.setdefault(time, {})
        there[column] = there.get(column, 0) + lots
        if not there[column]:
            del there[column]
            if not there:
                del self.net[time]
                del self.steps[time]

    def _look(self, time: int) -> None:
        """Is the contract interrupted at an instant inside its window, and did nothing force it?"""
        changes = self.net.get(time, {})
        if any(d < 0 for d in changes.values()) and any(d > 0 for d in changes.values()):
            self.cuts[time] = any(d < 0 and self.fleet.serves_on(self.demand, c, time) for c, d in changes.items())
        else:
            self.cuts.pop(time, None)

    def leaving(self, time: int) -> list[int]:
        """The columns that lots leave at an instant inside the window, on balance."""
        return [column for column, change in self.net.get(time, {}).items() if change < 0]

    def arrives(self, time: int) -> bool:
        """Do lots arrive on some node then?"""
        return any(change > 0 for change in self.net.get(time, {}).values())

    def verdict(self) -> Verdict:
        demand, contract = self.demand, self.demand.contract
        missing = demand.lots * (demand.end - demand.start) - self.served
        if contract.reserve:
            return Verdict(0, 0, 0, 0, 0, (), (), legal=True, firm=contract.firm, spare=missing * contract.lot_gpus)
        curtailed = 0
        if self.noticed < demand.end:
            after = demand.lots * (demand.end - self.noticed) - self.late
            curtailed = min(after, demand.lots * contract.curtailable_seconds)
        instants = sorted(self.cuts)
        planned = [t for t in instants if self.cuts[t]]
        if demand.running and self._interrupted_at_now():
            instants.insert(0, demand.start)
            planned.insert(0, demand.start)
        return Verdict(
            (missing - curtailed) * demand.lot_rate,
            len(instants) * demand.move_seconds * contract.rate * contract.gpus,
            self.substitution, self._changes(), self._moved(), tuple(instants), tuple(planned),
            within_limit(planned, demand.moves_per_month), contract.firm, curtailed=curtailed,
        )  # fmt: skip

    def _interrupted_at_now(self) -> bool:
        left, arrived, forced = flows_at_now(self.demand, self.fleet, self.first)
        return min(left, arrived) > min(forced, arrived)

    def _changes(self) -> int:
        """Announced bindings that are not kept whole."""
        lot = self.demand.contract.lot_gpus
        return sum(kept < b.gpus // lot * (b.end - b.start) for kept, b in zip(self.kept, self.demand.announced, strict=True))

    def _moved(self) -> int:
        """Lots that leave a node on which they run."""
        return sum(max(0, lots - self.first.get(column, 0)) for column, lots in self.demand.running.items())

    def missing(self) -> list[tuple[int, int, int]]:
        """(start, end, lots) where lots are missing, in time order, cut only where the number changes."""
        out: list[tuple[int, int, int]] = []
        demand, serving, since = self.demand, self.throughout, self.demand.start
        for time in sorted(self.steps):
            if not self.steps[time]:
                continue
            if time > since and demand.lots > serving:
                out.append((since, time, demand.lots - serving))
            since, serving = time, serving + self.steps[time]
            assert serving <= demand.lots, f"{demand.contract.key}: more lots served than contracted"
            if time >= demand.end:
                return out
        if demand.lots > serving:
            out.append((since, demand.end, demand.lots - serving))
        return out
