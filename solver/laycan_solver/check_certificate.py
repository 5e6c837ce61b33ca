"""The lower bound of a plan, recomputed from the prices that its certificate holds.

A price is asked per second for a block of k GPUs inside one node of a grade. Whatever the prices, a contract pays for a lot the
cheaper of not being served and of its blocks, and the fleet has only so many blocks: the difference is a bound for every legal plan
(weak duality). Eligibility, capacity and windows are taken from the problem, never from the certificate, so that false prices can
only weaken the bound. A block row is valid because whole blocks of the parts never exceed whole blocks of the sum. Money is in units
of 1 / 3,600 millionth of a micro, as `Contract.rate` is per GPU-second.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate, chain, groupby, pairwise
from operator import itemgetter

from laycan_solver.check_contract import MICRO_HOUR, half_up
from laycan_solver.check_facts import Facts
from laycan_solver.model import FOREVER, Contract, Node

Row = tuple[int, int, int, str, int]  # start, end, k, grade, price
Stage = tuple[int, int, frozenset[str]]  # from then on: lots that topology lets the fleet serve, grades that can serve any


def rows_of(certificate: Mapping[str, object], family: str, now: int) -> list[Row]:
    """Raises ValueError: a certificate that is not a sorted list of positive integer prices without overlap."""
    if certificate.get("scale", MICRO_HOUR) != MICRO_HOUR:
        raise ValueError(f"scale must be {MICRO_HOUR}")
    given = certificate.get(family, [])
    rows: list[Row] = []
    ends: dict[tuple[int, str], int] = {}
    for row in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(row, list | tuple) or [type(value) for value in row] != [int, int, int, str, int]:
            raise ValueError(f"{family}: {row} is not [start, end, k, grade, price]")
        start, end, k, grade, price = row
        if not (now <= start < end and k > 0 and price > 0) or ends.get((k, grade), now) > start:
            raise ValueError(f"{family}: {row} is empty, in the past, without price or overlaps another")
        ends[k, grade] = end
        rows.append((start, end, k, grade, price))
    if rows != sorted(rows):
        raise ValueError(f"{family}: rows are not sorted")
    return rows


def proven_bounds(facts: Facts, certificate: Mapping[str, object], contracts: Iterable[Contract]) -> tuple[dict[str, int], str]:
    """The bounds, firm and total, in micros, and why the certificate proves nothing (then they are 0); "" = it is well-formed."""
    try:
        rows = {family: rows_of(certificate, family, facts.now) for family in ("firm", "total")}
    except ValueError as error:
        return {"firm": 0, "total": 0}, str(error)
    reach = Reach(facts)
    firm, total = (Dual(reach, rows[family], family).bound(contracts) for family in rows)
    return {"firm": firm, "total": max(firm, total)}, ""


class Reach:
    """What the nodes could hold over time, whatever the prices."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.nodes: dict[str, list[Node]] = defaultdict(list)  # grade -> usable nodes
        for node in facts.nodes.values():
            if node.usable:
                self.nodes[node.grade].append(node)
        self._stages: dict[object, list[Stage]] = {}
        self._clipped: dict[object, list[Stage]] = {}  # by the above and the lots of a contract
        self._rooms: dict[object, list[tuple[int, int]]] = {}

    def stages(self, c: Contract, grades: Iterable[str]) -> list[Stage]:
        """How many of its lots topology lets the whole fleet serve, as steps; contracts that differ in nothing here share them."""
        cap = -(-c.lots // c.spread_domains) if c.spread_level else FOREVER
        ran = any(self.facts.nodes[n].cordoned for n in self.facts.ran.get(c.key, ()) if n in self.facts.nodes)
        key = (*sorted(grades), c.lot_gpus, c.scope, c.spread_level, cap, c.key if ran else None)
        if (*key, c.lots) not in self._clipped:
            same = itemgetter(1, 2)
            stages = ((t, min(c.lots, lots), able) for t, lots, able in self._all_stages(c, grades, key, cap))
            self._clipped[*key, c.lots] = [next(group) for _, group in groupby(stages, key=same)]
        return self._clipped[*key, c.lots]

    def _all_stages(self, c: Contract, grades: Iterable[str], key: tuple[object, ...], cap: int) -> list[Stage]:
        if key not in self._stages:
            lots: dict[str, Counter[str]] = defaultdict(Counter)  # domain of the scope -> domain of the spread -> lots
            most: dict[str, int] = {"": 0}  # domain of the scope -> lots that the spread allows there
            able: Counter[str] = Counter()  # grade -> lots
            steps = self._stages[key] = list[Stage]()
            for t, changes in self.changes(grades, c.key, c.lot_gpus):
                touched = set()
                for n, net in changes:
                    outer, inner = (n.domains[level - 1] if level else "" for level in (c.scope, c.spread_level))
                    lots[outer][inner] += net
                    able[n.grade] += net
                    touched.add(outer)
                most |= {outer: sum(min(v, cap) for v in lots[outer].values()) for outer in touched}
                steps.append((t, max(most.values()), frozenset(grade for grade, v in able.items() if v)))
        return self._stages[key]

    def changes(self, grades: Iterable[str], contract: str | None, size: int) -> list[tuple[int, list[tuple[Node, int]]]]:
        """Instants, each with the nodes whose room, in pieces of `size` GPUs, changes there, and by how much."""
        changes: dict[int, list[tuple[Node, int]]] = defaultdict(list, {self.facts.now: []})
        for n in (n for grade in grades for n in self.nodes[grade]):
            before = 0
            for t, gpus in self._room(n, contract if n.cordoned else None):
                if (pieces := gpus // size) != before:
                    changes[t].append((n, pieces - before))
                    before = pieces
        return sorted(changes.items(), key=itemgetter(0))

    def _room(self, n: Node, contract: str | None) -> list[tuple[int, int]]:
        """GPUs of the node that one contract (None: that all) could hold, as steps; of a cordoned node only what runs there."""
        key = n.name, contract
        if key not in self._rooms:
            stay = [b for b in self.facts.staying.get(n.name, ()) if contract in (None, b.contract)] if n.cordoned else []
            edges = {t for t in chain((b.end for b in stay), *self.facts.dark.get(n.name, ())) if t > self.facts.now}
            gpus = [(t, self.facts.gpus_at(n.name, t)) for t in (self.facts.now, *sorted(edges))]
            self._rooms[key] = [(t, min(g, sum(b.gpus for b in stay if b.end > t)) if n.cordoned else g) for t, g in gpus]
        return self._rooms[key]


class Dual:
    """Values one family of prices for the contracts that a plan accepts."""

    def __init__(self, reach: Reach, rows: Iterable[Row], family: str) -> None:
        self.facts, self.reach, self.family = reach.facts, reach, family
        self.rows: dict[str, list[Row]] = defaultdict(list)  # grade -> prices
        for row in rows:
            self.rows[row[3]].append(row)
        self.prices: dict[object, tuple[list[int], list[int]]] = {}

    def bound(self, contracts: Iterable[Contract]) -> int:
        """Micros; what independent rounding of every contract's money could take off is taken off."""
        units = inexact = 0
        for c in contracts:
            if (c.firm or self.family == "total") and self.facts.begin(c) < c.end:
                owed, exact = self.contribution(c)
                units += half_up(owed, MICRO_HOUR) * MICRO_HOUR if exact else owed
                inexact += owed > 0 and not exact
        units -= sum(self._capacity(grade) for grade in self.rows)
        return max(0, units // MICRO_HOUR - (inexact if self.family == "firm" else (3 * inexact + 1) // 2))

    def contribution(self, c: Contract) -> tuple[int, bool]:
        """Least that the contract pays at these prices, and whether that is all of it, because nothing can serve it."""
        w, began = c.rate * c.lot_gpus, not self.facts.whole(c)
        noticed = self.facts.now + c.notice_seconds if self.family == "total" and not c.firm and c.notice_seconds is not None else FOREVER
        total, served, late = 0, 0, list[tuple[int, int]]()  # late: cost, lot-seconds that may be curtailed
        for start, end, reach, cost in self._path(c, noticed):
            began = began or reach == c.lots
            within = reach if began else 0
            cheapest = min(w, cost)
            total += (end - start) * ((c.lots - within) * w + within * cheapest)
            served += within
            if start >= noticed:
                late += [(w, (c.lots - within) * (end - start)), (cheapest, within * (end - start))]
        budget, spared = c.lots * c.curtailable_seconds, 0
        for cost, seconds in sorted(late, reverse=True):
            spared += cost * min(seconds, budget)
            budget -= min(seconds, budget)
        return total - spared, served == spared == 0

    def _path(self, c: Contract, noticed: int) -> Iterable[tuple[int, int, int, int]]:
        """Start, end, lots within reach and price of a served lot-second, over the due window."""
        begin, g = self.facts.begin(c), c.lot_gpus
        options = {grade: cost for grade in self.reach.nodes if (cost := self.facts.cost(c, grade)) is not None}
        stages = self.reach.stages(c, options)
        asked = {grade: self._asked(grade, g) for grade in options}
        grids = [[stage[0] for stage in stages], *(times for times, _ in asked.values())]
        edges = {begin, c.end}.union(*(grid[bisect_right(grid, begin) : bisect_left(grid, c.end)] for grid in grids))
        for start, end in pairwise(sorted(edges | ({noticed} if begin < noticed < c.end else set()))):
            _, reach, grades = stages[bisect_right(stages, start, key=itemgetter(0)) - 1]
            costs = []
            for grade in grades:
                times, prices = asked[grade]
                costs.append((options[grade] * 10**6 * g if self.family == "total" else 0) + prices[bisect_right(times, start) - 1])
            yield start, end, reach, min(costs, default=c.rate * g)

    def _asked(self, grade: str, g: int) -> tuple[list[int], list[int]]:
        """Price of the blocks of one lot of g GPUs, per second, as steps."""
        if (grade, g) not in self.prices:
            changes = Counter({self.facts.now: 0})
            for start, end, k, _, price in self.rows.get(grade, ()):
                changes[start] += price * (g // k)
                changes[end] -= price * (g // k)
            times = sorted(changes)
            self.prices[grade, g] = times, list(accumulate(changes[t] for t in times))
        return self.prices[grade, g]

    def _capacity(self, grade: str) -> int:
        """What the blocks that the grade's nodes hold earn at these prices."""
        earned = 0
        for k in {row[2] for row in self.rows[grade]}:
            steps, blocks = self.reach.changes([grade], None, k), 0
            for (t, changes), then in zip(steps, [*(t for t, _ in steps[1:]), FOREVER], strict=True):
                blocks += sum(net for _, net in changes)
                spans = ((max(t, row[0]), min(then, row[1]), row[4]) for row in self.rows[grade] if row[2] == k)
                earned += blocks * sum(price * (end - start) for start, end, price in spans if start < end)
        return earned
