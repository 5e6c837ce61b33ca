"""Contracts that compete for the same grades as a descent sees them: bids of certain sizes, and chains of capacity.

A contract asks for blocks of a power of two GPUs. What is odd is rounded down, which costs some strength and no truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .certificate import MOST, Place, Window
from .descent import Bids, Descent, Floats
from .eligible import Demand
from .slices import Slices
from .timegrid import Ints
from .topology import Topology

CELLS_AT_ONCE = 1_000_000  # contracts x slices


class Market:
    """Contracts that compete for the same grades, and the capacity that they compete for."""

    def __init__(self, topology: Topology, grid: Slices, windows: Mapping[int, Window], group: Sequence[Demand], total: bool) -> None:
        self.topology, self.grid, self.windows = topology, grid, windows
        self.grades = sorted({g for d in group for g in d.options})
        largest = int(topology.fleet.gpus[np.isin(topology.fleet.grade, self.grades)].max(initial=1))
        self.k = 1 << (max(1, largest).bit_length() - 1)  # GPUs of a whole node
        self.group = sorted((d for d in group if d.contract.rate), key=lambda d: -d.contract.rate)
        self.first = np.array([windows[d.index].first for d in self.group], dtype=np.int64)
        self.last = np.array([windows[d.index].last for d in self.group], dtype=np.int64)
        self.gpus = np.array([d.contract.gpus for d in self.group], dtype=np.float64)
        self.density = np.array([d.contract.rate for d in self.group], dtype=np.float64)
        self.size = [min(self.k, 1 << (d.contract.lot_gpus.bit_length() - 1)) for d in self.group]  # GPUs of a block
        position = {g: i for i, g in enumerate(self.grades)}
        self.options = [tuple((position[g], o.cost * 1e6 if total else 0.0) for g, o in sorted(d.options.items())) for d in self.group]

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

    def _capacity(self, asked: Floats, sizes: Sequence[int], rows: Ints) -> tuple[Floats, list[int]]:
        """[grade, level, row] GPUs in blocks of each size that some contract has and that may be short; and those sizes."""
        instants = self.grid.starts[rows]
        kept, have = [], []
        for k in sorted(set(sizes)):
            blocks = [self.topology.blocks(grade, k).at(instants) * k for grade in self.grades]
            wanted = asked[[size >= k for size in sizes]].sum(axis=0)
            if (wanted > np.min(blocks, axis=0)).any():
                kept.append(k)
                have.append(blocks)
        return np.array(have, dtype=np.float64).reshape(len(kept), len(self.grades), len(rows)).transpose(1, 0, 2), kept

    def _bids(self, due: Ints, asked: Floats, sizes: Sequence[int], kept: Sequence[int]) -> list[Bids]:
        alike: dict[tuple[int, tuple[tuple[int, float], ...]], list[int]] = {}
        for j, i in enumerate(due.tolist()):
            level = sum(size <= sizes[j] for size in kept) - 1
            if level >= 0:
                alike.setdefault((level, self.options[i]), []).append(j)
        return [Bids(level, options, self.density[due[js]], asked[js]) for (level, options), js in sorted(alike.items())]

    def _places(self, per_gpu: Floats, kept: Sequence[int]) -> dict[Place, Ints]:
        """Prices of blocks from prices per GPU: each level asks for what it is dearer than the one before."""
        steps = np.diff(per_gpu, axis=1, prepend=0)
        found = {}
        for position, grade in enumerate(self.grades):
            for j, k in enumerate(kept):
                found[Place(grade, k)] = np.clip(steps[position, j] * k, 0, MOST / 16).astype(np.int64)
        return found
