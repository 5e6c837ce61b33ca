"""The lower bound of a plan, recomputed from the prices that its certificate holds.

A price is asked per second for a block of k GPUs inside one node of a grade. Whatever the prices, a contract pays for a lot the
cheaper of not being served and of its blocks, and the fleet has only so many blocks: the difference is a bound for every legal plan
(weak duality). A block row is valid because whole blocks of the parts never exceed whole blocks of the sum. Eligibility, capacity and
windows are taken from the problem, never from the certificate, so that false prices can only weaken the bound. Money is in units of
1 / 3,600 millionth of a micro, as `Contract.rate` is per GPU-second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from laycan_solver.check_contract import MICRO_HOUR, half_up
from laycan_solver.check_facts import Facts
from laycan_solver.check_reach import Line, Reach, Stages, line_of, summed
from laycan_solver.model import FOREVER, Contract

Row = tuple[int, int, int, str, int]  # start, end, k, grade, price
BATCH = 64  # pieces of a line that are summed up together


def rows_of(certificate: Mapping[str, object], family: str, now: int) -> list[Row]:
    """Raises ValueError: a family that is not a sorted list of positive integer prices without overlap."""
    if certificate.get("scale", MICRO_HOUR) != MICRO_HOUR:
        raise ValueError(f"scale must be {MICRO_HOUR}")
    rows: list[Row] = []
    ends: dict[tuple[int, str], int] = {}
    given = certificate.get(family, [])
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
    reach, every = Reach(facts), list(contracts)
    firm, total = (Dual(reach, rows[family], family == "total").bound(every) for family in rows)
    return {"firm": firm, "total": max(firm, total)}, ""


class Asked:
    """What one family of prices makes lots cost, as step functions of time."""

    def __init__(self, reach: Reach, rows: Iterable[Row], total: bool) -> None:
        self.facts, self.reach, self.total = reach.facts, reach, total
        self.rows: dict[str, dict[int, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))  # grade -> k -> spans
        for start, end, k, grade, price in rows:
            self.rows[grade][k].append((start, end, price))
        self._options: dict[tuple[str, bool], dict[str, int]] = {}
        self._grades: dict[tuple[str, int], Line] = {}
        self._lines: dict[object, Line] = {}

    def options(self, c: Contract) -> dict[str, int]:
        """Grade -> cost of a GPU-second there."""
        key = c.product, c.substitution
        if key not in self._options:
            costs = {grade: self.facts.cost(c, grade) for grade in self.reach.grades}
            self._options[key] = {grade: cost * 10**6 * self.total for grade, cost in costs.items() if cost is not None}
        return self._options[key]

    def line(self, c: Contract, grades: frozenset[str]) -> Line | None:
        """The least that a lot of the contract costs in one of the grades; None: there is none."""
        key = grades, c.product, c.substitution, c.lot_gpus
        if key not in self._lines and grades:
            options = self.options(c)
            lines = [(self._grade(grade, c.lot_gpus), options[grade] * c.lot_gpus) for grade in sorted(grades)]
            self._lines[key] = lines[0][0] if len(lines) == 1 and not lines[0][1] else _lowest(lines)
        return self._lines.get(key)

    def _grade(self, grade: str, g: int) -> Line:
        if (grade, g) not in self._grades:
            spans = [(start, end, price * (g // k)) for k, rows in self.rows[grade].items() for start, end, price in rows]
            self._grades[grade, g] = summed(self.facts.now, spans)
        return self._grades[grade, g]

    def earned(self) -> int:
        """What all blocks that the fleet has cost."""
        earned = 0
        for grade, k, spans in ((grade, k, spans) for grade, sizes in self.rows.items() for k, spans in sizes.items()):
            line = summed(self.facts.now, spans)
            for (t, blocks), (then, _) in pairwise([*self.reach.blocks(grade, k), (FOREVER, 0)]):
                earned += blocks * (line.until(then) - line.until(t)) if blocks else 0
        return earned


def _lowest(lines: list[tuple[Line, int]]) -> Line:
    """The least of lines, each raised by so much."""
    times = sorted({t for line, _ in lines for t in line.times})
    found_at, found, at = list[int](), list[int](), [0] * len(lines)
    for t in times:
        least = -1
        for j, (line, more) in enumerate(lines):
            if at[j] + 1 < len(line.times) and line.times[at[j] + 1] <= t:
                at[j] += 1
            cost = line.values[at[j]] + more
            least = cost if least < 0 or cost < least else least
        if not found or least != found[-1]:
            found_at.append(t)
            found.append(least)
    return line_of(found_at, found)


class Dual:
    """Values one family of prices for the contracts that a plan accepts."""

    def __init__(self, reach: Reach, rows: Iterable[Row], total: bool) -> None:
        self.facts, self.reach, self.total = reach.facts, reach, total
        self.asked = Asked(reach, rows, total)

    def bound(self, contracts: Iterable[Contract]) -> int:
        """Micros; what independent rounding of every contract's money could take off is taken off."""
        units = inexact = 0
        easy: dict[int, tuple[Line, list[tuple[int, int, int, int]]]] = {}
        for c in contracts:
            if (c.firm or self.total) and self.facts.begin(c) < c.end:
                stages = self.reach.stages(c, self.asked.options(c))
                line = self._throughout(c, stages)
                if line is None:
                    owed, exact = self.contribution(c, stages)
                    units += half_up(owed, MICRO_HOUR) * MICRO_HOUR if exact else owed
                    inexact += owed > 0 and not exact
                else:
                    query = (c.rate * c.lot_gpus, self.facts.begin(c), c.end, c.lots)
                    easy.setdefault(id(line), (line, []))[1].append(query)
        for line, queries in easy.values():
            for owed in cheaper(line, queries) if any(line.values) else ():
                units += owed
                inexact += owed > 0
        units -= self.asked.earned()
        return max(0, units // MICRO_HOUR - ((3 * inexact + 1) // 2 if self.total else inexact))

    def _throughout(self, c: Contract, stages: Stages) -> Line | None:
        """What a lot costs when all are in reach in the same grades all the time, and none may be curtailed by right."""
        if self.total and not c.firm and c.notice_seconds is not None:
            return None
        grades = stages.able[0]
        if stages.lowest < c.lots or not stages.steady:
            due = stages.within(self.facts.begin(c), c.end)
            grades = stages.able[due.start]
            if min(stages.lots[due]) < c.lots or any(able != grades for able in stages.able[due]):
                return None
        return self.asked.line(c, grades)

    def contribution(self, c: Contract, stages: Stages) -> tuple[int, bool]:
        """Least that the contract pays at these prices, and whether that is all of it, because nothing can serve it."""
        begin, w = self.facts.begin(c), c.rate * c.lot_gpus
        noticed = max(begin, self.facts.now + c.notice_seconds) if self.total and not c.firm and c.notice_seconds is not None else FOREVER
        total, served, late = 0, 0, list[tuple[int, int]]()  # late: cost, lot-seconds that may be curtailed
        for start, end, within, cost in self._pieces(c, stages, {noticed}):
            seconds, cheapest = end - start, min(w, cost)
            total += seconds * ((c.lots - within) * w + within * cheapest)
            served += within
            if start >= noticed:
                late += [(w, (c.lots - within) * seconds), (cheapest, within * seconds)]
        budget, spared = c.lots * c.curtailable_seconds, 0
        for cost, seconds in sorted(late, reverse=True):
            spared += cost * min(seconds, budget)
            budget -= min(seconds, budget)
        return total - spared, served == spared == 0

    def _pieces(self, c: Contract, stages: Stages, cuts: set[int]) -> Iterable[tuple[int, int, int, int]]:
        """Start, end, lots within reach and what one costs when served, over the due window.

        None is in reach before delivery can begin, if that takes all of them; what is read of the terms for later is the weaker.
        """
        begin, started = self.facts.begin(c), not self.facts.whole(c)
        due = stages.within(begin, c.end)
        ends = [*stages.times[due.start + 1 : due.stop], c.end]
        for since, until, lots, able in zip([begin, *ends], ends, stages.lots[due], stages.able[due], strict=False):
            line = self.asked.line(c, able)
            started = started or lots >= c.lots
            within = min(lots, c.lots) if started and line is not None else 0
            if line is None or not within:
                edges = sorted({since, until, *(t for t in cuts if since < t < until)})
                yield from ((a, b, 0, 0) for a, b in pairwise(edges))
                continue
            first, last = bisect_right(line.times, since), bisect_right(line.times, until - 1)
            edges = sorted({since, until, *line.times[first:last], *(t for t in cuts if since < t < until)})
            for a, b in pairwise(edges):
                yield a, b, within, line.values[bisect_right(line.times, a) - 1]


def cheaper(line: Line, queries: list[tuple[int, int, int, int]]) -> Iterable[int]:
    """For each query (w, start, end, lots): lots x the integral of the lesser of w and the line over [start, end).

    Pieces are taken in by rising height, queries answered by rising w: what is in is below w, all else counts w.
    """
    times, values = line.times, line.values
    batches = len(times) // BATCH + 1
    cost, seconds = [0] * len(times), [0] * len(times)  # of the pieces that are in
    costs, lengths = [0] * batches, [0] * batches  # the same per batch
    pieces = iter(sorted(range(len(times) - 1), key=values.__getitem__))
    waiting = next(pieces, None)

    def until(t: int, w: int) -> int:
        i = bisect_right(times, t) - 1
        batch = i // BATCH
        low = sum(costs[:batch]) + sum(cost[batch * BATCH : i])
        high = times[i] - times[0] - sum(lengths[:batch]) - sum(seconds[batch * BATCH : i])
        return low + w * high + min(w, values[i]) * (t - times[i])

    for w, start, end, lots in sorted(queries):
        while waiting is not None and values[waiting] < w:
            length = times[waiting + 1] - times[waiting]
            cost[waiting], seconds[waiting] = values[waiting] * length, length
            costs[waiting // BATCH] += cost[waiting]
            lengths[waiting // BATCH] += length
            waiting = next(pieces, None)
        yield lots * (until(end, w) - until(start, w))
