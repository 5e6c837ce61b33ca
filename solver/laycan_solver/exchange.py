"""Two nodes of a grade exchange what they hold in a window at whose ends both are idle or change hands.

Where one node falls idle in a month and another is taken up later in it, one of the two could hold both and the other be free.
Bringing the ends and the starts of a month together on few nodes is a matching; an exchange adds a pair to it, if what follows on
the two nodes does not lose one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .book import Book
from .model import Scope
from .objective import Segment
from .timegrid import Flags, Ints

Opening = tuple[int, int]  # second from which a node is taken up or idle in a month, column
Piece = tuple[int, int, int, int, Segment]  # start, end, which of the two nodes, contract, segment


def exchange(book: Book, movable: Collection[int], rows: Ints, tries: int, late: Callable[[], bool]) -> tuple[int, int]:
    """Free months won, and the pairs of nodes tried; only segments of `movable` contracts change node.

    `rows`: [row, 5], contract, column, start, end and lots of all segments.
    """
    trade = Trade(book, movable)
    won = made = 0
    for starts, ends in _openings(book, rows, np.array(trade.whole) > 0):
        idle = Idle(book, ends)
        for start, column in starts:
            partner = idle.partner(column, start)
            if partner is None:
                continue
            if made >= tries or late():
                return won, made
            made += 1
            if gain := trade.try_from(start, partner, column):
                won += gain
                idle.drop(partner)
    return won, made


def _openings(book: Book, rows: Ints, usable: Flags) -> Iterator[tuple[list[Opening], list[Opening]]]:
    """Per month and grade: when nodes idle until then are taken up, and when nodes become idle for the rest of the month."""
    months, fleet = book.months, book.fleet
    usable = usable & np.array([not outages for outages in fleet.outages], dtype=bool)
    rows = rows[usable[rows[:, 1]]]
    _, column, start, end, _ = rows.T
    first, last = months.touched(start, end)
    for month in range(len(months.busy)):
        begin, stop = months.starts[month], months.starts[month + 1]
        inside = (first <= month) & (month < last)
        earliest, latest = np.full(len(fleet.nodes), stop), np.full(len(fleet.nodes), begin)
        np.minimum.at(earliest, column[inside], start[inside])
        np.maximum.at(latest, column[inside], end[inside])
        for span in fleet.span.values():
            starts, ends = (
                sorted((int(times[c]), c) for c in (span.start + np.flatnonzero((begin < times[span]) & (times[span] < stop))).tolist())
                for times in (earliest, latest)
            )
            if starts and ends:
                yield starts, ends


class Idle:
    """Nodes that become idle in a month and when, sorted: all of them, those of each zone and those of each rack."""

    def __init__(self, book: Book, ends: Iterable[Opening]) -> None:
        self.domains = [book.fleet.domains[level] for level in (Scope.RACK, Scope.ZONE, Scope.ANY)]
        self.known: list[dict[int, list[Opening]]] = [{} for _ in self.domains]
        for end, column in ends:
            for domain, known in zip(self.domains, self.known, strict=True):
                known.setdefault(int(domain[column]), []).append((end, -column))
        for known in self.known:
            for openings in known.values():
                openings.sort()

    def partner(self, column: int, start: int) -> int | None:
        """A node that is idle before `start`: of the same rack if possible, else of the same zone, then the one that is so latest."""
        for domain, known in zip(self.domains, self.known, strict=True):
            openings = known.get(int(domain[column]), [])
            for i in range(bisect_left(openings, (start + 1, -len(domain))) - 1, -1, -1):
                if openings[i][1] != -column:
                    return -openings[i][1]
        return None

    def drop(self, column: int) -> None:
        for domain, known in zip(self.domains, self.known, strict=True):
            openings = known[int(domain[column])]
            openings[:] = [o for o in openings if o[1] != -column]


@dataclass
class Trade:
    """Exchanges between two nodes, judged by the months that they break: one bit each."""

    book: Book
    movable: Collection[int]

    def __post_init__(self) -> None:
        self.whole = self.book.months.whole()

    def try_from(self, start: int, a: int, b: int) -> int:
        """Exchanges what two nodes hold from `start` to where that wins most free months; returns how many that is."""
        held = self._from(start, a, b)
        if held is None:
            return 0
        head, pieces = held
        masks = [self.book.months.mask(start, end) for start, end, *_ in pieces]
        rest = [(0, 0)]  # months that the pieces from the i-th on break on either node
        for (_, _, side, _, _), mask in zip(reversed(pieces), reversed(masks), strict=True):
            rest.append((rest[-1][0] | (0 if side else mask), rest[-1][1] | (mask if side else 0)))
        rest.reverse()
        before = self._broken(a, b, head[0] | rest[0][0], head[1] | rest[0][1])
        inside, until, best, moved = [0, 0], start, 0, 0
        for i, ((_, end, side, index, segment), mask) in enumerate(zip(pieces, masks, strict=True)):
            if index not in self.movable or not self._may_lie_on(index, segment, a if side else b):
                break
            inside[side] |= mask
            until = max(until, end)
            if i + 1 == len(pieces) or pieces[i + 1][0] >= until:
                won = before - self._broken(a, b, head[0] | inside[1] | rest[i + 1][0], head[1] | inside[0] | rest[i + 1][1])
                if won > best:
                    best, moved = won, i + 1
        return best if best and self._swap(a, b, pieces[:moved]) else 0

    def _from(self, start: int, a: int, b: int) -> tuple[list[int], list[Piece]] | None:
        """Months that what ends by `start` breaks on either node, and what comes after in order; None if something lies across."""
        head, pieces = [0, 0], []
        for side, column in enumerate((a, b)):
            for index, s in self.book.on_node[column]:
                if s.start < start < s.end:
                    return None
                if s.end <= start:
                    head[side] |= self.book.months.mask(s.start, s.end)
                else:
                    pieces.append((s.start, s.end, side, index, s))
        return head, sorted(pieces)

    def _broken(self, a: int, b: int, on_a: int, on_b: int) -> int:
        return (on_a & self.whole[a]).bit_count() + (on_b & self.whole[b]).bit_count()

    def _may_lie_on(self, index: int, segment: Segment, column: int) -> bool:
        """Scope and spread allow the segment there while the rest of the contract stays."""
        demand, domains = self.book.demands[index], self.book.fleet.domains
        for bound, level in ((demand.scoped, demand.contract.scope), (demand.spread, demand.contract.spread_level)):
            if bound and domains[level][segment.column] != domains[level][column]:
                return False
        return True

    def _swap(self, a: int, b: int, pieces: list[Piece]) -> bool:
        """Exchanges the pieces; undone where a node handed over whole would have two holders."""
        book, mark = self.book, self.book.mark()
        for *_, index, segment in pieces:
            book.drop(index, [segment])
        for _, _, side, index, segment in pieces:
            moved = segment._replace(column=a if side else b)
            if book.barred(book.demands[index], moved.column, moved.start, moved.end):
                book.roll_back(mark)
                return False
            book.put(index, [moved])
        return True
