"""Lanes: what nodes hold, and the exchanges between two of them that harm nobody.

What two nodes hold from one instant to another can be exchanged if nothing lies across either instant and each may lie on the other
node: every lot keeps its window, nobody is owed more, and no one is interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .book import Book
from .model import Scope
from .objective import Segment
from .timegrid import Flags, Ints

PARTNERS = 16  # nodes that are tried for one exchange
SPARE = 4  # one node in so many is chosen on top, because some exchanges are not allowed

Changes = dict[int, list[tuple[Segment, int]]]  # contract -> its segments that change nodes, each with the new column


class Held(NamedTuple):
    """What holds a node for [start, end): a segment of a contract; `movable` is False for what runs, and for an outage (of -1)."""

    start: int
    end: int
    whose: int
    segment: Segment
    movable: bool


class Lanes:
    """What every node would hold after the exchanges made so far; the book is only read. Contracts in `pinned` stay where they are."""

    def __init__(self, book: Book, pinned: frozenset[int] = frozenset()) -> None:
        self.book, self.pinned = book, pinned
        self.touched: set[int] = set()  # columns that have exchanged something
        self._held: dict[int, list[Held]] = {}

    def held(self, column: int) -> list[Held]:
        """What the node holds, by start."""
        found = self._held.get(column)
        if found is None:
            book = self.book
            found = [Held(s.start, s.end, i, s, i not in self.pinned and not runs(book, i, s)) for i, s in book.on_node[column]]
            found += [Held(a, b, -1, Segment(column, a, b, 0), False) for a, b in book.fleet.outages[column]]
            found.sort()
            self._held[column] = found
        return found

    def is_free(self, column: int, start: int, end: int) -> bool:
        """Nothing lies on the node in [start, end)."""
        return all(h.end <= start or end <= h.start for h in self.held(column))

    def free_until(self, column: int, time: int, end: int) -> int:
        """Until when the node, free at `time`, stays so; at most `end`."""
        return min((h.start for h in self.held(column) if time < h.start < end), default=end)

    def exchange(self, one: int, two: int, start: int, end: int) -> bool:
        """Exchanges what two nodes hold in [start, end), widened until nothing lies across either end; False = that is not allowed."""
        fleet = self.book.fleet
        if fleet.gpus[one] != fleet.gpus[two]:
            return False
        here, there = self.held(one), self.held(two)
        start, end = _widened(here, there, start, -1), _widened(here, there, end, 1)
        gives = [h for h in here if start <= h.start < end]
        takes = [h for h in there if start <= h.start < end]
        if not all(h.movable for h in gives) or not all(h.movable for h in takes):
            return False
        stays, remains = ([h for h in own if not start <= h.start < end] for own in (here, there))
        if not (self._may_lie(gives, one, two, remains) and self._may_lie(takes, two, one, stays)):
            return False
        self._held[one], self._held[two] = sorted(stays + takes), sorted(remains + gives)
        self.touched.update((one, two))
        return True

    def _may_lie(self, moved: Sequence[Held], source: int, target: int, beside: Sequence[Held]) -> bool:
        """Grade, topology and the turnarounds of a node handed over whole let these lie on the other node."""
        fleet, demands = self.book.fleet, self.book.demands
        same_grade = fleet.grade[source] == fleet.grade[target]
        for h in moved:
            demand = demands[h.whose]
            if not same_grade and int(fleet.grade[target]) not in demand.options:
                return False
            for level in (demand.contract.scope, demand.contract.spread_level):
                if level is not Scope.ANY and fleet.domains[level][source] != fleet.domains[level][target]:
                    return False
        return not (fleet.handed_over and fleet.whole[target]) or not self._too_near(moved, beside)

    def _too_near(self, moved: Sequence[Held], beside: Sequence[Held]) -> bool:
        demands = self.book.demands
        for h in moved:
            one = demands[h.whose]
            for o in beside:
                if o.whose >= 0 and one.apart_from(demands[o.whose]):
                    pause = one.pause_between(demands[o.whose])
                    if o.start - pause < h.end and h.start < o.end + pause:
                        return True
        return False

    def changes(self) -> Changes:
        """What the exchanges amount to."""
        found: Changes = {}
        for column in sorted(self.touched):
            for h in self._held[column]:
                if h.whose >= 0 and h.segment.column != column:
                    found.setdefault(h.whose, []).append((h.segment, column))
        return found


def runs(book: Book, index: int, segment: Segment) -> bool:
    """Lots of the contract run on the node, so that leaving it would interrupt them."""
    begun = segment.start == book.now and segment.column in book.demands[index].running
    return begun or segment.start < book.now


def _widened(one: Sequence[Held], two: Sequence[Held], time: int, sign: int) -> int:
    """The next instant from `time` on, or with sign -1 back from it, across which nothing lies on either node."""
    while True:
        across = [h.end if sign > 0 else h.start for own in (one, two) for h in own if h.start < time < h.end]
        if not across:
            return time
        time = max(across) if sign > 0 else min(across)


class Sweep:
    """Makes nodes of one grade free from `start` to `end`, from one instant at which some cease to be free to the next.

    A node that is free until some contract begins on it goes on with what another free node holds from there on, the one that stays
    free longest. That is interval colouring: if enough nodes are free at every instant, enough become free throughout.
    """

    def __init__(self, lanes: Lanes, span: slice, start: int, end: int) -> None:
        self.lanes, self.span, self.start, self.end = lanes, span, start, end
        fleet = lanes.book.fleet
        self._able: Flags = fleet.open[span] & (fleet.gpus[span] > 0)
        self._until = np.zeros(span.stop - span.start, dtype=np.int64)  # end of the free run of untouched nodes looked at last
        self.chosen: dict[int, int] = {}  # column -> until when it is free

    def run(self, more: int) -> int:
        """Makes `more` further nodes free throughout, or as many as it can; returns how many."""
        free = self._free_at(self.start)
        until = self._free_until(free, self.start)
        order = np.lexsort((free, -until))
        already = int((until >= self.end).sum())
        order = order[already : already + more + more // SPARE + 1]
        self._beside = set(free[until >= self.end].tolist())  # free throughout as they are
        self.chosen = dict(zip(free[order].tolist(), until[order].tolist(), strict=True))
        while self.chosen and (time := min(self.chosen.values())) < self.end:
            self._step(time)
        return len(self.chosen)

    def _step(self, time: int) -> None:
        """Every chosen node that is free only until `time` goes on as another one, or is given up."""
        ending = sorted(c for c, t in self.chosen.items() if t == time)
        free = self._free_at(time)
        free = np.array([c for c in free.tolist() if c not in self.chosen and c not in self._beside], dtype=np.int64)
        until = self._free_until(free, time)
        order = np.lexsort((free, -until))
        partners = [p for p in zip(free[order].tolist(), until[order].tolist(), strict=True) if p[1] > time]
        for column in ending:
            for i, (other, stop) in enumerate(partners[:PARTNERS]):
                if self.lanes.exchange(column, other, time, stop):
                    del partners[i]
                    self.chosen[column] = self.lanes.free_until(column, time, self.end)
                    break
            else:
                del self.chosen[column]

    def _free_at(self, time: int) -> Ints:
        """Columns on which nothing lies at an instant."""
        ledger, span, lanes = self.lanes.book.ledger, self.span, self.lanes
        free = (ledger.free(time, time + 1, span) >= ledger.gpus[span]) & self._able
        for column in lanes.touched:
            if span.start <= column < span.stop:
                free[column - span.start] = lanes.is_free(column, time, time + 1)
        found: Ints = span.start + np.flatnonzero(free)
        return found

    def _free_until(self, columns: Ints, time: int) -> Ints:
        """Until when each of these nodes, free at `time`, stays so; `end` at most."""
        at = columns - self.span.start
        until = self._until[at]
        stale = np.flatnonzero(until <= time)
        if len(stale):
            ledger = self.lanes.book.ledger
            until[stale] = ledger.free_until(columns[stale], time, self.end, ledger.gpus[columns[stale]])
            self._until[at[stale]] = until[stale]
        for i, column in enumerate(columns.tolist()):
            if column in self.lanes.touched:
                until[i] = self.lanes.free_until(column, time, self.end)
        found: Ints = np.minimum(until, self.end)
        return found
