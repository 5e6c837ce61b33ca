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


def restore(book: Book, indices: Iterable[int]) -> None:
    """Serves what is curtailed through what is free, in the contract's own grade, at no cost in any tier."""
    for index in sorted(i for i in indices if book.verdict(i).curtailed):
        demand = book.demands[index]
        settle(book, index, cuts=True, own=True)
        if demand.together or not demand.running or not book.verdict(index).curtailed:
            continue
        back = demand.start + demand.move_seconds
        if back < demand.end:
            book.ledger.split(back)
            cover(book, index, own=True, since=back)
