"""Who had a node that is handed over whole: others come to it a turnaround later, also when he left it early or is gone himself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .book import Book
from .eligible import Demands, Possession
from .model import Binding, Contract


class Past:
    """Keeps `book.history` in step with what is announced. `longest` is the longest turnaround in seconds; 0 = nothing is kept."""

    def __init__(self, book: Book, demands: Demands, contract: Callable[[str], Contract | None], longest: int) -> None:
        self.book, self.demands, self.contract, self.longest = book, demands, contract, longest
        self.held: dict[Binding, Possession] = {}  # what is announced
        self.over: list[Binding] = []  # what began and was left, cut where it was

    def copy(self, book: Book, demands: Demands, contract: Callable[[str], Contract | None]) -> Past:
        """The same for copies of these."""
        other = Past(book, demands, contract, self.longest)
        other.held, other.over = dict(self.held), list(self.over)
        return other

    def know(self, announced: Iterable[Binding], over: Iterable[Binding]) -> None:
        """The announced bindings with which the book was made, and those that ended before it."""
        for b in announced if self.longest else ():
            if had := self._possession(b):
                self.held[b] = had
        self.over = list(over)
        for b in self.over:
            self._remember(b, self._possession(b))

    def announce(self, bindings: Iterable[Binding]) -> None:
        for b in bindings if self.longest else ():
            had = self._possession(b)
            self._remember(b, had)
            if had:
                self.held[b] = had

    def withdraw(self, bindings: Iterable[Binding], now: int) -> None:
        """These are announced no longer; what of them lies before now remains."""
        for b in bindings:
            had = self.held.pop(b, None)
            if had is None:
                continue
            self.book.history[self.book.fleet.column[b.node]].remove(had)
            if b.start < now:
                end = min(b.end, now)
                self._remember(b, had._replace(end=end))
                if self.contract(b.contract):
                    self.over.append(b._replace(end=end))

    def forget(self, key: str) -> None:
        """The contract is gone: its holder still keeps others away, but the bindings are nobody's."""
        self.over = [b for b in self.over if b.contract != key]

    def bindings(self, now: int) -> list[Binding]:
        """What was left so lately that others still wait for the node."""
        self.over = [b for b in self.over if b.end + self.longest > now]
        return self.over

    def _possession(self, binding: Binding) -> Possession | None:
        contract = self.contract(binding.contract)
        return self.demands.possession(binding, contract) if contract else None

    def _remember(self, binding: Binding, had: Possession | None) -> None:
        if had:
            self.book.remember(self.book.fleet.column[binding.node], had)
