"""Single moves: a segment that is in the way on one node goes to another that has room for it through all of its window.

Unlike an exchange this works between nodes that others use in part. The nodes that the contract asked for can have already are kept
free meanwhile, or else what is moved would fill them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from .allot import units_in
from .book import Book
from .eligible import Demand
from .lanes import runs
from .objective import Segment, Tiers
from .place import find_place
from .timegrid import Ints

NODES = 48  # that are looked at for the contract asked for
FURTHER = 12  # the same for what has to leave one of them and finds no room
CHAINS = 12  # times that these are looked at

Way = tuple[int, list[tuple[int, Segment]]]  # lots that a node holds more, once these segments of contracts have left it


class Moving:
    """Makes room for `demand` in [start, end), whole slices; `remember` is told of a contract before it leaves or enters nodes."""

    def __init__(self, book: Book, demand: Demand, start: int, end: int, remember: Callable[[int, Iterable[int]], None]) -> None:
        self.book, self.demand, self.start, self.end, self.remember = book, demand, start, end, remember
        self.lot = demand.contract.lot_gpus
        self._before: dict[int, Tiers] = {}  # contract that was touched -> what it cost before
        self._held: Counter[int] = Counter()  # column -> GPUs kept from others
        self._chains = CHAINS

    def run(self, lots: int, late: Callable[[], bool]) -> None:
        """Makes room for `lots` more lots, or as many as can be."""
        with self._kept_free():
            columns = self._columns(self.demand, self.start, self.end)[:NODES].tolist()
            ways = {c: way for c in columns if (way := self._way(self.demand, c, self.start, self.end))}
            for column in sorted(ways, key=lambda c: (self._weight(ways[c]), c)):
                if lots <= 0 or late():
                    break
                way = self._way(self.demand, column, self.start, self.end)  # others may have come since
                if way and self._clear(column, way):
                    lots -= way[0]

    def _columns(self, demand: Demand, start: int, end: int) -> Ints:
        """The nodes with most room first; of the domain with most room, if it has to be one."""
        book, columns = self.book, demand.columns
        slack = book.ledger.slack(start, end, columns)
        if demand.scoped:
            domain = book.fleet.domains[demand.contract.scope]
            room = np.bincount(domain[columns], book.ledger.free(start, end, columns) // min(demand.contract.lot_gpus, 127))
            here = domain[columns] == int(room.argmax()) if len(columns) else np.zeros(0, dtype=bool)
            columns, slack = columns[here], slack[here]
        best: Ints = columns[np.lexsort((columns, -slack))]
        return best

    def _weight(self, way: Way) -> int:
        """GPU-seconds that have to go for a lot."""
        lots, segments = way
        return sum(self._gpus(i, s) * (s.end - s.start) for i, s in segments) // lots

    def _gpus(self, index: int, segment: Segment) -> int:
        return segment.lots * self.book.demands[index].contract.lot_gpus

    def _way(self, demand: Demand, column: int, start: int, end: int) -> Way | None:
        """The smallest segments that have to leave the node so that it holds a lot more; None if that is not enough."""
        book, grid, lot = self.book, self.book.ledger.grid, demand.contract.lot_gpus
        free = book.ledger.profile(start, end, np.array([column]))[:, 0].astype(np.int64)
        first, before = grid.row(start), int(free.min()) // lot
        there = [(self._apart(demand, i, column), i, s) for i, s in book.on_node[column]]
        near = [(self._gpus(i, s) * (s.end - s.start), i, s, must) for must, i, s in there if self._near(demand, i, s, must, start, end)]
        gone: list[tuple[int, Segment]] = []
        for _, i, s, must in sorted(near):
            rows = slice(max(grid.row(s.start) - first, 0), max(grid.row(s.end) - first, 0))
            full = free.min() // lot <= before and free[rows].min(initial=1 << 40) // lot <= before
            if (must or full) and not runs(book, i, s):
                free[rows] += self._gpus(i, s)
                gone.append((i, s))
            elif must:
                return None
        more = int(free.min()) // lot - (0 if any(must for *_, must in near) else before)
        return (more, gone) if more > 0 and gone else None

    def _near(self, demand: Demand, index: int, segment: Segment, apart: bool, start: int, end: int) -> bool:
        """The segment lies in the window, or too near to it for what may not share the node."""
        pause = demand.pause_between(self.book.demands[index]) if apart else 0
        return segment.start - pause < end and start < segment.end + pause

    def _apart(self, demand: Demand, index: int, column: int) -> bool:
        book = self.book
        return book.separates(demand) and bool(book.fleet.whole[column]) and demand.apart_from(book.demands[index])

    @contextmanager
    def _kept_free(self) -> Iterator[None]:
        """Keeps from others what the contract asked for can have, until the end."""
        units = units_in(self.book, self.demand, self.demand.start, self.demand.end)
        for column, room in zip(units.columns.tolist(), units.lots.tolist(), strict=True):
            self._hold(column, room)
        try:
            yield
        finally:
            for column, gpus in self._held.items():
                self.book.ledger.take(np.array([column]), self.start, self.end, np.array([-gpus]))

    def _hold(self, column: int, lots: int) -> None:
        self.book.ledger.take(np.array([column]), self.start, self.end, np.array([lots * self.lot]))
        self._held[column] += lots * self.lot

    def _clear(self, column: int, way: Way) -> bool:
        """Moves what is in the way; undone unless all of it finds room and nobody is the worse for it."""
        book, mark = self.book, self.book.mark()
        lots, segments = way
        self._take_off(column, segments)
        lots = min(lots, int(book.ledger.free(self.start, self.end, np.array([column]))[0]) // self.lot)
        self._hold(column, lots)
        if all(self._find(i, s) for i, s in self._largest_first(segments)) and not self._harmed(mark):
            return True
        self._hold(column, -lots)
        book.roll_back(mark)
        return False

    def _largest_first(self, segments: list[tuple[int, Segment]]) -> list[tuple[int, Segment]]:
        return sorted(segments, key=lambda e: (-self._gpus(*e), e))

    def _take_off(self, column: int, segments: list[tuple[int, Segment]]) -> None:
        for index, segment in segments:
            self._before.setdefault(index, self.book.verdict(index).tiers)
            self.remember(index, (column,))
            self.book.drop(index, [segment])

    def _find(self, index: int, s: Segment) -> bool:
        """A place for the segment through its window: one that is free, or a node that others leave for places that are."""
        book, demand = self.book, self.book.demands[index]
        if place := find_place(book, demand, s.start, s.end, s.lots):
            self._put(index, place)
            return True
        if self._chains <= 0 or demand.scoped or demand.spread:
            return False
        self._chains -= 1
        for column in self._columns(demand, s.start, s.end)[:FURTHER].tolist():
            way = self._way(demand, column, s.start, s.end) if column != s.column else None
            if way and way[0] >= s.lots:
                mark = book.mark()
                self._take_off(column, way[1])
                if not book.fits(demand, column, s.start, s.end, s.lots):  # of another holder until lately
                    book.roll_back(mark)
                    continue
                self._put(index, [s._replace(column=column)])
                if all(self._at_once(i, other) for i, other in self._largest_first(way[1])):
                    return True
                book.roll_back(mark)
        return False

    def _at_once(self, index: int, s: Segment) -> bool:
        place = find_place(self.book, self.book.demands[index], s.start, s.end, s.lots)
        self._put(index, place)
        return bool(place)

    def _put(self, index: int, place: list[Segment]) -> None:
        self.remember(index, [s.column for s in place])
        self.book.put(index, place)

    def _harmed(self, mark: int) -> bool:
        """Somebody is the worse for what was done since `mark`."""
        book = self.book
        touched = book.gained_since(mark)
        return any(not book.verdict(i).legal or book.verdict(i).tiers[:3] > self._before[i][:3] for i in touched)
