"""Where two pieces of a lot meet on different nodes, and one of the nodes could have served both: the change is taken back."""

from __future__ import annotations

from .book import Book
from .eligible import Demand
from .objective import Segment


def join(book: Book, index: int) -> None:
    """Where a lot changes node although one of the two could serve it before and after as well, it does not."""
    demand = book.demands[index]
    for time in book.verdict(index).instants:
        ends = [s for s in book.segments[index] if s.end == time]
        begins = [s for s in book.segments[index] if s.start == time]
        if not ends or not begins:  # at now
            continue
        for on in [s for s in ends if _free_beyond(book, demand, s, time, min(b.end for b in begins))]:
            _join_one(book, demand, on, begins)
        for on in [s for s in begins if _free_beyond(book, demand, s, max(e.start for e in ends), time)]:
            _join_one(book, demand, on, ends)


def _free_beyond(book: Book, demand: Demand, s: Segment, start: int, end: int) -> bool:
    """The node of `s` could go on serving its lots in [start, end), before or after it."""
    return bool(book.fleet.open[s.column]) and book.fits(demand, s.column, start, end, s.lots)


def _join_one(book: Book, demand: Demand, on: Segment, others: list[Segment]) -> None:
    """One of `others`, which abut `on` in time, is served on the node of `on` instead; undone unless that is cheaper."""
    domains, own = book.fleet.domains, book.segments[demand.index]
    scope, spread = (domains[level] for level in (demand.contract.scope, demand.contract.spread_level))
    for other in others:
        same = other.lots == on.lots and scope[other.column] == scope[on.column] and spread[other.column] == spread[on.column]
        if not same or other.column == on.column or other not in own or on not in own:
            continue
        before, mark = book.verdict(demand.index), book.mark()
        if book.fits(demand, on.column, other.start, other.end, on.lots):
            book.drop(demand.index, [on, other])
            book.put(demand.index, [Segment(on.column, min(on.start, other.start), max(on.end, other.end), on.lots)])
            after = book.verdict(demand.index)
            if not after.legal or after.tiers >= before.tiers:
                book.roll_back(mark)
            return
