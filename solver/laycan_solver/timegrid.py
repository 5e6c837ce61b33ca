"""Time cut into slices at every instant at which something may change; inside a slice nothing does.

A slice is named by its index; `times[i]` is its first second and `times[i + 1]` the first second after it. All arrays of the
planner that depend on time have one row per slice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .model import Contract, Level, Problem

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def due(contract: Contract, now: int) -> tuple[int, int]:
    """[start, end) in which `contract` is owed from `now` on; start >= end when nothing is due any more."""
    return max(contract.start, contract.due_from, now), contract.end


class TimeGrid:
    """Sorted distinct boundaries (seconds); the last one ends the last slice."""

    def __init__(self, boundaries: Iterable[int]) -> None:
        self.times: list[int] = sorted(set(boundaries))
        self.starts: Ints = np.array(self.times, dtype=np.int64)

    @property
    def slices(self) -> int:
        return len(self.times) - 1

    def index(self, time: int) -> int:
        """The slice that starts at `time`, which must be a boundary."""
        i = bisect_left(self.times, time)
        assert self.times[i] == time, f"{time} is no boundary"
        return i

    def has(self, time: int) -> bool:
        i = bisect_left(self.times, time)
        return i < len(self.times) and self.times[i] == time

    def first_from(self, time: int, least: int) -> int:
        """The first slice that starts at `time` or later, and is not before `least`."""
        return max(least, bisect_left(self.times, time))

    def seconds(self, first: int, last: int) -> Ints:
        """Lengths of the slices first .. last - 1."""
        return np.diff(self.starts[first : last + 1])

    def split(self, time: int) -> int | None:
        """Makes `time` a boundary; the slice that was cut in two, None if nothing changed (boundary already, or outside)."""
        i = bisect_left(self.times, time)
        if i == 0 or i == len(self.times) or self.times[i] == time:
            return None
        self.times.insert(i, time)
        self.starts = np.insert(self.starts, i, time)
        return i - 1


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
