"""What stays where it runs: lots of Firm contracts, which nothing Interruptible may interrupt by a single micro.

The one exception is an instant at which the Firm contract is interrupted anyway: any of its lots may change nodes then, at no price.
To know this before a place is chosen saves looking into places that could only fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .eligible import Demand
from .timegrid import Ints

if TYPE_CHECKING:
    from .book import Book


class Pinned:
    """Per node, until when Firm lots stay there that run at now; worked out again when other Firm contracts are interrupted."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._columns: Ints | None = None
        self._ends: Ints = np.zeros(0, dtype=np.int64)
        self._rows: dict[int, slice] = {}  # Firm contract that runs -> its rows of these arrays
        self._key: tuple[tuple[int, int], ...] | None = None
        self._until: Ints = np.zeros(0, dtype=np.int64)

    def until(self, demand: Demand) -> Ints:
        """Per column, for what is done for `demand`; 0 where nothing is in its way. Of a kept plan, which looks at few nodes, always 0."""
        book = self.book
        if demand.contract.firm or book.before:
            return np.zeros(len(book.fleet.nodes), dtype=np.int64)
        if self._columns is None:
            self._columns = self._list()
        key = tuple((i, v.instants[0]) for i in self._rows if (v := book.verdict(i)).instants)
        if key != self._key:
            ends = self._ends.copy()
            for index, instant in key:
                ends[self._rows[index]] = instant
            self._key, self._until = key, np.zeros(len(book.fleet.nodes), dtype=np.int64)
            np.maximum.at(self._until, self._columns, ends)
        return self._until

    def _list(self) -> Ints:
        column, now = self.book.fleet.column, self.book.now
        columns: list[int] = []
        ends: list[int] = []
        for index, demand in self.book.demands.items():
            if demand.contract.firm and demand.running:
                own = [b for b in demand.announced if b.start <= now]
                self._rows[index] = slice(len(ends), len(ends) + len(own))
                columns += [column[b.node] for b in own]
                ends += [b.end for b in own]
        self._ends = np.array(ends, dtype=np.int64)
        return np.array(columns, dtype=np.int64)
