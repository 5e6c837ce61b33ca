"""Where not everything fits, the dearer lot takes the place of the cheaper one, for exactly as long as it misses.

A lot without topology may be served in pieces, so in every slice those should go short that are owed least per GPU, Interruptible
before Firm: what the linear programme of the slice would do. One sweep from the dearest contract to the cheapest is enough, because
who loses something is cheaper than who gains, and still has its turn. The loser pauses where it is and goes on there: no lot of it
changes node, which would be an interruption.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .book import Book
from .construct import settle
from .eligible import Demand
from .objective import Segment
from .timegrid import Flags, Ints

FIRM = 1 << 61  # added to the weight of Firm, above every rate
MOST_PIECES = 64  # that one lot takes over in one gap
PATIENCE = 4  # gaps of a contract in a row in which nothing could be taken over, after which it is left


def outbid(book: Book, late: Callable[[], bool]) -> None:
    """Every contract that is short and asks for no topology, the dearest first, takes over what cheaper ones have."""
    sales: dict[int, Sales] = {}
    losers: set[int] = set()
    for index in sorted(book.demands, key=lambda i: (-weight(book.demands[i]), i)):
        demand = book.demands[index]
        if demand.scoped or demand.spread or demand.together or not book.verdict(index).owed:
            continue
        if late():
            return
        if index in losers:
            settle(book, index, cuts=True)
        mark = book.mark()
        for _, span in demand.pool.own:
            grade = int(book.fleet.grade[span.start]) if span.start < span.stop else -1
            if grade not in sales:
                sales[grade] = Sales(book, span)
            vain = 0
            for start, end, lots in book.missing(index):
                left = lots
                while left and _take_over(book, sales[grade], demand, start, end):
                    left -= 1
                vain = vain + 1 if left == lots else 0
                if vain >= PATIENCE or late():
                    break
        losers |= book.gained_since(mark).keys()


def weight(demand: Demand) -> int:
    """What a GPU-second is worth to the objective: the tier first, then the rate."""
    return min(demand.contract.rate, FIRM - 1) + (FIRM if demand.contract.firm else 0)


class Sales:
    """What is served on the nodes of one grade to contracts that may pause; rows are never removed, only emptied."""

    def __init__(self, book: Book, span: slice) -> None:
        self.rows: list[tuple[int, Segment]] = []
        self.book = book
        for column in (span.start + np.flatnonzero(book.fleet.open[span])).tolist():  # on cordoned nodes nothing begins, nor goes on
            self.rows += [(i, s) for i, s in book.on_node[column] if not book.demands[i].together]
        self.start: Ints = np.array([s.start for _, s in self.rows], dtype=np.int64)
        self.end: Ints = np.array([s.end for _, s in self.rows], dtype=np.int64)
        self.gpus: Ints = np.array([s.lots * book.demands[i].contract.lot_gpus for i, s in self.rows], dtype=np.int64)
        self.weight: Ints = np.array([weight(book.demands[i]) for i, _ in self.rows], dtype=np.int64)

    def cheaper(self, demand: Demand) -> Flags:
        """Rows that are worth less than the contract and hold a lot of it."""
        return (self.weight < weight(demand)) & (self.gpus >= demand.contract.lot_gpus)

    def best(self, allowed: Flags, time: int, end: int, worth: int) -> int:
        """The allowed row from which to take over at `time` gains most until `end`; -1 = none."""
        at = np.flatnonzero(allowed & (self.start <= time) & (self.end > time))
        if not len(at):
            return -1
        gain = (worth - self.weight[at]).astype(np.float64) * (np.minimum(self.end[at], end) - time)
        return int(at[int(gain.argmax())])

    def next_start(self, allowed: Flags, time: int, end: int) -> int:
        later = self.start[allowed & (self.start > time) & (self.start < end)]
        return int(later.min(initial=end))

    def replace(self, row: int, segments: list[Segment]) -> None:
        """The row's segment is gone; these are what its contract has left of it."""
        index, _ = self.rows[row]
        value = self.weight[row]
        self.end[row] = self.start[row]
        lot = self.book.demands[index].contract.lot_gpus
        self.rows += [(index, s) for s in segments]
        self.start = np.append(self.start, [s.start for s in segments])
        self.end = np.append(self.end, [s.end for s in segments])
        self.gpus = np.append(self.gpus, [s.lots * lot for s in segments])
        self.weight = np.append(self.weight, np.full(len(segments), value))


def _take_over(book: Book, sales: Sales, demand: Demand, start: int, end: int) -> bool:
    """One more lot through [start, end), as far as cheaper lots are found; True if there were any."""
    time, pieces, some = start, 0, False
    allowed = sales.cheaper(demand) & (sales.start < end) & (sales.end > start)
    while time < end and pieces < MOST_PIECES:
        row = sales.best(allowed, time, end, weight(demand))
        if row < 0:
            time = sales.next_start(allowed, time, end)
            continue
        pieces += 1
        stop = min(int(sales.end[row]), end)
        taken = _swap(book, sales, demand, row, time, stop)
        allowed[row] = False
        allowed = np.append(allowed, sales.cheaper(demand)[len(allowed) :])
        if taken:
            some, time = True, stop
    return some


def _swap(book: Book, sales: Sales, demand: Demand, row: int, start: int, stop: int) -> bool:
    """The lot is served instead of the row's contract in [start, stop); undone unless the objective falls."""
    index, old = sales.rows[row]
    if old not in book.segments[index]:
        return False
    lot = book.demands[index].contract.lot_gpus
    lots = -(-demand.contract.lot_gpus // lot)
    rest = [Segment(old.column, old.start, old.end, old.lots - lots)] if old.lots > lots else []
    rest += [Segment(old.column, a, b, lots) for a, b in ((old.start, start), (stop, old.end)) if a < b]
    mark, before = book.mark(), book.tiers((index, demand.index))
    book.drop(index, [old])
    if rest:
        book.put(index, rest)
    if book.fits(demand, old.column, start, stop, 1):
        book.put(demand.index, [Segment(old.column, start, stop, 1)])
        legal = book.verdict(index).legal and book.verdict(demand.index).legal
        if legal and book.tiers((index, demand.index)) < before:
            sales.replace(row, rest)
            return True
    book.roll_back(mark)
    return False
