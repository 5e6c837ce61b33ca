"""Plans as a table of lots per contract, node and time slice: how the tests build plans without the planner.

All events of a problem lie on a grid, and so may everything in its plan: a table over the slices of the grid can say it all. The money
is worked out here a third time, slice by slice and in fractions, so that neither the planner nor the checker is its own judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from fractions import Fraction
from itertools import pairwise
from math import floor, gcd

from laycan_solver.model import (
    FOREVER,
    Binding,
    Bound,
    Contract,
    Move,
    MoveReason,
    Node,
    Plan,
    Problem,
    Reason,
    Stopped,
    Totals,
    Undelivered,
)

Table = dict[tuple[str, str], list[int]]  # contract, node -> lots in each slice


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


class Sliced:
    """A problem cut at its events."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.nodes = {n.name: n for n in problem.nodes}
        self.products = {p.name: p for p in problem.products}
        self.contracts = {c.key: c for c in problem.contracts if self.begin(c) < c.end}
        self.ran: Counter[tuple[str, str]] = Counter()  # contract, node -> lots that run at now
        runs = {c.key for c in self.contracts.values() if not c.reserve}
        self.running = [b for b in problem.previous if b.start < problem.now < b.end and b.contract in runs]
        for b in self.running:
            self.ran[b.contract, b.node] += b.gpus // self.contracts[b.contract].lot_gpus
        last = max((c.end for c in self.contracts.values()), default=problem.now)
        events = {problem.now, last}
        for c in self.contracts.values():
            events |= {self.begin(c), c.end, problem.now + (c.notice_seconds or 0)}
        for o in problem.outages:
            events |= {o.start, o.end}
        for b in problem.previous:
            events |= {b.start, b.end}
        events |= {problem.now + p.turnaround_seconds for p in problem.products}
        step = gcd(*(t - problem.now for t in events if t < FOREVER)) or last - problem.now
        times = range(problem.now, last + 1, step)
        if len(times) > 200:
            raise ValueError(f"{len(times)} slices of {step} s are too many to look at one by one; use rounder times")
        self.slices = list(pairwise(times))

    def begin(self, c: Contract) -> int:
        return max(c.start, c.due_from, self.problem.now)

    def due(self, c: Contract) -> list[int]:
        """Indices of the slices of the due window."""
        return [i for i, (a, b) in enumerate(self.slices) if self.begin(c) <= a and b <= c.end]

    def sold_as(self, c: Contract, n: Node) -> tuple[str, int] | None:
        """Product and extra cost in micros per GPU-hour."""
        product = self.products[c.product]
        if n.grade in product.grades:
            return product.name, 0
        options = sorted((cost, name) for name, cost in product.equivalents.items() if n.grade in self.products[name].grades)
        return (options[0][1], options[0][0]) if options and c.substitution else None

    def gpus(self, n: Node, i: int) -> int:
        dark = any(n.name in o.nodes and o.start <= self.slices[i][0] < o.end for o in self.problem.outages)
        return n.gpus if n.usable and not dark else 0

    def room(self, c: Contract, n: Node, i: int) -> int:
        """Lots of the contract that the node could hold in the slice, were it alone there."""
        lots = self.gpus(n, i) // c.lot_gpus if self.sold_as(c, n) else 0
        if n.cordoned:
            end = self.slices[i][1]
            lots = min(lots, sum(b.gpus for b in self.running if (b.contract, b.node) == (c.key, n.name) and b.end >= end) // c.lot_gpus)
        return min(lots, c.lots)

    def could_stay(self, c: Contract, name: str, i: int) -> bool:
        """Whether what was on the node just before the slice could have stayed there."""
        n = self.nodes.get(name)
        if n is None or self.room(c, n, i) == 0:
            return False
        load = sum(b.gpus for b in self.running if b.node == name)
        return self.slices[i][0] > self.problem.now or load <= self.gpus(n, i)

    def starts_whole(self, c: Contract) -> bool:
        ran = any(b.contract == c.key and b.start < self.problem.now for b in self.problem.previous)
        return c.all_or_nothing and not c.delivering and not ran

    def instants(self, c: Contract, table: Table) -> Iterator[tuple[int, bool]]:
        """Slices at whose start the contract is interrupted, and whether by a planned cut."""
        before = {node: self.ran[c.key, node] for key, node in self.ran if key == c.key} if self.begin(c) == self.problem.now else {}
        for i in self.due(c):
            here = {node: row[i] for (key, node), row in table.items() if key == c.key and row[i]}
            nodes = {*before, *here}
            left = {n: before.get(n, 0) - here.get(n, 0) for n in nodes if before.get(n, 0) > here.get(n, 0)}
            came = sum(max(0, here.get(n, 0) - before.get(n, 0)) for n in nodes)
            stayable = sum(lots for n, lots in left.items() if self.could_stay(c, n, i))
            free = sum(left.values()) - stayable if self.slices[i][0] == self.problem.now else 0
            if min(came, sum(left.values())) > min(came, free):
                yield i, stayable > 0
            before = here


def plan_of(sliced: Sliced, table: Table, refused: Collection[str] = ()) -> Plan:
    """The plan that a table says, without a bound."""
    bindings, undelivered, moves = list[Binding](), list[Undelivered](), list[Move]()
    value = owed = firm = interrupted = extra = contracted = bound = instants = firm_value = spare = 0
    for c in sliced.contracts.values():
        due, begin = sliced.due(c), sliced.begin(c)
        if c.key in refused:
            undelivered.append(Undelivered(c.key, begin, c.end, c.gpus, Reason.NO_CAPACITY, "pool short", True))
            continue
        rows = {node: row for (key, node), row in table.items() if key == c.key and any(row)}
        for node, row in rows.items():
            bindings += _bindings(sliced, c, sliced.nodes[node], row)
        short = [(i, c.lots - sum(row[i] for row in rows.values())) for i in due]
        undelivered += [
            Undelivered(c.key, *sliced.slices[i], lots * c.lot_gpus, Reason.POOL_SHORT, "pool short") for i, lots in short if lots
        ]
        seconds = {i: sliced.slices[i][1] - sliced.slices[i][0] for i in due}
        mine = sum(lots * c.lot_gpus * seconds[i] for i, lots in short)
        if c.reserve:
            spare += mine
            continue
        moves += _moves(sliced, c, rows)
        unit = Fraction(c.rate, 3_600 * 10**6)
        right = 0
        if not c.firm and c.notice_seconds is not None:
            late = sum(lots * seconds[i] for i, lots in short if sliced.slices[i][0] >= sliced.problem.now + c.notice_seconds)
            right = min(late, c.lots * c.curtailable_seconds) * c.lot_gpus
        cuts = len(list(sliced.instants(c, table)))
        pause = half_up(unit * c.gpus * sliced.products[c.product].move_seconds * cuts)
        debt = half_up(unit * (mine - right))
        costs = {node: (sliced.sold_as(c, sliced.nodes[node]) or ("", 0))[1] for node in rows}
        extra += half_up(Fraction(sum(costs[n] * row[i] * c.lot_gpus * seconds[i] for n, row in rows.items() for i in due), 3_600))
        full = c.gpus * (c.end - begin)
        value += half_up(unit * full)
        contracted, bound, owed, interrupted, instants = (
            contracted + full,
            bound + full - mine,
            owed + debt,
            interrupted + pause,
            instants + cuts,
        )
        if c.firm:
            firm, firm_value = firm + debt + pause, firm_value + half_up(unit * full)
    moved = sum(m.gpus for m in moves)
    totals = Totals(value, owed, firm, interrupted, extra, contracted, bound, moved, instants, spare)
    own = owed + interrupted + extra
    gaps = [half_up(Fraction(a * 10**6, b)) if b else 0 for a, b in ((firm, firm_value), (own, value))]
    rows_ = (tuple(sorted(bindings)), tuple(sorted(undelivered)), tuple(sorted(moves)))
    return Plan(sliced.problem.now, *rows_, totals, Bound(0, 0), gaps[0], gaps[1], Stopped.EFFORT)


def _bindings(sliced: Sliced, c: Contract, n: Node, row: list[int]) -> Iterator[Binding]:
    """The i-th lot on the node is there while the row is above i; what runs keeps its start."""
    product = (sliced.sold_as(c, n) or ("", 0))[0]
    since = sorted(b.start for b in sliced.running for _ in range(b.gpus // c.lot_gpus) if (b.contract, b.node) == (c.key, n.name))
    found: Counter[tuple[int, int]] = Counter()
    for lot in range(max(row)):
        start = None
        for i, lots in enumerate([*row, 0]):
            if lots > lot and start is None:
                start = since[lot] if i == 0 and lot < len(since) else sliced.slices[i][0]
            elif lots <= lot and start is not None:
                found[start, sliced.slices[i - 1][1]] += c.lot_gpus
                start = None
    for (a, b), gpus in found.items():
        yield Binding(c.key, n.name, product, gpus, a, b)


def _moves(sliced: Sliced, c: Contract, rows: dict[str, list[int]]) -> Iterator[Move]:
    most: Counter[tuple[str, str]] = Counter()
    for i in sliced.due(c):
        t = sliced.slices[i][0]
        net: Counter[str] = Counter({node: row[i] for node, row in rows.items()})
        for b in sliced.problem.previous:
            if b.contract == c.key and b.start <= t < b.end:
                net[b.node] -= b.gpus // c.lot_gpus
        sources = [n for n, lots in sorted(net.items()) for _ in range(-lots)]
        targets = [n for n, lots in sorted(net.items()) for _ in range(lots)]
        most |= Counter(zip(sources, targets, strict=False))
    serving = {n.name for n in sliced.problem.nodes if n.usable and n.gpus >= c.lot_gpus}
    for (source, target), lots in most.items():
        reason = MoveReason.PLANNED if source in serving else MoveReason.NODE_LOST
        yield Move(c.key, source, target, lots * c.lot_gpus, reason)
