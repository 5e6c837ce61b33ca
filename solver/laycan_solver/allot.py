"""How many lots, and where: what topology makes of the lots that single nodes could take.

A contract's scope puts all its lots into one domain, its spread lets no domain of another level have more than its share. The share
depends on how many lots there are, so that with a spread fewer lots may not fit where more do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .book import Book
from .eligible import Demand
from .fleet import Fleet
from .ledger import Cells
from .model import Contract, Scope
from .timegrid import Ints


class Units(NamedTuple):
    """Nodes and the lots that each could take; parallel, the nodes to be used first in front."""

    columns: Ints
    lots: Ints


def units_in(book: Book, demand: Demand, start: int, end: int) -> Units:
    """Nodes with room for a lot through [start, end), which may lie anywhere, the cheapest grade first.

    Grades beyond those that hold all lots are left out, if topology does not matter.
    """
    found: list[Units] = []
    wanted = demand.lots
    for _, span in demand.pool.spans:
        room = book.room(demand, start, end, span) if start < book.ledger.grid.times[-1] else _room_behind(book, demand, start, end, span)
        some = (room > 0).nonzero()[0]
        found.append(without_outages(book, Units(some + span.start, room[some]), start, end))
        if not demand.scoped and not demand.spread:
            wanted -= int(found[-1].lots.sum(dtype=np.int64))
            if wanted <= 0:
                break
    if len(found) == 1:
        return found[0]
    none = np.zeros(0, dtype=np.int64)
    return Units(np.concatenate([none, *(u.columns for u in found)]), np.concatenate([none, *(u.lots for u in found)]))


def _room_behind(book: Book, demand: Demand, start: int, end: int, span: slice) -> Ints:
    """`Book.room` for a window behind the ledger's last second, where nothing is sold yet."""
    fleet = book.fleet
    lots: Ints = np.where(fleet.open[span], fleet.gpus[span], 0) // demand.contract.lot_gpus
    if book.separates(demand) and start - book.turnaround < book.ledger.grid.times[-1]:
        for i in (lots * fleet.whole[span]).nonzero()[0].tolist():
            if book.barred(demand, span.start + i, start, end):
                lots[i] = 0
    return lots


def without_outages(book: Book, units: Units, start: int, end: int) -> Units:
    """Leaves out nodes with an outage in that part of [start, end) that lies behind the ledger's last second."""
    ledger, last = book.ledger, max(start, book.ledger.grid.times[-1])
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
    if contract.scope is Scope.ANY:
        return np.array([spread_lots(np.bincount(inner, units.lots).astype(np.int64), asked, contract.spread_domains)])
    pairs, where = np.unique(np.stack((outer, inner)), axis=1, return_inverse=True)
    inside = np.bincount(where.ravel(), units.lots).astype(np.int64)
    found = np.zeros(int(outer.max(initial=-1)) + 1, dtype=np.int64)
    for domain in set(pairs[0].tolist()):
        found[domain] = spread_lots(inside[pairs[0] == domain], asked, contract.spread_domains)
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
        outer = fleet.domains[contract.scope][units.columns]
        total = np.bincount(outer, units.lots).astype(np.int64)
        have = np.minimum(total, asked) if contract.spread_level is Scope.ANY else lots_by_domain(fleet, contract, units, asked)
        lots = int(have.max(initial=0))
        best = int(np.where(have == lots, total, np.iinfo(np.int64).max).argmin()) if len(have) else 0
        here = (outer == best).nonzero()[0]
        units = Units(units.columns[here], units.lots[here])
    if contract.spread_level is not Scope.ANY:
        lots = most_lots(fleet, contract, units, lots)
        units = _shared(fleet, contract, units, -(-lots // contract.spread_domains))
    taken = np.array(first_lots(units.lots, lots), dtype=np.int64)
    some = taken.nonzero()[0]
    return Units(units.columns[some], taken[some])


def first_lots(units: Cells, lots: int) -> list[int]:
    """Of nodes that could take so many `units` each: what those in front take of `lots` lots."""
    total = units.cumsum(dtype=np.int64)
    last = int(total.searchsorted(lots))
    taken: list[int] = units[: last + 1].tolist()
    if last < len(total):
        taken[-1] -= int(total[last]) - lots
    return taken


def _shared(fleet: Fleet, contract: Contract, units: Units, share: int) -> Units:
    """The same nodes with no more than `share` lots in one domain of the spread."""
    order = np.argsort(fleet.domains[contract.spread_level][units.columns], kind="stable")
    inner, lots = fleet.domains[contract.spread_level][units.columns[order]], units.lots[order].astype(np.int64)
    taken = np.zeros(len(order), dtype=np.int64)
    taken[order] = np.minimum(lots, np.maximum(share - sums_before(inner, lots), 0))
    return Units(units.columns, taken)


def sums_before(groups: Ints, values: Ints) -> Ints:
    """Per position: sum of the values before it in its group; groups are sorted."""
    sums: Ints = values.cumsum() - values
    return sums - sums[np.searchsorted(groups, groups)]
