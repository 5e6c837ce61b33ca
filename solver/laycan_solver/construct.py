"""Construction: every contract served once, the one that would be owed most first, Firm before Interruptible.

Where not everything fits, who comes late goes short: so it should be what is owed least per GPU and second, which therefore counts
twice. What must lie in one domain or come whole cannot be pieced together from what others leave, and counts threefold. Each
contract is served as far as possible at once, uncut lots first, then chains.
"""

from __future__ import annotations

from collections.abc import Iterable

from .book import Book
from .chain import fill
from .eligible import Demand
from .objective import Segment, missing_profile
from .place import find_place, put_all


def construction_order(demands: Iterable[Demand]) -> list[int]:
    """Indices of the contracts in the order in which they are to be settled."""

    def key(d: Demand) -> tuple[object, ...]:
        weight = d.contract.rate**2 * d.contract.gpus * (d.end - d.start) * (3 if d.scoped or d.together else 1)
        return (not d.contract.firm, -weight, -d.contract.priority, d.contract.key)

    return [d.index for d in sorted(demands, key=key)]


def settle(book: Book, index: int, *, cuts: bool) -> None:
    """Serves what the contract misses as well as what is free allows; without `cuts` only by lots that never change node."""
    demand = book.demands[index]
    if demand.together:
        if not book.segments[index]:
            _serve_together(book, demand, cuts)
        return
    grid = book.ledger.grid
    gaps = missing_profile(demand, book.segments[index])
    lots = min(n for _, _, n in gaps) if sum(end - start for start, end, _ in gaps) == demand.end - demand.start else 0
    if lots:
        first, last = grid.index(demand.start), grid.index(demand.end)
        mark, before = book.mark(), book.verdict(index)
        put_all(book, demand, first, last, find_place(book, demand, first, last, lots, partial=True, liked=_liked(book, demand)))
        after = book.verdict(index)
        if not after.legal or after.tiers > before.tiers:
            book.roll_back(mark)
    if cuts:
        fill(book, index)


def _liked(book: Book, demand: Demand) -> set[int]:
    return {book.fleet.column[b.node] for b in demand.announced}


def _serve_together(book: Book, demand: Demand, cuts: bool) -> None:
    """All lots or none: whole if possible; else in blocks of time, each as long as it goes, cut where a node must be left."""
    grid = book.ledger.grid
    first, last = grid.index(demand.start), grid.index(demand.end)
    placement = find_place(book, demand, first, last, demand.lots, liked=_liked(book, demand))
    if placement or not cuts:
        put_all(book, demand, first, last, placement)
        return
    row, near, near_end = first, _liked(book, demand), demand.start - 1
    while row < last:
        stop = _longest(book, demand, row, last)
        mark, before = book.mark(), book.verdict(demand.index)
        if stop > row:
            placement = find_place(book, demand, row, stop, demand.lots, liked=near)
            put_all(book, demand, row, stop, placement)
        after = book.verdict(demand.index)
        if stop == row or not after.legal or after.tiers >= before.tiers:
            book.roll_back(mark)
            cut = stop > row and near_end == grid.times[row]  # not worth it, or not allowed: nor is a gap just to avoid it
            row = grid.first_from(near_end + demand.move_seconds if cut else 0, row + 1)
        else:
            row, near, near_end = stop, {column for column, _ in placement}, grid.times[stop]


def _longest(book: Book, demand: Demand, row: int, last: int) -> int:
    """The last slice up to which all lots can be placed uncut from `row`; `row` itself when not even one slice has room."""
    lots = demand.lots
    if not find_place(book, demand, row, row + 1, lots):
        return row
    good, bad = row + 1, last + 1
    step = 1
    while good + step < bad and find_place(book, demand, row, good + step, lots):
        good, step = good + step, step * 2
    bad = min(bad, good + step)
    while bad - good > 1:
        middle = (good + bad) // 2
        if find_place(book, demand, row, middle, lots):
            good = middle
        else:
            bad = middle
    return good


def coalesce(segments: Iterable[Segment]) -> list[Segment]:
    """The same service with the fewest segments: abutting ones on a node become one, equal ones are counted together."""
    out: list[Segment] = []
    by_column: dict[int, list[Segment]] = {}
    for s in segments:
        by_column.setdefault(s.column, []).append(s)
    for column in sorted(by_column):
        running: list[list[int]] = []  # [end, start, lots]
        for _, start, end, lots in sorted(by_column[column]):
            for item in sorted((r for r in running if r[0] == start), key=lambda r: r[1]):
                take = min(item[2], lots)
                if take:
                    item[2] -= take
                    lots -= take
                    running.append([end, item[1], take])
            if lots:
                running.append([end, start, lots])
        merged: dict[tuple[int, int], int] = {}
        for end, start, lots in running:
            if lots:
                merged[start, end] = merged.get((start, end), 0) + lots
        out += [Segment(column, start, end, lots) for (start, end), lots in sorted(merged.items())]
    return out
