"""The lower bound of a plan, recomputed from the prices that its certificate holds.

A price is asked per second for a block of k GPUs inside one node of a grade. Whatever the prices, a contract pays for a lot the
cheaper of not being served and of its blocks, and the fleet has only so many blocks: the difference is a bound for every legal plan
(weak duality). A block row is valid because whole blocks of the parts never exceed whole blocks of the sum. For the same reason a price
may be asked for every `many` blocks inside one domain: of contracts that lie in one domain and come whole or not at all at every
instant, as what they take there is then no choice. Eligibility, capacity and windows are taken from the problem, never from the
certificate, so that false prices can only weaken the bound. Money is in units of 1 / 3,600 millionth of a micro, as `Contract.rate` is
per GPU-second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from laycan_solver.check_contract import MICRO_HOUR, half_up
from laycan_solver.check_facts import Facts
from laycan_solver.check_reach import Line, Reach, Stages, line_of, summed
from laycan_solver.model import FOREVER, Contract, Scope

Row = tuple[int, int, Scope, int, int, str, int]  # start, end, level (ANY: nodes), many, k, grade, price
LEVELS = {level.label: level for level in Scope if level}
BATCH = 64  # pieces of a line that are summed up together


def rows_of(certificate: Mapping[str, object], family: str, now: int) -> list[Row]:
    """Raises ValueError: a certificate that is not sorted lists of positive integer prices without overlap."""
    if certificate.get("scale", MICRO_HOUR) != MICRO_HOUR:
        raise ValueError(f"scale must be {MICRO_HOUR}")
    rows: list[Row] = []
    for name, types in ((family, [int, int, int, str, int]), (f"{family}Domains", [int, int, str, int, int, str, int])):
        ends: dict[object, int] = {}
        given = certificate.get(name, [])
        given = list(given) if isinstance(given, list | tuple) else [given]
        for row in given:
            if not isinstance(row, list | tuple) or [type(value) for value in row] != types or (len(row) == 7 and row[2] not in LEVELS):
                raise ValueError(f"{name}: {row} is not [start, end, {'level, many, ' if len(types) == 7 else ''}k, grade, price]")
            start, end, *what, k, grade, price = row
            level, many = (LEVELS[what[0]], what[1]) if what else (Scope.ANY, 1)
            if not (now <= start < end and k > 0 and many > 0 and price > 0) or ends.get((level, many, k, grade), now) > start:
                raise ValueError(f"{name}: {row} is empty, in the past, without price or overlaps another")
            ends[level, many, k, grade] = end
            rows.append((start, end, level, many, k, grade, price))
        if list(map(list, given)) != sorted(map(list, given)):
            raise ValueError(f"{name}: rows are not sorted")
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
        self.rows: dict[tuple[str, Scope], list[Row]] = defaultdict(list)
        for row in rows:
            self.rows[row[5], row[2]].append(row)
        self._options: dict[tuple[str, bool], dict[str, int]] = {}
        self._grades: dict[object, Line] = {}
        self._lines: dict[object, Line] = {}

    def options(self, c: Contract) -> dict[str, int]:
        """Grade -> cost of a GPU-second there."""
        key = c.product, c.substitution
        if key not in self._options:
            costs = {grade: self.facts.cost(c, grade) for grade in self.reach.grades}
            self._options[key] = {grade: cost * 10**6 * self.total for grade, cost in costs.items() if cost is not None}
        return self._options[key]

    def level(self, c: Contract) -> Scope:
        """In one domain of which level, and of one grade, all lots lie together or none does; ANY: each may lie or not by itself."""
        if c.scope and self.facts.whole(c) and self.reach.impure[c.scope - 1].isdisjoint(self.options(c)):
            return c.scope
        return Scope.ANY

    def unit(self, c: Contract) -> int:
        """Lots that are served together or not at all."""
        return c.lots if self.level(c) else 1

    def line(self, c: Contract, grades: frozenset[str]) -> Line | None:
        """The least that a unit of the contract costs in one of the grades; None: there is none."""
        unit, level, options = self.unit(c), self.level(c), self.options(c)
        key = grades, c.product, c.substitution, c.lot_gpus, level, unit
        if key not in self._lines and grades:
            lines = [(self._grade(grade, c.lot_gpus, level, unit), options[grade] * c.lot_gpus * unit) for grade in sorted(grades)]
            self._lines[key] = lines[0][0] if len(lines) == 1 and not lines[0][1] else _lowest(lines)
        return self._lines.get(key)

    def _grade(self, grade: str, g: int, level: Scope, unit: int) -> Line:
        key = grade, g, level, unit
        if key not in self._grades:
            spans = [(start, end, price * (g // k) * unit) for start, end, _, _, k, _, price in self.rows.get((grade, Scope.ANY), ())]
            if level:
                rows = self.rows.get((grade, level), ())
                spans += [(start, end, price * (unit * (g // k) // many)) for start, end, _, many, k, _, price in rows]
            self._grades[key] = summed(self.facts.now, spans)
        return self._grades[key]

    def earned(self) -> int:
        """What all blocks and groups of blocks that the fleet has cost."""
        earned = 0
        alike: dict[tuple[Scope, int, int, str], list[tuple[int, int, int]]] = defaultdict(list)
        for start, end, level, many, k, grade, price in (row for rows in self.rows.values() for row in rows):
            alike[level, many, k, grade].append((start, end, price))
        for (level, many, k, grade), spans in alike.items():
            line = summed(self.facts.now, spans)
            steps = self.reach.groups(level, grade, k, many) if level else self.reach.blocks(grade, k)
            for (t, blocks), (then, _) in pairwise([*steps, (FOREVER, 0)]):
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
                    unit = self.asked.unit(c)
                    query = (c.rate * c.lot_gpus * unit, self.facts.begin(c), c.end, c.lots // unit)
                    easy.setdefault(id(line), (line, []))[1].append(query)
        for line, queries in easy.values():
            for owed in cheaper(line, queries) if any(line.values) else ():
                units += owed
                inexact += owed > 0
        units -= self.asked.earned()
        return max(0, units // MICRO_HOUR - ((3 * inexact + 1) // 2 if self.total else inexact))

    def _throughout(self, c: Contract, stages: Stages) -> Line | None:
        """What a unit costs when all lots are in reach in the same grades all the time, and none may be curtailed by right."""
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
        unit, begin = self.asked.unit(c), self.facts.begin(c)
        w, units = c.rate * c.lot_gpus * unit, c.lots // unit
        noticed = max(begin, self.facts.now + c.notice_seconds) if self.total and not c.firm and c.notice_seconds is not None else FOREVER
        total, served, late = 0, 0, list[tuple[int, int]]()  # late: cost, seconds of units that may be curtailed
        for start, end, within, cost in self._pieces(c, stages, {noticed}):
            seconds, cheapest = end - start, min(w, cost)
            total += seconds * ((units - within) * w + within * cheapest)
            served += within
            if start >= noticed:
                late += [(w, (units - within) * seconds), (cheapest, within * seconds)]
        budget, spared = units * c.curtailable_seconds, 0
        for cost, seconds in sorted(late, reverse=True):
            spared += cost * min(seconds, budget)
            budget -= min(seconds, budget)
        return total - spared, served == spared == 0

    def _pieces(self, c: Contract, stages: Stages, cuts: set[int]) -> Iterable[tuple[int, int, int, int]]:
        """Start, end, units within reach and what one costs when served, over the due window."""
        begin, unit, whole = self.facts.begin(c), self.asked.unit(c), self.facts.whole(c)
        due = stages.within(begin, c.end)
        ends = [*stages.times[due.start + 1 : due.stop], c.end]
        for since, until, lots, able in zip([begin, *ends], ends, stages.lots[due], stages.able[due], strict=False):
            line = self.asked.line(c, able)
            within = 0 if line is None or (whole and lots < c.lots) else min(lots, c.lots) // unit
            if line is None or not within:
                edges = sorted({since, until, *(t for t in cuts if since < t < until)})
                yield from ((a, b, 0, 0) for a, b in pairwise(edges))
                continue
            first, last = bisect_right(line.times, since), bisect_right(line.times, until - 1)
            edges = sorted({since, until, *line.times[first:last], *(t for t in cuts if since < t < until)})
            for a, b in pairwise(edges):
                yield a, b, within, line.values[bisect_right(line.times, a) - 1]


def cheaper(line: Line, queries: list[tuple[int, int, int, int]]) -> Iterable[int]:
    """For each query (w, start, end, units): units x the integral of the lesser of w and the line over [start, end).

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

    for w, start, end, units in sorted(queries):
        while waiting is not None and values[waiting] < w:
            length = times[waiting + 1] - times[waiting]
            cost[waiting], seconds[waiting] = values[waiting] * length, length
            costs[waiting // BATCH] += cost[waiting]
            lengths[waiting // BATCH] += length
            waiting = next(pieces, None)
        yield units * (until(end, w) - until(start, w))
