"""Admission: candidates are decided one by one, in their published order, beside everything accepted before.

A candidate is accepted only if all of its lots are served through its whole due window without an interruption, and no accepted
contract is owed or interrupted one micro more. Contracts that do not run yet may be placed anew to make room for it. A refusal is
`proved` when counting alone excludes it, else `not found`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .book import Book
from .construct import settle
from .eligible import Demand
from .model import Reason, Undelivered
from .repair import complete, gives_way, make_room
from .report import span, stamp
from .timegrid import boundaries_of


@dataclass(frozen=True)
class Admission:
    book: Book
    turnarounds: tuple[int, ...]
    effort: int
    deadline: Callable[[], bool]

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
            if self._served(demand) or make_room(book, demand.index, self.effort, self.deadline):
                return None
            book.clear(demand.index)
            refusal = self._short(demand)
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

    def _short(self, demand: Demand) -> tuple[Reason, str]:
        contract, ledger = demand.contract, self.book.ledger
        row = counted_short(self.book, demand)
        if row is not None:
            window = span(*ledger.grid.slice_at(ledger.grid.times[row]))
            return Reason.NO_CAPACITY, f"{contract.product}: accepted contracts leave less than {contract.gpus} GPUs from {window} (proved)"
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


def counted_short(book: Book, demand: Demand) -> int | None:
    """A slice in which the candidate cannot be served, by counting blocks: what accepted contracts must keep leaves too few.

    A contract that is owed nothing and not interrupted must stay so, hence have all its lots in every slice, unless it may be
    curtailed by right; if it can use no other grades than some set, its lots take blocks of that set.
    """
    grid, fleet = book.ledger.grid, book.fleet
    first, last = grid.row(demand.start), grid.row(demand.end)
    mandatory = [
        d for d in book.demands.values() if d is not demand and d.start < demand.end and demand.start < d.end and _kept_whole(book, d)
    ]
    for grades in sorted({frozenset(demand.options)} | {frozenset(d.options) | frozenset(demand.options) for d in mandatory}, key=sorted):
        columns = np.flatnonzero(np.isin(fleet.grade, sorted(grades)))
        for k in (1, 2, 4, 8):
            need = np.full(last - first, demand.lots * (demand.contract.lot_gpus // k), dtype=np.int64)
            for d in mandatory:
                if grades.issuperset(d.options):
                    a, b = (min(max(grid.row(t) - first, 0), last - first) for t in (d.start, d.end))
                    need[a:b] += d.lots * (d.contract.lot_gpus // k)
            have = book.ledger.blocks(demand.start, demand.end, columns, k)
            if (need > have).any():
                return first + int(np.argmax(need > have))
    return None


def _kept_whole(book: Book, demand: Demand) -> bool:
    return not book.verdict(demand.index).due and complete(book, demand) and not gives_way(demand) and not demand.contract.reserve
