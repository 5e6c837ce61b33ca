"""The earliest start: from when on all lots of a contract find room, for its length, beside the plan as it is.

For a window that begins at s every node has a last slice before the window's end in which it is too full for a lot, and where that
slice ends the node is free since. The window can begin as soon as enough nodes are free since then or earlier, and not before; but if
it begins later it also ends later, so that the nodes have to be looked at once more over the seconds that it gained. Starts that
counting excludes (see `counting`) are skipped. So every slice is read at most once, and most of them by blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .allot import Units, allot, most_lots, units_in
from .book import Book
from .counting import Counting
from .eligible import Demand
from .timegrid import Ints

MOST_STARTS = 200  # that are looked at where holders keep others off nodes that have room
NEVER = 1 << 62
SECONDS = 41  # bits of a time in a sort key
LATE = (1 << SECONDS) - 1


@dataclass(frozen=True)
class Start:
    """`start`: the earliest second at which all lots fit, on the nodes of `units`; None = at none that was looked at.

    `not_before`: counting excludes every earlier start, whoever plans; None = all that was asked about. `proved`: nobody can begin
    earlier, or at all.
    """

    start: int | None
    not_before: int | None
    units: Units

    @property
    def proved(self) -> bool:
        return self.start == self.not_before


def first_start(book: Book, counting: Counting, demand: Demand, latest: int) -> Start:
    """The earliest start of the demand's length, from its own start to `latest`."""
    length = demand.end - demand.start
    spans = _open_spans(counting, demand, length, latest)
    nobody = Units(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    if not spans:
        return Start(None, None, nobody)
    since: Since | None = None  # most contracts can begin at once
    tries = 0
    for first, last in spans:
        start = first
        while start <= last and tries < MOST_STARTS:
            if since and (soonest := since.enough(start, start + length)) > start:
                start = soonest
                continue
            tries += 1
            units = units_in(book, demand, start, start + length)
            if most_lots(book.fleet, demand.contract, units, demand.lots) >= demand.lots:
                return Start(start, spans[0][0], allot(book.fleet, demand.contract, units, demand.lots))
            if since:
                start = _next_boundary(book, start)
            since = since or Since(book, demand)
    return Start(None, spans[0][0], nobody)


def _next_boundary(book: Book, time: int) -> int:
    grid, ends = book.ledger.grid, book.ledger.outage_end
    return grid.slice_at(time)[1] if time < grid.times[-1] else int(ends[ends > time].min(initial=NEVER))


def _open_spans(counting: Counting, demand: Demand, length: int, latest: int) -> list[tuple[int, int]]:
    """The spans [first, last] of starts that counting does not exclude."""
    lots = counting.lots_over_time(demand.options, demand.contract.lot_gpus)
    enough = np.concatenate(([False], lots >= demand.lots, [False]))
    opens, shuts = np.flatnonzero(enough[1:] & ~enough[:-1]), np.flatnonzero(enough[:-1] & ~enough[1:])
    ends = np.append(counting.times, NEVER)[shuts]
    starts = np.maximum(counting.times[opens], demand.start)
    lasts = np.minimum(ends - length, latest)
    return [(a, b) for a, b in zip(starts.tolist(), lasts.tolist(), strict=True) if a <= b]


class Since:
    """Since when nodes have room for one lot, two lots, … to the end of a window that only ever moves on."""

    def __init__(self, book: Book, demand: Demand) -> None:
        self.book, self.demand = book, demand
        fleet, lot = book.fleet, demand.contract.lot_gpus
        self.spans = [span for _, span in demand.pool.spans]
        most = max((int(fleet.gpus[s].max(initial=0)) // lot for s in self.spans), default=0)
        self.levels = range(1, min(most, demand.lots) + 1)
        self.since = [[self._before(span, level * lot) for level in self.levels] for span in self.spans]
        self.read = demand.start  # seconds before are taken in
        columns = np.concatenate([np.arange(s.start, s.stop) for s in self.spans for _ in self.levels] or [np.zeros(0, dtype=np.int64)])
        self.outer = fleet.domains[demand.contract.scope][columns]
        self.inner = fleet.domains[demand.contract.spread_level][columns]

    def _before(self, span: slice, gpus: int) -> Ints:
        fleet = self.book.fleet
        able = fleet.open[span] & (fleet.gpus[span] >= gpus)
        since: Ints = np.where(able, self.book.now, NEVER)
        return since

    def enough(self, start: int, end: int) -> int:
        """`start`, if enough lots have room in [start, end); else a second before which they have not."""
        ledger, lot = self.book.ledger, self.demand.contract.lot_gpus
        last = ledger.grid.times[-1]
        low, high = max(start, self.read), min(end, last)
        if low < high:
            for span, levels in zip(self.spans, self.since, strict=True):
                for level, since in zip(self.levels, levels, strict=True):
                    ledger.free_since(span, low, high, level * lot, since)
        self.read = max(self.read, high)
        return max(start, self._when())

    def _when(self) -> int:
        """From when on all lots have room, as far as the slices taken in say."""
        lots, since = self.demand.lots, np.concatenate([s for levels in self.since for s in levels] or [np.zeros(0, dtype=np.int64)])
        if len(since) < lots:
            return NEVER
        if not self.demand.scoped and not self.demand.spread:
            return int(np.partition(since, lots - 1)[lots - 1])
        outer = self.outer
        if self.demand.spread:
            order = np.lexsort((since, self.inner))
            inner = self.inner[order]
            order = order[np.arange(len(order)) - np.searchsorted(inner, inner) < self.demand.per_domain]
            since, outer = since[order], outer[order]
        keys = np.sort((outer << SECONDS) + np.minimum(since - self.book.now, LATE))  # by domain, then by time
        if len(keys) < lots:
            return NEVER
        first, last = keys[: len(keys) - lots + 1], keys[lots - 1 :]  # of so many nodes side by side
        found = (last & LATE)[first >> SECONDS == last >> SECONDS].min(initial=LATE)
        return NEVER if found == LATE else self.book.now + int(found)
