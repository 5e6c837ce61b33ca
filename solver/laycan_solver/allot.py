"""How many lots, and where: what topology makes of the lots that single nodes could take.

A contract's scope puts all its lots into one domain, its spread lets no domain of another level have more than its share. The share
depends on how many lots there are, so that with a spread fewer lots may not fit where more do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .book import Book
from .eligible import Demand, Fleet
from .model import Contract, Scope
from .timegrid import Ints


class Units(NamedTuple):
    """Nodes and the lots that each could take; parallel, the nodes to be used first in front."""

    columns: Ints
    lots: Ints


def units_in(book: Book, demand: Demand, start: int, end: int) -> Units:
    """Nodes with room for a lot through [start, end), which may lie anywhere, the cheapest grade first."""
    columns: list[Ints] = []
    lots: list[Ints] = []
    for _, span in demand.pool.spans:
        room = book.room(demand, start, end, span)
        some = np.flatnonzero(room)
        columns.append(some + span.start)
        lots.append(room[some])
    units = Units(np.concatenate(columns), np.concatenate(lots)) if columns else Units(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return without_outages(book, units, end)


def without_outages(book: Book, units: Units, end: int) -> Units:
    """Leaves out nodes with an outage behind the ledger's last second but before `end`."""
    ledger, last = book.ledger, book.ledger.grid.times[-1]
    if end <= last:
        return units
    out = ledger.outage_column[(ledger.outage_start < end) & (ledger.outage_end > last)]
    still = ~np.isin(units.columns, out)
    return Units(units.columns[still], units.lots[still])


def most_lots(fleet: Fleet, contract: Contract, units: Units, asked: int) -> int:
    """The most of `asked` lots, of a contract of that many, that topology lets these nodes take together."""
    if contract.scope is Scope.ANY and contract.spread_level is Scope.ANY:
        return min(asked, int(units.lots.sum(dtype=np.int64)))
    return int(lots_by_domain(fleet, contract, units, asked).max(initial=0))


def lots_by_domain(fleet: Fleet, contract: Contract, units: Units, asked: int) -> Ints:
    """The same for each domain of the scope; the whole fleet is the only domain of scope Any."""
    outer = fleet.domains[contract.scope][units.columns]
    if contract.spread_level is Scope.ANY:
        return np.minimum(np.bincount(outer, units.lots).astype(np.int64), asked)
    inner = fleet.domains[contract.spread_level][units.columns]
    pairs, where = np.unique(outer * (int(inner.max(initial=0)) + 1) + inner, return_inverse=True)
    inside = np.bincount(where, units.lots).astype(np.int64)
    whose = pairs // (int(inner.max(initial=0)) + 1)
    found = np.zeros(int(outer.max(initial=-1)) + 1, dtype=np.int64)
    for domain in np.unique(whose).tolist():
        found[domain] = spread_lots(inside[whose == domain], asked, contract.spread_domains)
    return found


def spread_lots(inside: Ints, asked: int, domains: int) -> int:
    """The most of `asked` lots of which no domain, with room for `inside` lots each, takes more than its share of 1 in `domains`."""
    room = np.sort(inside)
    share = np.arange(1, -(-asked // domains) + 1)
    below = np.searchsorted(room, share)
    total = np.concatenate(([0], room.cumsum()))[below] + share * (len(room) - below)
    total = np.minimum(np.minimum(total, share * domains), asked)
    valid = np.flatnonzero(total > (share - 1) * domains)  # fewer lots would have a smaller share
    return int(total[valid[-1]]) if len(valid) else 0


def allot(fleet: Fleet, contract: Contract, units: Units, asked: int) -> Units:
    """The most of `asked` lots on these nodes; of several scope domains that hold as many, the one with the least room."""
    lots = asked
    if contract.scope is not Scope.ANY:
        have = lots_by_domain(fleet, contract, units, asked)
        lots = int(have.max(initial=0))
        outer = fleet.domains[contract.scope][units.columns]
        total = np.bincount(outer, units.lots, len(have)).astype(np.int64)
        best = int(np.where(have == lots, total, np.iinfo(np.int64).max).argmin()) if len(have) else 0
        units = Units(units.columns[outer == best], units.lots[outer == best])
    if contract.spread_level is not Scope.ANY:
        lots = most_lots(fleet, contract, units, lots)
        units = _shared(fleet, contract, units, -(-lots // contract.spread_domains))
    before = units.lots.cumsum(dtype=np.int64) - units.lots
    taken = np.minimum(units.lots, np.maximum(lots - before, 0))
    some = np.flatnonzero(taken)
    return Units(units.columns[some], taken[some])


def _shared(fleet: Fleet, contract: Contract, units: Units, share: int) -> Units:
    """The same nodes with no more than `share` lots in one domain of the spread."""
    order = np.argsort(fleet.domains[contract.spread_level][units.columns], kind="stable")
    inner, lots = fleet.domains[contract.spread_level][units.columns[order]], units.lots[order].astype(np.int64)
    before = lots.cumsum() - lots
    before -= before[np.searchsorted(inner, inner)]
    taken = np.zeros(len(order), dtype=np.int64)
    taken[order] = np.minimum(lots, np.maximum(share - before, 0))
    return Units(units.columns, taken)
