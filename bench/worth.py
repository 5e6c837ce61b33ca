"""What any set of bindings is worth under the published semantics: a `Plan` with totals, and the capacity that it leaves to sell.

The accounts are the checker's, so that the planner and those that it is compared with are measured by one third party.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
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

    Counted in GPUs, and in intact nodes for lots of a whole node; valid for every plan that delivers the same in the same grades.
    """
    edges = np.array(months(problem.now))
    index = {n.name: i for i, n in enumerate(problem.nodes)}
    rows = [(index[b.node], max(b.start, problem.now), b.end, b.gpus) for b in bindings]
    used = np.array(rows, dtype=np.int64).reshape(-1, 4)
    out = [(index[v], o.start, o.end, 0) for o in problem.outages for v in o.nodes if v in index and o.start < o.end]
    dark = np.array(out, dtype=np.int64).reshape(-1, 4)
    lots = {c.key: c.lot_gpus for c in problem.contracts}
    lot = np.array([lots[b.contract] for b in bindings], dtype=np.int64)
    found = most = 0
    gpus = np.array([n.gpus if n.usable else 0 for n in problem.nodes], dtype=np.int64)
    closed = np.array([not n.usable or n.cordoned for n in problem.nodes])
    grade = np.unique([n.grade for n in problem.nodes], return_inverse=True)[1]
    for g in range(int(grade.max(initial=-1)) + 1):
        mine = grade == g
        size = int(gpus[mine].max())
        intact = mine & (gpus == size) & ~closed
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            busy = np.zeros(len(gpus), dtype=bool)
            busy[used[(used[:, 1] < b) & (used[:, 2] > a), 0]] = True
            busy[dark[(dark[:, 1] < b) & (dark[:, 2] > a), 0]] = True
            clear = intact.copy()
            clear[dark[(dark[:, 1] < b) & (dark[:, 2] > a), 0]] = False
            found += int((intact & ~busy).sum())
            if size:
                here = mine[used[:, 0]]
                whole = used[here & (lot == size)]
                load = int(gpus[mine].sum()) - _peak(used[here], a, b)
                most += max(0, min(int(clear.sum()), load // size, int(intact.sum()) - _peak(whole, a, b) // size))
    return Sellable(found, most)


def _peak(rows: Ints, start: int, end: int) -> int:
    """Most GPUs in use at one second of [start, end)."""
    inside = rows[(rows[:, 1] < end) & (rows[:, 2] > start)]
    if not len(inside):
        return 0
    times = np.concatenate([np.maximum(inside[:, 1], start), np.minimum(inside[:, 2], end)])
    change = np.concatenate([inside[:, 3], -inside[:, 3]])
    order = np.lexsort((change, times))  # at one second, ends before starts
    return int(change[order].cumsum().max(initial=0))
