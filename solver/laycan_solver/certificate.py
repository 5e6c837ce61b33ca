"""The certificate of a bound: integer prices of capacity, and what they prove.

A row ``[start, end, k, grade, price]`` asks `price` per second for every block of k GPUs inside one node of a hardware grade, in
units of a micro / 3,600,000,000. Given any such prices, a lot costs at least the cheaper of being owed and of being served in its
cheapest grade, where a lot of g GPUs takes floor(g / k) blocks; and the fleet has no more than the sum of floor(free / k) blocks. So

    sum over contracts of the least cost  -  sum over rows of price x blocks

is a lower bound for every legal plan (weak duality): wrong prices weaken it, none can make it false. How many lots topology lets
the fleet serve at all, `reach`, is part of the least cost. Contracts are rounded to micros one by one, and what that can take off is
taken off the bound. All arithmetic is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .eligible import Demand, Fleet
from .model import Scope
from .objective import SCALE, micros
from .timegrid import Flags, Ints, TimeGrid

Row = tuple[int, int, int, str, int]
MOST = 1 << 60  # prices and costs are cut to this, which can only lower a bound, so that arrays of 64 bits hold them
BLOCKS = (1, 2, 4, 8)  # GPUs of the blocks that are priced; exact for sizes that are powers of two


@dataclass(frozen=True)
class Served:
    """Per slice of a demand's window: lots that topology allows, and [slice, grade] whether the grade has a node that could serve."""

    first: int
    last: int
    reach: Ints
    grades: dict[int, Flags]


@dataclass
class Capacity:
    """What the fleet could serve at best in each slice of a grid, before anything is bound."""

    fleet: Fleet
    grid: TimeGrid
    able: Ints = field(init=False)  # [slice, column] GPUs outside outages
    open: Ints = field(init=False)  # the same where a cordon leaves only what runs
    _reach: dict[object, tuple[Ints, dict[int, Flags]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fleet, grid = self.fleet, self.grid
        self.able = np.repeat(fleet.gpus[None, :], grid.slices, axis=0)
        for column, spans in enumerate(fleet.outages):
            for start, end in spans:
                a, b = np.searchsorted(grid.starts, (start, min(end, grid.times[-1])))
                self.able[a:b, column] = 0
        self.open = self.able.copy()
        for column in np.flatnonzero(~fleet.open).tolist():
            self.open[:, column] = np.minimum(self.able[:, column], self._staying(column, None))

    def _staying(self, column: int, key: str | None) -> Ints:
        """Per slice: GPUs that run on the node at now and are announced to stay, of one contract or of all."""
        gpus = np.zeros(self.grid.slices, dtype=np.int64)
        for binding in self.fleet.staying.get(column, ()):
            if key in (None, binding.contract):
                gpus[: np.searchsorted(self.grid.starts, min(binding.end, self.grid.times[-1]))] += binding.gpus
        return gpus

    def blocks(self, grade: int, k: int) -> Ints:
        """Per slice: blocks of k GPUs in the nodes of a grade."""
        blocks: Ints = (self.open[:, self.fleet.grade == grade] // k).sum(axis=1)
        return blocks

    def served(self, demand: Demand) -> Served:
        first, last = self.grid.index(demand.start), self.grid.index(demand.end)
        reach, grades = self._topology(demand)
        reach = np.minimum(reach[first:last], demand.lots)
        if demand.together:
            began = np.flatnonzero(reach == demand.lots)
            reach[: began[0] if len(began) else None] = 0
        return Served(first, last, reach, {g: flags[first:last] for g, flags in grades.items()})

    def _topology(self, demand: Demand) -> tuple[Ints, dict[int, Flags]]:
        """Per slice: most lots in reach under scope and spread; contracts that differ in nothing here share it."""
        contract = demand.contract
        cap = demand.per_domain if demand.spread else 0
        options = tuple(sorted(demand.options))
        key = (options, contract.lot_gpus, contract.scope, contract.spread_level, cap, contract.key if demand.rights else "")
        if key not in self._reach:
            self._reach[key] = self._count(demand, cap, options)
        return self._reach[key]

    def _count(self, demand: Demand, cap: int, options: Sequence[int]) -> tuple[Ints, dict[int, Flags]]:
        fleet, contract = self.fleet, demand.contract
        columns = np.flatnonzero(np.isin(fleet.grade, options) & (fleet.gpus >= contract.lot_gpus))
        able: Ints = self.able[:, columns]
        for j, column in enumerate(columns.tolist()):
            if not fleet.open[column]:
                able[:, j] = np.minimum(able[:, j], self._staying(column, contract.key)) if column in demand.rights else 0
        units: Ints = able // contract.lot_gpus
        grades: dict[int, Flags] = {g: np.any(units[:, fleet.grade[columns] == g] > 0, axis=1) for g in options}
        inner, outer = fleet.domains[contract.spread_level][columns], fleet.domains[contract.scope][columns]
        if contract.spread_level is not Scope.ANY:
            pairs, where = np.unique(np.stack((outer, inner)), axis=1, return_inverse=True)
            units = np.minimum(_sums(units, where.reshape(-1), pairs.shape[1]), cap)
            outer = pairs[0]
        if contract.scope is not Scope.ANY and len(outer):
            _, where = np.unique(outer, return_inverse=True)
            most: Ints = _sums(units, where, int(where.max()) + 1).max(axis=1)
        else:
            most = units.sum(axis=1)
        return most, grades


def _sums(units: Ints, group: Ints, groups: int) -> Ints:
    """[slice, group]: sums of the columns of each group."""
    out = np.zeros((len(units), groups), dtype=np.int64)
    for g in range(groups):
        out[:, g] = units[:, group == g].sum(axis=1)
    return out


class Prices:
    """Rows of a certificate laid on a grid, on which their ends must lie."""

    def __init__(self, fleet: Fleet, grid: TimeGrid, rows: Iterable[Row]) -> None:
        self.fleet, self.grid = fleet, grid
        self.of: dict[tuple[int, int], Ints] = {}  # grade, k -> price per slice
        for start, end, k, name, price in rows:
            grade = fleet.grades.index(name)
            line = self.of.setdefault((grade, k), np.zeros(grid.slices, dtype=np.int64))
            line[grid.index(start) : grid.index(end)] += price
        self._lots: dict[tuple[int, int], Ints] = {}

    def lot(self, grade: int, gpus: int) -> Ints:
        """Per slice: price of the blocks of one lot of `gpus` GPUs."""
        if (grade, gpus) not in self._lots:
            line = np.zeros(self.grid.slices, dtype=np.int64)
            for (g, k), price in self.of.items():
                if g == grade:
                    line += np.minimum(price, MOST // max(1, gpus // k) // 8) * (gpus // k)
            self._lots[grade, gpus] = line
        return self._lots[grade, gpus]

    def earned(self, capacity: Capacity) -> int:
        """What the fleet's blocks cost at these prices."""
        seconds = self.grid.seconds(0, self.grid.slices)
        return sum(exact_dot(price, capacity.blocks(grade, k) * seconds) for (grade, k), price in self.of.items())


def exact_dot(a: Ints, b: Ints) -> int:
    """The sum of a[i] * b[i], which need not fit in 64 bits."""
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True) if x and y)


def least_cost(demand: Demand, served: Served, prices: Prices, substitution: bool) -> Ints:
    """Per slice of the window: the least that a lot-second within reach costs at these prices."""
    least = np.full(len(served.reach), min(demand.lot_rate, MOST), dtype=np.int64)
    for grade, able in served.grades.items():
        cost = prices.lot(grade, demand.contract.lot_gpus)[served.first : served.last]
        if substitution:
            cost = cost + min(demand.options[grade].cost * 1_000_000 * demand.contract.lot_gpus, MOST)
        least = np.where(able, np.minimum(least, cost), least)
    return least


def contribution(demand: Demand, served: Served, prices: Prices, now: int, substitution: bool) -> tuple[int, bool]:
    """Least that the contract costs in its whole window, less the dearest of what may be curtailed by right.

    And whether that is exact, because nothing can serve it and nothing was taken off.
    """
    seconds = prices.grid.seconds(served.first, served.last)
    least = least_cost(demand, served, prices, substitution)
    within = served.reach * seconds  # lot-seconds
    total = (demand.lots * int(seconds.sum()) - int(within.sum())) * demand.lot_rate + exact_dot(least, within)
    spared, contract = 0, demand.contract
    if substitution and not contract.firm and contract.notice_seconds is not None:
        noticed = prices.grid.starts[served.first : served.last] >= now + contract.notice_seconds
        costs = [(demand.lot_rate, demand.lots * int(seconds[noticed].sum()) - int(within[noticed].sum()))]
        costs += zip(least[noticed].tolist(), within[noticed].tolist(), strict=True)
        budget = demand.lots * contract.curtailable_seconds
        for cost, lot_seconds in sorted(costs, reverse=True):
            spared += cost * min(budget, lot_seconds)
            budget -= min(budget, lot_seconds)
    return total - spared, not spared and not served.reach.any()


def proven(demands: Sequence[Demand], capacity: Capacity, rows: Mapping[str, Sequence[Row]], now: int) -> tuple[int, int]:
    """The bounds in micros, of tier 1 and of all money, that the rows of the families `firm` and `total` prove."""
    firm = _proven([d for d in demands if d.contract.firm], capacity, rows.get("firm", ()), now, False)
    return firm, max(firm, _proven(demands, capacity, rows.get("total", ()), now, True))


def _proven(demands: Sequence[Demand], capacity: Capacity, rows: Sequence[Row], now: int, every: bool) -> int:
    prices = Prices(capacity.fleet, capacity.grid, rows)
    units = inexact = 0
    for demand in demands:
        served = capacity.served(demand)
        owed, exact = contribution(demand, served, prices, now, every)
        if exact:
            units += micros(owed) * SCALE
        else:
            units += owed
            inexact += owed > 0
    units -= prices.earned(capacity)
    return max(0, units // SCALE - ((3 * inexact + 1) // 2 if every else inexact))
