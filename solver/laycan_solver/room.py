"""How many nodes can be out of service at most, by counting: a bound that no plan can beat.

Who is served in full now has to be served in full then. So in every slice and for every block size k the nodes that are left hold the
blocks of all these lots: a node with x GPUs holds no lots whose floor(g / k) add up to more than floor(x / k). It is counted for
each set of grades that some contract admits, and for the sets that such contracts tie together. Interruptions are allowed, so
nothing is fixed where it lies; topology, holders and turnarounds are left out, which only weakens the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .counting import HALVES
from .eligible import Demand
from .live import Live
from .timegrid import Ints

Grades = frozenset[int]
SIZES = 12  # block sizes beside halves


class Room:
    """The room of a kept plan in [start, end), for a group of nodes (columns)."""

    def __init__(self, live: Live, start: int, end: int, columns: Iterable[int]) -> None:
        self.fleet, self.start, self.end = live.fleet, max(start, live.now), end
        self.columns = sorted(columns)
        self.demands = [d for d in live.book.demands.values() if d.start < end and d.end > start and _full(live, d)]
        self.times = self._times()
        self.rooms = self._rooms()
        self.sets = {frozenset(d.options) for d in self.demands if d.options}
        self.parts = tied(self.sets)
        grades = self.fleet.grade[self.columns].tolist()
        inside = [sum(g in part for g in grades) for part in self.parts]
        self.sizes = [*inside, len(grades) - sum(inside)]  # nodes of the group in each part, and in none

    def most(self) -> Ints:
        """[part, instant]: most nodes of the group that can be out then, for grades that have nothing in common; see `parts`."""
        rows = []
        for part in self.parts:
            pools = sorted({s for s in self.sets if s <= part} | {part}, key=sorted)
            rows.append(np.minimum.reduce([self._of_pool(part, pool, k) for pool in pools for k in self._sizes(pool)]))
        free = self.sizes[-1]  # of grades that nobody admits
        most: Ints = np.stack([*rows, np.full(len(self.times), free, dtype=np.int64)])
        return most

    def _times(self) -> Ints:
        fleet = self.fleet
        edges = {self.start}
        edges |= {t for d in self.demands for t in (d.start, d.end)}
        edges |= {t for own in fleet.outages for span in own for t in span}
        edges |= {b.end for own in fleet.staying.values() for b in own}
        return np.array(sorted(t for t in edges if self.start <= t < self.end), dtype=np.int64)

    def _rooms(self) -> dict[int, Ints]:
        """Column -> GPUs per instant, of nodes whose room changes: with outages, and cordoned ones, which keep what runs there."""
        fleet, found = self.fleet, dict[int, Ints]()
        for column, spans in enumerate(fleet.outages):
            if not (spans or not fleet.open[column]) or not fleet.gpus[column]:
                continue
            room = np.full(len(self.times), fleet.gpus[column], dtype=np.int64)
            if not fleet.open[column]:
                stays = sum((b.gpus * (self.times < b.end) for b in fleet.staying.get(column, ())), np.zeros_like(room))
                room = np.minimum(room, stays)
            for start, end in spans:
                room[(self.times >= start) & (self.times < end)] = 0
            found[column] = room
        return found

    def _sizes(self, pool: Grades) -> list[int]:
        largest = max((int(self.fleet.gpus[self.fleet.span[g]].max(initial=0)) for g in pool), default=0)
        sizes = sorted({d.contract.lot_gpus for d in self.demands if pool.issuperset(d.options)})
        return sorted(k for k in {*HALVES, *sizes[-SIZES:]} if k <= max(largest, 1))

    def _of_pool(self, part: Grades, pool: Grades, k: int) -> Ints:
        """The same for nodes of `part`: those outside the pool can all go, and of those in it as many as its blocks of k allow."""
        mine = [c for c in self.columns if int(self.fleet.grade[c]) in part]
        inside = [c for c in mine if int(self.fleet.grade[c]) in pool]
        slack = self._blocks([c for g in pool for c in range(*self.fleet.span[g].indices(len(self.fleet.nodes)))], k) - self._needs(pool, k)
        counts = self._by_blocks(inside, k)
        found: Ints = np.full(len(self.times), len(mine) - len(inside), dtype=np.int64)
        for blocks in range(len(counts)):  # the smallest first
            fit = counts[blocks] if not blocks else np.minimum(counts[blocks], np.maximum(slack, 0) // blocks)
            found += fit
            slack = slack - fit * blocks
        return found

    def _blocks(self, columns: Sequence[int], k: int) -> Ints:
        """Blocks of k GPUs that these nodes hold when nothing lies on them, per instant."""
        steady = [c for c in columns if c not in self.rooms]
        total: Ints = np.full(len(self.times), int((self.fleet.gpus[steady] // k).sum()), dtype=np.int64)
        for c in columns:
            if c in self.rooms:
                total += self.rooms[c] // k
        return total

    def _by_blocks(self, columns: Sequence[int], k: int) -> Ints:
        """[blocks, instant]: how many of these nodes hold so many."""
        steady = [c for c in columns if c not in self.rooms]
        most = int(self.fleet.gpus[columns].max(initial=0)) // k
        counts: Ints = np.zeros((most + 1, len(self.times)), dtype=np.int64)
        counts += np.bincount(self.fleet.gpus[steady] // k, minlength=most + 1)[:, None]
        every = np.arange(len(self.times))
        for c in columns:
            if c in self.rooms:
                np.add.at(counts, (self.rooms[c] // k, every), 1)
        return counts

    def _needs(self, pool: Grades, k: int) -> Ints:
        """Blocks that lots take which can lie in the pool alone, per instant."""
        change: Ints = np.zeros(len(self.times) + 1, dtype=np.int64)
        mine = [d for d in self.demands if pool.issuperset(d.options)]
        blocks = [d.lots * (d.contract.lot_gpus // k) for d in mine]
        np.add.at(change, np.searchsorted(self.times, [d.start for d in mine]), blocks)
        np.add.at(change, np.searchsorted(self.times, [d.end for d in mine]), [-b for b in blocks])
        total: Ints = change.cumsum()[:-1]
        return total


def tied(sets: Iterable[Grades]) -> list[Grades]:
    """Unions of sets that share a grade, directly or through others."""
    parts: list[Grades] = []
    for grades in sorted(sets, key=sorted):
        touching = [p for p in parts if p & grades]
        parts = [p for p in parts if not p & grades] + [grades.union(*touching)]
    return parts


def within(times: Ints, most: Ints, last: int, seconds: int) -> list[tuple[int, Ints]]:
    """(start, most nodes of each part) of a drain of so many seconds from each instant up to `last`.

    One that begins between two instants holds no more than the one that begins at the first of them: the ends of both lie in its own
    seconds or before.
    """
    found = []
    for i, time in enumerate(times.tolist()):
        if time > last:
            break
        until = int(np.searchsorted(times, time + seconds))
        found.append((time, most[:, i:until].min(axis=1)))
    return found


def _full(live: Live, demand: Demand) -> bool:
    """Served in full, and never to be curtailed by right: so it has to stay."""
    contract = demand.contract
    right = not contract.firm and contract.notice_seconds is not None
    return not (contract.reserve or right or live.book.missing(demand.index))


def least_rounds(sizes: Sequence[int], most: Sequence[Ints]) -> int | None:
    """Fewest drains, each of at most so many nodes of each part, in which all nodes are had; None where some never can be."""
    best = np.max(most, axis=0) if most else np.zeros(len(sizes), dtype=np.int64)
    if any(size and not b for size, b in zip(sizes, best, strict=True)):
        return None
    return max((-(-size // int(b)) for size, b in zip(sizes, best, strict=True) if size), default=0)
