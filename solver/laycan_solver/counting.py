"""Counting: the most that could be sold beside accepted contracts, whatever is planned anew, in blocks of GPUs.

A contract that is owed nothing and not interrupted has to stay so. Its lots that run stay where they are to its end, because any
change of nodes interrupts it; all its other lots take, in every slice, blocks of k GPUs inside single nodes of the grades in which it
may be delivered. What is left of the fleet's blocks, in the scarcest slice and for the scarcest k, bounds what a further contract can
get. Sets of grades that substitution ties together are counted as one pool, because a contract may evade into a dearer grade.

For any k, a node with x GPUs holds no lots whose floor(g / k) add up to more than floor(x / k); so each k gives a valid bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .allot import sums_before
from .book import Book
from .eligible import Demand
from .objective import Verdict
from .repair import complete, gives_way
from .timegrid import Ints

Grades = frozenset[int]
HALVES = (1, 2, 4, 8)  # blocks that are counted always; besides them those of the lots that are asked for


@dataclass(frozen=True)
class Most:
    """No more than `lots` lots go; the scarcest seconds are [start, end), in which the pool holds `have` GPUs beside what must stay."""

    lots: int
    start: int
    end: int
    have: int


@dataclass(frozen=True)
class Kept:
    """What one contract must keep: `lots` somewhere in its grades, and `fixed` (column -> lots) where they run."""

    lots: int
    fixed: dict[int, int]


def kept(book: Book, demand: Demand) -> Kept | None:
    """What the contract must keep; None if it is short, interrupted or may be curtailed, and so may change in ways that are not counted."""
    verdict, contract = book.verdict(demand.index), demand.contract
    if verdict.due or contract.reserve or gives_way(demand):
        return None
    told = contract.rate and (contract.firm or contract.notice_seconds is None)  # that nothing is owed tells that nothing is missing
    if not (told or complete(book, demand)):
        return None
    costs = demand.move_seconds > 0 or not contract.rate  # what has no price is not interrupted all the same
    stays = costs and not verdict.instants
    fixed = {c: n for c, n in demand.running.items() if stays and book.fleet.serves_on(demand, c, book.now)}
    return Kept(demand.lots - sum(fixed.values()), fixed)


class Counting:
    """The blocks that a book must keep, and those that it leaves. It follows the book: ask it at any time."""

    def __init__(self, book: Book) -> None:
        self.book, self.fleet = book, book.fleet
        self._seen: dict[int, Verdict] = {}
        self._kept: dict[int, Kept] = {}
        self._version = (-1, -1, -1)

    def refresh(self) -> None:
        """Takes in what has changed in the book since the last time."""
        book = self.book
        if self._version == (book.version, book.ledger.renewed, book.now):
            return
        if self._version[1:] != (book.ledger.renewed, book.now):
            self._seen.clear()  # other nodes, or other lots that run
            self._kept.clear()
        self._version = book.version, book.ledger.renewed, book.now
        changed = not self._seen
        for index in self._seen.keys() - book.demands.keys():
            del self._seen[index]
            changed |= self._kept.pop(index, None) is not None
        for index, demand in book.demands.items():
            verdict = book.verdict(index)
            if self._seen.get(index) is not verdict:
                self._seen[index] = verdict
                changed |= self._take_in(index, kept(book, demand))
        if changed:
            self._lay_out()

    def _take_in(self, index: int, new: Kept | None) -> bool:
        old = self._kept.pop(index, None)
        if new is not None:
            self._kept[index] = new
        return old != new

    def _lay_out(self) -> None:
        """Arrays over contracts, over fixed lots and over the instants at which any of it changes."""
        demands, closed = self.book.demands, ~self.fleet.open
        rows = [(demands[i], k) for i, k in self._kept.items()]
        self._sets: list[Grades] = sorted({frozenset(d.options) for d, _ in rows}, key=sorted)
        number = {s: i for i, s in enumerate(self._sets)}
        self._needs = np.array(
            [(number[frozenset(d.options)], d.start, d.end, k.lots, d.contract.lot_gpus) for d, k in rows], dtype=np.int64
        ).reshape(-1, 5)
        held = sorted((d.end, c, n * d.contract.lot_gpus) for d, k in rows for c, n in k.fixed.items())
        self._fixed = np.array(held, dtype=np.int64).reshape(-1, 3)  # (end, column, GPUs), by end
        ledger = self.book.ledger
        moments = (self._needs[:, 1], self._needs[:, 2], self._fixed[:, 0], ledger.outage_start, ledger.outage_end)
        staying = [b.end for c in np.flatnonzero(closed).tolist() for b in self.fleet.staying.get(c, ())]
        times = np.unique(np.concatenate([*moments, np.array([self.book.now, *staying], dtype=np.int64)]))
        self.times: Ints = times[times >= self.book.now]
        self._needs[:, 1:3] = np.searchsorted(self.times, self._needs[:, 1:3])
        self._restless = np.array(sorted({*ledger.outage_column.tolist(), *np.flatnonzero(closed).tolist()}), dtype=np.int64)
        self._steps = self._steps_of_rooms()
        self._have: dict[tuple[int, int], Ints] = {}
        self._left: dict[tuple[Grades, int], Ints] = {}
        self._lots: dict[tuple[Grades, int], Ints] = {}

    def free_of_fixed(self, start: int, end: int, columns: Ints) -> Ints:
        """Per column: GPUs that nothing fixed holds anywhere in [start, end); 0 in an outage and on cordoned nodes."""
        self.refresh()
        ledger, late = self.book.ledger, self._fixed[np.searchsorted(self._fixed[:, 0], start, side="right") :]
        gpus = np.where(self.fleet.open, self.fleet.gpus, 0) - np.bincount(late[:, 1], late[:, 2], len(self.fleet.gpus)).astype(np.int64)
        gpus[ledger.outage_column[(ledger.outage_start < end) & (ledger.outage_end > start)]] = 0
        free: Ints = np.maximum(gpus, 0)[columns]
        return free

    def have(self, grade: int, k: int) -> Ints:
        """Per instant: blocks of k GPUs in the nodes of a grade beside what is fixed; a cordoned node has those that may stay there."""
        if (grade, k) not in self._have:
            at, before, after = self._steps[:, self._steps[3] == grade][:3]
            change = np.zeros(len(self.times) + 1, dtype=np.int64)
            np.add.at(change, at, after // k - before // k)
            self._have[grade, k] = change.cumsum()[:-1]
        return self._have[grade, k]

    def _steps_of_rooms(self) -> Ints:
        """(4, steps): instant, GPUs of a node beside what is fixed there before it, the same from then on, grade of the node."""
        fleet = self.fleet
        steady = np.ones(len(fleet.gpus), dtype=bool)
        steady[self._restless] = False
        taken = np.bincount(self._fixed[:, 1], self._fixed[:, 2], len(steady)).astype(np.int64)
        some = np.flatnonzero(steady)
        first = np.maximum(fleet.gpus - taken, 0)[some]
        mine = self._fixed[steady[self._fixed[:, 1]]]
        mine = mine[np.lexsort((mine[:, 0], mine[:, 1]))]
        before = fleet.gpus[mine[:, 1]] - taken[mine[:, 1]] + sums_before(mine[:, 1], mine[:, 2])
        none = np.zeros(len(some), dtype=np.int64)
        ends = np.searchsorted(self.times, mine[:, 0])
        rooms = [
            np.stack((none, none, first, fleet.grade[some])),
            np.stack((ends, np.maximum(before, 0), np.maximum(before + mine[:, 2], 0), fleet.grade[mine[:, 1]])),
        ]
        for column in self._restless.tolist():
            room = np.concatenate(([0], self._room(column)))
            at = np.flatnonzero(room[1:] != room[:-1])
            rooms.append(np.stack((at, room[at], room[at + 1], np.full(len(at), fleet.grade[column]))))
        return np.concatenate(rooms, axis=1)

    def _room(self, column: int) -> Ints:
        """GPUs of one restless node per instant, beside what is fixed there."""
        fleet, times = self.fleet, self.times
        room = np.full(len(times), fleet.gpus[column], dtype=np.int64)
        if not fleet.open[column]:
            room[:] = 0
            for b in fleet.staying.get(column, ()):
                room[: np.searchsorted(times, b.end)] += b.gpus
            room = np.minimum(room, fleet.gpus[column])
        for end, _, gpus in self._fixed[self._fixed[:, 1] == column].tolist():
            room[: np.searchsorted(times, end)] -= gpus
        for start, end in fleet.outages[column]:
            room[np.searchsorted(times, start) : np.searchsorted(times, end)] = 0
        return np.maximum(room, 0)

    def left(self, grades: Grades, k: int) -> Ints:
        """Per instant of `times`: blocks of k GPUs that a pool of grades has beside all that must stay in it; may be negative."""
        if (grades, k) not in self._left:
            total = np.zeros(len(self.times), dtype=np.int64)
            for grade in grades:
                total += self.have(grade, k)
            needs = self._needs
            if self._sets:
                needs = needs[np.array([grades.issuperset(s) for s in self._sets])[needs[:, 0]]]
            blocks = needs[:, 3] * (needs[:, 4] // k)
            change = np.zeros(len(self.times) + 1, dtype=np.int64)
            np.add.at(change, needs[:, 1], blocks)
            np.add.at(change, needs[:, 2], -blocks)
            self._left[grades, k] = total - change.cumsum()[:-1]
        return self._left[grades, k]

    def lots_over_time(self, options: Iterable[int], lot: int) -> Ints:
        """Per instant of `times`: most lots of a size that can be added in these grades; an upper bound."""
        self.refresh()
        key = frozenset(options), lot
        if key not in self._lots:
            rows = [self.left(pool, k) // (lot // k) for pool in pools(key[0], self._sets) for k in sorted({*HALVES, lot}) if k <= lot]
            self._lots[key] = np.maximum(np.minimum.reduce(rows), 0)
        return self._lots[key]

    def most(self, options: Iterable[int], lot: int, start: int, end: int) -> Most:
        """The same in [start, end), with the seconds in which it is least."""
        options = frozenset(options)
        lots = self.lots_over_time(options, lot)
        first = int(np.searchsorted(self.times, start, side="right")) - 1
        last = int(np.searchsorted(self.times, end))
        at = first + int(lots[first:last].argmin())
        until = int(self.times[at + 1]) if at + 1 < len(self.times) else end
        return Most(int(lots[at]), max(start, int(self.times[at])), min(end, until), max(0, int(self.left(options, 1)[at])))


def pools(options: Grades, sets: Iterable[Grades]) -> list[Grades]:
    """The grades asked for, and each way to add those into which contracts may evade that are delivered in one of `sets`."""
    sets = list(sets)
    found, reach = {options}, options
    while True:
        ties = [s for s in sets if reach & s and not s <= reach]
        found.update(reach | s for s in ties)
        if not ties:
            break
        reach = reach.union(*ties)
        found.add(reach)
    return sorted(found, key=sorted)
