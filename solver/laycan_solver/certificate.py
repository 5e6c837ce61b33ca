"""The certificate of a bound: integer prices of capacity, and what they prove.

A row ``[start, end, k, grade, price]`` asks `price` per second for every block of k GPUs inside one node of a hardware grade, in
units of a micro / 3,600,000,000.

Given any such prices, a lot costs at least the cheaper of being owed and of being served in its cheapest grade, where a lot of g GPUs
takes floor(g / k) blocks; and the fleet has no more than the sum of floor(free / k) blocks. So

    sum over contracts of the least cost  -  sum over rows of price x blocks

is a lower bound for every legal plan (weak duality): wrong prices weaken it, none can make it false. How many lots topology lets
the fleet serve at all, `reach`, is part of the least cost. What must begin with all of its lots is taken to need them all only until
then, so that the bound also holds for who reads the terms that way. Contracts are rounded to micros one by one, and what that can take
off is taken off the bound. All arithmetic is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .eligible import Demand
from .fleet import Fleet
from .objective import SCALE, micros
from .slices import Slices
from .timegrid import Ints
from .topology import Topology

Row = tuple[int, int, int, str, int]
MOST = 1 << 60  # prices and costs are cut to this, which can only lower a bound, so that arrays of 64 bits hold them


class Place(NamedTuple):
    """Whose blocks a price is asked for: of `k` GPUs inside single nodes of a grade."""

    grade: int
    k: int


@dataclass(frozen=True)
class Window:
    """Slices of a demand, and per slice the lots that topology lets it have (None: all of them, throughout)."""

    first: int
    last: int
    reach: Ints | None


class Windows:
    """Demands laid on a grid."""

    def __init__(self, topology: Topology, grid: Slices) -> None:
        self.topology, self.grid = topology, grid

    def of(self, demand: Demand) -> Window:
        first, last = self.grid.index(demand.start), self.grid.index(demand.end)
        steps = self.topology.reach(demand)
        if steps.lowest >= demand.lots or steps.least(demand.start, demand.end) >= demand.lots:
            return Window(first, last, None)
        return Window(first, last, within(demand, steps.at(self.grid.starts[first:last])))


def within(demand: Demand, reach: Ints) -> Ints:
    """Lots of the contract in reach, slice after slice from its first on; none before it can begin, if that takes all of them."""
    lots = np.minimum(reach, demand.lots)
    return np.where(np.logical_or.accumulate(lots == demand.lots), lots, 0) if demand.together else lots


class Tariff:
    """Prices per slice of a grid, and what they make lots cost. `of`: place -> price per slice, below MOST."""

    def __init__(self, topology: Topology, grid: Slices, of: dict[Place, Ints]) -> None:
        self.topology, self.grid, self.of = topology, grid, of
        self._known: dict[object, tuple[Ints, Ints]] = {}

    def cost(self, demand: Demand, total: bool) -> tuple[Ints, Ints]:
        """Per slice: least that a lot served costs per second; and the number of slices so far in which that is not nothing."""
        contract = demand.contract
        key = contract.product, contract.substitution, contract.lot_gpus, contract.key if demand.rights else ""
        if key not in self._known:
            least = self._cheapest(demand, total)
            self._known[key] = least, np.concatenate(([0], (least > 0).cumsum()))
        return self._known[key]

    def _cheapest(self, demand: Demand, total: bool) -> Ints:
        contract = demand.contract
        least = np.full(self.grid.count, MOST, dtype=np.int64)
        for grade, option in demand.options.items():
            here = self._lot(grade, contract.lot_gpus)
            if total and option.cost:
                here += min(option.cost * 1_000_000 * contract.lot_gpus, MOST)
            able = self.topology.able(demand, grade)
            if able.lowest <= 0:
                here = np.where(able.at(self.grid.starts) > 0, here, MOST)
            least = np.minimum(least, here)
        return least

    def earned(self) -> int:
        """What the fleet's blocks cost at these prices."""
        seconds, starts = self.grid.seconds, self.grid.starts
        return sum(exact_dot(price, self.topology.blocks(*place).at(starts) * seconds) for place, price in self.of.items())

    def _lot(self, grade: int, gpus: int) -> Ints:
        """Per slice: price of the blocks of one lot."""
        line = np.zeros(self.grid.count, dtype=np.int64)
        for place, price in self.of.items():
            if place.grade == grade and gpus >= place.k:
                line += np.minimum(price, MOST // (gpus // place.k) // 8) * (gpus // place.k)
        return line


def exact_dot(a: Ints, b: Ints) -> int:
    """The sum of a[i] * b[i] of numbers that are not negative; it need not fit in 64 bits."""
    bits = 62 - int(b.sum()).bit_length()
    if bits < 8:
        return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    found, shift = 0, 0
    while a.any():
        found += int((a & ((1 << bits) - 1)) @ b) << shift
        a, shift = a >> bits, shift + bits
    return found


def least_owed(demand: Demand, window: Window, prices: Tariff, now: int, total: bool) -> tuple[int, bool]:
    """Least that the contract costs in its whole window, less the dearest of what may be curtailed by right.

    And whether that is exact, because nothing can serve it and nothing was taken off.
    """
    cost, busy = prices.cost(demand, total)
    first, last, reach = window.first, window.last, window.reach
    if reach is None and busy[first] == busy[last]:
        return 0, False
    least = np.minimum(cost[first:last], min(demand.lot_rate, MOST))
    seconds = prices.grid.seconds[first:last]
    served = (demand.lots if reach is None else reach) * seconds
    missed = demand.lots * seconds - served
    units = int(missed.sum()) * demand.lot_rate + exact_dot(least, served)
    spared, contract = 0, demand.contract
    if total and not contract.firm and contract.notice_seconds is not None:
        late = prices.grid.starts[first:last] >= now + contract.notice_seconds
        costs = [(demand.lot_rate, int(missed[late].sum())), *zip(least[late].tolist(), served[late].tolist(), strict=True)]
        spared = dearest(costs, demand.lots * contract.curtailable_seconds)
    assert 0 <= spared <= units <= demand.lot_rate * demand.lots * int(seconds.sum())
    return units - spared, not spared and not served.any()


def dearest(costs: Iterable[tuple[int, int]], budget: int) -> int:
    """The most that `budget` of the amounts cost. `costs`: (cost of one, amount)."""
    spared = 0
    for cost, amount in sorted(costs, reverse=True):
        spared += cost * min(budget, amount)
        budget -= min(budget, amount)
    return spared


def proven(demands: Sequence[Demand], windows: dict[int, Window], prices: Tariff, now: int, total: bool) -> int:
    """Micros: the bound of one family. `demands`: all that it counts."""
    units = inexact = 0
    for demand in demands:
        owed, exact = least_owed(demand, windows[demand.index], prices, now, total)
        if exact:
            units += micros(owed) * SCALE
        else:
            units += owed
            inexact += owed > 0
    units -= prices.earned()
    return max(0, units // SCALE - ((3 * inexact + 1) // 2 if total else inexact))


def rows_of(prices: Tariff, fleet: Fleet) -> list[Row]:
    """The rows of a certificate, sorted; neighbouring slices with the same price are one row."""
    return sorted(
        (start, end, place.k, fleet.grades[place.grade], price)
        for place, line in prices.of.items()
        for start, end, price in _runs(prices.grid, line)
    )


def _runs(grid: Slices, line: Ints) -> Iterable[tuple[int, int, int]]:
    edges = np.flatnonzero(np.diff(line, prepend=0, append=0))
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if line[a]:
            yield grid.times[a], grid.times[b], int(line[a])


def unavoidable(topology: Topology, demands: Iterable[Demand]) -> dict[int, int]:
    """Contract index -> what it is owed whatever the plan, because topology and outages leave no room; in units."""
    now = topology.now
    return {demand.index: owed_for_want_of_room(topology, demand, now) for demand in demands}


def owed_for_want_of_room(topology: Topology, demand: Demand, now: int) -> int:
    """In units; less what may be curtailed by right."""
    steps, contract = topology.reach(demand), demand.contract
    if steps.lowest >= demand.lots or steps.least(demand.start, demand.end) >= demand.lots:
        return 0
    right = not contract.firm and contract.notice_seconds is not None
    noticed = now + (contract.notice_seconds or 0)
    cuts = (t for t in (*steps.times.tolist(), noticed) if demand.start < t < demand.end)
    grid = Slices([demand.start, demand.end, *cuts])
    missing = (demand.lots - within(demand, steps.at(grid.starts))) * grid.seconds
    late = int(missing[grid.starts >= noticed].sum()) if right else 0
    return (int(missing.sum()) - min(late, demand.lots * contract.curtailable_seconds)) * demand.lot_rate
