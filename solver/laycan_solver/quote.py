"""Quotes: what could be sold, now and after planning anew, and what could not, whoever plans. Nothing changes by asking.

A quote has three numbers of lots. `bindable` fit beside the plan as it is. `replanned` fit after what has not begun is planned anew
without anybody accepted being owed or interrupted one micro more; the quote holds the bindings that would change. `at_most` is a
bound, by counting, of what any plan could grant. Where they meet the answer is proved, and whoever asks need not ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .allot import Units, allot, most_lots, units_in
from .book import Book
from .counting import Counting, Most
from .earliest import Start, first_start
from .eligible import Demand, Demands
from .model import Binding, Contract
from .objective import Segment
from .report import as_bindings
from .reseat import Reseating

ASKED = -1  # index of the contract that is asked for, in no book


@dataclass(frozen=True)
class Offer:
    """Lots of a contract on nodes (columns of the fleet), throughout its due window."""

    demand: Demand
    units: Units

    @property
    def lots(self) -> int:
        return int(self.units.lots.sum(dtype=np.int64))

    def bindings(self, book: Book) -> list[Binding]:
        """As the plan would hold them."""
        d, lots = self.demand, zip(self.units.columns.tolist(), self.units.lots.tolist(), strict=True)
        return as_bindings(book.fleet, d, [Segment(column, d.start, d.end, n) for column, n in lots])


@dataclass(frozen=True)
class Quote:
    """Lots of what is `asked` that can be had; bindable <= replanned <= at_most <= asked.

    `placement` holds the replanned lots; for them `released` bindings of others give way to `acquired` ones. `scarce`: where counting
    says that no more can be had.
    """

    asked: int
    bindable: int
    replanned: int
    at_most: int
    placement: tuple[Binding, ...]
    released: tuple[Binding, ...]
    acquired: tuple[Binding, ...]
    scarce: Most

    @property
    def proved(self) -> bool:
        """Nobody can grant more."""
        return self.replanned == self.at_most


class Desk:
    """Answers for one book. Keeps what it has counted until the book changes."""

    def __init__(self, book: Book, demands: Demands, counting: Counting | None = None) -> None:
        self.book, self.demands = book, demands
        self.counting = counting or Counting(book)

    def demand(self, contract: Contract) -> Demand:
        """What the contract would be owed; ValueError if that is nothing any more or its product is unknown."""
        if contract.product not in self.demands.products:
            raise ValueError(f"contract {contract.key}: product {contract.product!r} is not given; add it or correct productRef.name")
        demand = self.demands.of(ASKED, contract)
        if demand is None:
            raise ValueError(f"contract {contract.key}: its end has passed; ask for a window that ends later")
        return demand

    def bindable(self, contract: Contract) -> Offer:
        """What fits beside the plan as it is."""
        return self._offer(self.demand(contract))

    def _offer(self, demand: Demand) -> Offer:
        units = units_in(self.book, demand, demand.start, demand.end)
        return Offer(demand, allot(self.book.fleet, demand.contract, units, demand.lots))

    def at_most(self, contract: Contract) -> Most:
        """A bound of what any plan could grant, and where it comes from."""
        return self._at_most(self.demand(contract))

    def _at_most(self, demand: Demand) -> Most:
        contract, columns = demand.contract, demand.columns
        scarce = self.counting.most(demand.options, contract.lot_gpus, demand.start, demand.end)
        free = self.counting.free_of_fixed(demand.start, demand.end, columns) // contract.lot_gpus
        lots = most_lots(self.book.fleet, contract, Units(columns, free), min(demand.lots, scarce.lots))
        return replace(scarce, lots=lots)

    def quote(self, contract: Contract, late: Callable[[], bool] = lambda: False) -> Quote:
        """All three numbers, with the witness of the second."""
        demand, book = self.demand(contract), self.book
        offer = self._offer(demand)
        bindable = offer.lots
        scarce = self._at_most(demand) if bindable < demand.lots else Most(demand.lots, demand.start, demand.end, 0)
        released: tuple[Binding, ...] = ()
        acquired: tuple[Binding, ...] = ()
        placement = tuple(sorted(offer.bindings(book)))
        if bindable < scarce.lots:
            reseating = Reseating(book, demand, late)
            try:
                reseating.run(lambda: scarce.lots - self._offer(demand).lots)
                better = self._offer(demand)
                if better.lots > bindable:
                    offer, placement = better, tuple(sorted(better.bindings(book)))
                    released, acquired = reseating.changed()
            finally:
                reseating.undo()
        return Quote(demand.lots, bindable, offer.lots, scarce.lots, placement, released, acquired, scarce)

    def largest(self, contract: Contract, late: Callable[[], bool] = lambda: False) -> Quote:
        """The same for as many lots as there could be."""
        lots = max(1, int((self.book.fleet.gpus[self.demand(contract).columns] // contract.lot_gpus).sum()))
        return self.quote(replace(contract, gpus=lots * contract.lot_gpus), late)

    def earliest(self, contract: Contract, not_before: int, within: int) -> Start:
        """When all lots of the contract could begin, for its length, beside the plan as it is.

        From `not_before` on (Unix seconds), at most `within` seconds later; and before when counting excludes it for any plan.
        """
        start = max(not_before, self.book.now)
        moved = replace(contract, start=start, end=start + contract.end - contract.start, due_from=0)
        return first_start(self.book, self.counting, self.demand(moved), start + within)
