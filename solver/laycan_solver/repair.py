"""Repair: ejection chains. To serve a short contract, others are taken off the nodes it wants and placed anew.

A trial picks, for one short contract, the nodes that are cheapest to clear for its window, ejects what lies there, serves the contract
and then the ejected ones wherever there is room. It stands only if the objective falls, else the journal undoes it. The budget is
counted in trials, never in seconds, so that the same problem gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .book import Book
from .certificate import Capacity, Prices, contribution
from .construct import construction_order, settle
from .eligible import Demand
from .objective import NOTHING, Segment, minus, missing_profile
from .place import allowed_columns

VARIANTS = 4  # places tried for a short contract before it is left for a later pass


@dataclass(frozen=True)
class Clearing:
    """A node that could take `lots` more lots through a window, if `ejected` left it; `weight` is what that risks."""

    column: int
    lots: int
    weight: int
    ejected: tuple[tuple[int, Segment], ...]


@dataclass(frozen=True)
class Window:
    """Seconds for which lots are wanted."""

    start: int
    end: int
    lots: int


def unavoidable(book: Book) -> dict[int, int]:
    """Contract -> what it is owed whatever the plan, because topology and outages leave no room; in units."""
    capacity = Capacity(book.fleet, book.ledger.grid)
    free = Prices(book.fleet, book.ledger.grid, ())
    return {i: contribution(d, capacity.served(d), free, book.now, True) for i, d in book.demands.items()}


def repair(book: Book, effort: int, late: Callable[[], bool]) -> int:
    """Lowers what contracts are owed as far as `effort` trials go; returns the trials made."""
    short = [i for i in book.demands if book.verdict(i).due]
    if not short or effort <= 0:
        return 0
    floor = unavoidable(book)
    trials = variant = idle = 0
    while trials < effort and idle < VARIANTS and not late():
        progress = False
        for index in _worst_first(book, floor):
            if trials >= effort or late():
                break
            trials += 1
            progress |= _trial(book, index, variant)
        idle = 0 if progress else idle + 1
        variant = 0 if progress else variant + 1
    return trials


def _worst_first(book: Book, floor: dict[int, int]) -> list[int]:
    """Short contracts, Firm first, by what could still be saved."""
    excess = {i: book.verdict(i).due - floor[i] for i in book.demands}
    return sorted((i for i, n in excess.items() if n > 0), key=lambda i: (not book.demands[i].contract.firm, -excess[i], i))


def _trial(book: Book, index: int, variant: int) -> bool:
    """One ejection chain for one contract; True if the objective fell."""
    demand = book.demands[index]
    for window in _windows(book, demand)[: 1 + variant]:
        clearings = _clearings(book, demand, window)
        chosen = _choose(book, demand, window, clearings, variant)
        if chosen and attempt(book, demand, window, chosen):
            return True
    return False


def _windows(book: Book, demand: Demand) -> list[Window]:
    """Where lots are missing, the most lot-seconds first; all or nothing: the whole window."""
    if demand.together:
        return [Window(demand.start, demand.end, demand.lots)]
    gaps = missing_profile(demand, book.segments[demand.index])
    windows = [Window(start, end, lots) for start, end, lots in gaps]
    for (a, _, n), (b, end, m) in zip(gaps, gaps[1:], strict=False):
        windows += [Window(a, end, min(n, m))] if any(w.end == b and w.start == a for w in windows) else []
    return sorted(set(windows), key=lambda w: (-(w.end - w.start) * w.lots, w.start, w.end))


def _clearings(book: Book, demand: Demand, window: Window) -> list[Clearing]:
    """For every node that could serve a lot through the window if others left it: what has to go, the cheapest things first."""
    ledger, grid = book.ledger, book.ledger.grid
    first, last = grid.index(window.start), grid.index(window.end)
    columns = allowed_columns(book, demand, window.start, window.end)
    able = ledger.capacity[first:last][:, columns].min(axis=0) // demand.contract.lot_gpus if len(columns) else columns
    found = []
    for column, most in zip(columns.tolist(), able.tolist(), strict=True):
        if most:
            found += _clear_node(book, demand, window, column, first, last)
    return found


def _clear_node(book: Book, demand: Demand, window: Window, column: int, first: int, last: int) -> list[Clearing]:
    """Lot by lot what a node would have to lose; each entry is one lot more than the one before."""
    lot = demand.contract.lot_gpus
    free = book.ledger.free[first:last, column].astype(np.int64)
    whole = bool(demand.holder) and bool(book.fleet.whole[column])
    there = _occupants(book, demand, window, column)
    if whole:
        foreign = [o for o in there if book.demands[o[1]].holder != demand.holder]
        weight = sum(o[0] for o in foreign)
        gone = tuple((o[1], o[2]) for o in foreign)
        for o in foreign:
            _add(book, free, o[2], first, last, book.demands[o[1]])
        lots = int(free.min()) // lot
        return [Clearing(column, lots, weight, gone)] if lots else []
    out = []
    lots = int(free.min()) // lot
    if lots:
        out.append(Clearing(column, lots, 0, ()))
    weight, gone_now = 0, list[tuple[int, Segment]]()
    for cost, index, segment in there:
        _add(book, free, segment, first, last, book.demands[index])
        weight += cost
        gone_now.append((index, segment))
        if (now := int(free.min()) // lot) > lots:
            out.append(Clearing(column, now - lots, weight, tuple(gone_now)))
            lots, weight, gone_now = now, 0, []
    return out


def _add(book: Book, free: np.ndarray[tuple[int], np.dtype[np.int64]], segment: Segment, first: int, last: int, demand: Demand) -> None:
    grid = book.ledger.grid
    a, b = max(grid.index(segment.start), first) - first, min(grid.index(segment.end), last) - first
    free[a:b] += segment.lots * demand.contract.lot_gpus


def _occupants(book: Book, demand: Demand, window: Window, column: int) -> list[tuple[int, int, Segment]]:
    """(weight, contract, segment) of what others have on the node in the window, the least weight per GPU-second there first."""
    found = []
    for index in sorted(book.on_node[column]):
        if index == demand.index:
            continue
        other = book.demands[index]
        for s in book.segments[index]:
            if s.column == column and s.start < window.end + demand.turnaround and window.start < s.end + other.turnaround:
                found.append((risk(book, other, s, demand.contract.firm), index, s))
    return sorted(found, key=lambda o: (o[0], o[1], o[2]))


def risk(book: Book, other: Demand, segment: Segment, for_firm: bool) -> int:
    """What it may cost to eject a segment: a part of what it is owed, more where it is hard to place again."""
    contract = other.contract
    value = other.lot_rate * segment.lots * (segment.end - segment.start)
    if other.together:
        value = other.lot_rate * other.lots * (other.end - other.start)
    elif not other.scoped:
        value //= 4
    if segment.start <= book.now and other.running.get(segment.column):
        value += other.move_seconds * contract.rate * contract.gpus
    if for_firm and not contract.firm:
        value //= 64
    elif contract.firm and not for_firm:
        value *= 64
    return value


def _choose(book: Book, demand: Demand, window: Window, clearings: Sequence[Clearing], variant: int) -> list[Clearing]:
    """The cheapest clearings that together hold the wanted lots; the variant-th domain of a scope, or node, is tried."""
    groups: dict[int, list[Clearing]] = {}
    domain = book.fleet.domains[demand.contract.scope]
    for c in clearings:
        groups.setdefault(int(domain[c.column]), []).append(c)
    options = []
    for d in sorted(groups):
        ordered = sorted(groups[d], key=lambda c: (c.weight // c.lots, c.column))
        if not demand.scoped and not demand.together:
            ordered = ordered[variant:]
        chosen, lots = _enough(book, demand, ordered, window.lots)
        if lots and (lots >= window.lots or not demand.together):
            options.append((-lots, sum(c.weight for c in chosen), d, chosen))
    options.sort(key=lambda o: o[:3])
    return options[variant % len(options)][3] if options else []


def _enough(book: Book, demand: Demand, ordered: Iterable[Clearing], wanted: int) -> tuple[list[Clearing], int]:
    chosen: list[Clearing] = []
    inner = book.fleet.domains[demand.contract.spread_level]
    room: dict[int, int] = {}
    lots = 0
    for c in ordered:
        within = int(inner[c.column])
        take = min(c.lots, room.setdefault(within, demand.per_domain)) if demand.spread else c.lots
        if take <= 0 or lots >= wanted:
            continue
        room[within] = room.get(within, 0) - take
        chosen.append(c)
        lots += take
    return chosen, min(lots, wanted)


def attempt(book: Book, demand: Demand, window: Window, chosen: Sequence[Clearing]) -> bool:
    """Ejects, serves the contract, serves the ejected; undone unless the objective falls."""
    mark = book.mark()
    ejected = {index for c in chosen for index, _ in c.ejected}
    touched = ejected | {demand.index}
    before = book.tiers(touched)
    for c in chosen:
        for index, segment in c.ejected:
            if segment in book.segments[index]:
                book.drop(index, segment)
    for index in ejected:
        if book.demands[index].together:
            book.clear(index)
    if demand.together:
        book.clear(demand.index)
    for index in (demand.index, *construction_order(book.demands[i] for i in sorted(ejected))):
        settle(book, index, cuts=True)
        if minus(book.tiers(touched), before)[0] > 0 and not book.demands[index].contract.firm:
            break
    if minus(book.tiers(touched), before) < NOTHING and all(book.verdict(i).legal for i in touched):
        return True
    book.roll_back(mark)
    return False


def make_room(book: Book, index: int, effort: int, late: Callable[[], bool]) -> bool:
    return False
