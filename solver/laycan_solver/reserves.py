"""Reserves: spare capacity that is planned like a contract, and given up to whoever is short.

Accepted contracts are arranged as if there were none, so that a reserve is released to a failure by not being in the way. What is
left of the fleet then holds the reserves: where they were as far as that is still free, else anywhere, cut and moved at will. Where
it is free but in the wrong places, contracts are placed anew to make room, as long as none of them is served less or interrupted more
for it: not even one whose shortage would cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .arrange import cover_all
from .book import Book
from .construct import settle, start_order
from .eligible import Demand
from .keep import keep_announced
from .repair import VARIANTS, trial


def hold(book: Book, reserves: Sequence[Demand], effort: int, late: Callable[[], bool]) -> int:
    """Takes the reserves into the book, if they are not there yet, and serves them; returns the trials made, at most `effort`."""
    if not reserves:
        return 0
    new = [d for d in reserves if d.index not in book.demands]
    for demand in new:
        book.open(demand)
    keep_announced(book, new)
    order = start_order(reserves, book.fleet)
    for index in order:
        settle(book, index, cuts=False, own=True)
    cover_all(book, order)
    made = 0
    for variant in range(VARIANTS):
        for index in [d.index for d in reserves if book.verdict(d.index).spare]:
            if made >= effort or late():
                return made
            made += 1
            _make_room(book, index, variant)
    return made


def _make_room(book: Book, index: int, variant: int) -> None:
    """One ejection chain for a reserve, undone where a contract gets less."""
    mark = book.mark()
    if trial(book, index, variant) and not _harmless(book, mark):
        book.roll_back(mark)


def _harmless(book: Book, mark: int) -> bool:
    """No contract is served less than at `mark`; of those that nothing is owed for, none is touched."""
    contracts = [(book.demands[i].contract, gained) for i, gained in book.gained_since(mark).items()]
    return all(gained >= 0 and contract.rate for contract, gained in contracts if not contract.reserve)
