"""What has to be cleared so that a short contract can be served: windows, nodes, and what leaving them risks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .book import Book
from .eligible import Demand
from .objective import Segment
from .place import Room, domain_room, serving
from .timegrid import Ints

MOST_DOMAINS = 12  # scope domains that are looked into for one contract: those with the most room
MOST_NODES = 96  # the same for nodes, where no domain is asked for


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
    """Where lots are missing, the most lot-seconds first."""
    gaps = book.missing(demand.index)
    windows = [Window(start, end, lots) for start, end, lots in gaps]
    for (a, _, n), (b, end, m) in pairwise(gaps):
        windows += [Window(a, end, min(n, m))] if any(w.end == b and w.start == a for w in windows) else []
    return sorted(set(windows), key=lambda w: (-(w.end - w.start) * w.lots, w.start, w.end))


def stages_of(book: Book, demand: Demand) -> list[Window]:
    """For a contract that comes whole: its due window, in as few parts as there must be because outages leave no domain intact."""
    holds = _holding_domains(book, demand)
    stages, time = [], demand.start
    while time < demand.end:
        reach = max((end for spans in holds for start, end in spans if start <= time), default=time)
        if reach > time:
            stages.append(Window(time, min(reach, demand.end), demand.lots))
            time = reach
        else:
            time = min((start for spans in holds for start, _ in spans if start > time), default=demand.end)
    return stages


def _holding_domains(book: Book, demand: Demand) -> list[list[tuple[int, int]]]:
    """Per scope domain that can hold all lots when empty: the spans of the due window in which outages leave enough of it."""
    fleet, ledger, columns = book.fleet, book.ledger, demand.columns
    domain, lot = fleet.domains[demand.contract.scope], demand.contract.lot_gpus
    units = fleet.gpus[columns] // lot
    have = domain_room(book, demand, Room(columns, units, units), {})
    eligible = np.zeros(len(fleet.nodes), dtype=bool)
    eligible[columns] = True
    out: dict[int, list[tuple[int, int, int]]] = {}  # domain -> (time, change, column) of lots in an outage
    for column, start, end in zip(ledger.outage_column.tolist(), ledger.outage_start.tolist(), ledger.outage_end.tolist(), strict=True):
        if eligible[column] and start < demand.end and demand.start < end and have[domain[column]] >= demand.lots:
            lots = int(fleet.gpus[column]) // lot
            out.setdefault(int(domain[column]), []).extend(((max(start, demand.start), lots, column), (end, -lots, column)))
    pinned = book.pinned.until(demand)
    for column in columns[pinned[columns] > demand.start].tolist():
        if have[domain[column]] >= demand.lots:
            lots, end = int(fleet.gpus[column]) // lot, int(pinned[column])
            out.setdefault(int(domain[column]), []).extend(((demand.start, lots, column), (end, -lots, column)))
    intact = [[(demand.start, demand.end)]] if (np.delete(have, list(out)) >= demand.lots).any() else []
    return intact + [_spans_with(int(have[d]) - demand.lots, out[d], demand) for d in sorted(out)]


def _spans_with(spare: int, changes: list[tuple[int, int, int]], demand: Demand) -> list[tuple[int, int]]:
    """The spans of the due window in which no more than `spare` lots are out."""
    spans: list[tuple[int, int]] = []
    begin, lots = demand.start, 0
    for time, change, _ in sorted(changes):
        before, lots = lots, lots + change
        if before <= spare < lots and begin < time:
            spans.append((begin, time))
        if lots <= spare < before:
            begin = time
    if lots <= spare and begin < demand.end:
        spans.append((begin, demand.end))
    return spans


def clearings_of(book: Book, demand: Demand, window: Window) -> list[Clearing]:
    """For nodes that could serve a lot through the window if others left it: what has to go, the cheapest things first."""
    return clear_nodes(book, demand, window, worth_a_look(book, demand, window))


def clear_nodes(book: Book, demand: Demand, window: Window, columns: Sequence[int]) -> list[Clearing]:
    """The same for given nodes."""
    at = np.array(columns, dtype=np.int64)
    free = book.ledger.profile(window.start, window.end, at).astype(np.int64)
    room = book.room(demand, window.start, window.end, at).tolist()
    return [c for i, column in enumerate(columns) for c in _clear_node(book, demand, window, column, free[:, i], room[i])]


def worth_a_look(book: Book, demand: Demand, window: Window) -> list[int]:
    """Nodes that are able to serve in the window: of the scope domains with most room, or those with most room themselves."""
    columns = demand.columns
    lot = demand.contract.lot_gpus
    able = book.ledger.capacity(window.start, window.end, columns).astype(np.int64) // lot
    able[book.pinned.until(demand)[columns] > window.start] = 0
    columns, able = columns[able > 0], able[able > 0]
    domain = book.fleet.domains[demand.contract.scope]
    if demand.scoped and not demand.together and (used := serving(book, demand, window.start, window.end)):
        inside = {int(domain[c]) for c in used}
        columns = columns[domain[columns] == inside.pop()] if len(inside) == 1 else columns[:0]
        able = able[: len(columns)]
    elif demand.scoped and len(columns):
        rank = np.zeros(len(columns), dtype=np.int64)
        could = domain_room(book, demand, Room(columns, able, rank), {})
        slack = np.bincount(domain[columns], book.ledger.slack(window.start, window.end, columns), len(could))
        enough = np.flatnonzero(could >= window.lots)
        best = enough[np.lexsort((enough, -slack[enough]))][:MOST_DOMAINS]
        columns = columns[np.isin(domain[columns], best)]
    limit = max(MOST_NODES, 2 * window.lots)
    if len(columns) > limit:
        slack = book.ledger.slack(window.start, window.end, columns)
        order = np.lexsort((columns, -slack))
        if demand.scoped:  # as many of each domain
            _, count = np.unique(domain[columns[order]], return_counts=True)
            rank = np.empty(len(order), dtype=np.int64)
            by_domain = np.argsort(domain[columns[order]], kind="stable")
            rank[by_domain] = np.arange(len(order)) - np.repeat(count.cumsum() - count, count)
            order = order[rank < limit]
        else:
            order = order[:limit]
        columns = np.sort(columns[order])
    found: list[int] = columns.tolist()
    return found


def _clear_node(book: Book, demand: Demand, window: Window, column: int, free: Ints, room: int) -> list[Clearing]:
    """Lot by lot what a node, with its free GPUs by row and its room for lots, would have to lose; each entry is one lot more."""
    lot = demand.contract.lot_gpus
    there = occupants(book, demand, window, column)
    if book.fleet.whole[column] and (demand.holder or any(book.demands[o[1]].contract.reserve for o in there)):
        there = [o for o in there if book.demands[o[1]].holder != demand.holder]
        lots = int(book.ledger.capacity(window.start, window.end, np.array([column]))[0]) // lot
        return [Clearing(column, lots, sum(o[0] for o in there), tuple((o[1], o[2]) for o in there))] if lots else []
    if not there:
        return [Clearing(column, room, 0, ())] if room else []
    first = book.ledger.grid.row(window.start)
    lots, weight = int(free.min()) // lot, 0
    out = [Clearing(column, lots, 0, ())] if lots else []
    gone: list[tuple[int, Segment]] = []
    for cost, index, s in there:
        a, b = (book.ledger.grid.row(t) - first for t in (max(s.start, window.start), min(s.end, window.end)))
        free[max(a, 0) : max(b, 0)] += s.lots * book.demands[index].contract.lot_gpus
        weight += cost
        gone.append((index, s))
        if (now := int(free.min()) // lot) > lots:
            out.append(Clearing(column, now - lots, weight, tuple(gone)))
            lots, weight, gone = now, 0, []
    return out


def occupants(book: Book, demand: Demand, window: Window, column: int) -> list[tuple[int, int, Segment]]:
    """(weight, contract, segment) of what is on the node in the window, the least weight first.

    What comes whole starts anew, so that its own segments go as well.
    """
    if book.before:  # a kept plan brings a contract up to date first, and with it what it has on the node
        for index in {i for i, _ in book.on_node[column]}:
            book.before(index)
    pad = book.turnaround if demand.holder and book.fleet.whole[column] else 0
    before, after = window.start - pad, window.end + pad
    return sorted(
        (risk(book, book.demands[index], s, demand.contract.firm) if index != demand.index else 0, index, s)
        for index, s in book.on_node[column]
        if s.start < after and before < s.end and (index != demand.index or demand.together)
    )


def risk(book: Book, other: Demand, segment: Segment, for_firm: bool) -> int:
    """What it may cost to eject a segment: a part of what it is owed, more where it is hard to place again; of a reserve nothing."""
    contract = other.contract
    if contract.reserve:
        return 0
    value = other.lot_rate * segment.lots * (segment.end - segment.start)
    if other.together:
        value = other.lot_rate * other.lots * (other.end - other.start)
    elif not other.scoped:
        value //= 16  # it can be covered in pieces
    if segment.start <= book.now and other.running.get(segment.column):
        value = value // 4 + other.move_seconds * contract.rate * contract.gpus
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
        chosen, lots = enough(book, demand, ordered, window.lots)
        if lots and (lots >= window.lots or not demand.together):
            options.append((-lots, sum(c.weight for c in chosen), d, chosen))
    options.sort(key=lambda o: o[:3])
    return options[variant % len(options)][3] if options else []


def enough(book: Book, demand: Demand, ordered: Iterable[Clearing], wanted: int) -> tuple[list[Clearing], int]:
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
