"""The lower bound: in every slice in which something is owed, the prices that make the most of it.

A slice is a small problem of its own over the contracts that are due in it; grades that no contract can exchange are apart. The sum
over slices of what is owed at least is the bound, because a plan that may be rearranged in every second for nothing owes no more
than one that may not. Where the plan owes no more than topology alone explains, no price is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .book import Book
from .certificate import MOST, Place, Tariff, Window, Windows, blocks_of, proven, rows_of
from .descent import Bids, Descent, Floats
from .eligible import Demand, Fleet
from .model import Scope
from .objective import SCALE, Segment
from .slices import Slices
from .timegrid import Flags, Ints
from .topology import Topology

CELLS_AT_ONCE = 1_000_000  # contracts x slices


@dataclass(frozen=True)
class Proof:
    firm_micros: int
    total_micros: int
    certificate: Mapping[str, object]


def prove(
    fleet: Fleet | Book, demands: Iterable[Demand] = (), segments: Mapping[int, Sequence[Segment]] | None = None, now: int = 0
) -> Proof:
    """The best bound found for these contracts, and its certificate. `segments`: what the plan serves, by index of the contract."""
    if not isinstance(fleet, Fleet):  # until the planner passes what is needed itself
        return prove(fleet.fleet, fleet.demands.values(), fleet.segments, fleet.now)
    segments = segments or {}
    every = sorted((d for d in demands if not d.contract.reserve), key=lambda d: d.index)
    topology = Topology(fleet, now)
    grid = grid_of(topology, every)
    windows = {d.index: Windows(topology, grid).of(d) for d in every}
    search = PriceSearch(topology, grid, windows)
    certificate: dict[str, object] = {"scale": SCALE}
    bounds = []
    for family, total in (("firm", False), ("total", True)):
        counted = [d for d in every if total or d.contract.firm]
        prices = Tariff(topology, grid, search.prices(counted, segments, total))
        bounds.append(proven(counted, windows, prices, now, total))
        nodes, domains = rows_of(prices, fleet)
        certificate[family] = [list(row) for row in nodes]
        if domains:
            certificate[f"{family}Domains"] = [list(row) for row in domains]
    return Proof(bounds[0], max(bounds), certificate)


def grid_of(topology: Topology, demands: Sequence[Demand]) -> Slices:
    """Cut wherever something begins to be due or ends, and wherever what the fleet can hold changes."""
    now = topology.now
    times = {now, max((d.end for d in demands), default=now + 1)}
    for d in demands:
        notice = None if d.contract.firm else d.contract.notice_seconds
        times.update((d.start, d.end) if notice is None or now + notice >= d.end else (d.start, d.end, max(d.start, now + notice)))
    return Slices(times | topology.edges(max(times)))


class PriceSearch:
    """Finds the prices of one plan."""

    def __init__(self, topology: Topology, grid: Slices, windows: Mapping[int, Window]) -> None:
        self.topology, self.grid, self.windows = topology, grid, windows

    def prices(self, demands: Sequence[Demand], segments: Mapping[int, Sequence[Segment]], total: bool) -> dict[Place, Ints]:
        """Place -> price of its blocks per slice."""
        found: dict[Place, Ints] = {}
        for group in groups_of(demands):
            market = Market(self.topology, self.grid, self.windows, group, total)
            short = market.tight()
            if short.any():
                short &= self._short(group, segments, total)
            for rows in market.batches(np.flatnonzero(short)):
                for place, line in market.prices(rows).items():
                    found.setdefault(place, np.zeros(self.grid.count, dtype=np.int64))[rows] = line
        return {place: line for place, line in sorted(found.items()) if line.any()}

    def _short(self, group: Sequence[Demand], segments: Mapping[int, Sequence[Segment]], total: bool) -> Flags:
        """The slices in which the plan does not serve all lots in reach, or serves some at a cost."""
        short, grid = np.zeros(self.grid.count, dtype=bool), self.grid
        for demand in group:
            window, own = self.windows[demand.index], segments.get(demand.index, ())
            if total and any(o.cost for o in demand.options.values()):
                grade = self.topology.fleet.grade
                own = [s for s in own if not demand.options[int(grade[s.column])].cost]
            if sum(s.lots * (s.end - max(s.start, demand.start)) for s in own) < demand.lots * (demand.end - demand.start):
                lots = np.zeros(grid.count + 1, dtype=np.int64)
                for s in own:
                    first, last = np.searchsorted(grid.starts, (max(s.start, demand.start), s.end))
                    lots[first] += s.lots
                    lots[last] -= s.lots
                reach = demand.lots if window.reach is None else window.reach
                short[window.first : window.last] |= lots.cumsum()[window.first : window.last] < reach
        return short


class Market:
    """Contracts that compete for the same grades, and the capacity that they compete for."""

    def __init__(self, topology: Topology, grid: Slices, windows: Mapping[int, Window], group: Sequence[Demand], total: bool) -> None:
        self.topology, self.grid, self.windows = topology, grid, windows
        self.grades = sorted({g for d in group for g in d.options})
        largest = int(topology.fleet.gpus[np.isin(topology.fleet.grade, self.grades)].max(initial=1))
        self.k = 1 << (max(1, largest).bit_length() - 1)  # GPUs of a whole node
        self.level = scope_of(group)
        self.group = sorted((d for d in group if d.contract.rate), key=lambda d: -d.contract.rate)
        self.first = np.array([windows[d.index].first for d in self.group], dtype=np.int64)
        self.last = np.array([windows[d.index].last for d in self.group], dtype=np.int64)
        self.gpus = np.array([d.contract.gpus for d in self.group], dtype=np.float64)
        self.density = np.array([d.contract.rate for d in self.group], dtype=np.float64)
        self.size = [self._size(d) for d in self.group]
        position = {g: i for i, g in enumerate(self.grades)}
        self.options = [tuple((position[g], o.cost * 1e6 if total else 0.0) for g, o in sorted(d.options.items())) for d in self.group]

    def _size(self, demand: Demand) -> tuple[int, int]:
        """How large what it asks for is: GPUs of a lot, and whole nodes in one domain, both as powers of two."""
        contract = demand.contract
        k = min(self.k, 1 << (contract.lot_gpus.bit_length() - 1))
        mixed = any(self.topology.is_mixed(self.level, g) for g in demand.options) if self.level else True
        if k < self.k or mixed or not demand.together or contract.scope is not self.level:
            return k, 1
        return k, 1 << ((demand.lots * (contract.lot_gpus // k)).bit_length() - 1)

    def tight(self) -> Flags:
        """Slices in which not everything can be served at home, in the grades that cost nothing; elsewhere nothing has a price."""
        tight = np.zeros(self.grid.count, dtype=bool)
        homes = [tuple(g for g, cost in options if not cost) for options in self.options]
        for home in sorted(set(homes)):
            mine = [i for i, own in enumerate(homes) if own == home]
            for k, many in sorted({self.size[i] for i in mine}):
                wanted = self._wanted([i for i in mine if self.size[i] >= (k, many)])
                tight |= wanted > min(self._have(g, k, many, self.grid.starts) for g in home) if len(home) == 1 else wanted > 0
        return tight

    def _wanted(self, among: Sequence[int]) -> Ints:
        """Per slice: GPUs that some contracts ask for and have in reach."""
        gpus = np.zeros(self.grid.count + 1, dtype=np.int64)
        whole = [i for i in among if self.windows[self.group[i].index].reach is None]
        np.add.at(gpus, self.first[whole], self.gpus[whole].astype(np.int64))
        np.add.at(gpus, self.last[whole], -self.gpus[whole].astype(np.int64))
        gpus = gpus.cumsum()
        for i in among:
            window = self.windows[self.group[i].index]
            if window.reach is not None:
                gpus[window.first : window.last] += window.reach * self.group[i].contract.lot_gpus
        return gpus[:-1]

    def _have(self, position: int, k: int, many: int, instants: Ints) -> Ints:
        """GPUs of a grade in blocks of a size."""
        place = Place(self.grades[position], k, self.level if many > 1 else Scope.ANY, many)
        return blocks_of(self.topology, place, instants) * (k * many)

    def batches(self, rows: Ints) -> Iterable[Ints]:
        """The rows in parts, each with as many contracts due as may be looked at together."""
        while len(rows):
            part = rows
            while len(part) > 1 and len(part) * len(self._due(part)) > CELLS_AT_ONCE:
                part = part[: len(part) // 2]
            yield part
            rows = rows[len(part) :]

    def _due(self, rows: Ints) -> Ints:
        return np.flatnonzero((self.first <= rows[-1]) & (self.last > rows[0]))

    def prices(self, rows: Ints) -> dict[Place, Ints]:
        """Place -> price of its blocks, per row."""
        due = self._due(rows)
        asked = self._asked(due, rows)
        sizes = [self.size[i] for i in due.tolist()]
        have, kept = self._capacity(asked, sizes, rows)
        if not kept:
            return {}
        found = Descent(have, self._bids(due, asked, sizes, kept)).prices()
        return self._places(np.rint(found), kept)

    def _asked(self, due: Ints, rows: Ints) -> Floats:
        """[contract, row] GPUs that are due and in reach."""
        asked: Floats = np.where((self.first[due, None] <= rows) & (rows < self.last[due, None]), self.gpus[due, None], 0.0)
        for j, i in enumerate(due.tolist()):
            demand = self.group[i]
            window = self.windows[demand.index]
            if window.reach is not None:
                inside = np.flatnonzero(asked[j])
                asked[j, inside] = window.reach[rows[inside] - window.first] * demand.contract.lot_gpus
        return asked

    def _capacity(self, asked: Floats, sizes: Sequence[tuple[int, int]], rows: Ints) -> tuple[Floats, list[tuple[int, int]]]:
        """[grade, level, row] GPUs in blocks of each size that some contract has and that may be short; and those sizes."""
        instants = self.grid.starts[rows]
        kept, have = [], []
        for k, many in sorted(set(sizes)):
            blocks = [self._have(position, k, many, instants) for position in range(len(self.grades))]
            wanted = asked[[size >= (k, many) for size in sizes]].sum(axis=0)
            if (wanted > np.min(blocks, axis=0)).any():
                kept.append((k, many))
                have.append(blocks)
        return np.array(have, dtype=np.float64).reshape(len(kept), len(self.grades), len(rows)).transpose(1, 0, 2), kept

    def _bids(self, due: Ints, asked: Floats, sizes: Sequence[tuple[int, int]], kept: Sequence[tuple[int, int]]) -> list[Bids]:
        alike: dict[tuple[int, tuple[tuple[int, float], ...]], list[int]] = {}
        for j, i in enumerate(due.tolist()):
            level = sum(size <= sizes[j] for size in kept) - 1
            if level >= 0:
                alike.setdefault((level, self.options[i]), []).append(j)
        return [Bids(level, options, self.density[due[js]], asked[js]) for (level, options), js in sorted(alike.items())]

    def _places(self, per_gpu: Floats, kept: Sequence[tuple[int, int]]) -> dict[Place, Ints]:
        """Prices of blocks from prices per GPU: each level asks for what it is dearer than the one before."""
        steps = np.diff(per_gpu, axis=1, prepend=0)
        found = {}
        for position, grade in enumerate(self.grades):
            for j, (k, many) in enumerate(kept):
                place = Place(grade, k, self.level if many > 1 else Scope.ANY, many)
                found[place] = np.clip(steps[position, j] * (k * many), 0, MOST / 16).astype(np.int64)
        return found


def scope_of(group: Sequence[Demand]) -> Scope:
    """The level in whose domains most GPUs are to be delivered whole."""
    asked: dict[Scope, int] = {}
    for demand in group:
        if demand.together and demand.contract.scope is not Scope.ANY:
            asked[demand.contract.scope] = asked.get(demand.contract.scope, 0) + demand.contract.gpus * (demand.end - demand.start)
    return max(asked, key=lambda level: (level is Scope.RACK, asked[level]), default=Scope.ANY)


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
