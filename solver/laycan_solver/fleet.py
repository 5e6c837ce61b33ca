"""The fleet: nodes as arrays, in one order.

Nodes are ordered by grade and topology, so that the nodes of a rack, a zone and a grade are neighbours; a *column* is a node's
index in that order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from .model import Binding, Level, Node, Outage, OutageType, Problem
from .spans import union
from .timegrid import Flags, Ints

if TYPE_CHECKING:
    from .eligible import Demand

MOST_GPUS = 1 << 29  # of one node; keeps the ledger in 32 bits whatever a node claims


class Fleet:
    """The nodes as a struct of arrays; `domains[level]` gives each node's domain at that level as a small integer."""

    def __init__(self, problem: Problem) -> None:
        self.now = problem.now
        self.nodes = sorted(problem.nodes, key=lambda n: (n.grade, n.domains, n.name))
        self.column = {n.name: i for i, n in enumerate(self.nodes)}
        self.grades = sorted({n.grade for n in self.nodes})
        grade = {g: i for i, g in enumerate(self.grades)}
        self.grade: Ints = np.array([grade[n.grade] for n in self.nodes], dtype=np.int64)
        self.gpus: Ints = np.array([min(n.gpus, MOST_GPUS) if n.usable else 0 for n in self.nodes], dtype=np.int64)
        self.open: Flags = np.array([n.usable and not n.cordoned for n in self.nodes], dtype=bool)
        self.whole: Flags = np.array([n.level is Level.NODE for n in self.nodes], dtype=bool)
        self.handed_over = bool(self.whole.any())  # some node has one holder at a time
        self.close()
        self.span = {i: slice(*np.searchsorted(self.grade, (i, i + 1)).tolist()) for i in range(len(self.grades))}  # grade -> columns
        self.domains = [np.zeros(len(self.nodes), dtype=np.int64)] + [self._domains(level) for level in range(4)]
        self.outages = self._outages(problem.outages)
        self.planned = self._outages([o for o in problem.outages if o.type is not OutageType.FORCED])
        self.staying = self._staying(problem)
        self.began: dict[str, list[Binding]] = {}  # contract -> its own of these, or what a reserve had at now
        for b in self._began(problem, reserves=True) + [b for own in self.staying.values() for b in own]:
            self.began.setdefault(b.contract, []).append(b)
        self.overfull = {c for c, own in self.staying.items() if sum(b.gpus for b in own) > self.gpus[c]}

    def copy(self) -> Fleet:
        """The same nodes, to be changed apart."""
        other = copy(self)
        other.nodes, other.outages, other.planned = list(self.nodes), list(self.outages), list(self.planned)
        other.gpus, other.open = self.gpus.copy(), self.open.copy()
        other.staying, other.began, other.overfull = dict(self.staying), dict(self.began), set(self.overfull)
        return other

    def close(self) -> None:
        """Notes which nodes are cordoned: nothing new comes there."""
        self.closed: Ints = np.flatnonzero(~self.open & (self.gpus > 0)).astype(np.int64)
        self._closed: list[int] = self.closed.tolist()

    def closed_in(self, span: slice) -> Ints:
        """Positions in the span of these nodes."""
        inside: Ints = self.closed[bisect_left(self._closed, span.start) : bisect_left(self._closed, span.stop)] - span.start
        return inside

    def change(self, column: int, node: Node, outages: Sequence[Outage]) -> None:
        """The node of a column has become another, of the same grade, domains and level, or its outages have."""
        self.nodes[column] = node
        self.gpus[column] = min(node.gpus, MOST_GPUS) if node.usable else 0
        self.open[column] = node.usable and not node.cordoned
        self.close()
        own = [o for o in outages if node.name in o.nodes and o.start < o.end]
        self.outages[column] = union((o.start, o.end) for o in own)
        self.planned[column] = union((o.start, o.end) for o in own if o.type is not OutageType.FORCED)

    def _domains(self, level: int) -> Ints:
        names = sorted({n.domains[level] for n in self.nodes})
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[n.domains[level]] for n in self.nodes], dtype=np.int64)

    def _outages(self, outages: Sequence[Outage]) -> list[list[tuple[int, int]]]:
        """column -> sorted outages (start, end), merged where they touch."""
        own: list[list[Outage]] = [[] for _ in self.nodes]
        for outage in outages:
            for name in outage.nodes:
                if name in self.column and outage.start < outage.end:
                    own[self.column[name]].append(outage)
        return [union((o.start, o.end) for o in found) for found in own]

    def _staying(self, problem: Problem) -> dict[int, list[Binding]]:
        """column -> announced bindings that run on the node at now; a reserve never runs."""
        staying: dict[int, list[Binding]] = {}
        for binding in self._began(problem, reserves=False):
            staying.setdefault(self.column[binding.node], []).append(binding)
        return staying

    def _began(self, problem: Problem, *, reserves: bool) -> list[Binding]:
        known = {c.key for c in problem.contracts if c.reserve is reserves}
        return [b for b in running_at(problem.previous, problem.now) if b.node in self.column and b.contract in known] if known else []

    def out_at(self, column: int, time: int) -> bool:
        """The node cannot serve at `time`."""
        return bool(self.gpus[column] == 0) or any(a <= time < b for a, b in self.outages[column])

    def serves_on(self, demand: Demand, column: int, time: int) -> bool:
        """Could lots of the contract that are on the node until `time` have stayed?"""
        if column < 0 or self.gpus[column] < demand.contract.lot_gpus or self.out_at(column, time):
            return False
        if int(self.grade[column]) not in demand.options:
            return False
        if time == self.now:
            return column not in self.overfull
        mine = (b for b in self.staying.get(column, ()) if b.contract == demand.contract.key)
        return not self.nodes[column].cordoned or any(b.end > time for b in mine)


def running_at(bindings: Sequence[Binding], now: int) -> list[Binding]:
    return [b for b in bindings if b.start < now < b.end]
