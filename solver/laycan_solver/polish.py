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


def polish(book: Book, late: Callable[[], bool]) -> None:
    """Tries every contract that is short until a whole pass changes nothing; again only after its nodes have changed."""
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
            _one_move(book, book.demands[index])
            for column in book.columns_since(mark):
                changed[column], progress = step, True


def _one_move(book: Book, demand: Demand) -> bool:
    """Serves one more lot, through one gap, on a node that a single segment leaves for another node with room."""
    if demand.together:
        return False
    return any(
        _move(book, demand, window, index, segment)
        for window in windows_of(book, demand)
        for index, segment in _single_blockers(book, demand, window)
    )


def _move(book: Book, demand: Demand, window: Window, index: int, segment: Segment) -> bool:
    """Moves the segment to another node as it is and serves a lot in its place; undone unless the objective falls."""
    if segment not in book.segments[index]:
        return False
    mark, before = book.mark(), book.tiers((demand.index, index))
    book.drop(index, [segment])
    if place := find_place(book, demand, window.start, window.end, 1):
        book.put(demand.index, place)
        other = find_place(book, book.demands[index], segment.start, segment.end, segment.lots)
        book.put(index, other)
        legal = book.verdict(demand.index).legal and book.verdict(index).legal
        if other and legal and book.tiers((demand.index, index)) < before:
            return True
    book.roll_back(mark)
    return False


def _single_blockers(book: Book, demand: Demand, window: Window) -> list[tuple[int, Segment]]:
    """Segments without which their node could take a lot through the window."""
    ledger, lot = book.ledger, demand.contract.lot_gpus
    found = []
    for column in worth_a_look(book, demand, window):
        free = ledger.profile(window.start, window.end, np.array([column]))[:, 0]
        tight = np.flatnonzero(free < lot)
        held = bool(demand.holder) and bool(book.fleet.whole[column])
        if not len(tight) and not held:
            continue
        first = ledger.grid.row(window.start)
        begin, end = (ledger.grid.times[first + int(tight[0])], ledger.grid.times[first + int(tight[-1]) + 1]) if len(tight) else (1, 0)
        for index, s in book.on_node[column]:
            if index != demand.index and (begin > end or (s.start <= begin and s.end >= end)):
                gives = s.lots * book.demands[index].contract.lot_gpus
                if int(free.min()) + gives >= lot:
                    found.append((index, s))
    return found
