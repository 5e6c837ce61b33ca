"""Spare nodes over time, and the chance that a node fails when none is left.

In a slice of time M usable nodes stand behind a promise, N of them committed and s spare. A node fails lambda times a day and is away
for R days, so that M lambda R are down on average. The chance that some failure finds no spare is at most the sum over the slices of

    M lambda dt P(Poisson(M lambda R) >= s)

(reserve.md 2; with M, because a spare that fails is missed as well). Nodes of several grades add up, each with its own lambda and R.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .objective import MONTH
from .poisson import MEAN, ONE, tail
from .timegrid import Flags, Ints

PPB = 10**9  # certainty
STRIDE = 1 << 41  # above every second
DAY = 86_400

Exact = np.ndarray[Any, np.dtype[np.object_]]  # of Python's integers


class Spans(NamedTuple):
    """Seconds [start, end) on columns; parallel."""

    columns: Ints
    starts: Ints
    ends: Ints

    def within(self, low: int, high: int, inside: Flags) -> Spans:
        """What lies in [low, high), cut to it, on the columns that are `inside`."""
        some = (self.starts < high) & (self.ends > low) & inside[self.columns]
        return Spans(self.columns[some], np.maximum(self.starts[some], low), np.minimum(self.ends[some], high))

    def merged(self) -> Spans:
        """Sorted, those that overlap or touch on a column as one."""
        order = np.lexsort((self.starts, self.columns))
        columns, starts = self.columns[order], self.starts[order]
        far = np.maximum.accumulate(self.ends[order] + columns * STRIDE) - columns * STRIDE  # a column's latest end so far
        first = np.ones(len(order), dtype=bool)
        first[1:] = (starts[1:] > far[:-1]) | (columns[1:] != columns[:-1])
        firsts = np.flatnonzero(first)
        lasts = np.append(firsts[1:], len(order))[: len(firsts)] - 1
        return Spans(columns[firsts], starts[firsts], far[lasts])

    def over(self, times: Ints, weights: Ints | None = None) -> Ints:
        """Per slice of `times`: how many cover it, or the sum of the weights of their columns."""
        by = np.ones(len(self.columns), dtype=np.int64) if weights is None else weights[self.columns]
        change = np.zeros(len(times), dtype=np.int64)
        np.add.at(change, np.searchsorted(times, self.starts), by)
        np.add.at(change, np.searchsorted(times, self.ends), -by)
        sums: Ints = change.cumsum()[:-1]
        return sums


@dataclass(frozen=True)
class Backing:
    """The nodes behind a promise over time: slice i is [times[i], times[i + 1]). Nodes are counts; see `failing` for the rest."""

    times: Ints
    failing: Ints  # M lambda: failures a day, millionths
    down: Ints  # M lambda R: the same x seconds of repair
    spare: Ints
    committed: Ints

    def with_spare(self, spare: Ints) -> Backing:
        """The same with other spares."""
        return Backing(self.times, self.failing, self.down, spare, self.committed)

    def cut(self, at: Ints) -> Backing:
        """The same with a boundary at each of these seconds, as far as they lie inside."""
        times = np.unique(np.concatenate((self.times, at[(at > self.times[0]) & (at < self.times[-1])])))
        i = np.searchsorted(self.times, times[:-1], side="right") - 1
        return Backing(times, self.failing[i], self.down[i], self.spare[i], self.committed[i])

    @cached_property
    def rates(self) -> Exact:
        """Per slice: failures a day that find no spare, in millionths of parts of `ONE`."""
        width = int(self.spare.max(initial=0)) + 2
        means, which = np.unique(self.down, return_inverse=True)
        pairs, where = np.unique(which * width + np.maximum(self.spare, 0), return_inverse=True)
        tails = np.array([tail(int(means[p // width]), p % width) for p in pairs.tolist()], dtype=object)
        rates: Exact = self.failing.astype(object) * tails[where] * (self.committed > 0)
        return rates

    @cached_property
    def _before(self) -> Exact:
        """Per boundary: what the slices before it add up to, in `rates` x seconds."""
        return np.concatenate((np.zeros(1, dtype=object), (self.rates * np.diff(self.times)).cumsum()))

    def _until(self, at: Ints) -> Exact:
        """The same for any seconds."""
        i = np.clip(np.searchsorted(self.times, at, side="right") - 1, 0, len(self.rates) - 1)
        until: Exact = self._before[i] + self.rates[i] * (at - self.times[i])
        return until

    def chance(self, starts: Ints, ends: Ints) -> Ints:
        """Chance per window [start, end) that some failure finds no spare, in parts of `PPB`, rounded up."""
        unit = 10**6 * ONE * DAY // PPB
        sums = self._until(ends) - self._until(starts)
        chances: Ints = np.minimum(-(-sums // unit), PPB).astype(np.int64)
        return chances

    @cached_property
    def _months(self) -> tuple[Ints, Ints]:
        """Starts of 30 days at which their chance may be greatest, and the chance."""
        starts = np.unique(np.concatenate((self.times, self.times - MONTH)))
        starts = starts[(starts >= self.times[0]) & (starts + MONTH <= self.times[-1])]
        return starts, self.chance(starts, starts + MONTH)

    def worst(self, start: int, end: int) -> int:
        """The greatest chance of any 30 days inside [start, end), or of all of it where that is shorter."""
        if end - start <= MONTH:
            return int(self.chance(np.array([start]), np.array([end]))[0])
        starts, chances = self._months
        first, last = np.searchsorted(starts, (start, end - MONTH))
        edges = np.array([start, end - MONTH])
        return max(int(chances[first:last].max(initial=0)), int(self.chance(edges, edges + MONTH).max()))

    def rows(self, start: int, end: int) -> slice:
        """The slices that [start, end) touches."""
        return slice(int(np.searchsorted(self.times, start, side="right")) - 1, int(np.searchsorted(self.times, end)))


assert MEAN == 10**6 * DAY
