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
from .objective import Segment
from .repair import VARIANTS, trial


def release(book: Book, index: int) -> bool:
    """Serves a short contract of a book with reserves as if there were none; True if it is less short for it.

    The reserves return to every node that the contract did not take, and what they lose is looked for in what is free.
    """
    demand, mark, before = book.demands[index], book.mark(), book.verdict(index).tiers
    aside = {i: list(book.segments[i]) for i in _in_the_way(book, demand)}
    for i in aside:
        book.clear(i)
    cleared = book.mark()
    for own in (True, False):
        if book.verdict(index).wanting:
            settle(book, index, cuts=True, own=own)
    if not aside or not book.verdict(index).legal or book.verdict(index).tiers >= before:
        book.roll_back(mark)
        return False
    taken = book.columns_since(cleared)
    for i, segments in aside.items():
        _return(book, book.demands[i], segments, taken)
    hold(book, [book.demands[i] for i in aside if book.verdict(i).spare], 0, lambda: False)
    return True


def _in_the_way(book: Book, demand: Demand) -> list[int]:
    """Reserves that have something in grades of the contract while it is short."""
    gaps, grade = book.missing(demand.index), book.fleet.grade
    found = []
    for i in [i for i, d in book.demands.items() if d.contract.reserve and not demand.options.keys().isdisjoint(d.options)]:
        book.verdict(i)  # a kept plan brings it up to date
        if any(int(grade[s.column]) in demand.options and a < s.end and s.start < b for s in book.segments[i] for a, b, _ in gaps):
            found.append(i)
    return found


def _return(book: Book, demand: Demand, segments: Sequence[Segment], taken: set[int]) -> None:
    """Puts back what still fits; all or nothing where the reserve is bound to that."""
    kept = [s for s in segments if s.column not in taken]
    if demand.together and len(kept) < len(segments):
        return
    if kept:
        book.put(demand.index, kept)
    for s in segments:
        if s.column in taken and book.fits(demand, s.column, s.start, s.end, s.lots):
            book.put(demand.index, [s])


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
    cover_all(book, order, late)
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
