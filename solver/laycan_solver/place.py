"""Placing lots uncut through a window: best fit, topology first.

Nodes that the lots would fill most tightly come first, in months, in slices and in time: a node whose months are broken already,
whose free GPUs in the window are few, and that is busy right before and after it. So intact nodes and intact racks stay whole for
what needs them, and whole nodes can be sold by the month.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from .allot import first_lots
from .book import Book
from .eligible import Demand
from .ledger import Cells
from .objective import Segment
from .timegrid import BLOCK, Flags, Ints


class Room(NamedTuple):
    """Nodes of some grades that could take lots through a window; parallel arrays."""

    columns: Ints
    lots: Ints  # that each could take
    rank: Ints  # of the grade's cost

    def of(self, which: Flags) -> Room:
        return Room(self.columns[which], self.lots[which], self.rank[which])


def serving(book: Book, demand: Demand, start: int, end: int) -> dict[int, int]:
    """column -> most lots of the contract there at one instant of [start, end); an upper estimate."""
    lots: dict[int, int] = {}
    for s in book.segments[demand.index]:
        if s.start < end and start < s.end:
            lots[s.column] = lots.get(s.column, 0) + s.lots
    return lots


def find_place(
    book: Book, demand: Demand, start: int, end: int, lots: int, *, partial: bool = False, liked: Collection[int] = (), own: bool = False
) -> list[Segment]:
    """Segments for `lots` lots through [start, end), uncut; with `partial` as many as can be had, with `own` in no substitute."""
    if demand.scoped or demand.spread:
        return _in_topology(book, demand, start, end, lots, partial, liked, own)
    found: list[Segment] = []
    for _, span in demand.pool.own if own else demand.pool.spans:
        units = book.room(demand, start, end, span)
        if units.any():
            take = _best_fit(book, start, end, span, units, lots, liked)
            found += take
            lots -= sum(s.lots for s in take)
            if not lots:
                break
    return found if partial or not lots else []


def _best_fit(book: Book, start: int, end: int, span: slice, units: Cells, lots: int, liked: Collection[int]) -> list[Segment]:
    """Up to `lots` lots on the best nodes of the span, each of which could take its `units`."""
    keys = fitness(book, start, end, span, units, liked)
    keys[units == 0] = np.iinfo(keys.dtype).max
    able, most = int(np.count_nonzero(units)), int(units.max())
    alike = lots == 1 or able * most == int(units.sum(dtype=np.int64))
    at = _least(keys, min(-(-lots // most) if alike else lots, able))
    return [Segment(c, start, end, n) for c, n in _filled(span.start + at, units[at], lots)]


def _filled(columns: Ints, units: Cells, lots: int) -> list[tuple[int, int]]:
    """Columns and the lots on each: as many as go, in order."""
    taken = first_lots(units, lots)
    return list(zip(columns[: len(taken)].tolist(), taken, strict=True))


def _least(keys: Cells, count: int) -> Ints:
    """Positions of the `count` least keys, in order; of equal ones the first."""
    if count == 1:
        return np.array([keys.argmin()])
    bar = np.partition(keys, count - 1)[count - 1]
    below = np.flatnonzero(keys < bar)
    return np.concatenate([below[keys[below].argsort(kind="stable")], np.flatnonzero(keys == bar)[: count - len(below)]])


MOST = 1023  # GPUs of a node that are told apart in a sort key
RANK = 30  # the bit from which on a key may hold the rank of a grade's cost


def fitness(book: Book, start: int, end: int, columns: slice | Ints, units: Cells, liked: Collection[int]) -> Cells:
    """Sort keys, below 1 << RANK, the best node first: months, then units, then contact, in the smallest type that holds them."""
    widest = min(int(book.ledger.gpus.max(initial=1)), MOST) + 1
    top = (len(book.months.busy) + 1) * widest * 2 * widest
    small = top < 1 << 14
    key: Cells = book.months.broken(columns, start, end).astype(np.int16 if small else np.int32)
    key *= widest
    key += units if small else np.minimum(units.astype(np.int32), MOST)
    key *= 2 * widest
    beside = book.ledger.beside(start, end, columns)
    key += beside if small else np.minimum(beside.astype(np.int32), 2 * MOST)
    if liked:
        key += top
        where = np.arange(columns.start, columns.stop) if isinstance(columns, slice) else columns
        key[np.isin(where, np.fromiter(liked, dtype=np.int64))] -= top
    return key


def room_of(book: Book, demand: Demand, start: int, end: int, own: bool = False) -> Room:
    """All nodes with room for a lot through [start, end), inside the scope domain of what serves the contract there."""
    parts = []
    for rank, span in demand.pool.own if own else demand.pool.spans:
        units = book.room(demand, start, end, span)
        at = np.flatnonzero(units != 0)
        parts.append(Room(span.start + at, units[at].astype(np.int64), np.full(len(at), rank, dtype=np.int64)))
    none = Room(*(np.zeros(0, dtype=np.int64),) * 3)
    room = parts[0] if len(parts) == 1 else Room(*(np.concatenate(arrays) for arrays in zip(none, *parts, strict=True)))
    if demand.scoped and (used := serving(book, demand, start, end)):
        domain = book.fleet.domains[demand.contract.scope]
        inside = {int(domain[c]) for c in used}
        room = room.of(domain[room.columns] == inside.pop() if len(inside) == 1 else np.zeros(len(room.columns), dtype=bool))
    return room


def _in_topology(
    book: Book, demand: Demand, start: int, end: int, lots: int, partial: bool, liked: Collection[int], own: bool
) -> list[Segment]:
    room = room_of(book, demand, start, end, own)
    if not len(room.columns):
        return []
    taken = taken_in(book, demand, start, end)
    if demand.scoped:
        room = _one_domain(book, demand, room, start, end, lots, taken, partial, liked)
    if not partial and not demand.scoped and int(np.minimum(room.lots, lots).sum()) < lots:
        return []
    keys = fitness(book, start, end, room.columns, room.lots.astype(book.ledger.gpus.dtype), liked)
    if room.rank.any():
        keys = keys.astype(np.int64) + (np.minimum(room.rank, 15) << RANK)
    order = keys.argsort(kind="stable")
    columns, units = room.columns[order], room.lots[order]
    placement = _shared_out(book, demand, columns, units, lots, taken) if demand.spread else _filled(columns, units, lots)
    if not partial and sum(n for _, n in placement) < lots:
        return []
    return [Segment(c, start, end, n) for c, n in placement]


def next_room(book: Book, demand: Demand, time: int, end: int, own: bool) -> int:
    """The first boundary from `time` on at which some scope domain may have room for all lots, by counting; `end` if there is none."""
    ledger, lot = book.ledger, demand.contract.lot_gpus
    parts = [
        (span, *_stretches(book.fleet.domains[demand.contract.scope][span])) for _, span in (demand.pool.own if own else demand.pool.spans)
    ]
    domains = 1 + max((int(d.max()) for _, _, d in parts), default=0)
    row, last = ledger.grid.row(time), ledger.grid.row(end)
    while row < last and parts:
        stop = min((row // BLOCK + 1) * BLOCK, last)
        have = np.zeros((domains, stop - row), dtype=np.int64)
        for span, starts, domain in parts:
            units = ledger.rows(row, stop, span) // min(lot, int(np.iinfo(ledger.gpus.dtype).max))
            units[:, book.fleet.closed_in(span)] = 0
            np.add.at(have, domain, np.add.reduceat(units, starts, axis=1, dtype=np.int64).T)
        enough = (have >= demand.lots).any(axis=0)
        if enough.any():
            return ledger.grid.times[row + int(enough.argmax())]
        row = stop
    return end


def _stretches(domain: Ints) -> tuple[Ints, Ints]:
    """Where, among neighbouring columns, stretches of one domain start, and their domains."""
    starts = np.flatnonzero(np.diff(domain, prepend=-1))
    return starts, domain[starts]


def taken_in(book: Book, demand: Demand, start: int, end: int) -> dict[int, int]:
    """spread domain -> lots taken there already."""
    taken: dict[int, int] = {}
    if demand.spread:
        domain = book.fleet.domains[demand.contract.spread_level]
        for column, lots in serving(book, demand, start, end).items():
            taken[int(domain[column])] = taken.get(int(domain[column]), 0) + lots
    return taken


def domain_room(book: Book, demand: Demand, room: Room, taken: dict[int, int]) -> Ints:
    """Per scope domain: lots that scope and spread allow there."""
    fleet = book.fleet
    outer = fleet.domains[demand.contract.scope][room.columns]
    if not demand.spread:
        return np.bincount(outer, room.lots).astype(np.int64)
    inner = fleet.domains[demand.contract.spread_level][room.columns]
    inside = np.bincount(inner, room.lots).astype(np.int64)
    cap = np.full(len(inside), demand.per_domain, dtype=np.int64)
    for domain, n in taken.items():
        if domain < len(cap):
            cap[domain] -= n
    whose = np.zeros(len(inside), dtype=np.int64)
    whose[inner] = outer
    some = np.flatnonzero(inside)
    lots = np.minimum(inside, np.maximum(cap, 0))[some]
    return np.bincount(whose[some], lots, minlength=int(outer.max(initial=-1)) + 1).astype(np.int64)


def _one_domain(
    book: Book, demand: Demand, room: Room, start: int, end: int, lots: int, taken: dict[int, int], partial: bool, liked: Collection[int]
) -> Room:
    """Only the nodes of one scope domain: of those with room enough, where fewest free months are broken, then with the least room.

    For a part, where none has enough, the one with the most room.
    """
    domain = book.fleet.domains[demand.contract.scope]
    outer = domain[room.columns]
    have = domain_room(book, demand, room, taken)
    fond = np.zeros(len(have), dtype=bool)
    fond[[d for d in domain[list(liked)].tolist() if d < len(have)] if liked else []] = True
    rank = np.zeros(len(have), dtype=np.int64)
    if room.rank.any():
        rank[:] = 1 << 30
        np.minimum.at(rank, outer, room.rank)
    enough = np.flatnonzero(have >= lots)
    best = -1
    if len(enough):
        broken = _broken_in(book, room, start, end, lots, outer, enough) if len(enough) > 1 else enough
        best = int(enough[np.lexsort((have[enough], broken, rank[enough], ~fond[enough]))[0]])
    elif partial and have.any():
        best = int(np.lexsort((~fond, -have))[0])
    return room.of(outer == best)


def _broken_in(book: Book, room: Room, start: int, end: int, lots: int, domain: Ints, domains: Ints) -> Ints:
    """Per domain of `domains`: free months that `lots` lots would break there, each counted apart, on the nodes where they break fewest."""
    first = int(room.columns.min())
    months = book.months.broken(slice(first, int(room.columns.max()) + 1), start, end)
    levels = len(book.months.busy) + 1
    level = domain * levels + months[room.columns - first]
    lots_at = np.bincount(level, room.lots, (int(domains[-1]) + 1) * levels).astype(np.int64)
    below = np.minimum(lots_at[: (int(domains[-1]) + 1) * levels].reshape(-1, levels)[domains].cumsum(axis=1), lots)
    broken: Ints = (levels - 1) * below[:, -1] - below[:, :-1].sum(axis=1)
    return broken


def _shared_out(book: Book, demand: Demand, columns: Ints, units: Ints, lots: int, taken: dict[int, int]) -> list[tuple[int, int]]:
    """As many of `lots` as go, in the order of the columns, no spread domain beyond its share."""
    placement: list[tuple[int, int]] = []
    inner = book.fleet.domains[demand.contract.spread_level][columns]
    for column, within, room in zip(columns.tolist(), inner.tolist(), units.tolist(), strict=True):
        take = min(room, lots, demand.per_domain - taken.get(within, 0))
        if take > 0:
            taken[within] = taken.get(within, 0) + take
            placement.append((column, take))
            lots -= take
        if not lots:
            break
    return placement
