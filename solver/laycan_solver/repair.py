"""Repair: ejection chains. To serve a short contract, others are taken off the nodes it wants and placed anew.

A trial picks, for one short contract, the nodes that are cheapest to clear for its window, ejects what lies there, serves the contract
and then the ejected ones wherever there is room. It stands only if the objective falls, else the journal undoes it. The budget is
counted in trials, never in seconds, so that the same problem gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .book import Book
from .certificate import Capacity, Prices, contribution
from .construct import construction_order, settle
from .eligible import Demand
from .objective import Segment, missing_profile
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
    return {i: contribution(d, capacity.served(d), free, book.now, True)[0] for i, d in book.demands.items()}


def repair(book: Book, effort: int, late: Callable[[], bool]) -> int:
    """Lowers what contracts are owed as far as `effort` trials go; returns the trials made."""
    short = [i for i in book.demands if book.verdict(i).due]
    if not short or effort <= 0:
        return 0
    floor = unavoidable(book)
    trials = variant = idle = 0
    while trials < effort and idle < VARIANTS and not late():
        progress = False
        for index in worst_first(book, floor):
            if trials >= effort or late():
                break
            trials += 1
            progress |= _trial(book, index, variant)
        idle = 0 if progress else idle + 1
        variant = 0 if progress else variant + 1
    return trials


def worst_first(book: Book, floor: dict[int, int]) -> list[int]:
    """Short contracts, Firm first, by what could still be saved."""
    excess = {i: book.verdict(i).due - floor[i] for i in book.demands}
    return sorted((i for i, n in excess.items() if n > 0), key=lambda i: (not book.demands[i].contract.firm, -excess[i], i))


def _trial(book: Book, index: int, variant: int) -> bool:
    """One ejection chain for one contract; True if the objective fell."""
    demand = book.demands[index]
    for window in _windows(book, demand)[: 1 + variant]:
        clearings = _clearings(book, demand, window)
        chosen = _choose(book, demand, window, clearings, variant)
        if chosen and attempt(book, demand, chosen):
            return True
    return False


def _windows(book: Book, demand: Demand) -> list[Window]:
    """Where lots are missing, the most lot-seconds first; all or nothing: the whole window."""
    if demand.together:
        return [Window(demand.start, demand.end, demand.lots)]
    gaps = missing_profile(demand, book.segments[demand.index])
    windows = [Window(start, end, lots) for start, end, lots in gaps]
    for (a, _, n), (b, end, m) in pairwise(gaps):
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
    before, after = window.start, window.end + demand.turnaround
    found = [
        (risk(book, book.demands[index], s, demand.contract.firm), index, s)
        for index, segments in book.on_node[column].items()
        for s in segments
        if index != demand.index and s.start < after and before < s.end + book.demands[index].turnaround
    ]
    return sorted(found)


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


def attempt(book: Book, demand: Demand, chosen: Sequence[Clearing]) -> bool:
    """Ejects, serves the contract, serves the ejected; undone unless the objective falls."""
    mark = book.mark()
    touched = {demand.index, *(index for c in chosen for index, _ in c.ejected)}
    before = book.tiers(touched)
    eject(book, chosen)
    if demand.together:
        book.clear(demand.index)
    for index in (demand.index, *construction_order(book.demands[i] for i in sorted(touched - {demand.index}))):
        settle(book, index, cuts=True)
    if book.tiers(touched) < before and all(book.verdict(i).legal for i in touched):
        return True
    book.roll_back(mark)
    return False


def eject(book: Book, chosen: Iterable[Clearing]) -> None:
    """Takes the segments off their nodes; a contract that comes whole loses all of its own."""
    for index, segment in (e for c in chosen for e in c.ejected):
        if segment in book.segments[index]:
            book.drop(index, segment)
        if book.demands[index].together:
            book.clear(index)


def make_room(book: Book, index: int, effort: int, late: Callable[[], bool]) -> bool:
    """Serves a candidate whole by placing others anew, none of which may be owed or interrupted more; True if that went."""
    demand = book.demands[index]
    window = Window(demand.start, demand.end, demand.lots)
    clearings = [c for c in _clearings(book, demand, window) if not any(_runs(book, i, s) for i, s in c.ejected)]
    tried: list[list[Clearing]] = []
    for variant in range(min(effort, 2 * VARIANTS)):
        chosen = _choose(book, demand, window, clearings, variant)
        if late() or not chosen or sum(c.lots for c in chosen) < demand.lots:
            return False
        if chosen not in tried and _make_room_at(book, demand, chosen):
            return True
        tried.append(chosen)
    return False


def _runs(book: Book, index: int, segment: Segment) -> bool:
    return segment.start <= book.now and segment.column in book.demands[index].running


def _make_room_at(book: Book, demand: Demand, chosen: Sequence[Clearing]) -> bool:
    mark = book.mark()
    ejected = {index for c in chosen for index, _ in c.ejected}
    before = {i: book.verdict(i).due for i in ejected}
    book.clear(demand.index)
    eject(book, chosen)
    settle(book, demand.index, cuts=False)
    if complete(book, demand) and not book.verdict(demand.index).due:
        for index in construction_order(book.demands[i] for i in sorted(ejected)):
            settle(book, index, cuts=True)
            verdict, other = book.verdict(index), book.demands[index]
            halved = not other.contract.accepted and not complete(book, other)  # even where it might be curtailed
            if verdict.due > before[index] or not verdict.legal or halved:
                break
        else:
            return True
    book.roll_back(mark)
    return False


def complete(book: Book, demand: Demand) -> bool:
    """All lots are served through the whole due window."""
    return sum(s.lots * (s.end - s.start) for s in book.segments[demand.index]) == demand.lots * (demand.end - demand.start)


def polish(book: Book, late: Callable[[], bool]) -> None:
    """Leaves no gap that one step would close: a free node, a chain, or one segment of another contract moved to where there is room."""
    progress = True
    while progress and not late():
        progress = False
        movable = _movable(book)
        for index in sorted(i for i in book.demands if book.verdict(i).owed):
            before = book.verdict(index).tiers
            settle(book, index, cuts=True)
            progress |= book.verdict(index).tiers < before
            progress |= _one_move(book, book.demands[index], movable)


def _movable(book: Book) -> dict[int, list[tuple[int, Segment]]]:
    """column -> segments there that some other node could take as they are."""
    grid = book.ledger.grid
    found: dict[int, list[tuple[int, Segment]]] = {}
    for index, segments in book.segments.items():
        demand = book.demands[index]
        for s in segments:
            units = book.ledger.window_units(demand, grid.index(s.start), grid.index(s.end), demand.columns)
            if (units[demand.columns != s.column] > 0).any():
                found.setdefault(s.column, []).append((index, s))
    return found


def _one_move(book: Book, demand: Demand, movable: dict[int, list[tuple[int, Segment]]]) -> bool:
    """Serves one more lot, through one gap, on a node that a single segment leaves for another node with room."""
    if demand.together:
        return False
    for window in _windows(book, demand):
        for index, segment in _single_blockers(book, demand, window, movable):
            if segment in book.segments[index] and attempt(book, demand, [Clearing(segment.column, 1, 0, ((index, segment),))]):
                return True
    return False


def _single_blockers(
    book: Book, demand: Demand, window: Window, movable: dict[int, list[tuple[int, Segment]]]
) -> list[tuple[int, Segment]]:
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
