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
from .objective import Segment
from .place import find_place
from .timegrid import Ints

NODES = 64  # that are looked at

Way = tuple[int, list[tuple[int, Segment]]]  # lots that a node holds more, once these segments of contracts have left it


class Moving:
    """Makes room for `demand` in [start, end), whole slices; `remember` is told of a contract before it leaves or enters nodes."""

    def __init__(self, book: Book, demand: Demand, start: int, end: int, remember: Callable[[int, Iterable[int]], None]) -> None:
        self.book, self.demand, self.start, self.end, self.remember = book, demand, start, end, remember
        self.lot = demand.contract.lot_gpus
        self._held: Counter[int] = Counter()  # column -> GPUs kept from others

    def run(self, lots: int, late: Callable[[], bool]) -> None:
        """Makes room for `lots` more lots, or as many as can be."""
        with self._kept_free():
            ways = {c: way for c in self._columns().tolist() if (way := self._way(c))}
            for column in sorted(ways, key=lambda c: (self._weight(ways[c]), c)):
                if lots <= 0 or late():
                    break
                way = self._way(column)  # others may have come since
                if way and self._clear(column, way):
                    lots -= way[0]

    def _columns(self) -> Ints:
        """Nodes worth a look: those with most room, of the domain with most room if it has to be one."""
        book, columns = self.book, self.demand.columns
        slack = book.ledger.slack(self.start, self.end, columns)
        if self.demand.scoped:
            domain = book.fleet.domains[self.demand.contract.scope]
            room = np.bincount(domain[columns], book.ledger.free(self.start, self.end, columns) // min(self.lot, 127))
            here = domain[columns] == int(room.argmax()) if len(columns) else np.zeros(0, dtype=bool)
            columns, slack = columns[here], slack[here]
        best: Ints = columns[np.lexsort((columns, -slack))][:NODES]
        return best

    def _weight(self, way: Way) -> int:
        """GPU-seconds that have to go for a lot."""
        lots, segments = way
        return sum(self._gpus(i, s) * (s.end - s.start) for i, s in segments) // lots

    def _gpus(self, index: int, segment: Segment) -> int:
        return segment.lots * self.book.demands[index].contract.lot_gpus

    def _way(self, column: int) -> Way | None:
        """The smallest segments that have to leave the node so that it holds a lot more; None if that is not enough."""
        book, grid = self.book, self.book.ledger.grid
        free = book.ledger.profile(self.start, self.end, np.array([column]))[:, 0].astype(np.int64)
        first, before = grid.row(self.start), int(free.min()) // self.lot
        others = sorted((self._gpus(i, s) * (s.end - s.start), i, s) for i, s in book.on_node[column] if self._near(i, s, column))
        gone: list[tuple[int, Segment]] = []
        apart = [self._apart(i, column) for _, i, _ in others]
        for (_, i, s), must in zip(others, apart, strict=True):
            if runs(book, i, s) and must:
                return None
            rows = slice(max(grid.row(s.start) - first, 0), max(grid.row(s.end) - first, 0))
            if must or (
                free.min() // self.lot <= before and free[rows].min(initial=1 << 40) // self.lot <= before and not runs(book, i, s)
            ):
                free[rows] += self._gpus(i, s)
                gone.append((i, s))
        more = int(free.min()) // self.lot - (0 if any(apart) else before)
        return (more, gone) if more > 0 and gone else None

    def _near(self, index: int, segment: Segment, column: int) -> bool:
        """The segment lies in the window, or too near to it for what may not share the node."""
        pause = self.demand.pause_between(self.book.demands[index]) if self._apart(index, column) else 0
        return segment.start - pause < self.end and self.start < segment.end + pause

    def _apart(self, index: int, column: int) -> bool:
        return self.book.separates(self.demand) and bool(self.book.fleet.whole[column]) and self.demand.apart_from(self.book.demands[index])

    @contextmanager
    def _kept_free(self) -> Iterator[None]:
        """Keeps from others what the contract asked for can have, until the end."""
        units = units_in(self.book, self.demand, self.demand.start, self.demand.end)
        for column, room in zip(units.columns.tolist(), units.lots.tolist(), strict=True):
            self._hold(column, room)
        yield
        for column, gpus in self._held.items():
            self.book.ledger.take(np.array([column]), self.start, self.end, np.array([-gpus]))

    def _hold(self, column: int, lots: int) -> None:
        self.book.ledger.take(np.array([column]), self.start, self.end, np.array([lots * self.lot]))
        self._held[column] += lots * self.lot

    def _clear(self, column: int, way: Way) -> bool:
        """Moves what is in the way, the largest first; undone unless all of it finds room and nobody is the worse for it."""
        book, mark = self.book, self.book.mark()
        lots, segments = way
        before = {i: book.verdict(i) for i, _ in segments}
        for index, segment in segments:
            self.remember(index, (column,))
            book.drop(index, [segment])
        room = int(book.ledger.free(self.start, self.end, np.array([column]))[0]) // self.lot
        lots = min(lots, room)
        self._hold(column, lots)
        for index, s in sorted(segments, key=lambda e: (-self._gpus(*e), e)):
            place = find_place(book, book.demands[index], s.start, s.end, s.lots)
            self.remember(index, [p.column for p in place])
            book.put(index, place)
            if not place or any(p.column == column for p in place):
                break
        else:
            if all(book.verdict(i).legal and book.verdict(i).tiers[:3] <= v.tiers[:3] for i, v in before.items()):
                return True
        self._hold(column, -lots)
        book.roll_back(mark)
        return False
