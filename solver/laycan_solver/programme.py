"""Contracts that compete for the same grades as linear programmes, slice by slice: with rows for every size that somebody asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .certificate import Place, Window
from .eligible import Demand
from .lp import Kind, SliceProgramme
from .slices import Slices
from .timegrid import Flags, Ints
from .topology import Topology

BLOCKS = (1, 2, 4, 8)  # GPUs; exact for sizes that are powers of two
MOST_SIZES = 12  # of blocks
ALIKE = 64  # slices in a row that share a programme, of which only bounds change


class Programme:
    def __init__(self, topology: Topology, grid: Slices, windows: Mapping[int, Window], group: Sequence[Demand], total: bool) -> None:
        self.topology, self.grid, self.windows, self.total = topology, grid, windows, total
        self.group = sorted((d for d in group if d.lot_rate), key=lambda d: (d.start, d.index))
        grades = sorted({g for d in group for g in d.options})
        self.places = [Place(g, k) for g in grades for k in self._sizes()]
        self.first = np.array([windows[d.index].first for d in self.group], dtype=np.int64)
        self.last = np.array([windows[d.index].last for d in self.group], dtype=np.int64)
        self.lots = np.array([d.lots for d in self.group], dtype=np.int64)
        self.gpus = np.array([d.contract.lot_gpus for d in self.group], dtype=np.int64)  # of a lot
        self.is_odd = bool((self.gpus & (self.gpus - 1)).any())

    def _sizes(self) -> list[int]:
        lots = sorted({d.contract.lot_gpus for d in self.group} - set(BLOCKS))
        return sorted({*BLOCKS, *lots[: MOST_SIZES - len(BLOCKS)]})

    def _kind(self, d: Demand) -> Kind:
        unit = 1_000_000 * d.contract.lot_gpus if self.total else 0
        costs = tuple((grade, option.cost * unit) for grade, option in sorted(d.options.items()))
        return Kind(d.contract.lot_gpus, d.lot_rate, costs)

    def tight(self) -> Flags:
        """Slices in which not everything can be served at home, in the one grade that costs nothing; elsewhere nothing has a price."""
        homes = [[g for g, option in d.options.items() if not option.cost] for d in self.group]
        only = np.array([own[0] if len(own) == 1 else -1 for own in homes], dtype=np.int64)
        tight: Flags = self._sum((only < 0).astype(np.int64)) > 0
        for place in self.places:
            taken = np.where(only == place.grade, self.lots * (self.gpus // place.k), 0)
            tight |= self._sum(taken) > self.topology.blocks(*place).at(self.grid.starts)
        return tight

    def cells(self, rows: Ints) -> int:
        """Contracts that are due in these slices, added up."""
        return int((np.searchsorted(rows, self.last) - np.searchsorted(rows, self.first)).sum())

    def _sum(self, amounts: Ints) -> Ints:
        """Per slice: the sum of what is due in it."""
        changes = np.zeros(self.grid.count + 1, dtype=np.int64)
        np.add.at(changes, self.first, amounts)
        np.add.at(changes, self.last, -amounts)
        total: Ints = changes.cumsum()[:-1]
        return total

    def prices(self, rows: Ints) -> dict[Place, Ints]:
        """Place -> price of its blocks, per row."""
        found = np.zeros((len(self.places), len(rows)), dtype=np.int64)
        for at in range(0, len(rows), ALIKE):
            self._solve(rows[at : at + ALIKE], found[:, at : at + ALIKE])
        return dict(zip(self.places, found, strict=True))

    def _solve(self, rows: Ints, found: Ints) -> None:
        """Fills in [place, row]; the same slice twice is solved once."""
        due = np.flatnonzero((self.first <= rows[-1]) & (rows[0] < self.last))
        have = np.array([self.topology.blocks(*place).at(self.grid.starts[rows]) for place in self.places])
        kinds: dict[Kind, list[int]] = {}
        for i in due.tolist():
            kinds.setdefault(self._kind(self.group[i]), []).append(i)
        lots = np.zeros((len(kinds), len(rows)), dtype=np.int64)
        for asked, own in zip(lots, kinds.values(), strict=True):
            for i in own:
                first, last = np.searchsorted(rows, (self.first[i], self.last[i]))
                reach = self.windows[self.group[i].index].reach
                asked[first:last] += self.lots[i] if reach is None else reach[rows[first:last] - self.first[i]]
        programme = SliceProgramme(list(kinds), self.places)
        bounds, which = np.unique(np.concatenate((lots, have)), axis=1, return_inverse=True)
        found[:] = np.array([programme.prices(most) for most in bounds.T.tolist()]).T[:, which.reshape(-1)]
