"""What is curtailed by right is owed to nobody, and yet nobody gains by it while capacity is free: it is given back.

No tier of the objective counts these seconds, so the search leaves them where serving them costs anything. Where a lot was taken off
its node at `now`, to serve it at once elsewhere is an interruption, which may cost more than to be curtailed: then it comes back
`planning.move.seconds` later, when that is none.
"""

from __future__ import annotations

from collections.abc import Iterable

from .book import Book
from .construct import settle
from .cover import cover
from .eligible import Demand
from .objective import Segment


def restore(book: Book, indices: Iterable[int]) -> None:
    """Serves what is curtailed through what is free, in the contract's own grade, at no cost in any tier."""
    for index in sorted(i for i in indices if book.verdict(i).curtailed):
        demand = book.demands[index]
        _stay(book, demand)
        settle(book, index, cuts=True, own=True)
        if demand.together or not demand.running or not book.verdict(index).curtailed:
            continue
        back = demand.start + demand.move_seconds
        if back < demand.end:
            book.ledger.split(back)
            cover(book, index, own=True, since=back)


def _stay(book: Book, demand: Demand) -> None:
    """Lots go on where they were before what is missing, or will be after it, if their node is free meanwhile: that moves nobody.

    A way (`cover`) looks for the nodes that are free longest, all of which are as good to it. Of a contract with a scope or a spread
    it alone knows which domains are left.
    """
    if demand.scoped or demand.spread or demand.together:
        return
    index = demand.index
    for start, end, lots in book.missing(index):
        for beside in [s for s in book.segments[index] if start == s.end or s.start == end]:
            piece = beside._replace(start=start, end=end, lots=min(lots, beside.lots))
            if piece.lots and _may_stay(book, demand, piece) and book.pays(index, [piece]):
                book.put(index, [piece])
                lots -= piece.lots


def _may_stay(book: Book, demand: Demand, piece: Segment) -> bool:
    return bool(book.fleet.open[piece.column]) and book.fits(demand, piece.column, piece.start, piece.end, piece.lots)
