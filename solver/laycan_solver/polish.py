"""The last pass: no gap is left that one step would close, be it a free node, a chain, or one segment moved to where there is room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .book import Book
from .clearing import Window, windows_of
from .construct import settle
from .eligible import Demand
from .objective import Segment
from .place import allowed_columns, find_place, put_all

Movable = dict[int, list[tuple[int, Segment]]]  # column -> segments there that some other node could take as they are


def polish(book: Book, late: Callable[[], bool]) -> None:
    """Tries every contract that is short until a whole pass changes nothing; again only after its nodes have changed."""
    step = 0
    tried: dict[int, int] = {}  # contract -> step of its last try
    changed: dict[int, int] = {}  # column -> step of its last change
    progress = True
    while progress and not late():
        progress = False
        movable = _movable(book)
        for index in sorted(i for i in book.demands if book.verdict(i).owed):
            columns = book.demands[index].columns.tolist()
            if index in tried and all(changed.get(c, 0) < tried[index] for c in columns):
                continue
            step += 1
            tried[index], mark = step, book.mark()
            settle(book, index, cuts=True)
            _one_move(book, book.demands[index], movable)
            for column in book.columns_since(mark):
                changed[column], progress = step, True


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
            if segment in book.segments[index] and _move(book, demand, window, index, segment):
                return True
    return False


def _move(book: Book, demand: Demand, window: Window, index: int, segment: Segment) -> bool:
    """Moves the segment to another node as it is and serves a lot in its place; undone unless the objective falls."""
    grid, mark, before = book.ledger.grid, book.mark(), book.tiers((demand.index, index))
    book.drop(index, segment)
    first, last = grid.index(window.start), grid.index(window.end)
    if place := find_place(book, demand, first, last, 1):
        put_all(book, demand, first, last, place)
        first, last = grid.index(segment.start), grid.index(segment.end)
        placement = find_place(book, book.demands[index], first, last, segment.lots)
        put_all(book, book.demands[index], first, last, placement)
        legal = book.verdict(demand.index).legal and book.verdict(index).legal
        if placement and legal and book.tiers((demand.index, index)) < before:
            return True
    book.roll_back(mark)
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
