"""Compaction: whole nodes by the month are won back where segments break months that need not be broken.

Nothing is owed more and no announced binding changes: only contracts that neither run nor are announced move, uncut, inside the scope
and the spread that hold for them. First whole contracts are placed anew, what needs a whole domain before the others, in order of
starts; now that everything has its place, best fit sees where months are broken anyway. Then nodes exchange what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain

import numpy as np

from .book import Book
from .exchange import exchange
from .objective import Segment
from .place import find_place
from .timegrid import Ints

EXCHANGES = 8  # that cost as much as placing a contract anew
LEAST = 20  # contracts placed anew in a round for a month that is won; a round that wins less is the last


def compact(book: Book, tries: int, late: Callable[[], bool]) -> int:
    """Wins free months while that pays, by at most `tries` contracts placed anew; returns how many it won."""
    movable = {i for i in book.demands if may_move(book, i)}
    won = 0
    while tries > 0 and not late():
        gain, chosen = 0, worth_a_try(book, movable)[:tries]
        for index in chosen:
            if late():
                return won + gain
            gain += _place_anew(book, index)
        more, pairs = exchange(book, movable, rows_of(book, book.demands), (tries - len(chosen)) * EXCHANGES, late)
        tries -= len(chosen) + pairs // EXCHANGES
        won += gain + more
        if (gain + more) * LEAST <= len(chosen):
            break
    return won


def may_move(book: Book, index: int) -> bool:
    """Nothing of the contract is announced or runs, and each of its lots is on one node from the first second due to the last."""
    demand, own = book.demands[index], book.segments[index]
    if not own or demand.announced or demand.running or demand.contract.reserve:
        return False
    return all(s.start == demand.start and s.end == demand.end for s in own)


def rows_of(book: Book, indices: Collection[int]) -> Ints:
    """[row, 5]: contract, column, start, end and lots of every segment of these contracts."""
    values = chain.from_iterable((i, *s) for i in indices for s in book.segments[i])
    return np.fromiter(values, dtype=np.int64).reshape(-1, 5)


def worth_a_try(book: Book, movable: Collection[int]) -> list[int]:
    """Contracts that break months alone which they could share with others, what is scoped first, in order of starts.

    What fills a node through a month breaks it wherever it lies; what begins or ends in it, or leaves GPUs free, might join others.
    """
    months, fleet, demands = book.months, book.fleet, book.demands
    index, column, start, end, lots = rows_of(book, sorted(movable)).T
    alone = np.zeros((len(months.busy) + 1, len(fleet.nodes)), dtype=np.int64)
    (months.busy == 1).cumsum(axis=0, out=alone[1:])
    first, last = months.touched(start, end)
    broken = alone[last, column] - alone[first, column]
    lot = np.zeros(int(index.max(initial=-1)) + 1, dtype=np.int64)
    lot[sorted(movable)] = [demands[i].contract.lot_gpus for i in sorted(movable)]
    fills = lots * lot[index] >= fleet.gpus[column]
    needless = broken > np.where(fills, months.filled(start, end), 0)
    return sorted(set(index[needless].tolist()), key=lambda i: (not demands[i].scoped, demands[i].start, i))


def _place_anew(book: Book, index: int) -> int:
    """Free months won by placing the whole contract anew; 0 and no change, if none."""
    demand, own, mark = book.demands[index], list(book.segments[index]), book.mark()
    before = book.verdict(index).tiers
    book.drop(index, own)
    found = find_place(book, demand, demand.start, demand.end, sum(s.lots for s in own), own=True)
    won = _broken(book, own) - _broken(book, found) if found else 0
    if won > 0:
        book.put(index, found)
        if book.verdict(index).tiers <= before:
            return won
    book.roll_back(mark)
    return 0


def _broken(book: Book, segments: list[Segment]) -> int:
    """Free months that these segments of one window would break."""
    columns = np.array(sorted({s.column for s in segments}))
    return int(book.months.broken(columns, segments[0].start, segments[0].end).sum())
