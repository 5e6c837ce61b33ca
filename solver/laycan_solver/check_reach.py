"""What the nodes could hold over time, whatever is planned: the checker's own count, from the problem alone.

Nodes that never change are counted by the domains that they lie in; the others, with outages or cordoned, one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from laycan_solver.check_facts import Facts
from laycan_solver.model import FOREVER, Contract, Node, Scope

Change = tuple[int, Node, int]  # instant, node, pieces more or fewer from then on
Domains = tuple[str, str, str, str]


class Stages(NamedTuple):
    """From `times[i]` on: lots that topology lets the whole fleet serve, and the grades that can serve any."""

    times: list[int]
    lots: list[int]
    able: list[frozenset[str]]
    lowest: int  # of lots
    steady: bool  # the same grades all the time

    def within(self, begin: int, end: int) -> slice:
        return slice(bisect_right(self.times, begin) - 1, bisect_left(self.times, end))


class Reach:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.still: dict[str, Counter[tuple[int, Domains]]] = defaultdict(Counter)  # grade -> (GPUs, domains) -> nodes alike
        self.restless: dict[str, list[Node]] = defaultdict(list)  # grade -> the others
        for node in facts.nodes.values():
            if node.usable and node.gpus > 0:
                if node.cordoned or node.name in facts.dark:
                    self.restless[node.grade].append(node)
                else:
                    self.still[node.grade][node.gpus, node.domains] += 1
        self.grades = {*self.still, *self.restless}
        self._folds: dict[tuple[str, Scope, Scope], Counter[tuple[int, str, str]]] = {}
        self._stages: dict[object, Stages] = {}
        self._rooms: dict[object, list[tuple[int, int]]] = {}

    def stages(self, c: Contract, grades: Iterable[str]) -> Stages:
        """Contracts that differ in nothing here share them."""
        cap = -(-c.lots // c.spread_domains) if c.spread_level else FOREVER
        ran = any(self.facts.nodes[n].cordoned for n in self.facts.ran.get(c.key, ()) if n in self.facts.nodes)
        key = (*sorted(grades), c.lot_gpus, c.scope, c.spread_level, cap, c.key if ran else "")
        if key not in self._stages:
            self._stages[key] = self._count(c, sorted(grades), cap, c.key if ran else "")
        return self._stages[key]

    def _count(self, c: Contract, grades: Iterable[str], cap: int, contract: str) -> Stages:
        lots: Counter[tuple[str, str]] = Counter()  # domain of the scope, domain of the spread -> lots
        able: Counter[str] = Counter()  # grade -> lots
        for grade in grades:
            for (gpus, outer, inner), nodes in self._folded(grade, c.scope, c.spread_level).items():
                lots[outer, inner] += gpus // c.lot_gpus * nodes
                able[grade] += gpus // c.lot_gpus * nodes
        most: Counter[str] = Counter({"": 0})  # domain of the scope -> lots that the spread allows there
        for (outer, _), count in lots.items():
            most[outer] += min(count, cap)
        times, best, grades_able = list[int](), list[int](), list[frozenset[str]]()
        for t, changes in self._by_time(grades, contract, c.lot_gpus):
            for n, more in changes:
                outer, inner = _domain(n.domains, c.scope), _domain(n.domains, c.spread_level)
                before = lots[outer, inner]
                lots[outer, inner] += more
                able[n.grade] += more
                most[outer] += min(before + more, cap) - min(before, cap)
            times.append(t)
            best.append(max(most.values()))
            grades_able.append(frozenset(grade for grade, count in able.items() if count))
        return Stages(times, best, grades_able, min(best), len(set(grades_able)) == 1)

    def _folded(self, grade: str, scope: Scope, spread: Scope) -> Counter[tuple[int, str, str]]:
        """GPUs of a node, domain of the scope, domain of the spread -> nodes that never change."""
        key = grade, scope, spread
        if key not in self._folds:
            found: Counter[tuple[int, str, str]] = Counter()
            for (gpus, domains), nodes in self.still[grade].items():
                found[gpus, _domain(domains, scope), _domain(domains, spread)] += nodes
            self._folds[key] = found
        return self._folds[key]

    def blocks(self, grade: str, k: int) -> list[tuple[int, int]]:
        """Blocks of k GPUs in nodes of a grade, as steps."""
        found = []
        count = sum(gpus // k * nodes for (gpus, _, _), nodes in self._folded(grade, Scope.ANY, Scope.ANY).items())
        for t, changes in self._by_time([grade], None, k):
            count += sum(more for _, more in changes)
            found.append((t, count))
        return found

    def _by_time(self, grades: Iterable[str], contract: str | None, size: int) -> list[tuple[int, list[tuple[Node, int]]]]:
        """Instants, now first, each with the restless nodes whose room, in pieces of `size` GPUs, changes there, and by how much."""
        changes: dict[int, list[tuple[Node, int]]] = defaultdict(list, {self.facts.now: []})
        for n in (n for grade in grades for n in self.restless[grade]):
            before = 0
            for t, gpus in self._room(n, contract if n.cordoned else None):
                if (pieces := gpus // size) != before:
                    changes[t].append((n, pieces - before))
                    before = pieces
        return sorted(changes.items())

    def _room(self, n: Node, contract: str | None) -> list[tuple[int, int]]:
        """GPUs of the node that one contract (None: all, "": a new one) could hold, as steps; of a cordoned node only what runs there."""
        if (n.name, contract) not in self._rooms:
            stay = [b for b in self.facts.staying.get(n.name, ()) if contract in (None, b.contract)] if n.cordoned else []
            edges = {t for t in chain((b.end for b in stay), *self.facts.dark.get(n.name, ())) if t > self.facts.now}
            gpus = [(t, self.facts.gpus_at(n.name, t)) for t in (self.facts.now, *sorted(edges))]
            self._rooms[n.name, contract] = [(t, min(g, sum(b.gpus for b in stay if b.end > t)) if n.cordoned else g) for t, g in gpus]
        return self._rooms[n.name, contract]


def _domain(domains: Domains, level: Scope) -> str:
    return domains[level - 1] if level else ""


class Line(NamedTuple):
    """A step function of time: `values[i]` in [times[i], times[i + 1]), the last for ever; `before[i]` is its integral up to times[i]."""

    times: list[int]
    values: list[int]
    before: list[int]

    def until(self, t: int) -> int:
        """The integral up to t, which is not before the first instant."""
        i = bisect_right(self.times, t) - 1
        return self.before[i] + self.values[i] * (t - self.times[i])


def line_of(times: list[int], values: list[int]) -> Line:
    lengths = (b - a for a, b in pairwise(times))
    return Line(times, values, list(accumulate((v * n for v, n in zip(values, lengths, strict=False)), initial=0)))


def summed(now: int, spans: Iterable[tuple[int, int, int]]) -> Line:
    """The sum of spans (start, end, height), from `now` on."""
    changes = Counter({now: 0})
    for start, end, height in spans:
        changes[start] += height
        changes[end] -= height
    times = sorted(changes)
    return line_of(times, list(accumulate(changes[t] for t in times)))
