"""What stands behind promises: which nodes may fail, which are free, and which lots are in the way.

A *stand* is a set of nodes on which a contract may find a spare: its grades, or those into which contracts of these grades may evade,
in the whole fleet or in one domain. A node is committed if a lot lies on it that cannot be cleared in time. Only contracts that
cannot leave the grades of a stand commit nodes there: who may evade makes room, and is counted in the wider stand (Hall's condition).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .book import Book
from .counting import Grades, pools
from .fleet import Fleet
from .ledger import Ledger
from .model import Contract, Product, Scope
from .spares import Backing, Spans
from .timegrid import Flags, Ints

NEVER = 1 << 60  # seconds of notice of what cannot be cleared


class Stand(NamedTuple):
    """Grades, and a domain of a level (0 of Scope.ANY: all of them), for contracts of these seconds of cure and repair."""

    grades: Grades
    cure_seconds: int
    repair_seconds: int
    scope: Scope = Scope.ANY
    domain: int = 0


class Ground:
    """The nodes of a fleet as it is now, with what is known of their failures."""

    def __init__(self, fleet: Fleet, ledger: Ledger, products: Mapping[str, Product]) -> None:
        self.fleet = fleet
        self.outages = Spans(ledger.outage_column, ledger.outage_start, ledger.outage_end)
        rates = [self._of_grade(grade, products) for grade in fleet.grades]
        failing = np.array([f for f, _ in rates], dtype=np.int64)
        seconds = np.array([r for _, r in rates], dtype=np.int64)
        self.usable: Flags = fleet.gpus > 0
        self.failing: Ints = np.where(self.usable, failing[fleet.grade], 0)  # per column: failures a day, millionths
        self.down: Ints = self.failing * seconds[fleet.grade]  # x seconds of repair
        self.sizes = [int(fleet.gpus[span].max(initial=0)) for span in fleet.span.values()]  # grade -> GPUs of a whole node
        self.whole: Flags = fleet.open & (fleet.gpus > 0) & (fleet.gpus == np.array(self.sizes, dtype=np.int64)[fleet.grade])

    @staticmethod
    def _of_grade(grade: str, products: Mapping[str, Product]) -> tuple[int, int]:
        """Failures per node-day in millionths and seconds of repair: of the products that are this hardware the worst."""
        known = [p.reliability for p in products.values() if grade in p.grades]
        return max((r.failures_ppm for r in known), default=0), max((r.repair_seconds for r in known), default=0)

    def inside(self, stand: Stand) -> Flags:
        """The columns of a stand."""
        inside: Flags = np.isin(self.fleet.grade, sorted(stand.grades))
        if stand.scope is not Scope.ANY:
            inside &= self.fleet.domains[stand.scope] == stand.domain
        return inside

    def backing(self, stand: Stand, held: Spans, low: int, high: int) -> Backing:
        """The stand in [low, high), in which nodes are committed on the spans `held`."""
        inside = self.inside(stand)
        out = self.outages.within(low, high, inside & self.usable)
        times = np.unique(np.concatenate(([low, high], out.starts, out.ends, held.starts, held.ends)))
        whole = (self.whole & inside).astype(np.int64)
        return Backing(
            times=times,
            failing=int(self.failing[inside].sum()) - out.over(times, self.failing),
            down=int(self.down[inside].sum()) - out.over(times, self.down),
            spare=np.maximum(int(whole.sum()) - out.over(times, whole) - held.over(times, whole), 0),
            committed=held.over(times),
        )

    def largest_domain(self, stand: Stand, held: Spans, times: Ints) -> Ints:
        """Per slice: nodes, committed or spare, of the largest rack in which one is committed, on the spans `held`."""
        inside, low, high = self.inside(stand), int(times[0]), int(times[-1])
        rack = self.fleet.domains[Scope.RACK]
        odd = held.within(low, high, ~self.whole)  # counts as long as it is committed; whole nodes but in an outage
        out = self.outages.within(low, high, inside & self.whole)
        change = np.concatenate(
            [_events(rack, held, 0, 1), _events(rack, odd, 1, 0), _events(rack, out, -1, 0)], axis=1
        )  # rows: rack, time, change of nodes, change of committed ones
        change = change[:, np.lexsort((change[1], change[0]))]
        sizes = np.bincount(rack[inside & self.whole], minlength=int(rack.max(initial=0)) + 1)
        nodes = sizes[change[0]] + change[2].cumsum()
        lost = np.where(change[3].cumsum() > 0, nodes, 0)
        ends = np.append(change[1, 1:], high)
        last = np.append(change[0, 1:] != change[0, :-1], True)[: len(ends)]
        some = (change[1] < ends) & ~last
        return _highest(times, change[1][some], ends[some], lost[some])


def _events(rack: Ints, spans: Spans, nodes: int, committed: int) -> Ints:
    """(4, events): rack, time, change of nodes and of committed nodes."""
    racks = rack[spans.columns]
    up, one = np.stack((racks, spans.starts)), np.ones(len(racks), dtype=np.int64)
    down = np.stack((racks, spans.ends))
    return np.concatenate([np.vstack((up, one * nodes, one * committed)), np.vstack((down, -one * nodes, -one * committed))], axis=1)


def _highest(times: Ints, starts: Ints, ends: Ints, values: Ints) -> Ints:
    """Per slice of `times`: the greatest value of those that cover it, 0 without any."""
    found = np.zeros(len(times) - 1, dtype=np.int64)
    for value in np.unique(values).tolist():
        some = values == value
        found[Spans(values[some], starts[some], ends[some]).over(times) > 0] = value
    return found


@dataclass(frozen=True)
class Lots:
    """What lies where: rows of contract index, column, start and end; and per contract index what its contract says."""

    rows: Ints  # (4, segments)
    terms: Ints  # (6, contract indices): number in `sets`, seconds until it can be cleared, for how long, start, end, target (ppm, or 0)
    sets: tuple[Grades, ...]  # grades in which contracts may be delivered
    _pools: dict[Grades, list[Grades]] = field(default_factory=dict, compare=False)

    @classmethod
    def nothing(cls) -> Lots:
        return cls(np.zeros((4, 0), dtype=np.int64), np.zeros((6, 0), dtype=np.int64), ())

    def changed(self, book: Book, products: Mapping[str, Product], changed: Collection[int]) -> Lots:
        """The same with what the book has of these contracts now."""
        if not changed:
            return self
        there = [i for i in changed if i in book.demands]
        terms = np.pad(self.terms, ((0, 0), (0, max(0, max(changed) + 1 - self.terms.shape[1]))))
        terms[:, list(changed)] = 0
        number = {grades: i for i, grades in enumerate(self.sets)}
        for i in there:
            demand = book.demands[i]
            options = number.setdefault(frozenset(demand.options), len(number))
            terms[:, i] = options, *clearing(demand.contract), demand.start, demand.end, target_ppm(demand.contract, products) or 0
        own = [(i, s.column, s.start, s.end) for i in there for s in book.segments[i]]
        touched = np.zeros(terms.shape[1], dtype=bool)
        touched[list(changed)] = True
        rows = np.concatenate((self.rows[:, ~touched[self.rows[0]]], np.array(own, dtype=np.int64).reshape(-1, 4).T), axis=1)
        return Lots(rows, terms, tuple(number))

    def within(self, low: int, high: int) -> Lots:
        """What lies in [low, high) at some time; the rest of it is the same."""
        return Lots(self.rows[:, (self.rows[2] < high) & (self.rows[3] > low)], self.terms, self.sets, self._pools)

    def targeted(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Contracts due in [low, high) with the target (ppm) that their product has for them."""
        _, _, _, starts, ends, targets = self.terms
        some = np.flatnonzero((targets > 0) & (starts < high) & (ends > low))
        return zip(some.tolist(), targets[some].tolist(), strict=True)

    @cached_property
    def evasions(self) -> list[Grades]:
        """The sets of grades between which contracts may be moved."""
        options, _, away, _, ends, _ = self.terms
        there = np.unique(options[(ends > 0) & (away < NEVER)]).tolist()
        return sorted((self.sets[i] for i in there if len(self.sets[i]) > 1), key=sorted)

    def pools(self, options: Grades) -> list[Grades]:
        """Grades among which a contract of these options finds a spare: see `counting.pools`."""
        if options not in self._pools:
            self._pools[options] = pools(options, self.evasions)
        return self._pools[options]

    def committing(self, stand: Stand) -> Spans:
        """What commits nodes of the stand, wherever it lies."""
        confined = np.array([grades <= stand.grades for grades in self.sets], dtype=bool)
        options, notice, curtailable = self.terms[:3]
        flags = confined[options] & ~((notice <= stand.cure_seconds) & (curtailable >= stand.repair_seconds))
        some = np.flatnonzero(flags[self.rows[0]])
        return Spans(self.rows[1][some], self.rows[2][some], self.rows[3][some])


def clearing(contract: Contract) -> tuple[int, int]:
    """(seconds of notice, seconds it may be away) of what can be cleared for a failure; a reserve at once, Firm never."""
    if contract.reserve:
        return 0, NEVER
    if contract.firm or contract.notice_seconds is None:
        return NEVER, 0
    return contract.notice_seconds, contract.curtailable_seconds


def target_ppm(contract: Contract, products: Mapping[str, Product]) -> int | None:
    """Below what the contract's chance of a shortfall is to stay; None without a target, and for what is neither Firm nor kept for it."""
    firm = contract.firm or contract.for_firm
    return products[contract.product].reliability.target_ppm if firm and not contract.reserve else None
