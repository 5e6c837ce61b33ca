"""Reseating: room for a further contract without taking anything from anyone.

What has not begun changes nodes, by exchanges that harm nobody (see `lanes`): in the grades asked for, so that more nodes are free
throughout; out of the domain asked for, to nodes elsewhere that are; and to other grades that contracts admit as a substitute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from .book import Book
from .eligible import Demand
from .lanes import PARTNERS, Changes, Lanes, Sweep
from .model import Binding, Scope
from .moving import Moving
from .objective import Segment
from .report import as_bindings
from .timegrid import Ints

DOMAINS = 3  # that are tried for a contract which must lie in one
RETRIES = 3  # without contracts that an exchange would harm after all
LOOKS = 4  # nodes that are looked at for each one that shall be emptied
FEW = 32


class Reseating:
    """Changes a book for the sake of `demand`, which is not in it, until it is undone."""

    def __init__(self, book: Book, demand: Demand, late: Callable[[], bool]) -> None:
        self.book, self.demand, self.late = book, demand, late
        self._mark, self._version = book.mark(), book.version
        self._segments: dict[int, list[Segment]] = {}  # contract -> as before, of those that have changed
        self._on_node: dict[int, list[tuple[int, Segment]]] = {}  # column -> the same
        times = book.ledger.grid.times
        inside = demand.start < times[-1]
        self.start = book.ledger.grid.slice_at(demand.start)[0] if inside else times[-1]
        self.end = book.ledger.grid.slice_at(min(demand.end, times[-1]) - 1)[1] if inside else times[-1]

    def run(self, missing: Callable[[], int]) -> None:
        """Makes room until `missing()` lots, asked after every stage, are none, or there is nothing left to try."""
        scoped, anywhere = (self._into_domain, self._free_more, self._into_domain), (self._free_more, self._evade)
        exchanges = scoped if self.demand.scoped else anywhere
        stages: list[Callable[[int], None]] = [*(partial(self._exchange, e) for e in exchanges), self._move]
        for stage in stages:
            if self.start < self.end and not self.late() and (lots := missing()) > 0:
                stage(lots)

    def _exchange(self, stage: Callable[[Lanes, int], Lanes], lots: int) -> None:
        """Carries out the exchanges of a stage; once more without the contracts that would be the worse for them."""
        pinned: frozenset[int] = frozenset()
        for _ in range(RETRIES):
            worse = self._carry_out(stage(Lanes(self.book, pinned), lots).changes())
            if not worse:
                break
            pinned |= worse

    def _move(self, lots: int) -> None:
        """What single segments are in the way moves to wherever there is room for it."""
        Moving(self.book, self.demand, self.start, self.end, self._remember).run(lots, self.late)

    def _nodes(self, lots: int) -> int:
        """Whole nodes that hold so many lots."""
        columns = self.demand.columns
        each = int(self.book.fleet.gpus[columns].max()) // self.demand.contract.lot_gpus if len(columns) else 1
        return -(-lots // each)

    def _free_more(self, lanes: Lanes, lots: int) -> Lanes:
        """In each grade asked for, by colouring its nodes anew."""
        nodes = self._nodes(lots)
        for _, span in self.demand.pool.spans:
            if nodes > 0 and not self.late():
                nodes -= Sweep(lanes, span, self.start, self.end).run(nodes)
        return lanes

    def _evade(self, lanes: Lanes, lots: int) -> Lanes:
        """Contracts that admit a substitute go there."""
        book, options = self.book, self.demand.options
        asked = self._busy(self.demand.columns)
        targets = {g for c in asked[:FEW].tolist() for h in lanes.held(c) if h.whose >= 0 for g in book.demands[h.whose].options}
        spans = [book.fleet.span[g] for g in sorted(targets - set(options))]
        free = [self._free(np.arange(s.start, s.stop)) for s in spans]
        self._empty(lanes, asked, np.concatenate(free) if free else asked[:0], self._nodes(lots))
        return lanes

    def _into_domain(self, lanes: Lanes, lots: int) -> Lanes:
        """Nodes of one domain are emptied to nodes of the same grades outside it: of a few domains the one where that goes best."""
        book, columns = self.book, self.demand.columns
        level = book.fleet.domains[self.demand.contract.scope]
        free = self._free(columns)
        most = np.bincount(level[columns], minlength=1)
        have = np.bincount(level[free], minlength=len(most))
        busy = self._busy(columns)
        nodes = int(have.max(initial=0)) + self._nodes(lots)
        order = np.lexsort((np.arange(len(have)), -have, -np.minimum(most, nodes)))[:DOMAINS]
        best, found = lanes, 0
        for domain in order.tolist():
            trial = Lanes(book, lanes.pinned)
            got = int(have[domain])
            got += self._empty(trial, busy[level[busy] == domain], free[level[free] != domain], nodes - got)
            if got > found:
                best, found = trial, got
            if got >= nodes or self.late():
                break
        return best

    def _empty(self, lanes: Lanes, busy: Ints, free: Ints, nodes: int) -> int:
        """Gives up to `nodes` busy nodes what free ones hold in the window, which is nothing; returns how many are free now."""
        made = 0
        left = free.tolist()
        for column in busy[: LOOKS * nodes + FEW].tolist():
            if made >= nodes or not left or self.late():
                break
            there = [h for h in lanes.held(column) if h.start < self.end and self.start < h.end]
            if not all(h.movable and self._may_leave(h.whose) for h in there):
                continue
            for i, other in enumerate(left[:PARTNERS]):
                if lanes.exchange(column, other, self.start, self.end):
                    made += lanes.is_free(column, self.start, self.end)
                    left.pop(i)
                    break
        return made

    def _may_leave(self, index: int) -> bool:
        """The contract may leave a domain of the scope asked for: none of its own lies inside that."""
        contract, scope = self.book.demands[index].contract, self.demand.contract.scope
        return scope is Scope.ANY or max(contract.scope, contract.spread_level) < scope

    def _free(self, columns: Ints) -> Ints:
        """Those of these nodes on which nothing lies in the window."""
        ledger = self.book.ledger
        free = (ledger.free(self.start, self.end, columns) == ledger.gpus[columns]) & self.book.fleet.open[columns]
        found: Ints = columns[free & (ledger.gpus[columns] > 0)]
        return found

    def _busy(self, columns: Ints) -> Ints:
        """The others, those with most room first."""
        ledger = self.book.ledger
        busy = columns[ledger.free(self.start, self.end, columns) < ledger.gpus[columns]]
        order = np.lexsort((busy, -ledger.slack(self.start, self.end, busy)))
        found: Ints = busy[order]
        return found

    def _carry_out(self, changes: Changes) -> frozenset[int]:
        """Moves the segments in the book; returns the contracts that would be the worse for it, in which case nothing has changed."""
        book = self.book
        for index, moves in changes.items():
            self._remember(index, {c for s, column in moves for c in (s.column, column)})
        mark = book.mark()
        before = {i: book.verdict(i) for i in changes}
        for index, moves in changes.items():
            book.drop(index, [s for s, _ in moves])
        worse = set()
        for index, moves in changes.items():
            new = [s._replace(column=column) for s, column in moves]
            if book.fleet.handed_over and any(book.barred(book.demands[index], s.column, s.start, s.end) for s in new):
                worse.add(index)
            book.put(index, new)
        worse |= {i for i in changes if not book.verdict(i).legal or book.verdict(i).tiers[:3] > before[i].tiers[:3]}
        if worse:
            book.roll_back(mark)
        return frozenset(worse)

    def _remember(self, index: int, columns: Iterable[int]) -> None:
        """Before a contract leaves some nodes for others."""
        self._segments.setdefault(index, list(self.book.segments[index]))
        for column in columns:
            self._on_node.setdefault(column, list(self.book.on_node[column]))

    def undo(self) -> None:
        """The book is as it was, the order of everything in it included."""
        book = self.book
        book.roll_back(self._mark)
        for index, segments in self._segments.items():
            book.segments[index][:] = segments
        for column, there in self._on_node.items():
            book.on_node[column][:] = there
        book.version = self._version

    def changed(self) -> tuple[tuple[Binding, ...], tuple[Binding, ...]]:
        """Bindings that give way, and those that take their place."""
        released: list[Binding] = []
        acquired: list[Binding] = []
        for index, old in self._segments.items():
            before, after = Counter(old), Counter(self.book.segments[index])
            demand, fleet = self.book.demands[index], self.book.fleet
            released += as_bindings(fleet, demand, list((before - after).elements()))
            acquired += as_bindings(fleet, demand, list((after - before).elements()))
        return tuple(sorted(released)), tuple(sorted(acquired))
