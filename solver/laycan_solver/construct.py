"""Construction: every contract placed once, in an order in which first come is best served.

Placing in the order of starts leaves what is taken flush to the left, so that nodes which are free at a start stay free. Contracts
that need a whole domain cannot wait for that and come first, and Firm comes before Interruptible, as the objective does.
"""

from __future__ import annotations

from collections.abc import Iterable

from .book import Book
from .chain import fill
from .eligible import Demand
from .objective import Segment, missing_profile
from .place import find_place, put_all


def construction_order(demands: Iterable[Demand]) -> list[int]:
    """Firm first; in each class what must lie in one domain or come whole, the largest first; then by start and size."""

    def key(d: Demand) -> tuple[object, ...]:
        tight = d.scoped or d.together
        return (not d.contract.firm, not tight, -d.contract.gpus if tight else 0, d.start, -d.contract.gpus, -d.lot_rate, d.contract.key)

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
    row, near = first, _liked(book, demand)
    while row < last:
        stop = _longest(book, demand, row, last)
        mark, before = book.mark(), book.verdict(demand.index)
        if stop > row:
            placement = find_place(book, demand, row, stop, demand.lots, liked=near)
            put_all(book, demand, row, stop, placement)
        after = book.verdict(demand.index)
        if stop == row or not after.legal or after.tiers >= before.tiers:
            book.roll_back(mark)
            row += 1
        else:
            row, near = stop, {column for column, _ in placement}


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
