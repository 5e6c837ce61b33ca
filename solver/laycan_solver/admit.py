"""Admission: candidates are decided one by one, in their published order, beside everything accepted before.

A candidate is accepted only if all of its lots are served through its whole due window without an interruption, and no accepted
contract is owed or interrupted one micro more. Contracts that do not run yet may be placed anew to make room for it. A refusal is
`proved` when counting alone excludes it, else `not found`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .allot import Units, most_lots, units_in
from .book import Book
from .construct import settle
from .counting import Counting
from .eligible import Demand
from .model import Reason, Undelivered
from .repair import complete, make_room
from .report import span, stamp
from .reseat import Reseating
from .timegrid import boundaries_of


@dataclass(frozen=True)
class Admission:
    book: Book
    turnarounds: tuple[int, ...]
    effort: int
    deadline: Callable[[], bool]
    counting: Counting = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counting", Counting(self.book))

    def decide(self, demand: Demand) -> Undelivered | None:
        """Takes the candidate into the book, or says why not."""
        book = self.book
        book.ledger.extend(demand.end)
        for time in boundaries_of(demand.contract, book.now, self.turnarounds):
            book.ledger.split(time)
        book.open(demand)
        refusal = self._impossible(demand)
        if refusal is None:
            settle(book, demand.index, cuts=False)
            if self._served(demand):
                return None
            book.clear(demand.index)
            refusal = self._counted(demand) or self._sought(demand)
            if refusal is None:
                return None
        book.close(demand.index)
        code, message = refusal
        return Undelivered(demand.contract.key, demand.start, demand.end, demand.contract.gpus, code, message, refused=True)

    def _served(self, demand: Demand) -> bool:
        verdict = self.book.verdict(demand.index)
        return not verdict.due and not verdict.instants and verdict.legal and complete(self.book, demand)

    def _impossible(self, demand: Demand) -> tuple[Reason, str] | None:
        """The fleet alone could not serve it, whatever else was sold."""
        contract, ledger, fleet = demand.contract, self.book.ledger, self.book.fleet
        lots = int((fleet.gpus[demand.columns] // contract.lot_gpus).sum()) if len(demand.columns) else 0
        if lots < demand.lots:
            text = f"{contract.product}: {contract.gpus} GPUs asked, all nodes that could serve it hold {lots * contract.lot_gpus}"
            return Reason.EXCEEDS_FLEET, f"{text} in lots of {contract.lot_gpus} (proved)"
        if most_in_topology(self.book, demand) < demand.lots:
            where = contract.scope.label if demand.scoped else contract.spread_level.label
            return Reason.TOPOLOGY_SHORT, f"{contract.product}: no {where} holds {contract.gpus} GPUs as asked, even when empty (proved)"
        able = ledger.blocks(demand.start, demand.end, demand.columns, contract.lot_gpus)
        if int(able.min()) < demand.lots:
            first = ledger.grid.row(demand.start) + int(np.argmax(able < demand.lots))
            window = span(*ledger.grid.slice_at(ledger.grid.times[first]))
            gpus = int(able.min()) * contract.lot_gpus
            return Reason.NO_CAPACITY, f"{contract.product}: outages leave {gpus} of {contract.gpus} GPUs from {window} (proved)"
        return None

    def _sought(self, demand: Demand) -> tuple[Reason, str] | None:
        """Looks for room by placing others anew; None = found, and taken."""
        if self._reseat(demand) or make_room(self.book, demand.index, self.effort, self.deadline):
            return None
        self.book.clear(demand.index)
        return self._not_found(demand)

    def _reseat(self, demand: Demand) -> bool:
        """Serves the candidate after others have changed nodes, to the harm of none."""
        book, reseating = self.book, Reseating(self.book, demand, self.deadline)

        def missing() -> int:
            units = units_in(book, demand, demand.start, demand.end)
            return demand.lots - most_lots(book.fleet, demand.contract, units, demand.lots)

        reseating.run(missing)
        settle(book, demand.index, cuts=False)
        if self._served(demand):
            return True
        book.clear(demand.index)
        reseating.undo()
        return False

    def _counted(self, demand: Demand) -> tuple[Reason, str] | None:
        """What accepted contracts must keep leaves too little, by counting."""
        contract, fleet = demand.contract, self.book.fleet
        most = self.counting.most(demand.options, contract.lot_gpus, demand.start, demand.end)
        if most.lots < demand.lots:
            left = f"accepted contracts leave {most.lots * contract.lot_gpus} of {contract.gpus} GPUs"
            return Reason.NO_CAPACITY, f"{contract.product}: {left} from {span(most.start, most.end)} (proved)"
        free = self.counting.free_of_fixed(demand.start, demand.end, demand.columns) // contract.lot_gpus
        lots = most_lots(fleet, contract, Units(demand.columns, free), demand.lots)
        if lots < demand.lots and not demand.rights:
            left = f"what runs leaves {lots * contract.lot_gpus} of {contract.gpus} GPUs as asked"
            return Reason.NO_CAPACITY, f"{contract.product}: {left} throughout {span(demand.start, demand.end)} (proved)"
        return None

    def _not_found(self, demand: Demand) -> tuple[Reason, str]:
        contract, ledger = demand.contract, self.book.ledger
        times = ledger.grid.between(demand.start, demand.end)
        free = {t: int(self.book.room(demand, t, t + 1, demand.columns).sum(dtype=np.int64)) for t in times}
        time = next((t for t in times if free[t] < demand.lots), min(free, key=lambda t: (free[t], t)))
        text = f"{contract.product}: {free[time] * contract.lot_gpus} of {contract.gpus} GPUs are free at {stamp(time)}"
        return Reason.NO_CAPACITY, f"{text}, and no arrangement for {span(demand.start, demand.end)} was found (not found)"


def most_in_topology(book: Book, demand: Demand) -> int:
    """Lots that scope and spread allow on the empty fleet."""
    fleet, contract = book.fleet, demand.contract
    units = fleet.gpus[demand.columns] // contract.lot_gpus
    outer, inner = (fleet.domains[level][demand.columns].tolist() for level in (contract.scope, contract.spread_level))
    lots: dict[int, dict[int, int]] = {}
    for scope, spread, n in zip(outer, inner, units.tolist(), strict=True):
        inside = lots.setdefault(scope, {})
        inside[spread] = inside.get(spread, 0) + n
    return max((sum(min(n, demand.per_domain) for n in inside.values()) for inside in lots.values()), default=0)
