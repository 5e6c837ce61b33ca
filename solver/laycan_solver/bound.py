"""The lower bound: in every slice in which something is owed, the prices that make the most of it.

A slice is a small problem of its own over the contracts that are due in it; grades that no contract can exchange are apart. The sum
over slices of what is owed at least is the bound, because a plan that may be rearranged in every second for nothing owes no more
than one that may not. Where the plan owes no more than topology alone explains, no price is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .certificate import Place, Tariff, Window, Windows, proven, rows_of
from .eligible import Demand
from .market import Market
from .objective import SCALE, Segment
from .programme import Programme
from .short import Served
from .shortages import Margins
from .slices import Slices
from .timegrid import Flags, Ints
from .topology import Topology

FEW_CELLS = 20_000  # contracts x slices that are short, up to which they are solved one by one
ODD_CELLS = 250_000  # the same where sizes are no powers of two, of which only linear programmes make the most


@dataclass(frozen=True)
class Proof:
    firm_micros: int
    total_micros: int
    certificate: Mapping[str, object]
    margins: Margins  # by the prices of the total


def prove(topology: Topology, demands: Iterable[Demand], segments: Mapping[int, Sequence[Segment]]) -> Proof:
    """The best bound found for these contracts, and its certificate. `segments`: what the plan serves, by index of the contract.

    What is served only says where to look for prices. The bound is for whatever plan serves these contracts.
    """
    every = sorted((d for d in demands if not d.contract.reserve), key=lambda d: d.index)
    fleet, now = topology.fleet, topology.now
    grid = grid_of(topology, every)
    windows = {d.index: Windows(topology, grid).of(d) for d in every}
    search = PriceSearch(topology, grid, windows, Served(fleet, grid, every, segments))
    certificate: dict[str, object] = {"scale": SCALE}
    bounds = []
    for family, total in (("firm", False), ("total", True)):
        counted = [d for d in every if total or d.contract.firm]
        prices = Tariff(topology, grid, search.prices(counted, total))
        bounds.append(proven(counted, windows, prices, now, total))
        certificate[family] = [list(row) for row in rows_of(prices, fleet)]
    return Proof(bounds[0], max(bounds), certificate, Margins(prices))


def grid_of(topology: Topology, demands: Sequence[Demand]) -> Slices:
    """Cut wherever something begins to be due or ends, and wherever what the fleet can hold changes."""
    now = topology.now
    times = {now, max((d.end for d in demands), default=now + 1)}
    for d in demands:
        notice = None if d.contract.firm else d.contract.notice_seconds
        times.update((d.start, d.end) if notice is None or now + notice >= d.end else (d.start, d.end, max(d.start, now + notice)))
    return Slices(times | topology.edges(max(times)))


class PriceSearch:
    """Finds the prices of one plan, in the slices in which it leaves something short; of None, wherever not everything fits."""

    def __init__(self, topology: Topology, grid: Slices, windows: Mapping[int, Window], served: Served | None) -> None:
        self.topology, self.grid, self.windows, self.served = topology, grid, windows, served

    def prices(self, demands: Sequence[Demand], total: bool) -> dict[Place, Ints]:
        """Place -> price of its blocks per slice."""
        found: dict[Place, Ints] = {}
        for group in groups_of(demands):
            short = self.served.short(group, self.windows, total) if self.served else np.ones(self.grid.count, dtype=bool)
            for rows, prices in self._parts(group, short, total):
                for place, line in prices.items():
                    found.setdefault(place, np.zeros(self.grid.count, dtype=np.int64))[rows] = line
        return {place: line for place, line in sorted(found.items()) if line.any()}

    def _parts(self, group: Sequence[Demand], short: Flags, total: bool) -> Iterable[tuple[Ints, Mapping[Place, Ints]]]:
        """Slices and what their prices are: one by one and exactly where that is little work, else many at once."""
        if not short.any():
            return
        programme = Programme(self.topology, self.grid, self.windows, group, total)
        rows = np.flatnonzero(short & programme.tight())
        if programme.cells(rows) <= (ODD_CELLS if programme.is_odd else FEW_CELLS):
            yield rows, programme.prices(rows)
            return
        market = Market(self.topology, self.grid, self.windows, group, total)
        for part in market.batches(rows):
            yield part, market.prices(part)


def groups_of(demands: Sequence[Demand]) -> list[list[Demand]]:
    """Contracts that compete for grades, directly or through others."""
    leader: dict[int, int] = {}

    def find(grade: int) -> int:
        while leader.setdefault(grade, grade) != grade:
            grade = leader[grade]
        return grade

    for demand in demands:
        first, *others = sorted(demand.options) or [-1]
        for grade in others:
            leader[find(grade)] = find(first)
    groups: dict[int, list[Demand]] = {}
    for demand in demands:
        if demand.options:
            groups.setdefault(find(min(demand.options)), []).append(demand)
    return [groups[key] for key in sorted(groups)]
