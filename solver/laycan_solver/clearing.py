"""What has to be cleared so that a short contract can be served: windows, nodes, and what leaving them risks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .book import Book
from .eligible import Demand
from .objective import Segment, missing_profile
from .place import allowed_columns
from .timegrid import Ints


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


def windows_of(book: Book, demand: Demand) -> list[Window]:
    """Where lots are missing, the most lot-seconds first; all or nothing: the whole window."""
    if demand.together:
        return [Window(demand.start, demand.end, demand.lots)]
    gaps = missing_profile(demand, book.segments[demand.index])
    windows = [Window(start, end, lots) for start, end, lots in gaps]
    for (a, _, n), (b, end, m) in pairwise(gaps):
        windows += [Window(a, end, min(n, m))] if any(w.end == b and w.start == a for w in windows) else []
    return sorted(set(windows), key=lambda w: (-(w.end - w.start) * w.lots, w.start, w.end))


def clearings_of(book: Book, demand: Demand, window: Window) -> list[Clearing]:
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
    free = book.ledger.free[first:last, column].astype("int64")
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


def _add(book: Book, free: Ints, segment: Segment, first: int, last: int, demand: Demand) -> None:
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


def choose(book: Book, demand: Demand, window: Window, clearings: Sequence[Clearing], variant: int) -> list[Clearing]:
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
