"""What is announced of a kept plan: bindings, shortfalls and refusals, and what an update changes of them.

A contract is brought up to date, its announcements and its due window, when it is first looked at after an event; all others rest.
Only who was looked at is announced anew, and only on the nodes on which something of it has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace

from .book import Book
from .eligible import Demands
from .model import Binding, Contract, Difference, Move, Plan, Undelivered
from .past import Past
from .report import Shortfalls, bindings_of, moves_of


class Announced:
    """`contracts` are those of the kept plan, by index: it is told here whose delivery has started."""

    def __init__(self, book: Book, demands: Demands, contracts: dict[int, Contract], past: Past, plan: Plan) -> None:
        self.book, self.demands, self.contracts, self.past = book, demands, contracts, past
        self.bindings: dict[str, list[Binding]] = {}  # of each contract
        for b in plan.bindings:
            self.bindings.setdefault(b.contract, []).append(b)
        self.refused = {u.contract: u for u in plan.undelivered if u.refused}
        self.undelivered: dict[int, list[Undelivered]] = {}
        self._account(book.demands)
        self.touched: dict[int, list[Binding]] = {}  # contract -> what was announced before the update
        self.resting: set[int] = set()
        self.stale: set[int] = set()  # contracts that were announced anew since their demand was made

    def copy(self, book: Book, demands: Demands, contracts: dict[int, Contract], past: Past) -> Announced:
        """The same for copies of these."""
        other = copy(self)
        other.book, other.demands, other.contracts, other.past = book, demands, contracts, past
        other.bindings, other.undelivered, other.touched = dict(self.bindings), dict(self.undelivered), dict(self.touched)
        other.refused, other.stale = dict(self.refused), set(self.stale)
        return other

    def rest(self) -> None:
        """An update begins, and nobody has been looked at."""
        self.touched, self.resting = {}, set(self.book.demands)

    def refresh(self, index: int) -> None:
        """The contract as it is now: due from now on, and announced as it is bound."""
        if index in self.resting:
            self.resting.discard(index)
            self.touched[index] = self.bindings.get(self.contracts[index].key, [])
            if index in self.stale or self.book.demands[index].start < self.book.now:
                self.stale.discard(index)
                self.renew(index)

    def renew(self, index: int) -> None:
        """Its demand is made anew."""
        contract, now, fleet = self.contracts[index], self.book.now, self.book.fleet
        bindings = self.touched[index]
        if any(b.start < now for b in bindings):
            contract = self.contracts[index] = replace(contract, delivering=True)
        self.demands.previous[contract.key] = bindings
        fleet.began[contract.key] = [b for b in bindings if b.start < now < b.end and b.node in fleet.column]
        demand = self.demands.of(index, contract)
        if demand is not None:
            self.book.renew(demand)

    def ended(self, index: int) -> None:
        """Nothing of it is due any more."""
        self.touched[index] = self.bindings.pop(self.book.demands[index].contract.key, [])

    def close(self, index: int) -> None:
        """It leaves the book."""
        self.undelivered.pop(index, None)
        self.resting.discard(index)

    def _account(self, indices: Iterable[int]) -> None:
        """Notes what these contracts are short of, and why."""
        shortfalls = Shortfalls(self.book)
        for index in indices:
            if found := shortfalls.of(self.book.demands[index]) if self.book.missing(index) else []:
                self.undelivered[index] = found
            else:
                self.undelivered.pop(index, None)

    def difference(self) -> Difference:
        """Announces what the update has changed."""
        book, now, changed = self.book, self.book.now, self.book.changed()
        released: list[Binding] = []
        acquired: list[Binding] = []
        moves: list[Move] = []
        accounts: list[int] = []
        for index, before in self.touched.items():
            columns = changed.get(index, set())
            gone, after = before, list[Binding]()
            if index in book.demands:
                demand = book.demands[index]
                names = {book.fleet.nodes[c].name for c in columns}
                gone = [b for b in before if b.node in names]
                if columns:
                    after = bindings_of(book, demand, columns)
                    moves += moves_of(book, demand, columns)
                    self.bindings[demand.contract.key] = [b for b in before if b.node not in names and b.end > now] + after
                    self.stale.add(index)
                if columns or not before or index in self.undelivered:
                    accounts.append(index)
            elif index not in self.contracts:
                self.bindings.pop(before[0].contract if before else "", None)
            released += {b for b in gone if b.end > now} - set(after)
            acquired += set(after) - set(gone)
        self._account(accounts)
        book.settled()
        self.past.withdraw(released, now)
        self.past.announce(acquired)
        self.refused = {key: u._replace(start=max(u.start, now)) for key, u in self.refused.items() if u.end > now}
        return Difference(tuple(sorted(released)), tuple(sorted(acquired)), tuple(self.short()), tuple(sorted(moves)))

    def short(self) -> list[Undelivered]:
        """All that is undelivered from now on, and who is refused."""
        now = self.book.now
        rows = (u for rows in self.undelivered.values() for u in rows if u.end > now)
        return sorted([*self.refused.values(), *(u._replace(start=max(u.start, now)) for u in rows)])

    def now(self) -> list[Binding]:
        """All bindings from now on."""
        return [b for rows in self.bindings.values() for b in rows if b.end > self.book.now]

    def before(self) -> list[Binding]:
        """All that was announced before the last update."""
        renewed = {self.contracts[i].key for i in self.touched if i in self.contracts}
        rest = [b for key, rows in self.bindings.items() if key not in renewed for b in rows]
        return [*rest, *(b for rows in self.touched.values() for b in rows), *self.past.bindings(self.book.now)]
