"""Time cut into slices at every instant at which something may change; inside a slice nothing does.

A slice is a row of the planner's arrays; `times[row]` is its first second and `times[row + 1]` the first second after it. Among the
rows lie *spares*, of no length, each a copy of the slice that begins where it lies: to cut a slice in two, the nearest spare is
given a length, and no array grows. Because a spare begins when its slice does, every window of seconds covers it together with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from copy import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .model import Contract, Level, Problem

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BLOCK = 32  # rows that the ledger summarises together; a spare serves its own block
SPARES = 4  # per block


def due(contract: Contract, now: int) -> tuple[int, int]:
    """[start, end) in which `contract` is owed from `now` on; start >= end when nothing is due any more."""
    return max(contract.start, contract.due_from, now), contract.end


class Shift(NamedTuple):
    """Rows [first, last) become what rows [first + by, last + by) were; `by` is 1 or -1."""

    first: int
    last: int
    by: int


class TimeGrid:
    """Sorted boundaries in seconds, spares included; the last one ends the last slice."""

    def __init__(self, boundaries: Iterable[int]) -> None:
        self.times: list[int] = []
        for i, time in enumerate(sorted(set(boundaries))):
            if i % (BLOCK - SPARES) % ((BLOCK - SPARES) // SPARES) == 0:
                self.times.append(time)
            self.times.append(time)
        if len(self.times) > 1 and self.times[-1] == self.times[-2]:
            self.times.pop()  # nothing lies behind the last boundary
        self.starts: Ints = np.array(self.times, dtype=np.int64)

    def copy(self) -> TimeGrid:
        other = copy(self)
        other.times, other.starts = list(self.times), self.starts.copy()
        return other

    @property
    def rows(self) -> int:
        return len(self.times) - 1

    def row(self, time: int) -> int:
        """The first row that starts at `time` or later: as the first of a window or, exclusively, the last."""
        return bisect_left(self.times, time)

    def slice_at(self, time: int) -> tuple[int, int]:
        """First second of the slice in which `time` lies, and the first after it; the first slice for what lies before the grid."""
        i = bisect_right(self.times, max(time, self.times[0]))
        return self.times[i - 1], self.times[i]

    def has(self, time: int) -> bool:
        i = bisect_left(self.times, time)
        return i < len(self.times) and self.times[i] == time

    def between(self, start: int, end: int) -> list[int]:
        """The distinct boundaries in [start, end)."""
        return sorted(set(self.times[bisect_left(self.times, start) : bisect_left(self.times, end)]))

    def split(self, time: int) -> Shift | None:
        """Makes `time`, which is no boundary yet, one; None = its block has no spare left."""
        row = bisect_right(self.times, time) - 1
        low = row - row % BLOCK
        spare = self._spare(row, low, min(low + BLOCK, self.rows))
        if spare is None:
            return None
        if spare < row:
            shift = Shift(spare, row, 1)
            self.times[spare:row] = self.times[spare + 1 : row + 1]
            self.times[row] = time
        else:
            shift = Shift(row + 1, spare + 1, -1)
            self.times[row + 1 : spare + 1] = self.times[row:spare]
            self.times[row + 1] = time
        self.starts[low : low + BLOCK] = self.times[low : low + BLOCK]
        return shift

    def _spare(self, row: int, low: int, high: int) -> int | None:
        """The spare of rows low .. high - 1 that is nearest to `row`."""
        spares = [i for i in range(low, high) if self.times[i] == self.times[i + 1]]
        return min(spares, key=lambda i: (abs(i - row), i), default=None)


def boundaries_of(contract: Contract, now: int, pads: Iterable[int]) -> list[int]:
    """The instants that a contract adds: its due window, and the same widened by the turnarounds of nodes handed over whole."""
    start, end = due(contract, now)
    if start >= end:
        return []
    return [start, end] + [t for pad in pads for t in (start - pad, start + pad, end - pad, end + pad) if t > now]


def turnarounds(problem: Problem) -> tuple[int, ...]:
    """Distinct turnarounds (seconds) that can keep a node empty between two holders; none where no node is handed over whole."""
    if all(n.level is Level.DEVICE for n in problem.nodes):
        return ()
    return tuple(sorted({p.turnaround_seconds for p in problem.products} - {0}))


def time_grid(problem: Problem, contracts: Iterable[Contract], horizon: int) -> TimeGrid:
    """The grid of `contracts`, all outages and all announced bindings, from `now` on to at least `horizon`.

    Where nodes are handed over whole it begins a turnaround before now: who had a node last still keeps it from others.
    """
    now, pads = problem.now, turnarounds(problem)
    times = {now, max(now + 1, horizon), now - max(pads, default=0)}
    for contract in contracts:
        times.update(boundaries_of(contract, now, pads))
    horizon = max(times)
    for outage in problem.outages:
        times.update(t for t in (outage.start, outage.end) if now < t < horizon)
    for binding in problem.previous:
        times.update(t for t in (binding.start, binding.end) if now < t < horizon)
        times.update(t for pad in pads for t in (binding.end, binding.end + pad, now + pad) if min(times) < t < horizon)
    return TimeGrid(times)
