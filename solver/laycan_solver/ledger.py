"""The one ledger of free GPUs: how many are free on each node in each slice of time.

A matrix [row, column] of the smallest integer type, rows in blocks of `BLOCK` with the least free of each block beside it and a
number that is added to the whole block lazily: looking at a window of many slices reads a few rows and one number per block, and
taking one changes as little (square-root decomposition). Every lookup reads whole rows of neighbouring columns, which are the nodes
of one grade, because that is how memory is fastest. Free starts at the healthy GPUs, is 0 in an outage and never becomes negative.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from .fleet import Fleet
from .timegrid import BLOCK, Flags, Ints, TimeGrid

Cells = np.ndarray[Any, np.dtype[Any]]
Columns = slice | Ints

SMALL = ((63, np.int8), (16_383, np.int16))  # GPUs of a node up to which a type holds free less twice the lazy number
ALWAYS = 1 << 62


@dataclass
class Image:
    """A ledger's grid and cells before boundaries were added: blocks of rows as they were before the first split changed them."""

    times: list[int]
    starts: Ints
    cells: Cells
    lazy: Cells
    least: Cells
    blocks: dict[int, Cells] = field(default_factory=dict)

    def keep(self, cells: Cells, block: int) -> None:
        if cells is self.cells and block not in self.blocks:
            self.blocks[block] = cells[block * BLOCK : (block + 1) * BLOCK].copy()


class Ledger:
    def __init__(self, fleet: Fleet, grid: TimeGrid) -> None:
        self.fleet, self.grid = fleet, grid
        self.renewed = 0  # times that a node has changed
        most = int(fleet.gpus.max(initial=0))
        kind = next((t for limit, t in SMALL if most <= limit), np.int32)
        self.gpus: Cells = fleet.gpus.astype(kind)
        self._lay_out(self._untouched(grid), self.gpus)
        outages = [(c, a, b) for c, spans in enumerate(fleet.outages) for a, b in spans]
        self.outage_column = np.array([c for c, _, _ in outages], dtype=np.int64)
        self.outage_start = np.array([a for _, a, _ in outages], dtype=np.int64)
        self.outage_end = np.array([b for _, _, b in outages], dtype=np.int64)
        self._images: list[Image] = []
        for column, start, end in outages:
            first, last = grid.row(start) if start > grid.times[0] else 0, min(grid.row(end), grid.rows)
            if first < last:
                self._cells[first:last, column] = 0
                self._least[first // BLOCK : -(-last // BLOCK), column] = 0

    def copy(self, fleet: Fleet) -> Ledger:
        """The same for a copy of the fleet."""
        other = copy(self)
        other.fleet, other.grid, other.gpus = fleet, self.grid.copy(), self.gpus.copy()
        other._cells, other._lazy, other._least, other._images = self._cells.copy(), self._lazy.copy(), self._least.copy(), []
        return other

    def _untouched(self, grid: TimeGrid) -> Cells:
        """Cells of nodes on which nothing lies, for whole blocks of the grid's rows."""
        cells: Cells = np.empty((-(-max(grid.rows, 1) // BLOCK) * BLOCK, len(self.gpus)), dtype=self.gpus.dtype)
        cells[:] = self.gpus
        return cells

    def _lay_out(self, cells: Cells, least: Cells) -> None:
        """Takes these cells, and the least of each block."""
        self._cells = cells
        self._lazy = np.zeros((len(cells) // BLOCK, cells.shape[1]), dtype=cells.dtype)
        self._least = np.empty_like(self._lazy)
        self._least[:] = least

    def free(self, start: int, end: int, columns: Columns) -> Cells:
        """Per column: least GPUs free at once in [start, end), which is rounded outward to whole slices and cut to the grid."""
        first, last = self._rows(start, end)
        low, high = -(-first // BLOCK), last // BLOCK
        parts: list[Cells] = []
        if low > high:  # inside one block
            return self._part(first, last, columns)
        if first < low * BLOCK:
            parts.append(self._part(first, low * BLOCK, columns))
        if low < high:
            parts.append(self._least[low:high, columns].min(axis=0))
        if high * BLOCK < last:
            parts.append(self._part(high * BLOCK, last, columns))
        least: Cells = reduce(np.minimum, parts)
        return least

    def _rows(self, start: int, end: int) -> tuple[int, int]:
        times = self.grid.times
        start, end = max(start, times[0]), min(end, times[-1])
        first = self.grid.row(start)
        if times[first] > start:
            first = self.grid.row(times[first - 1])
        return first, max(self.grid.row(end), first + 1)

    def _part(self, first: int, last: int, columns: Columns) -> Cells:
        """Least of rows inside one block."""
        cells = self._cells[first, columns] if last - first == 1 else self._cells[first:last, columns].min(axis=0)
        least: Cells = cells + self._lazy[first // BLOCK, columns]
        return least

    def beside(self, start: int, end: int, columns: Columns) -> Cells:
        """Per column: GPUs free right before and right after [start, end), boundaries of the grid, together; none beyond the grid."""
        before, after = self.grid.row(start) - 1, self.grid.row(end)
        rows = [row for row in (before, after) if 0 <= row < self.grid.rows]
        total: Cells = np.zeros_like(self.gpus[columns])
        for row in rows:
            total += self._cells[row, columns]
            total += self._lazy[row // BLOCK, columns]
        return total

    def slack(self, start: int, end: int, columns: Columns) -> Ints:
        """Per column: GPUs free in [start, end), summed over blocks of slices: a cheap measure of how much is free there."""
        first, last = self._rows(start, end)
        total: Ints = self._least[first // BLOCK : -(-last // BLOCK), columns].sum(axis=0, dtype=np.int64)
        return total

    def profile(self, start: int, end: int, columns: Columns) -> Cells:
        """[row, column]: GPUs free in every row of [start, end)."""
        first, last = self.grid.row(start), self.grid.row(end)
        cells: Cells = self._cells[first:last, columns] + self._lazy[:, columns][np.arange(first, last) // BLOCK]
        return cells

    def rows(self, first: int, last: int, columns: slice) -> Cells:
        """[row, column]: GPUs free in rows of one block."""
        cells: Cells = self._cells[first:last, columns] + self._lazy[first // BLOCK, columns]
        return cells

    def capacity(self, start: int, end: int, columns: Columns) -> Cells:
        """Per column: healthy GPUs, 0 where an outage lies in [start, end)."""
        gpus = self.gpus.copy()
        gpus[self.outage_column[(self.outage_start < end) & (self.outage_end > start)]] = 0
        most: Cells = gpus[columns]
        return most

    def blocks(self, start: int, end: int, columns: Ints, size: int) -> Ints:
        """Per row of [start, end): pieces of `size` GPUs that these nodes hold when nothing is taken, without those in an outage."""
        pieces = np.zeros(len(self.gpus), dtype=np.int64)
        pieces[columns] = self.fleet.gpus[columns] // size
        first, last = self.grid.row(start), self.grid.row(end)
        starts = self.grid.starts[first : last + 1]
        change = np.zeros(last - first + 1, dtype=np.int64)
        out = pieces[self.outage_column]
        np.add.at(change, np.searchsorted(starts, np.clip(self.outage_start, start, end)), out)
        np.add.at(change, np.searchsorted(starts, np.clip(self.outage_end, start, end)), -out)
        total: Ints = pieces.sum() - change.cumsum()[: last - first]
        return total

    def take(self, columns: Ints, start: int, end: int, gpus: Cells) -> None:
        """`gpus` of each column are taken in [start, end), boundaries of the grid. Negative numbers give them back."""
        first, last = self.grid.row(start), self.grid.row(end)
        gpus = gpus.astype(self._cells.dtype)
        low, high = -(-first // BLOCK), last // BLOCK
        if low > high:
            self._take_part(first, last, columns, gpus)
            return
        if first < low * BLOCK:
            self._take_part(first, low * BLOCK, columns, gpus)
        if low < high:
            self._lazy[low:high, columns] -= gpus
            self._least[low:high, columns] -= gpus
            assert self._least[low:high, columns].min() >= 0, "more GPUs taken than a node has"
        if high * BLOCK < last:
            self._take_part(high * BLOCK, last, columns, gpus)

    def _take_part(self, first: int, last: int, columns: Ints, gpus: Cells) -> None:
        block = first // BLOCK
        low = block * BLOCK
        rows = self._cells[low : low + BLOCK]
        cells = rows.take(columns, axis=1)
        cells[first - low : last - low] -= gpus
        rows[first - low : last - low, columns] = cells[first - low : last - low]
        least = cells.min(axis=0) + self._lazy[block, columns]
        assert least.min() >= 0, "more GPUs taken than a node has"
        self._least[block, columns] = least

    def farthest(self, start: int, end: int, columns: slice, allowed: Flags, gpus: int) -> tuple[int, Flags]:
        """How long the node that stays free longest has `gpus` GPUs free from `start` on, up to `end`, and which nodes do.

        `start` itself and no node, if none is free in the slice that begins there.
        """
        grid = self.grid
        row, last = grid.row(start), grid.row(end)
        alive = allowed
        while row < last:
            stop = min((row // BLOCK + 1) * BLOCK, last)
            whole = stop - row == BLOCK
            least = self._least[row // BLOCK, columns] if whole else self._part(row, stop, columns)
            still = alive & (least >= gpus)
            if not still.any():
                return self._last_of(row, stop, columns, alive, gpus, start)
            alive, row = still, stop
        return end, alive

    def _last_of(self, row: int, stop: int, columns: slice, alive: Flags, gpus: int, start: int) -> tuple[int, Flags]:
        """Where, in rows of one block that none survives, the last ones end."""
        left = np.flatnonzero(alive)
        cells = self._cells[row:stop, columns][:, left] + self._lazy[row // BLOCK, columns][left]
        short = cells < gpus
        reach = np.where(short.any(axis=0), short.argmax(axis=0), stop - row)
        most = int(reach.max(initial=0))
        time = self.grid.times[row + most]
        if time <= start:
            return start, np.zeros_like(alive)
        survivors = np.zeros_like(alive)
        survivors[left[reach == most]] = True
        return time, survivors

    def free_until(self, columns: Ints, time: int, end: int, gpus: Cells) -> Ints:
        """Per column, which has its number of `gpus` free at `time`: the first boundary at which it has not; at most `end`."""
        grid = self.grid
        until = np.full(len(columns), end, dtype=np.int64)
        alive = np.arange(len(columns))
        row, last = self._rows(time, end)
        while row < last and len(alive):
            block = row // BLOCK
            stop = min((block + 1) * BLOCK, last)
            low = np.flatnonzero(self._least[block, columns[alive]] < gpus[alive])
            if len(low):
                some = alive[low]
                short = self._cells[row:stop, columns[some]] < (gpus[some] - self._lazy[block, columns[some]])
                ends = short.any(axis=0)
                until[some[ends]] = np.minimum(grid.starts[row + short.argmax(axis=0)[ends]], end)
                alive = np.delete(alive, low[ends])
            row = stop
        return until

    def free_since(self, columns: slice, start: int, end: int, gpus: int, since: Ints) -> None:
        """Raises `since`, per column, to the end of the last slice of [start, end) in which the node has fewer than `gpus` free."""
        first, row = self._rows(start, end)
        busy = self._part(row - 1, row, columns) < gpus  # of most nodes that are not free this is all that there is to know
        since[busy] = np.maximum(since[busy], self.grid.starts[row])
        left = columns.start + np.flatnonzero(~busy)
        while row > first and len(left):
            low = max(first, (row - 1) // BLOCK * BLOCK)
            least = self._least[low // BLOCK, left] if row - low == BLOCK else self._part(low, row, left)
            some = np.flatnonzero(least < gpus)
            if len(some):
                here = left[some]
                short = self._cells[low:row, here] < gpus - self._lazy[low // BLOCK, here]
                last = self.grid.starts[row - short[::-1].argmax(axis=0)]
                since[here - columns.start] = np.maximum(since[here - columns.start], last)
                left = np.delete(left, some)
            row = low

    def next_free(self, start: int, end: int, columns: slice, allowed: Flags, gpus: int) -> int:
        """The first boundary from `start` on at which any allowed node has `gpus` GPUs free; `end` if there is none before it."""
        row, last = self.grid.row(start), self.grid.row(end)
        while row < last:
            block = row // BLOCK
            stop = min((block + 1) * BLOCK, last)
            free = ((self._cells[row:stop, columns] + self._lazy[block, columns] >= gpus) & allowed).any(axis=1)
            if free.any():
                return self.grid.times[row + int(free.argmax())]
            row = stop
        return end

    def renew(self, column: int, start: int) -> None:
        """The node of a column, on which nothing lies from `start` on, has other GPUs or outages from then on."""
        fleet, grid = self.fleet, self.grid
        self.renewed += 1
        self.gpus[column] = fleet.gpus[column]
        others = self.outage_column != column
        own = np.array([(column, *s) for s in fleet.outages[column]], dtype=np.int64).reshape(-1, 3)
        self.outage_column = np.append(self.outage_column[others], own[:, 0])
        self.outage_start = np.append(self.outage_start[others], own[:, 1])
        self.outage_end = np.append(self.outage_end[others], own[:, 2])
        first = grid.row(start)
        free = np.full(len(self._cells) - first, self.gpus[column], dtype=self._cells.dtype)
        for a, b in fleet.outages[column]:
            free[max(grid.row(a) - first, 0) : max(min(grid.row(b), grid.rows) - first, 0)] = 0
        self._cells[first:, column] = free - self._lazy[np.arange(first, len(self._cells)) // BLOCK, column]
        block = first // BLOCK
        blocks = self._cells[block * BLOCK :, column].reshape(-1, BLOCK)
        self._least[block:, column] = blocks.min(axis=1) + self._lazy[block:, column]

    def remember(self) -> None:
        """From now on boundaries may be added that `forget` takes away again, the last ones first; nothing may be taken before they are."""
        self._images.append(Image(list(self.grid.times), self.grid.starts.copy(), self._cells, self._lazy, self._least))

    def forget(self) -> None:
        """The grid and the cells are, to the byte, as they were when `remember` was last called; what was taken since is given back."""
        image = self._images.pop()
        for block, rows in image.blocks.items():
            image.cells[block * BLOCK : (block + 1) * BLOCK] = rows
        self._cells, self._lazy, self._least = image.cells, image.lazy, image.least
        self.grid.times, self.grid.starts = image.times, image.starts

    def split(self, time: int) -> None:
        """Makes `time` a boundary of the grid; both halves of the cut slice hold what it held."""
        grid = self.grid
        if not grid.times[0] < time < grid.times[-1] or grid.has(time):
            return
        shift = grid.split(time)
        if shift is None:
            self._respace({time})
            return
        first, last, by = shift
        if self._images:
            self._images[-1].keep(self._cells, first // BLOCK)
        self._cells[first:last] = self._cells[first + by : last + by].copy()

    def extend(self, end: int) -> None:
        """Makes the grid reach to `end`."""
        if end > self.grid.times[-1]:
            self._respace({end} | {t for a, b in zip(self.outage_start, self.outage_end, strict=True) for t in (int(a), int(b)) if t < end})

    def _respace(self, times: set[int]) -> None:
        """A new grid with `times` and fresh spares."""
        old, cells = self.grid, self._cells + np.repeat(self._lazy, BLOCK, axis=0)
        times = {t for t in times if t > old.times[0]}
        grid = TimeGrid(times.union(old.times))
        source = np.searchsorted(old.starts, grid.starts[:-1], side="right") - 1
        inside = source < old.rows
        fresh = self._untouched(grid)
        fresh[: grid.rows][inside] = cells[source[inside]]
        for column, start, end in zip(self.outage_column.tolist(), self.outage_start.tolist(), self.outage_end.tolist(), strict=True):
            if end > old.times[-1]:
                fresh[grid.row(max(start, old.times[-1])) : min(grid.row(end), grid.rows), column] = 0
        old.times, old.starts = grid.times, grid.starts
        self._lay_out(fresh, fresh.reshape(len(fresh) // BLOCK, BLOCK, fresh.shape[1]).min(axis=1))
