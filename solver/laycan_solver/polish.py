"""No shortfall is left that one step would remove: a free node, a chain, or one segment moved to where there is room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .book import Book
from .clearing import Window, windows_of, worth_a_look
from .construct import settle
from .eligible import Demand
from .objective import Segment
from .place import find_place


def polish(book: Book, tries: int, late: Callable[[], bool]) -> None:
    """Tries every contract that is short until a whole pass changes nothing; again only after its nodes have changed.

    At most `tries` segments are tried elsewhere.
    """
    step = 0
    tried: dict[int, int] = {}  # contract -> step of its last try
    changed = np.zeros(len(book.fleet.nodes), dtype=np.int64)  # column -> step of its last change
    progress = True
    while progress and not late():
        progress = False
        for index in sorted(i for i in book.demands if book.verdict(i).owed):
            if late():
                return
            if index in tried and changed[book.demands[index].columns].max(initial=0) < tried[index]:
                continue
            step += 1
            tried[index], mark = step, book.mark()
            settle(book, index, cuts=True)
            tries -= _one_move(book, book.demands[index], tries)
            for column in book.columns_since(mark):
                changed[column], progress = step, True


def _one_move(book: Book, demand: Demand, tries: int) -> int:
    """Serves one more lot, through one gap, on a node that a single segment leaves for another node; returns the tries made."""
    made = 0
    for window in windows_of(book, demand) if not demand.together else ():
        for index, segment in _single_blockers(book, demand, window) if made < tries else ():
            made += 1
            if _move(book, demand, window, index, segment):
                return made
            if made >= tries:
                break
    return made


def _move(book: Book, demand: Demand, window: Window, index: int, segment: Segment) -> bool:
    """Moves the segment to another node as it is and serves a lot in its place; undone unless the objective falls."""
    other, mark = book.demands[index], book.mark()
    if segment not in book.segments[index] or (book.now == segment.start and not other.moves_per_month):
        return False
    if not find_place(book, other, segment.start, segment.end, segment.lots):
        return False
    before = book.tiers((demand.index, index))
    book.drop(index, [segment])
    if place := find_place(book, demand, window.start, window.end, 1):
        book.put(demand.index, place)
        elsewhere = find_place(book, other, segment.start, segment.end, segment.lots)
        book.put(index, elsewhere)
        legal = book.verdict(demand.index).legal and book.verdict(index).legal
        if elsewhere and legal and book.tiers((demand.index, index)) < before:
            return True
    book.roll_back(mark)
    return False


def _single_blockers(book: Book, demand: Demand, window: Window) -> list[tuple[int, Segment]]:
    """Segments without which their node could take a lot through the window."""
    ledger, lot = book.ledger, demand.contract.lot_gpus
    columns = worth_a_look(book, demand, window)
    free = ledger.profile(window.start, window.end, np.array(columns, dtype=np.int64)).astype(np.int64)
    first, rows = ledger.grid.row(window.start), len(free)
    tight = free < lot
    begins = ledger.grid.starts[first + tight.argmax(axis=0)].tolist()
    ends = ledger.grid.starts[first + rows - tight[::-1].argmax(axis=0)].tolist()
    found = []
    for column, begin, end, least in zip(columns, begins, ends, free.min(axis=0).tolist(), strict=True):
        if least >= lot and not (demand.holder and book.fleet.whole[column]):
            continue
        for index, s in book.on_node[column]:
            if index != demand.index and (least >= lot or (s.start <= begin and s.end >= end)):
                gives = s.lots * book.demands[index].contract.lot_gpus
                if least + gives >= lot:
                    found.append((index, s))
    return found
