"""Covering what a contract misses by chains of bindings: from node to node, each for as long as it is free.

For one lot, always changing to the node that stays free longest needs the fewest changes (interval covering). A change interrupts
the whole contract at its price; an instant at which the contract is interrupted anyway is free, so a way takes it rather than one
of its own. Where a change costs more than idling until the next instant at least `planning.move.seconds` later, or is not allowed,
the way has a gap instead, and a piece that does not pay is left out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np

from .book import Book
from .eligible import Demand
from .join import join
from .objective import MONTH, Segment
from .place import domain_room, find_place, room_of, serving, taken_in
from .timegrid import Flags

MOST_TRIED = 1_500  # pieces of ways, for one contract at a time
MOST_JOINED = 256  # segments of a contract that are looked at for a change of nodes too many
MOST_PIECES = 8  # of a way that does not pay as a whole are tried one by one


def cover(book: Book, index: int, *, own: bool = False, since: int = 0) -> None:
    """Serves what the contract still misses from `since` on, way by way, through what is free; never makes it cost more."""
    demand, left, progress = book.demands[index], MOST_TRIED, True
    while progress and left > 0:
        progress = False
        for start, end in _missing_spans(book.missing(index)):
            start = max(start, since)
            if left <= 0 or start >= end:
                continue
            for wary in (True,) if book.oversold else (False, True):  # where cuts are used up, a bold way hardly ever goes
                pieces = Walk(book, demand, start, end, own, wary).pieces()
                left -= 1 + len(pieces)
                if not pieces or _way(book, demand, pieces, own):
                    progress |= bool(pieces)
                    break
    if len(book.segments[index]) <= MOST_JOINED:
        join(book, index)


def _missing_spans(gaps: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """[start, end) of the runs of gaps without a second between them."""
    spans: list[tuple[int, int]] = []
    for start, end, _ in gaps:
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _way(book: Book, demand: Demand, pieces: list[Segment], own: bool) -> bool:
    """One more lot, or several side by side, on this way; True if that made the contract cheaper."""
    many = _side_by_side(book, demand, pieces, own)
    return (
        (bool(many) and _pays(book, demand, many))
        or _pays(book, demand, pieces)
        or sum(_pays(book, demand, [piece]) for piece in pieces[:MOST_PIECES]) > 0
    )


def _pays(book: Book, demand: Demand, pieces: list[Segment]) -> bool:
    """Serves these pieces, if that is legal and cheaper, or costs the same and less is curtailed."""
    paying = book.pays(demand.index, pieces)
    if paying:
        book.put(demand.index, pieces)
    return paying


def _side_by_side(book: Book, demand: Demand, pieces: list[Segment], own: bool) -> list[Segment]:
    """As many lots as miss and find room through the same windows; [] = no more than one."""
    gaps = book.missing(demand.index)
    lots = min(n for piece in pieces for a, b, n in gaps if a < piece.end and piece.start < b)
    if demand.spread or lots < 2:
        return []
    found: list[list[Segment]] = []
    liked: set[int] = set()
    for piece in pieces:
        found.append(find_place(book, demand, piece.start, piece.end, lots, partial=True, liked=liked, own=own))
        lots = min(lots, sum(s.lots for s in found[-1]))
        liked = {s.column for s in found[-1]}
    return [s for rows in found for s in _first(rows, lots)] if lots > 1 else []


def _first(segments: list[Segment], lots: int) -> Iterator[Segment]:
    """The first `lots` lots of these."""
    for s in segments:
        if lots > 0:
            yield s._replace(lots=min(s.lots, lots))
            lots -= s.lots


class Walk:
    """The way of one lot through one span of missing service.

    Where it begins when other lots of the contract leave a node, or ends when they arrive at one, the contract is interrupted. Often
    that is an instant too many, and the way would be refused: a `wary` one then begins later or ends earlier.
    """

    def __init__(self, book: Book, demand: Demand, start: int, end: int, own: bool, wary: bool) -> None:
        self.book, self.demand, self.start, self.end, self.wary = book, demand, start, end, wary
        self.lot = demand.contract.lot_gpus
        self.spans = _allowed(book, demand, start, end, own)
        verdict = book.verdict(demand.index)
        self.barred = _barred(book, demand, self.spans) if book.separates(demand) else {}
        self.tally = book.tally(demand.index)
        self.instants = sorted(verdict.instants)  # at which a further change costs nothing
        self.planned = list(verdict.planned)

    def pieces(self) -> list[Segment]:
        out: list[Segment] = []
        time = self.start
        while time < self.end:
            stop, column = self._longest(time)
            if column < 0:
                time = self._next(time)
                continue
            begin = self._entry(out[-1] if out else None, column, time, stop)
            if begin > time:
                time = begin
                continue
            end = self._exit(column, stop)
            if out and out[-1].end == time and out[-1].column == column:
                out[-1] = out[-1]._replace(end=max(end, time))
            elif end > time:
                out.append(Segment(column, time, end, 1))
            time = stop
        return out

    def _longest(self, time: int) -> tuple[int, int]:
        """Until when the way may stay on which node; -1 = no node is free."""
        best, where = time, -1
        for span, allowed in self.spans:
            if self.barred:
                allowed = allowed & ~self._barred_at(span, time)
            stop, nodes = self.book.ledger.farthest(time, self.end, span, allowed, self.lot)
            if stop > time and self.barred:
                stop, column = self._unbarred(span, nodes, time, stop)
            elif stop > best:
                column = self._fullest(span, nodes, time, stop)
            if stop > best:
                best, where = stop, column
        return self._shared(time, best), where

    def _fullest(self, span: slice, nodes: Flags, time: int, stop: int) -> int:
        """Of the nodes that stay free longest, the one with the least room besides."""
        at = np.flatnonzero(nodes)
        free = self.book.ledger.free(time, stop, span.start + at)
        return int(span.start + at[int(free.argmin())])

    def _barred_at(self, span: slice, time: int) -> Flags:
        """Nodes that are another holder's in the slice that begins at `time`."""
        end = self.book.ledger.grid.slice_at(time)[1]
        flags = np.zeros(span.stop - span.start, dtype=bool)
        for column, spans in self.barred.items():
            if span.start <= column < span.stop:
                flags[column - span.start] = any(a < end and time < b for a, b in spans)
        return flags

    def _unbarred(self, span: slice, nodes: Flags, time: int, stop: int) -> tuple[int, int]:
        """The same where other holders come to some of these nodes before `stop`."""
        grid = self.book.ledger.grid
        best, where = time, -1
        for column in (span.start + np.flatnonzero(nodes)).tolist():
            until = min((a for a, b in self.barred.get(column, ()) if time < b and a < stop), default=stop)
            until = until if grid.has(until) else grid.slice_at(until)[0]
            if until > best:
                best, where = until, column
        return best, where

    def _shared(self, time: int, stop: int) -> int:
        """An instant of the contract before `stop`, if that lets the way change for nothing."""
        if stop >= self.end:
            return stop
        i = bisect_right(self.instants, stop) - 1
        return self.instants[i] if i >= 0 and self.instants[i] > time else stop

    def _next(self, time: int) -> int:
        after = self.book.ledger.grid.slice_at(time)[1]
        return (
            min(self.book.ledger.next_free(after, self.end, span, allowed, self.lot) for span, allowed in self.spans)
            if self.spans
            else self.end
        )

    def _entry(self, last: Segment | None, column: int, time: int, stop: int) -> int:
        """When to begin on a node: at once, at the price of an interruption if lots leave another one then, or after a gap.

        A gap shorter than `planning.move.seconds` is a change of nodes in disguise, and begins later.
        """
        leaving = self.tally.leaving(time) if self.wary else []
        if last is not None and last.end == time and last.column != column:
            leaving.append(last.column)
        later = self._boundary(time + max(1, self.demand.move_seconds))
        if leaving:
            return time if self._cut(time, leaving, min(later, stop) - time) else later
        return self._after_departures(last, time)

    def _after_departures(self, last: Segment | None, time: int) -> int:
        """`time`, or later if the way or another lot has left a node less than `planning.move.seconds` before."""
        times, pause = self.book.ledger.grid.times, self.demand.move_seconds
        row = bisect_left(times, time)
        while row and times[row - 1] > time - pause:
            left = times[row - 1]
            if (last is not None and last.end == left) or (self.tally.leaving(left) and not self.tally.arrives(left)):
                return self._boundary(left + pause)
            row -= 1
        return time

    def _exit(self, column: int, stop: int) -> int:
        """When to leave a node that is free until `stop`: then, or earlier if others of the contract's lots arrive somewhere then."""
        if not self.wary or stop >= self.demand.end or not self.tally.arrives(stop):
            return stop
        earlier = self.book.ledger.grid.slice_at(max(stop - max(1, self.demand.move_seconds), self.demand.start))[0]
        return stop if self._cut(stop, [column], stop - earlier) else earlier

    def _cut(self, time: int, columns: list[int], gain: int) -> bool:
        """Is the contract interrupted at `time` anyway, or may it be for `gain` lot-seconds, if lots leave these nodes then?"""
        demand = self.demand
        if time in self.instants:
            return True
        planned = any(self.book.fleet.serves_on(demand, c, time) for c in columns)
        if (planned and not self._may_cut(time)) or demand.move_seconds * demand.lots > gain:
            return False
        self.instants = sorted({*self.instants, time})
        if planned:
            self.planned = sorted({*self.planned, time})
        return True

    def _boundary(self, time: int) -> int:
        """The first boundary from `time` on, in the span."""
        times = self.book.ledger.grid.times
        row = self.book.ledger.grid.row(time)
        return min(times[row], self.end) if row < len(times) else self.end

    def _may_cut(self, time: int) -> bool:
        limit = self.demand.moves_per_month
        if not limit:
            return False
        near = sorted({*self.planned, time})
        return all(near[i + limit] - near[i] > MONTH for i in range(len(near) - limit))


def _allowed(book: Book, demand: Demand, start: int, end: int, own: bool) -> list[tuple[slice, Flags]]:
    """Per grade, the cheapest first: its columns, and which of them topology and cordons leave to the contract in [start, end)."""
    fleet = book.fleet
    domain = _domain(book, demand, start, end)
    full = _full_domains(book, demand, start, end)
    found = []
    for _, span in demand.pool.own if own else demand.pool.spans:
        allowed = fleet.open[span] & (fleet.gpus[span] >= demand.contract.lot_gpus)
        if domain is not None:
            allowed &= fleet.domains[demand.contract.scope][span] == domain
        if full:
            allowed &= ~np.isin(fleet.domains[demand.contract.spread_level][span], full)
        if allowed.any():
            found.append((span, allowed))
    return found


def _domain(book: Book, demand: Demand, start: int, end: int) -> int | None:
    """The scope domain to serve in: where the contract is served already, else where there is most room. None = anywhere."""
    if not demand.scoped:
        return None
    domain = book.fleet.domains[demand.contract.scope]
    used = {int(domain[c]) for c in serving(book, demand, start, end)}
    if used:
        return used.pop() if len(used) == 1 else -1
    first, last = book.ledger.grid.slice_at(start)
    room = room_of(book, demand, first, last)
    have = domain_room(book, demand, room, {})
    return int(have.argmax()) if len(have) else -1


def _full_domains(book: Book, demand: Demand, start: int, end: int) -> list[int]:
    """Spread domains that take no more lots."""
    return [d for d, lots in taken_in(book, demand, start, end).items() if lots >= demand.per_domain]


def _barred(book: Book, demand: Demand, spans: list[tuple[slice, Flags]]) -> dict[int, list[tuple[int, int]]]:
    """column -> when another holder has the node, widened by the turnaround."""
    barred: dict[int, list[tuple[int, int]]] = {}
    for span, _ in spans:
        for column in range(span.start, span.stop):
            if times := list(book.others_at(demand, column)):
                barred[column] = times
    return barred
