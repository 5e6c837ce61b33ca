"""The one ledger of free GPUs: how many are free on each node in each slice, and who holds a node that is handed over whole.

`free[slice, column]` starts at the healthy GPUs (0 in an outage) and never becomes negative. A node at level Node has one holder
at a time: `held[turnaround][slice, column]` is that holder for contracts of products with this turnaround, and between two
holders the larger turnaround of the two stays free. Holder 0 shares every node by GPU.
"""

from __future__ import annotations

import numpy as np

from .eligible import MOST_GPUS, Demand, Fleet
from .timegrid import Flags, Ints, TimeGrid

Cells = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


class Ledger:
    def __init__(self, fleet: Fleet, grid: TimeGrid, turnarounds: tuple[int, ...]) -> None:
        self.fleet, self.grid = fleet, grid
        self.free: Cells = np.repeat(fleet.gpus.astype(np.int32)[None, :], grid.slices, axis=0)
        for column, spans in enumerate(fleet.outages):
            for start, end in spans:
                first, last = np.searchsorted(grid.starts, (start, min(end, grid.times[-1])))
                self.free[first:last, column] = 0
        self.capacity: Cells = self.free.copy()
        kinds = sorted({0, *turnarounds}) if fleet.whole.any() else []
        self.held: dict[int, Cells] = {t: np.zeros_like(self.free) for t in kinds}
        self.holding: dict[int, Cells] = {t: np.zeros_like(self.free) for t in kinds}  # GPUs by which it is held

    def hold(self, column: int, start: int, end: int, holder: int, turnaround: int) -> None:
        """Who had the node in [start, end), before now: history, which only keeps others off for a turnaround."""
        times = self.grid.starts
        first = max(0, int(np.searchsorted(times, start, side="right")) - 1)
        last = int(np.searchsorted(times, end, side="left"))
        self.held[turnaround][first:last, column] = holder

    def split(self, time: int) -> None:
        """Makes `time` a boundary of the grid; both halves of the cut slice hold what it held."""
        row = self.grid.split(time)
        if row is None:
            return
        self.free, self.capacity = (np.insert(m, row, m[row], axis=0) for m in (self.free, self.capacity))
        self.held = {t: np.insert(m, row, m[row], axis=0) for t, m in self.held.items()}
        self.holding = {t: np.insert(m, row, m[row], axis=0) for t, m in self.holding.items()}

    def take(self, demand: Demand, column: int, first: int, last: int, gpus: int) -> None:
        """`gpus` of the node are `demand`'s in slices first .. last - 1. A negative number gives them back."""
        cells = self.free[first:last, column]
        cells -= gpus
        assert cells.min() >= 0, f"{demand.contract.key}: more GPUs than {self.fleet.nodes[column].name} has"
        assert (cells <= self.capacity[first:last, column]).all()
        if demand.holder and self.fleet.whole[column]:
            holding = self.holding[demand.turnaround][first:last, column]
            holding += gpus
            self.held[demand.turnaround][first:last, column] = np.where(holding > 0, demand.holder, 0)

    def units(self, demand: Demand, first: int, last: int, columns: Ints) -> Ints:
        """[slice, column]: whole lots of `demand` that the node could take in the slice beside everything taken."""
        lots: Cells = self.free[first:last][:, columns] // min(demand.contract.lot_gpus, MOST_GPUS)
        if demand.holder and self.fleet.whole[columns].any():
            lots[self._foreign(demand, first, last, columns)] = 0
        return lots.astype(np.int64)

    def window_units(self, demand: Demand, first: int, last: int, columns: Ints) -> Ints:
        """Per column: whole lots that the node could take through all of first .. last - 1."""
        lots: Cells = self.free[first:last][:, columns].min(axis=0) // min(demand.contract.lot_gpus, MOST_GPUS)
        if demand.holder and self.fleet.whole[columns].any():
            lots[self._foreign(demand, first, last, columns).any(axis=0)] = 0
        return lots.astype(np.int64)

    def _foreign(self, demand: Demand, first: int, last: int, columns: Ints) -> Flags:
        """[slice, column]: another holder has the node in the slice, or nearer to it than the turnaround."""
        times = self.grid.starts
        found = np.zeros((last - first, len(columns)), dtype=bool)
        for turnaround, held in self.held.items():
            pad = max(turnaround, demand.turnaround)
            low = np.maximum(np.searchsorted(times, times[first:last] - pad, side="right") - 1, 0)
            high = np.minimum(np.searchsorted(times, times[first + 1 : last + 1] + pad, side="left"), self.grid.slices)
            base = int(low[0])
            other = held[base : int(high[-1])][:, columns]
            count = np.zeros((len(other) + 1, len(columns)), dtype=np.int32)
            np.cumsum((other != 0) & (other != demand.holder), axis=0, out=count[1:])
            found |= count[high - base] > count[low - base]
        return found & self.fleet.whole[columns]

    def fits(self, demand: Demand, column: int, first: int, last: int, lots: int) -> bool:
        """The node could take `lots` lots through first .. last - 1 (without regard to a cordon)."""
        return bool(self.window_units(demand, first, last, np.array([column]))[0] >= lots)
