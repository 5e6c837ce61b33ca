"""A rehearsal: what is done to a book in it has not happened.

The journal takes back what was put and dropped, the ledger takes back its boundaries, and what the journal does not tell, the order
in which lists hold what they hold and how tallies came about, is noted before it is first changed. So the book is afterwards, to the
byte, as it was: whoever plans next cannot tell whether somebody has asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import TracebackType
from typing import NamedTuple, TypeVar

from .book import Book
from .objective import Segment, Verdict
from .tally import Tally

Item = TypeVar("Item")


class Own(NamedTuple):
    """What a contract had before its first change: its segments in order, its tally, and its verdict if that was known."""

    segments: list[Segment]
    tally: Tally
    verdict: Verdict | None


class Rehearsal:
    """`with Rehearsal(book):` what is opened, bound and moved inside is gone at the end. Others may begin and end inside it.

    Boundaries of time may be added only before anything is bound, as an admission does; who binds several begins one for each.
    """

    def __init__(self, book: Book) -> None:
        self.book = book

    def __enter__(self) -> None:
        book = self.book
        self._mark, self._version, self._pinned, self._witness = book.mark(), book.version, book.pinned, book.witness
        self._known, self._renewals = len(book.demands), book.renewals
        self._own: dict[int, Own] = {}
        self._there: dict[int, list[tuple[int, Segment]]] = {}  # column -> what was on the node, in order
        book.ledger.remember()
        book.witness = self._note

    def _note(self, index: int, segments: Sequence[Segment]) -> None:
        book = self.book
        if index not in self._own:
            self._own[index] = Own(list(book.segments[index]), *book.known(index))
        for s in segments:
            if s.column not in self._there:
                self._there[s.column] = list(book.on_node[s.column])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        book = self.book
        book.roll_back(self._mark)
        book.ledger.forget()
        for index in list(islice(reversed(book.demands), len(book.demands) - self._known)):
            book.close(index)
        for index, own in self._own.items():
            if index in book.demands:
                _put_in_order(book.segments[index], own.segments)
                book.recall(index, own.tally, own.verdict)
        for column, there in self._there.items():
            _put_in_order(book.on_node[column], there)
        book.pinned, book.witness = self._pinned, self._witness
        if book.renewals == self._renewals:  # else contracts have been brought up to date meanwhile, and stay so
            book.version = self._version


def _put_in_order(now: list[Item], before: list[Item]) -> None:
    """Items as they stood before; those that came since, as contracts were brought up to date, behind them."""
    rank = {item: i for i, item in enumerate(before)}
    now.sort(key=lambda item: rank.get(item, len(before)))
