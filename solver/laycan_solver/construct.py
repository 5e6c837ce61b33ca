"""Construction: every contract served once, in the order of starts, uncut.

In that order what is free at a contract's start stays free to its end, as far as nothing was placed ahead of time: best fit then is
interval colouring, which wastes nothing. What needs a whole rack, or a good part of a zone, has to come ahead of others all the same,
because nothing would leave it intact: the earlier, the larger its share. Where not everything fits, the order of value decides who
goes short instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .book import Book
from .cover import cover
from .eligible import Demand
from .fleet import Fleet
from .place import find_place, next_room

AHEAD = 365 * 86_400  # seconds that what takes a whole domain comes ahead of its start, and less in proportion; tried from 1/2 to 4


def value_order(demands: Iterable[Demand]) -> list[int]:
    """The one of most weight first, Firm before Interruptible, reserves last."""

    def key(d: Demand) -> tuple[object, ...]:
        return (d.contract.reserve, not d.contract.firm, -stake(d), -d.contract.priority, d.contract.key)

    return [d.index for d in sorted(demands, key=key)]


def stake(demand: Demand) -> int:
    """What would be owed, where who comes late goes short.

    That should be what is owed least per GPU and second, which therefore counts twice. What must lie in one domain or come whole cannot
    be pieced together from what others leave, and counts threefold.
    """
    contract = demand.contract
    return contract.rate**2 * contract.gpus * (demand.end - demand.start) * (3 if demand.scoped or demand.together else 1)


def start_order(demands: Iterable[Demand], fleet: Fleet) -> list[int]:
    """By start, ahead of it what is bulky; at one instant the largest lots and contracts first."""
    return [index for index, _, _ in turns(demands, fleet, {})]


def turns(demands: Iterable[Demand], fleet: Fleet, rationed: Mapping[int, Sequence[tuple[int, int]]]) -> list[tuple[int, int, int]]:
    """(contract, start, end) in that order: who is rationed only for the spans given, and after all others if it may come in part."""
    domains = DomainSizes(fleet)
    found = []
    for d in demands:
        ahead = AHEAD * d.contract.gpus // domains.largest(d) if d.scoped else 0
        for start, end in rationed.get(d.index, ((d.start, d.end),)):
            last = d.index in rationed and not d.together
            found.append(((last, start - ahead, -d.contract.lot_gpus, -d.contract.gpus, d.contract.key), (d.index, start, end)))
    return [turn for _, turn in sorted(found)]


class DomainSizes:
    """GPUs of the largest domain of a level in some grades."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._largest: dict[tuple[object, ...], int] = {}

    def largest(self, demand: Demand) -> int:
        key = (demand.contract.scope, *demand.options)
        if key not in self._largest:
            inside = np.isin(self.fleet.grade, list(demand.options))
            gpus = np.bincount(self.fleet.domains[demand.contract.scope][inside], self.fleet.gpus[inside])
            self._largest[key] = max(1, int(gpus.max(initial=0)))
        return self._largest[key]


def settle(book: Book, index: int, *, cuts: bool, own: bool = False) -> None:
    """Serves what the contract misses as well as what is free allows; without `cuts` only by lots that never change node.

    With `own`, in no substitute.
    """
    demand = book.demands[index]
    if demand.together:
        _serve_together(book, demand, cuts, own)
        return
    lots = _missing_throughout(book, demand)
    if lots:
        found = find_place(book, demand, demand.start, demand.end, lots, partial=True, liked=liked(book, demand), own=own)
        if found:
            first = own and not book.segments[index] and not demand.running  # then it only lowers what is owed
            mark, before = book.mark(), None if first else book.verdict(index)
            book.put(index, found)
            if before is not None and (not (after := book.verdict(index)).legal or after.tiers > before.tiers):
                book.roll_back(mark)
    if cuts:
        cover(book, index, own=own)


def settle_between(book: Book, index: int, start: int, end: int) -> None:
    """The same for a part of the window, uncut and in no substitute, if nothing serves the contract there yet."""
    demand = book.demands[index]
    for time in (start, end):
        book.ledger.split(time)
    if any(s.start < end and start < s.end for s in book.segments[index]):
        return
    found = find_place(book, demand, start, end, demand.lots, partial=not demand.together, own=True)
    if found and book.pays(index, found):
        book.put(index, found)


def _missing_throughout(book: Book, demand: Demand) -> int:
    """Lots that miss from the first second due to the last."""
    if not book.segments[demand.index]:
        return demand.lots
    gaps = book.missing(demand.index)
    return min(n for _, _, n in gaps) if sum(end - start for start, end, _ in gaps) == demand.end - demand.start else 0


def liked(book: Book, demand: Demand) -> set[int]:
    return {book.fleet.column[b.node] for b in demand.announced}


def _serve_together(book: Book, demand: Demand, cuts: bool, own: bool) -> None:
    """All lots or none: whole if possible; else in blocks of time, each as long as it goes, cut where a node must be left."""
    if not book.segments[demand.index]:
        found = find_place(book, demand, demand.start, demand.end, demand.lots, liked=liked(book, demand), own=own)
        if found:
            book.put(demand.index, found)
            return
    for start, end, lots in book.missing(demand.index) if cuts else ():
        if lots == demand.lots:
            _serve_in_blocks(book, demand, start, end, own)


def _serve_in_blocks(book: Book, demand: Demand, start: int, end: int, own: bool) -> None:
    """The same in one span of time in which nothing of the contract is served."""
    times = [*book.ledger.grid.between(start, end), end]
    before_it = {s.column for s in book.segments[demand.index] if s.end == start}
    row, near, near_end = 0, before_it or liked(book, demand), start if before_it else start - 1
    while row < len(times) - 1:
        stop = _longest(book, demand, times, row, own)
        mark, before = book.mark(), book.verdict(demand.index)
        if stop > row:
            found = find_place(book, demand, times[row], times[stop], demand.lots, liked=near, own=own)
            book.put(demand.index, found)
        after = book.verdict(demand.index)
        if stop == row or not after.legal or after.tiers >= before.tiers:
            book.roll_back(mark)
            cut = stop > row and near_end == times[row]  # not worth it, or not allowed: nor is a gap just to avoid it
            least = near_end + demand.move_seconds if cut else 0
            full, row = stop == row, next((i for i in range(row + 1, len(times)) if times[i] >= least), len(times))
            if full and row < len(times) - 1:
                row = bisect_left(times, next_room(book, demand, times[row], end, own))
        else:
            row, near, near_end = stop, {s.column for s in found}, times[stop]


def _longest(book: Book, demand: Demand, times: list[int], row: int, own: bool) -> int:
    """The last boundary up to which all lots can be placed uncut from `row`; `row` itself when not even one slice has room."""
    lots, last = demand.lots, len(times) - 1
    if not find_place(book, demand, times[row], times[row + 1], lots, own=own):
        return row
    good, step = row + 1, 1
    while good + step <= last and find_place(book, demand, times[row], times[good + step], lots, own=own):
        good, step = good + step, step * 2
    bad = min(last + 1, good + step)
    while bad - good > 1:
        middle = (good + bad) // 2
        if find_place(book, demand, times[row], times[middle], lots, own=own):
            good = middle
        else:
            bad = middle
    return good
