"""Serving again who lost something: free nodes, then chains, then places that others leave for others.

What comes whole is made whole beside the others if it can be, so that nothing else of it moves. Trials look at what is cheapest to
clear and not at whole domains as a cold plan does: a failure is to be answered in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import product

from .book import Book
from .clearing import Clearing, Window
from .construct import settle
from .keep import mend
from .objective import Tiers
from .repair import by_clearing, cost_of, stands
from .reserves import hold, release

VARIANTS = 3  # places that are cleared for a contract that an event left short


def never() -> bool:
    return False


class Rescue:
    """`refresh` brings a contract of the book up to date before it is looked at."""

    def __init__(self, book: Book, refresh: Callable[[int], None], variants: int = VARIANTS) -> None:
        self.book, self.refresh, self.variants = book, refresh, variants

    def serve(self, indices: Iterable[int]) -> None:
        """Serves contracts as far as they are short, what is due now first."""
        book = self.book

        def key(i: int) -> tuple[object, ...]:
            d = book.demands[i]
            return (d.contract.reserve, d.start > book.now, not d.contract.firm, -d.lot_rate, i)

        known = [i for i in indices if i in book.demands]
        for index in known:
            self.refresh(index)
            if not self._made_whole(index):
                mend(book, book.demands[index])
        for index in sorted((i for i in known if book.verdict(i).wanting), key=key):
            if book.demands[index].contract.reserve:
                hold(book, [book.demands[index]], self.variants, never)
                continue
            pool = book.demands[index].pool
            grades = (True,) if pool.own == pool.spans else (True, False)
            for cuts, own in product((False, True), grades):  # a substitute is less than a cut
                if book.verdict(index).owed:
                    settle(book, index, cuts=cuts, own=own)
            if book.verdict(index).owed and book.reserves:
                release(book, index)
            self._try(index)
            if book.verdict(index).owed and book.demands[index].scoped and book.segments[index]:
                stands(book, partial(self._leave_domain, index))

    def _try(self, index: int) -> None:
        self._clear_for(index, self.variants, lambda: self.book.verdict(index).owed > 0)

    def _clear_for(self, index: int, variants: int, short: Callable[[], bool]) -> None:
        """Places that others leave, one after the other, until it is better off at one; there is nothing to do where it is not short."""
        seen: dict[Window, list[Clearing]] = {}
        for variant in range(variants):
            if not short() or by_clearing(self.book, self.book.demands[index], variant, seen):
                break

    def _leave_domain(self, index: int) -> None:
        """All that is left of a contract inside one domain goes to another, where it may be served better."""
        self.book.clear(index)
        settle(self.book, index, cuts=False)
        self._try(index)

    def _made_whole(self, index: int) -> bool:
        """What comes whole and lost some lots is made whole, beside the others or, if that costs less, elsewhere; else undone."""
        book, whole = self.book, self.book.demands[index]
        if not whole.together or not book.segments[index] or all(n == whole.lots for _, _, n in book.missing(index)):
            return False
        if self._fill(index, 0):
            return True
        mark = book.mark()
        anew = self._cost(index, self._anew)
        book.roll_back(mark)
        beside = self._cost(index, partial(self._fill, variants=self.variants))
        if beside is not None and (anew is None or beside <= anew):
            return True
        book.roll_back(mark)
        return anew is not None and self._anew(index)

    def _cost(self, index: int, serve: Callable[[int], object]) -> Tiers | None:
        """What it costs to serve all of a contract so; None if it cannot be done."""
        cost, _ = cost_of(self.book, lambda: serve(index))
        return None if self.book.missing(index) else cost

    def _fill(self, index: int, variants: int) -> bool:
        """Adds the lots that miss, through free room or in so many ways through what others leave; undone unless all is served."""
        book, whole = self.book, self.book.demands[index]
        mark = book.mark()
        book.demands[index] = replace(whole, together=False)
        settle(book, index, cuts=False)
        self._clear_for(index, variants, lambda: bool(book.missing(index)))
        book.demands[index] = whole
        if book.missing(index):
            book.roll_back(mark)
            return False
        return True

    def _anew(self, index: int) -> bool:
        """Takes it off and serves all of it uncut elsewhere."""
        mend(self.book, self.book.demands[index])
        settle(self.book, index, cuts=False, own=True)
        return not self.book.missing(index)
