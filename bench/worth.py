"""What any set of bindings is worth under the published semantics: a `Plan` with totals, and the capacity that it leaves to sell.

The accounts are the checker's, so that the planner and those that it is compared with are measured by one third party.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laycan_solver.check import gap_ppm
from laycan_solver.check_contract import settle, steps
from laycan_solver.check_facts import Facts
from laycan_solver.model import Binding, Bound, Move, Plan, Problem, Reason, Stopped, Totals, Undelivered

Ints = NDArray[Any]


def plan_of(problem: Problem, bindings: tuple[Binding, ...], moves: tuple[Move, ...]) -> Plan:
    """The plan that these sorted bindings and moves are: what it leaves undelivered and its totals; it proves nothing, bound 0."""
    facts = Facts(problem)
    of: dict[str, list[Binding]] = defaultdict(list)
    for b in bindings:
        of[b.contract].append(b)
    gaps, every, firm = [], [], []
    for c in problem.contracts:
        begin = facts.begin(c)
        path = list(steps(c, begin, of[c.key], ())) if begin < c.end else []
        account = settle(facts, c, of[c.key], path)
        every.append(account)
        if c.firm:
            firm.append(account)
        gaps += [
            Undelivered(c.key, s.start, s.end, (c.lots - s.bound) * c.lot_gpus, Reason.POOL_SHORT, "not placed")
            for s in path
            if s.bound < c.lots
        ]
    totals = Totals(
        value_micros=sum(a.value for a in every),
        owed_micros=sum(a.owed for a in every),
        firm_owed_micros=sum(a.owed + a.interruption for a in firm),
        interruption_micros=sum(a.interruption for a in every),
        substitution_micros=sum(a.substitution for a in every),
        contracted_gpu_seconds=sum(c.gpus * max(0, c.end - facts.begin(c)) for c in problem.contracts),
        bound_gpu_seconds=sum(a.bound for a in every),
        moved_gpus=sum(m.gpus for m in moves),
        contract_instants=sum(len(a.instants) for a in every),
    )
    firm_gap = gap_ppm(totals.firm_owed_micros, 0, sum(a.value for a in firm))
    total_gap = gap_ppm(own_micros(totals), 0, totals.value_micros)
    return Plan(problem.now, bindings, tuple(sorted(gaps)), moves, totals, Bound(0, 0), firm_gap, total_gap, Stopped.EFFORT)


def own_micros(totals: Totals) -> int:
    return totals.owed_micros + totals.interruption_micros + totals.substitution_micros


def lost_ppm(totals: Totals) -> int:
    """Owed, interruption and substitution, of the value, in millionths."""
    return gap_ppm(own_micros(totals), 0, totals.value_micros)


@dataclass(frozen=True)
class Sellable:
    """Whole-node months: nodes with all their GPUs, free for a whole calendar month, summed over months; and the most there can be."""

    node_months: int
    most: int


def months(now: int, count: int = 12) -> list[int]:
    """First seconds of the months from the one of `now` on, UTC, and the end of the last."""
    first = datetime.fromtimestamp(now, UTC)
    numbers = (first.year * 12 + first.month - 1 + i for i in range(count + 1))
    return [int(datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC).timestamp()) for n in numbers]


def sellable(problem: Problem, bindings: Iterable[Binding]) -> Sellable:
    """Of a plan. The most, per grade and month: at the busiest second, what is delivered leaves no more nodes whole.

    Counted in blocks of k GPUs inside nodes, for every k that divides a node: a lot of g GPUs takes g // k of them, an outage those of
    its node. Valid for every plan that delivers the same in the same grades.
    """
    edges = months(problem.now)
    index = {n.name: i for i, n in enumerate(problem.nodes)}
    lots = {c.key: c.lot_gpus for c in problem.contracts}
    used = _rows((index[b.node], max(b.start, problem.now), b.end, b.gpus, lots[b.contract]) for b in bindings)
    dark = _rows(_dark(problem, index))
    gpus = np.array([n.gpus if n.usable and not n.cordoned else 0 for n in problem.nodes], dtype=np.int64)
    grade = np.unique([n.grade for n in problem.nodes], return_inverse=True)[1]
    found = most = 0
    for g in range(int(grade.max(initial=-1)) + 1):
        mine = np.where(grade == g, gpus, 0)
        here, out = used[mine[used[:, 0]] > 0], dark[mine[dark[:, 0]] > 0]
        for start, end in pairwise(edges):
            clear = mine == mine.max(initial=1)
            clear[_within(out, start, end)[:, 0]] = False
            most += min(int(clear.sum()), _whole_at_peak(mine, here, out, start, end))
            clear[_within(here, start, end)[:, 0]] = False
            found += int(clear.sum())
    return Sellable(found, most)


def _rows(rows: Iterable[tuple[int, int, int, int, int]]) -> Ints:
    """(rows, 5): node, start, end, GPUs, GPUs of a lot."""
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 5)


def _dark(problem: Problem, index: Mapping[str, int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Outages per node, merged where they overlap."""
    spans = sorted((index[v], o.start, o.end) for o in problem.outages for v in o.nodes if v in index and o.start < o.end)
    for node, own in groupby(spans, key=lambda span: span[0]):
        last = 0
        for _, start, end in own:
            if end > last:
                yield node, max(start, last), end, 0, 0
                last = end


def _within(rows: Ints, start: int, end: int) -> Ints:
    return rows[(rows[:, 1] < end) & (rows[:, 2] > start)]


def _whole_at_peak(gpus: Ints, used: Ints, dark: Ints, start: int, end: int) -> int:
    """Nodes of full size that can be whole throughout [start, end) at most, by blocks of every size."""
    size = int(gpus.max(initial=1))
    here, out = _within(used, start, end), _within(dark, start, end)
    fewest = len(gpus)
    for k in (k for k in range(1, size + 1) if size % k == 0):
        large = here[here[:, 4] >= k]
        taken = large[:, 3] // large[:, 4] * (large[:, 4] // k)
        rows = np.concatenate([large, out])
        peak = _peak(rows[:, 1], rows[:, 2], np.concatenate([taken, gpus[out[:, 0]] // k]), start, end)
        fewest = min(fewest, (int((gpus // k).sum()) - peak) // (size // k))
    return max(0, fewest)


def _peak(starts: Ints, ends: Ints, weights: Ints, start: int, end: int) -> int:
    """Most that lies on one second of [start, end)."""
    times = np.concatenate([np.maximum(starts, start), np.minimum(ends, end)])
    change = np.concatenate([weights, -weights])
    order = np.lexsort((change, times))  # at one second, ends before starts
    return int(change[order].cumsum().max(initial=0))
