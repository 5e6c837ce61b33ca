"""Admission: candidates are decided one by one, in their published order, beside everything accepted before.

A candidate is accepted only if all of its lots are served through its whole due window without an interruption, and no accepted
contract is owed or interrupted one micro more. Contracts that do not run yet may be placed anew to make room for it. Where products
have a target it must be kept as well (see `judgement`). A refusal is `proved` when counting alone excludes it, else `not found`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .allot import Units, allot, most_lots, units_in
from .book import Book
from .construct import settle
from .counting import Counting
from .eligible import Demand, Demands
from .model import Reason, Undelivered
from .objective import Segment
from .promise import Risks
from .repair import complete, make_room
from .report import span, stamp
from .reseat import Reseating
from .timegrid import boundaries_of

DOMAINS = 3  # that are tried for a contract which must lie in one, for the sake of a target


@dataclass(frozen=True)
class Admission:
    book: Book
    demands: Demands
    turnarounds: tuple[int, ...]
    effort: int
    deadline: Callable[[], bool]
    counting: Counting = field(init=False)
    risks: Risks = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counting", Counting(self.book))
        object.__setattr__(self, "risks", Risks(self.book, self.demands, self.counting))

    def decide(self, demand: Demand) -> Undelivered | None:
        """Takes the candidate into the book, or says why not."""
        book = self.book
        if self.risks.at_stake(demand):
            self.risks.refresh()
        book.ledger.extend(demand.end)
        for time in boundaries_of(demand.contract, book.now, self.turnarounds):
            book.ledger.split(time)
        book.open(demand)
        mark = book.mark()
        refusal = self._impossible(demand) or self._place(demand)
        if refusal and demand.contract.judged:
            refusal = self._place_anyhow(demand)
        if refusal is None:
            return None
        book.roll_back(mark)  # nothing is left of what was tried, in the journal neither
        book.close(demand.index)
        return refused(demand, *refusal)

    def _place_anyhow(self, demand: Demand) -> tuple[Reason, str] | None:
        """Serves a candidate that was judged before, though its place may be a worse one by now."""
        self.risks.minding = False
        try:
            return self._impossible(demand) or self._place(demand)
        finally:
            self.risks.minding = True

    def _place(self, demand: Demand) -> tuple[Reason, str] | None:
        """Serves it in what is free, or after others have made room; None = served, and no target is missed for it."""
        settle(self.book, demand.index, cuts=False)
        if self._served(demand):
            refusal = self.risks.refusal(demand)
            if refusal:
                self.book.clear(demand.index)
            return self._elsewhere(demand, refusal) if refusal and demand.scoped else refusal
        self.book.clear(demand.index)
        return self._counted(demand) or self._sought(demand)

    def _elsewhere(self, demand: Demand, refusal: tuple[Reason, str]) -> tuple[Reason, str] | None:
        """Best fit fills the fullest domain, which leaves no spare node there: the emptiest may keep the targets all the same."""
        book, fleet, contract = self.book, self.book.fleet, demand.contract
        units = units_in(book, demand, demand.start, demand.end)
        outer = fleet.domains[contract.scope][units.columns]
        room = np.bincount(outer, units.lots)
        for domain in np.argsort(-room, kind="stable")[:DOMAINS].tolist():
            there = Units(units.columns[outer == domain], units.lots[outer == domain])
            chosen = allot(fleet, contract, there, demand.lots)
            lots = zip(chosen.columns.tolist(), chosen.lots.tolist(), strict=True)
            book.put(demand.index, [Segment(column, demand.start, demand.end, n) for column, n in lots])
            if self._served(demand) and self.risks.refusal(demand) is None:
                return None
            book.clear(demand.index)
        return refusal

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
        if (demand.scoped or demand.spread) and most_in_topology(self.book, demand) < demand.lots:
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
        book, mark = self.book, self.book.mark()
        found, refusal = self._reseat(demand)
        if found:
            return refusal
        if make_room(book, demand.index, self.effort, self.deadline):
            refusal = self.risks.refusal(demand)
            if refusal:
                book.roll_back(mark)
            return refusal
        book.clear(demand.index)
        return self._not_found(demand)

    def _reseat(self, demand: Demand) -> tuple[bool, tuple[Reason, str] | None]:
        """Serves the candidate after others have changed nodes, to the harm of none: (found room, why it may not stay there)."""
        book, reseating = self.book, Reseating(self.book, demand, self.deadline)

        def missing() -> int:
            units = units_in(book, demand, demand.start, demand.end)
            return demand.lots - most_lots(book.fleet, demand.contract, units, demand.lots)

        reseating.run(missing)
        settle(book, demand.index, cuts=False)
        found = self._served(demand)
        refusal = self.risks.refusal(demand) if found else None
        if not found or refusal:
            book.clear(demand.index)
            reseating.undo()
        return found, refusal

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


def refused(demand: Demand, code: Reason, message: str) -> Undelivered:
    """Nothing of the candidate is delivered."""
    return Undelivered(demand.contract.key, demand.start, demand.end, demand.contract.gpus, code, message, refused=True)


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
