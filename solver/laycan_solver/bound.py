"""The lower bound: in every slice in which something is owed, the prices that make the most of it.

A slice is a small linear programme over the contracts that are due in it; grades that no contract can exchange are apart. The sum
over slices of what is owed at least is the bound, because a plan that may be rearranged in every second for nothing owes no more
than one that may not. Where the plan owes no more than topology alone explains, no price is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .book import Book
from .certificate import BLOCKS, Capacity, Row, Served, proven
from .eligible import Demand
from .lp import Blocks, Kind, SliceProgramme
from .objective import SCALE
from .timegrid import Flags, Ints

MOST_KINDS_OF_BLOCKS = 12


@dataclass(frozen=True)
class Proof:
    firm_micros: int
    total_micros: int
    certificate: Mapping[str, object]


def prove(book: Book) -> Proof:
    """The best bound found for the contracts in the book, and its certificate."""
    demands = [book.demands[i] for i in sorted(book.demands)]
    for demand in demands:
        notice = demand.contract.notice_seconds
        if notice is not None and not demand.contract.firm and demand.start < book.now + notice < demand.end:
            book.ledger.split(book.now + notice)
    capacity = Capacity(book.fleet, book.ledger.grid)
    search = PriceSearch(book, capacity, {d.index: capacity.served(d) for d in demands})
    rows = {"firm": search.rows([d for d in demands if d.contract.firm], False), "total": search.rows(demands, True)}
    firm, total = proven(demands, capacity, rows, book.now)
    certificate = {"scale": SCALE, **{name: [list(row) for row in found] for name, found in rows.items()}}
    return Proof(firm, total, certificate)


class PriceSearch:
    """Finds the prices of one plan, slice by slice."""

    def __init__(self, book: Book, capacity: Capacity, served: Mapping[int, Served]) -> None:
        self.book, self.capacity, self.served = book, capacity, served
        self.programme: SliceProgramme | None = None
        self.blocks: dict[tuple[int, int], Ints] = {}

    def rows(self, demands: Sequence[Demand], substitution: bool) -> list[Row]:
        """The certificate's rows for these contracts, sorted."""
        lines: dict[tuple[int, int], dict[int, int]] = {}  # grade, k -> slice -> price
        for group in groups_of(demands):
            short = np.zeros(self.capacity.grid.slices, dtype=bool)
            for demand in group:
                self._mark_short(short, demand, substitution)
            for row, cells in self._prices(group, short, substitution):
                for cell, price in cells.items():
                    lines.setdefault(cell, {})[row] = price
        return sorted(row for (grade, k), line in lines.items() for row in self._merged(grade, k, line))

    def _mark_short(self, short: Flags, demand: Demand, substitution: bool) -> None:
        """The slices in which the plan does not serve all lots in reach, or serves some at a cost."""
        served, grid = self.served[demand.index], self.capacity.grid
        lots = np.zeros(grid.slices + 1, dtype=np.int64)
        for s in self.book.segments[demand.index]:
            cost = demand.options[int(self.book.fleet.grade[s.column])].cost
            if not (substitution and cost):
                lots[grid.index(s.start)] += s.lots
                lots[grid.index(s.end)] -= s.lots
        short[served.first : served.last] |= lots.cumsum()[served.first : served.last] < served.reach

    def _prices(self, group: Sequence[Demand], short: Flags, substitution: bool) -> Iterable[tuple[int, Mapping[tuple[int, int], int]]]:
        sizes = sorted({d.contract.lot_gpus for d in group} - set(BLOCKS))[: MOST_KINDS_OF_BLOCKS - len(BLOCKS)]
        grades = sorted({g for d in group for g in d.options})
        costs = {d.index: _costs(d, substitution) for d in group}
        for row in np.flatnonzero(short).tolist():
            kinds: dict[tuple[int, int, tuple[tuple[int, int], ...]], int] = {}
            for d in group:
                served = self.served[d.index]
                if served.first <= row < served.last and (lots := int(served.reach[row - served.first])):
                    kind = (d.contract.lot_gpus, d.lot_rate, costs[d.index])
                    kinds[kind] = kinds.get(kind, 0) + lots
            if kinds:
                blocks = tuple((g, k, int(self._blocks(g, k)[row])) for g in grades for k in (*BLOCKS, *sizes))
                yield row, self._solve(tuple(Kind(lots, *kind) for kind, lots in sorted(kinds.items())), blocks)

    def _solve(self, kinds: tuple[Kind, ...], blocks: Blocks) -> Mapping[tuple[int, int], int]:
        if self.programme is None:
            self.programme = SliceProgramme()
        return self.programme.prices(kinds, blocks)

    def _blocks(self, grade: int, k: int) -> Ints:
        if (grade, k) not in self.blocks:
            self.blocks[grade, k] = self.capacity.blocks(grade, k)
        return self.blocks[grade, k]

    def _merged(self, grade: int, k: int, line: Mapping[int, int]) -> Iterable[Row]:
        """Rows of one line; neighbouring slices with the same price are one row."""
        times, name = self.capacity.grid.times, self.book.fleet.grades[grade]
        slices = sorted(line)
        first = 0
        for i, row in enumerate(slices):
            if i + 1 == len(slices) or slices[i + 1] != row + 1 or line[slices[i + 1]] != line[row]:
                yield times[slices[first]], times[row + 1], k, name, line[row]
                first = i + 1


def _costs(demand: Demand, substitution: bool) -> tuple[tuple[int, int], ...]:
    unit = 1_000_000 * demand.contract.lot_gpus if substitution else 0
    return tuple((grade, option.cost * unit) for grade, option in sorted(demand.options.items()))


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
