"""Many lots at once: what a contract misses is served in blocks of time, in each by as many lots as find room through all of it.

Long blocks come first, and what is left of one is halved. Halves meet at instants that all lots of the contract share, where any
number of them change node for the price of one interruption; lots that look for their ways one by one end at instants of their own.
"""

from __future__ import annotations

from collections import deque

from .book import Book
from .eligible import Demand
from .place import find_place

FEWEST = 2  # lots; a single one has chains
MOST_BLOCKS = 160  # that are looked at, for one contract

Span = tuple[int, int]  # [start, end) in seconds


def fill(book: Book, index: int) -> None:
    """Serves what the contract misses, block by block, through what is free; never makes it cost more."""
    demand = book.demands[index]
    if demand.together:
        return
    waiting, looked = deque([(demand.start, demand.end)]), 0
    while waiting and looked < MOST_BLOCKS:
        block = waiting.popleft()
        missing = _missing_in(book, index, block)
        if missing == [block]:
            looked += 1
            _serve(book, demand, *block)
            missing = _missing_in(book, index, block)
        for span in missing:
            waiting.extend(_halves(book, demand, *span) if span == block else [span])


def _missing_in(book: Book, index: int, block: Span) -> list[Span]:
    """The spans of a block in which several lots are missing."""
    spans: list[Span] = []
    for start, end, lots in book.missing(index):
        start, end = max(start, block[0]), min(end, block[1])
        if start < end and lots >= FEWEST:
            touches = spans and spans[-1][1] == start
            spans.append((spans.pop()[0] if touches else start, end))
    return spans


def _serve(book: Book, demand: Demand, start: int, end: int) -> None:
    """As many lots as miss throughout the block and find room; or, where that would cut others once too often, a little less long."""
    lots = min(n for a, b, n in book.missing(demand.index) if a < end and start < b)
    for a, b in ((start, end), clear_of_changes(book, demand, start, end)):
        found = find_place(book, demand, a, b, lots, partial=True) if a < b else []
        if found and book.pays(demand.index, found):
            book.put(demand.index, found)
            return


def clear_of_changes(book: Book, demand: Demand, start: int, end: int) -> Span:
    """Begins after lots of the contract have left nodes, and ends before lots arrive, by at least `planning.move.seconds`."""
    instants, grid, pause = book.verdict(demand.index).instants, book.ledger.grid, max(1, demand.move_seconds)
    tally = book.tally(demand.index)
    if start > demand.start and start not in instants and tally.leaving(start):
        start = grid.times[min(grid.row(start + pause), grid.rows)]
    if end < demand.end and end not in instants and tally.arrives(end):
        end = grid.slice_at(end - pause)[0]
    return start, end


def _halves(book: Book, demand: Demand, start: int, end: int) -> list[Span]:
    """Cut at an instant near the middle at which the contract is interrupted anyway, else at the boundary nearest to the middle."""
    near = [t for t in book.verdict(demand.index).instants if 3 * start + end < 4 * t < start + 3 * end]
    inside = near or book.ledger.grid.between(start + 1, end)
    if not inside or end - start < 4 * demand.move_seconds:
        return []
    middle = min(inside, key=lambda t: (abs(2 * t - start - end), t))
    return [(start, middle), (middle, end)]
