"""The last pass: no gap is left that one step would close, be it a free node, a chain, or one segment moved to where there is room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .book import Book
from .clearing import Clearing, Window, windows_of
from .construct import settle
from .eligible import Demand
from .objective import Segment
from .place import allowed_columns
from .repair import attempt

Movable = dict[int, list[tuple[int, Segment]]]  # column -> segments there that some other node could take as they are


def polish(book: Book, late: Callable[[], bool]) -> None:
    """Leaves no gap that one step would close: a free node, a chain, or one segment of another contract moved to where there is room."""
    progress = True
    while progress and not late():
        progress = False
        movable = _movable(book)
        for index in sorted(i for i in book.demands if book.verdict(i).owed):
            before = book.verdict(index).tiers
            settle(book, index, cuts=True)
            progress |= book.verdict(index).tiers < before
            progress |= _one_move(book, book.demands[index], movable)


def _movable(book: Book) -> Movable:
    """column -> segments there that some other node could take as they are."""
    grid = book.ledger.grid
    found: Movable = {}
    for index, segments in book.segments.items():
        demand = book.demands[index]
        for s in segments:
            units = book.ledger.window_units(demand, grid.index(s.start), grid.index(s.end), demand.columns)
            if (units[demand.columns != s.column] > 0).any():
                found.setdefault(s.column, []).append((index, s))
    return found


def _one_move(book: Book, demand: Demand, movable: Movable) -> bool:
    """Serves one more lot, through one gap, on a node that a single segment leaves for another node with room."""
    if demand.together:
        return False
    for window in windows_of(book, demand):
        for index, segment in _single_blockers(book, demand, window, movable):
            if segment in book.segments[index] and attempt(book, demand, [Clearing(segment.column, 1, 0, ((index, segment),))]):
                return True
    return False


def _single_blockers(book: Book, demand: Demand, window: Window, movable: Movable) -> list[tuple[int, Segment]]:
    """Movable segments without which their node could take a lot through the window."""
    ledger, grid, lot = book.ledger, book.ledger.grid, demand.contract.lot_gpus
    first, last = grid.index(window.start), grid.index(window.end)
    allowed = allowed_columns(book, demand, window.start, window.end)
    columns = np.array([c for c in allowed.tolist() if c in movable], dtype=np.int64)
    if not len(columns):
        return []
    columns = columns[ledger.capacity[first:last][:, columns].min(axis=0) >= lot]
    free = ledger.free[first:last][:, columns]
    tight = free < lot
    begins = grid.starts[first + tight.argmax(axis=0)].tolist()
    ends = grid.starts[last - tight[::-1].argmax(axis=0)].tolist()
    found = []
    for column, begin, end, least in zip(columns.tolist(), begins, ends, free.min(axis=0).tolist(), strict=True):
        if least >= lot and not (demand.holder and book.fleet.whole[column]):
            continue
        for index, s in movable[column]:
            gives = s.lots * book.demands[index].contract.lot_gpus
            if index != demand.index and (least >= lot or (s.start <= begin and s.end >= end and least + gives >= lot)):
                found.append((index, s))
    return found
