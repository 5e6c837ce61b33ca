"""Nodes die: how long the planner takes to bind again what they held, and whether anything moves that need not.

A running lot whose node lives moves only to let another be served, which is worth it if the objective falls by it: the same failure is
served once more without ejecting anybody, and moves beside a plan that is no better for them are needless. Each failure hits a copy of
the same plan, so that they do not add up; copying is not counted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from bench.cold import Budget, planned, unrest
from bench.instances import named
from bench.measure import Row, Stopwatch, peak_mb, percentile
from bench.worth import own_micros
from laycan_solver.check import check
from laycan_solver.model import Binding, Difference, Node, NodeChanged, Problem, Undelivered
from laycan_solver.planner import Planner

CHECKED = 3  # failures whose plan is checked in full


def node_death(name: str, seed: int, budget: Budget, *, only_active: bool = False) -> Row:
    """Single failures of nodes that hold something: seeded, each with all bindings of the year, or of nodes with lots that run now."""
    problem = named(name, seed)
    planner = Planner(problem, planned(problem, budget), budget.effort)
    before = unserved(planner.plan.undelivered)
    bindings = [b for b in planner.plan.bindings if not only_active or b.start <= problem.now < b.end]
    holding = sorted({b.node for b in bindings})
    chosen = random.Random(seed).sample(holding, min(budget.deaths, len(holding)))
    nodes = {n.name: n for n in problem.nodes}
    spent: list[int] = []
    beside = needless = owed = 0
    for i, dead in enumerate(chosen):
        copy = planner.copy()
        watch = Stopwatch()
        event = NodeChanged(replace(nodes[dead], usable=False))
        difference = copy.update([event], urgent=only_active)
        spent.append(watch.cpu_us())
        moved = len(moves_beside(difference, {dead}, problem.now))
        beside += moved
        needless += moved if moved and not worth_moving(planner.copy(), copy, event, only_active) else 0
        owed += unserved(difference.undelivered) > before
        if i < CHECKED:
            copy.update([])  # what an urgent update left
            _must_be_legal(copy)
    return {
        "row": "node-death-active" if only_active else "node-death",
        "instance": name,
        "seed": seed,
        "deaths": len(chosen),
        "us_p50": percentile(spent, 50),
        "us_p99": percentile(spent, 99),
        "us_max": max(spent),
        "moves_beside": beside,
        "needless_moves": needless,
        "deaths_that_owe": owed,
        "peak_mb": peak_mb(),
    }


def many_dead(name: str, seed: int, budget: Budget, *, share: int = 100) -> Row:
    """One in `share` of all usable nodes dies at once."""
    problem = named(name, seed)
    planner = Planner(problem, planned(problem, budget), budget.effort)
    dead = _seeded(problem, seed, share)
    before = planner.plan
    planner.kept()
    watch = Stopwatch()
    difference = planner.update([NodeChanged(replace(n, usable=False)) for n in dead])
    cpu_ms, wall_ms = watch.cpu_ms(), watch.wall_ms()
    names = {n.name for n in dead}
    hit = [b for b in before.bindings if b.node in names]
    _must_be_legal(planner)
    value = max(1, planner.plan.totals.value_micros)
    return {
        "row": f"dead-{name}",
        "seed": seed,
        "nodes_dead": len(dead),
        "bindings_hit": len(hit),
        "running_gpus_hit": sum(b.gpus for b in hit if b.start <= problem.now < b.end),
        "moves_beside": len(moves_beside(difference, names, problem.now)),
        "lost_more_ppm": (own_micros(planner.plan.totals) - own_micros(before.totals)) * 10**6 // value,
        "gap_ppm": planner.plan.total_gap_ppm,
        **unrest(planner.problem, planner.plan.bindings),
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
        "peak_mb": peak_mb(),
    }


def _seeded(problem: Problem, seed: int, share: int) -> list[Node]:
    usable = [n for n in problem.nodes if n.usable]
    return random.Random(seed).sample(usable, len(usable) // share)


def unserved(undelivered: Sequence[Undelivered]) -> int:
    """GPU-seconds of accepted contracts."""
    return sum(u.gpus * (u.end - u.start) for u in undelivered if not u.refused)


def worth_moving(without: Planner, moved: Planner, event: NodeChanged, urgent: bool) -> bool:
    """Is the plan with moves better than the one that ejects nobody? `without`: the planner before the event."""
    without.kept().rescue.variants = 0
    without.update([event], urgent=urgent)
    with_moves, plain = moved.kept().book, without.kept().book
    return with_moves.tiers(with_moves.demands) < plain.tiers(plain.demands)


def moves_beside(difference: Difference, dead: set[str], now: int) -> list[Binding]:
    """Bindings that ran at `now` on a living node and are gone from it, and are on no binding of the same lots any more."""
    stays: dict[tuple[str, str], int] = {}
    for b in difference.acquired:
        if b.start <= now < b.end:
            stays[b.contract, b.node] = stays.get((b.contract, b.node), 0) + b.gpus
    gone = []
    for b in difference.released:
        if b.start <= now < b.end and b.node not in dead:
            left = stays.get((b.contract, b.node), 0)
            stays[b.contract, b.node] = max(0, left - b.gpus)
            if left < b.gpus:
                gone.append(b)
    return gone


def _must_be_legal(planner: Planner) -> None:
    if violations := check(planner.problem, planner.plan):
        raise SystemExit(f"not legal: {violations[0]}, and {len(violations) - 1} more")
