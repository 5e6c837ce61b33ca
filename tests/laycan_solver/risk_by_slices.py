"""The figures of promises once more, slowly: node by node in every slice, from the problem and the bindings of a plan alone.

Nothing of the planner is used. Chances are floats here, so they are compared with a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import exp

from laycan_solver.model import Binding, Contract, Node, Plan, Problem, Product, Scope

MONTH = 30 * 86_400


@dataclass(frozen=True)
class Figures:
    chance: float
    spare_nodes: int
    largest_domain: int
    survives_domain: bool


@dataclass(frozen=True)
class Count:
    """M lambda (a day), M lambda R (nodes), N, s, and nodes lost with the largest rack that has a committed one."""

    failing: float
    down: float
    committed: int
    spare: int
    lost: int

    @property
    def rate(self) -> float:
        """Failures a day that find no spare."""
        return self.failing * at_least(self.spare, self.down) if self.committed else 0.0


def at_least(least: int, mean: float) -> float:
    """P(Poisson(mean) >= least), summed from above."""
    if least <= 0:
        return 1.0
    term, total, k = exp(-mean), 0.0, 0
    while k < least or (term > 1e-300 and k < mean + 400):
        total += term if k >= least else 0.0
        k += 1
        term *= mean / k
    return min(1.0, total)


class Slices:
    """A plan, cut at every instant at which anything changes."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        refused = {u.contract for u in plan.undelivered if u.refused}
        self.now, self.nodes, self.bindings = problem.now, problem.nodes, plan.bindings
        self.products = {p.name: p for p in problem.products}
        self.contracts = {c.key: c for c in problem.contracts if c.key not in refused and self.window(c)[0] < c.end}
        self.outages = problem.outages
        edges = {t for b in plan.bindings for t in (b.start, b.end)} | {t for o in problem.outages for t in (o.start, o.end)}
        edges |= {t for c in self.contracts.values() for t in self.window(c)}
        self.edges = sorted(t for t in edges if t > self.now) if self.contracts else []
        self.edges = [self.now, *self.edges]
        self.counts: dict[tuple[object, ...], list[Count]] = {}

    def window(self, c: Contract) -> tuple[int, int]:
        return max(c.start, c.due_from, self.now), c.end

    def grades(self, c: Contract) -> frozenset[str]:
        own = self.products[c.product]
        names = [own.name, *(own.equivalents if c.substitution else ())]
        there = {n.grade for n in self.nodes}
        return frozenset(g for n in names if n in self.products for g in self.products[n].grades) & there

    def pools(self, c: Contract) -> list[frozenset[str]]:
        """The contract's grades, and every union of them with option sets of others that hangs together."""
        sets = sorted({self.grades(o) for o in self.contracts.values() if not o.reserve}, key=sorted)
        found = {self.grades(c)}
        for n in range(1, len(sets) + 1):
            for some in combinations(sets, n):
                reach, rest = set(self.grades(c)), list(some)
                while touching := [s for s in rest if s & reach]:
                    reach.update(*touching)
                    rest = [s for s in rest if s not in touching]
                if not rest:
                    found.add(frozenset(reach))
        return sorted(found, key=sorted)

    def commits(self, b: Binding, pool: frozenset[str], product: Product) -> bool:
        c, r = self.contracts[b.contract], product.reliability
        if c.reserve or not self.grades(c) <= pool:
            return False
        away = not c.firm and c.notice_seconds is not None and c.notice_seconds <= r.cure_seconds
        return not (away and c.curtailable_seconds >= r.repair_seconds)

    def count(self, t: int, pool: frozenset[str], product: Product, scope: Scope, domain: str | None) -> Count:
        failing = down = 0.0
        committed, spare, racks = 0, 0, dict[str, list[int]]()
        for n in self.nodes:
            inside = n.grade in pool and (domain is None or n.domains[scope - 1] == domain)
            if not inside or not n.usable or n.gpus == 0 or any(n.name in o.nodes and o.start <= t < o.end for o in self.outages):
                continue
            known = [p.reliability for p in self.products.values() if n.grade in p.grades]
            rate = max((r.failures_ppm for r in known), default=0) / 1e6
            failing += rate
            down += rate * max((r.repair_seconds for r in known), default=0) / 86_400
            held = any(b.node == n.name and b.start <= t < b.end and self.commits(b, pool, product) for b in self.bindings)
            free = not held and not n.cordoned and n.gpus == max(o.gpus for o in self.nodes if o.grade == n.grade and o.usable)
            committed, spare = committed + held, spare + free
            rack = racks.setdefault(n.domains[Scope.RACK - 1], [0, 0])
            rack[0] += held
            rack[1] += held or free
        return Count(failing, down, committed, spare, max((n for held, n in racks.values() if held), default=0))

    def counted(self, pool: frozenset[str], product: Product, scope: Scope = Scope.ANY, domain: str | None = None) -> list[Count]:
        """Per slice; the last one ends with the last edge."""
        key = pool, product.name, scope, domain
        if key not in self.counts:
            self.counts[key] = [self.count(t, pool, product, scope, domain) for t in self.edges[:-1]]
        return self.counts[key]

    def ways(self, c: Contract) -> list[list[Count | None]]:
        """Per pool, and per pool in the domain in which the contract lies, the counts of every slice; None where it lies nowhere."""
        start, end = self.window(c)
        product, found = self.products[c.product], list[list[Count | None]]()
        inside = [start <= t < end for t in self.edges[:-1]]
        for pool in self.pools(c):
            counts = self.counted(pool, product)
            found.append([n if i else None for n, i in zip(counts, inside, strict=True)])
            if c.scope is Scope.ANY:
                continue
            where = [self.domain(c, t) if i else None for t, i in zip(self.edges[:-1], inside, strict=True)]
            if any(where):
                found.append([self.counted(pool, product, c.scope, d)[k] if d else None for k, d in enumerate(where)])
        return found

    def domain(self, c: Contract, t: int) -> str | None:
        nodes: dict[str, Node] = {n.name: n for n in self.nodes}
        there = {nodes[b.node].domains[c.scope - 1] for b in self.bindings if b.contract == c.key and b.start <= t < b.end}
        assert len(there) <= 1
        return next(iter(there), None)

    def figures(self, c: Contract) -> Figures:
        ways = self.ways(c)
        best = max((self.worst(way, c), -min(n.spare for n in way if n)) for way in ways)
        start, end = self.window(c)
        pools = [n for pool in self.pools(c) for n in self.counted(pool, self.products[c.product])]
        times = [t for _ in self.pools(c) for t in self.edges[:-1]]
        due = [n for n, t in zip(pools, times, strict=True) if start <= t < end]
        return Figures(best[0], -best[1], max(n.lost for n in due), all(n.lost <= n.spare for n in due))

    def worst(self, way: list[Count | None], c: Contract) -> float:
        start, end = self.window(c)
        length = min(MONTH, end - start)
        starts = {start, end - length} | {t for e in self.edges for t in (e, e - length) if start <= t <= end - length}
        return min(1.0, max(self.chance(way, t, t + length) for t in starts))

    def chance(self, way: list[Count | None], start: int, end: int) -> float:
        total = 0.0
        for k, n in enumerate(way):
            seconds = min(end, self.edges[k + 1]) - max(start, self.edges[k])
            total += n.rate * seconds / 86_400 if n and seconds > 0 else 0.0
        return total


def figures(problem: Problem, plan: Plan) -> dict[str, Figures]:
    """Of every accepted Firm contract."""
    slices = Slices(problem, plan)
    return {c.key: slices.figures(c) for c in slices.contracts.values() if c.firm and not c.reserve}
