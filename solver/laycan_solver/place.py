"""Placing lots uncut through a window of slices: best fit, topology first.

Nodes that the lots would fill most tightly come first, in slices and in time: a node whose free GPUs in the window are few, and
that is busy right before and after it. So intact nodes and intact racks stay whole for what needs them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .book import Book
from .eligible import Demand
from .objective import Segment
from .timegrid import Ints

Placement = list[tuple[int, int]]  # column, lots


def serving_columns(book: Book, demand: Demand, start: int, end: int) -> dict[int, int]:
    """column -> most lots of the contract there at one instant of [start, end); an upper estimate."""
    lots: dict[int, int] = {}
    for segment in book.segments[demand.index]:
        if segment.start < end and start < segment.end:
            lots[segment.column] = lots.get(segment.column, 0) + segment.lots
    return lots


def allowed_columns(book: Book, demand: Demand, start: int, end: int) -> Ints:
    """The contract's columns inside the scope domain of what serves it in [start, end); all of them when nothing does."""
    columns = demand.columns
    if demand.scoped:
        domain = book.fleet.domains[demand.contract.scope]
        used = {int(domain[c]) for c in serving_columns(book, demand, start, end)}
        if used:
            columns = columns[domain[columns] == used.pop()] if len(used) == 1 else columns[:0]
    return columns


def find_place(
    book: Book, demand: Demand, first: int, last: int, lots: int, *, partial: bool = False, liked: Iterable[int] = ()
) -> Placement:
    """Nodes for `lots` lots through the slices first .. last - 1, uncut; with `partial` as many as can be had. [] = none."""
    times = book.ledger.grid.times
    columns = allowed_columns(book, demand, times[first], times[last])
    if not len(columns):
        return []
    units = book.ledger.window_units(demand, first, last, columns)
    some = units > 0
    columns, units = columns[some], np.minimum(units[some], lots)
    if not len(columns) or (not partial and units.sum() < lots):
        return []
    room = _spread_room(book, demand, times[first], times[last])
    if demand.scoped:
        columns, units = _one_domain(book, demand, columns, units, lots, room, partial, frozenset(liked))
    order = _best_fit(book, demand, first, last, columns, units, frozenset(liked))
    placement = _allot(book, demand, columns[order], units[order], lots, room)
    return placement if partial or sum(n for _, n in placement) == lots else []


def _spread_room(book: Book, demand: Demand, start: int, end: int) -> dict[int, int]:
    """spread domain -> lots taken there already."""
    taken: dict[int, int] = {}
    if demand.spread:
        domain = book.fleet.domains[demand.contract.spread_level]
        for column, lots in serving_columns(book, demand, start, end).items():
            taken[int(domain[column])] = taken.get(int(domain[column]), 0) + lots
    return taken


def _one_domain(
    book: Book, demand: Demand, columns: Ints, units: Ints, lots: int, taken: dict[int, int], partial: bool, liked: frozenset[int]
) -> tuple[Ints, Ints]:
    """Only the nodes of the scope domain with the least room that is enough (or, for a part, the most)."""
    outer = book.fleet.domains[demand.contract.scope][columns]
    room: dict[int, int] = {}
    if demand.spread:
        inner = book.fleet.domains[demand.contract.spread_level][columns]
        for domain, within in sorted(set(zip(outer.tolist(), inner.tolist(), strict=True))):
            inside = int(units[(outer == domain) & (inner == within)].sum())
            room[domain] = room.get(domain, 0) + min(inside, demand.per_domain - taken.get(within, 0))
    else:
        for domain, inside in zip(outer.tolist(), units.tolist(), strict=True):
            room[domain] = room.get(domain, 0) + inside
    fond = {int(d) for d, c in zip(outer.tolist(), columns.tolist(), strict=True) if c in liked}
    ranks = {int(d): int(r) for d, r in sorted(zip(outer.tolist(), _ranks(demand, columns).tolist(), strict=True), reverse=True)}
    enough = [d for d, n in room.items() if n >= lots]
    if enough:
        best = min(enough, key=lambda d: (d not in fond, ranks[d], room[d], d))
    elif partial:
        best = max(room, key=lambda d: (room[d], d in fond, -d))
    else:
        return columns[:0], units[:0]
    inside_best = outer == best
    return columns[inside_best], units[inside_best]


def _ranks(demand: Demand, columns: Ints) -> Ints:
    """Rank of the option's cost of each of some of the demand's columns."""
    return demand.costs[np.searchsorted(demand.columns, columns)]


def _best_fit(book: Book, demand: Demand, first: int, last: int, columns: Ints, units: Ints, liked: frozenset[int]) -> Ints:
    """Order of the columns: cheapest grade, where it was, least room, busiest just before and after."""
    free = book.ledger.free
    contact = np.zeros(len(columns), dtype=np.int64)
    if first > 0:
        contact += free[first - 1, columns]
    if last < len(free):
        contact += free[last, columns]
    new = np.array([c not in liked for c in columns.tolist()], dtype=bool)
    return np.lexsort((contact, units, new, _ranks(demand, columns))).astype(np.int64)


def _allot(book: Book, demand: Demand, columns: Ints, units: Ints, lots: int, taken: dict[int, int]) -> Placement:
    """As many of `lots` as go, in the order of the columns, no spread domain beyond its share."""
    placement: Placement = []
    domain = book.fleet.domains[demand.contract.spread_level] if demand.spread else None
    for column, room in zip(columns.tolist(), units.tolist(), strict=True):
        take = min(room, lots)
        if domain is not None:
            within = int(domain[column])
            take = min(take, demand.per_domain - taken.get(within, 0))
            if take > 0:
                taken[within] = taken.get(within, 0) + take
        if take > 0:
            placement.append((column, take))
            lots -= take
        if not lots:
            break
    return placement


def put_all(book: Book, demand: Demand, first: int, last: int, placement: Placement) -> None:
    times = book.ledger.grid.times
    for column, lots in placement:
        book.put(demand.index, Segment(column, times[first], times[last], lots))
