"""Serving a short lot by a chain of bindings: which nodes, from when to when, with which cuts and gaps.

One dynamic program over the slices finds the cheapest way of one lot through the free nodes: stay, change node at the price of an
interruption of the whole contract, or wait in a gap. Its prices see what the other lots of the contract do: an instant at which the
contract is interrupted anyway is free, and leaving at an instant at which another lot arrives is an interruption, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from .book import Book
from .eligible import Demand
from .objective import NetChanges, Segment, flows_at_now, missing_profile
from .timegrid import Flags, Ints

NEVER = 1 << 60
SECOND = 1 << 24  # weight of one lot-second without a node; a second in a substitute weighs its rank, so it decides ties only
MOST_LAYERS = 4096


@dataclass(frozen=True)
class Prices:
    """Per slice, what happens at its start: weights of arriving from a gap, of leaving into one and of changing node.

    A gap shorter than `planning.move.seconds` weighs what a change of node does: nobody shall idle for a second to be spared it.
    """

    arrive: Ints
    leave: Ints
    change: Ints


class Outcome(Enum):
    BETTER = 1
    NO_WAY = 2  # nothing free that would pay
    DEARER = 3  # it would not have paid after all
    ILLEGAL = 4  # against the move policy or its limit


def fill(book: Book, index: int) -> None:
    """Serves what the contract still misses, lot by lot, by chains through what is free; never makes it cost more."""
    demand = book.demands[index]
    for _ in range(min(demand.lots, MOST_LAYERS)):
        outcome = _layer(book, demand, sharing=True, cuts=True)
        if outcome is Outcome.DEARER:
            outcome = _layer(book, demand, sharing=False, cuts=True)
        if outcome is Outcome.ILLEGAL:
            outcome = _layer(book, demand, sharing=False, cuts=False)
        if outcome is not Outcome.BETTER:
            return


def _layer(book: Book, demand: Demand, *, sharing: bool, cuts: bool) -> Outcome:
    """One more lot (or several on the same way), if that costs less; `sharing`: hope that others share its cuts."""
    grid, before = book.ledger.grid, book.verdict(demand.index)
    gaps = missing_profile(demand, book.segments[demand.index])
    if not gaps:
        return Outcome.NO_WAY
    first, last = grid.index(gaps[0][0]), grid.index(gaps[-1][1])
    missing = np.zeros(last - first, dtype=np.int64)
    for start, end, lots in gaps:
        missing[grid.index(start) - first : grid.index(end) - first] = lots
    columns, units = _room(book, demand, first, last)
    if not (units.any(axis=1) & (missing > 0)).any():
        return Outcome.NO_WAY
    path = _way(book, demand, first, missing, columns, units, int(missing.max()) if sharing else 1, cuts)
    if not path:
        return Outcome.NO_WAY
    lots = 1 if demand.spread else min(min(int(units[a:b, j].min()), int(missing[a:b].min())) for j, a, b in path)
    mark = book.mark()
    for j, a, b in path:
        book.put(demand.index, Segment(int(columns[j]), grid.times[first + a], grid.times[first + b], lots))
    after = book.verdict(demand.index)
    if after.legal and after.tiers < before.tiers:
        return Outcome.BETTER
    book.roll_back(mark)
    return Outcome.DEARER if after.legal else Outcome.ILLEGAL


def _room(book: Book, demand: Demand, first: int, last: int) -> tuple[Ints, Ints]:
    """Columns with any room, and [slice, column] how many more lots topology and the ledger allow."""
    columns = demand.columns
    if not len(columns):
        return columns, np.zeros((last - first, 0), dtype=np.int64)
    units = book.ledger.units(demand, first, last, columns)
    if demand.spread:
        domain = book.fleet.domains[demand.contract.spread_level]
        for within, lots in _serving(book, demand, first, last, domain).items():
            units[np.ix_(lots >= demand.per_domain, domain[columns] == within)] = 0
    if demand.scoped:
        _keep_scope(book, demand, first, last, units)
    some = (units > 0).any(axis=0)
    return columns[some], units[:, some]


def _serving(book: Book, demand: Demand, first: int, last: int, domain: Ints) -> dict[int, Ints]:
    """domain -> per slice: lots of the contract in it."""
    grid = book.ledger.grid
    lots: dict[int, Ints] = {}
    for s in book.segments[demand.index]:
        a, b = (min(max(grid.index(t) - first, 0), last - first) for t in (s.start, s.end))
        lots.setdefault(int(domain[s.column]), np.zeros(last - first, dtype=np.int64))[a:b] += s.lots
    return lots


def _keep_scope(book: Book, demand: Demand, first: int, last: int, units: Ints) -> None:
    """Leaves room only in the domain that serves the contract; where none does, in the one with the most room until one does again."""
    domain = book.fleet.domains[demand.contract.scope]
    inside = domain[demand.columns]
    seconds = book.ledger.grid.seconds(first, last)
    unserved = np.ones(last - first, dtype=bool)
    for within, lots in _serving(book, demand, first, last, domain).items():
        units[np.ix_(lots > 0, inside != within)] = 0
        unserved &= lots == 0
    for start, end in runs(unserved):
        best, most = -1, 0
        for d in np.unique(inside).tolist():
            lots = np.minimum(units[start:end, inside == d].sum(axis=1), demand.lots)
            if (weight := int((lots * seconds[start:end]).sum())) > most:
                best, most = d, weight
        units[start:end, inside != best] = 0


def runs(flags: Flags) -> list[tuple[int, int]]:
    """[start, end) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _cut_weight(demand: Demand, share: int) -> int:
    """Weight of an interruption of the whole contract, of which a lot bears the part that `share` lots leave it."""
    return min(demand.move_seconds * demand.lots * SECOND // share, NEVER)


def _prices(book: Book, demand: Demand, first: int, slices: int, share: int, cuts: bool) -> Prices:
    grid, fleet = book.ledger.grid, book.fleet
    verdict = book.verdict(demand.index)
    cut = _cut_weight(demand, share)
    planned = cut if cuts and demand.moves_per_month else NEVER
    arrive, leave, change = (np.zeros(slices + 1, dtype=np.int64) for _ in range(3))
    change[:] = planned
    net = NetChanges(book.segments[demand.index])
    starts = grid.starts[first : first + slices + 1]
    for time in net.at:
        if not (demand.start < time < demand.end) or not 0 <= grid.index(time) - first <= slices:
            continue
        left, arrived = net.flows(time)
        if left:
            serves = any(d < 0 and fleet.serves_on(demand, c, time) for c, d in net.at[time].items())
            soon = (starts >= time) & (starts < time + max(1, demand.move_seconds))
            arrive[soon] = np.maximum(arrive[soon], planned if serves else cut)
        if arrived:
            leave[(starts <= time) & (starts > time - max(1, demand.move_seconds))] = planned
    for time in verdict.instants:
        if 0 <= (i := grid.index(time) - first) <= slices:
            free = cuts or time in verdict.planned
            arrive[i] = leave[i] = 0
            change[i] = 0 if free else NEVER
    if demand.running and grid.times[first] == demand.start and demand.start not in verdict.instants:
        left, arrived, forced = flows_at_now(demand, fleet, net.at.get(demand.start, {}))
        if min(left, arrived + 1) > min(forced, arrived + 1):
            arrive[starts < demand.start + max(1, demand.move_seconds)] = planned
    return Prices(arrive, leave, change)


def _way(
    book: Book, demand: Demand, first: int, missing: Ints, columns: Ints, units: Ints, share: int, cuts: bool
) -> list[tuple[int, int, int]]:
    """Segments (position in `columns`, first slice, last slice) of the cheapest way of one lot, slices counted from `first`."""
    prices = _prices(book, demand, first, len(missing), share, cuts)
    rows = _telling_rows(units, missing > 0, prices)
    seconds = np.add.reduceat(book.ledger.grid.seconds(first, first + len(missing)), rows)
    outage = book.ledger.capacity[first : first + len(missing)][:, columns] < demand.contract.lot_gpus
    walk = Walk(len(rows), len(columns), demand.move_seconds)
    ranks = demand.costs[np.searchsorted(demand.columns, columns)]
    preference = np.minimum(units[rows].sum(axis=0), 255)  # the fullest nodes first
    for t, row in enumerate(rows.tolist()):
        walk.step(
            t, int(seconds[t]), bool(missing[row]), units[row] > 0, outage[row],
            (int(prices.arrive[row]), int(prices.leave[row]), int(prices.change[row]), _cut_weight(demand, share)), ranks, preference,
        )  # fmt: skip
    ends = [*rows.tolist(), len(missing)]
    return [(j, ends[a], ends[b]) for j, a, b in walk.segments(int(prices.leave[len(missing)]))]


def _telling_rows(units: Ints, wanted: Flags, prices: Prices) -> Ints:
    """First slices of runs in which nothing changes; one slice before and behind a change stands alone, as the shortest gap."""
    state = np.column_stack((units > 0, wanted))
    changed = np.flatnonzero((state[1:] != state[:-1]).any(axis=1)) + 1
    special = np.flatnonzero((prices.arrive[:-1] != 0) | (prices.leave[:-1] != 0) | (prices.change[:-1] != np.median(prices.change)))
    near = np.concatenate((changed - 1, changed, changed + 1, special, special + 1, [0]))
    return np.unique(near[(near >= 0) & (near < len(wanted))]).astype(np.int64)


class Walk:
    """The dynamic program: cheapest weight of being on each node, and of being on none, through each row."""

    def __init__(self, rows: int, columns: int, shortest: int) -> None:
        self.shortest = shortest  # seconds; after a shorter gap, arriving weighs what a change would have weighed
        self.gone, self.resume = shortest, 0  # seconds since the last node was left, and that weight
        self.on = np.full(columns, NEVER, dtype=np.int64)
        self.off = 0
        self.stayed = np.zeros((rows, columns), dtype=bool)
        self.source = [-1] * rows  # whence one arrives in the row: a node, -1 = a gap
        self.left = [-1] * rows  # the node that is left for the gap of the row, -1 = there was a gap already

    def step(
        self,
        t: int,
        seconds: int,
        wanted: bool,
        free: Flags,
        outage: Flags,
        prices: tuple[int, int, int, int],
        ranks: Ints,
        preference: Ints,
    ) -> None:
        arrive, leave, change, forced = prices
        best = int(self.on.argmin())
        base, source = self.off + (arrive if self.gone >= self.shortest else max(arrive, self.resume)), -1
        if wanted and self.on[best] < NEVER:
            if self.on[best] + change < base:
                base, source = int(self.on[best]) + change, best
            leaving = np.where(outage, self.on, NEVER)
            cut = int(leaving.argmin())
            if leaving[cut] + min(change, forced) < base and leaving[cut] < NEVER:
                base, source = int(leaving[cut]) + min(change, forced), cut
        if self.on[best] + leave < self.off:
            self.off, self.left[t] = int(self.on[best]) + leave, best
            self.gone, self.resume = 0, min(change, forced) if outage[best] else change
        self.gone += seconds
        self.off += seconds * SECOND if wanted else 0
        self.source[t] = source
        fresh = base + preference
        self.stayed[t] = self.on <= fresh
        self.on = np.where(free & wanted, np.where(self.stayed[t], self.on, fresh) + ranks * seconds, NEVER)

    def segments(self, leave: int) -> list[tuple[int, int, int]]:
        """(column, first row, last row) of the cheapest way, where leaving at the end weighs `leave`; [] = no node at all."""
        out: list[tuple[int, int, int]] = []
        best = int(self.on.argmin())
        node = best if self.on[best] + leave < self.off else -1
        end = len(self.source)
        for t in range(end - 1, -1, -1):
            if node < 0:
                node, end = self.left[t], t
            elif not self.stayed[t, node]:
                out.append((node, t, end))
                node, end = self.source[t], t
        assert node < 0, "a way begins in a gap"
        return out[::-1]
