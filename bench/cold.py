"""A cold plan with its certificate: what is lost, what is proven, what it cost, and how often contracts are interrupted for it.

Planned cuts are counted in lots that a plan takes off a node which could have kept them, instants in seconds at which a contract is
interrupted: beside a small gap they tell whether it was bought with unrest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.instances import named
from bench.measure import Row, Stopwatch, peak_mb
from bench.worth import lost_ppm, sellable
from laycan_solver.check import check
from laycan_solver.check_contract import Step, settle, steps
from laycan_solver.check_facts import Facts
from laycan_solver.model import Binding, Contract, Plan, Problem
from laycan_solver.planner import EFFORT, plan


@dataclass(frozen=True)
class Budget:
    """What a row may spend: the planner's effort, a cap on its wall clock, and how many failures and quotes are tried."""

    effort: int = EFFORT
    limit_s: int | None = None
    deaths: int = 200
    quotes: int = 200


def planned(problem: Problem, budget: Budget) -> Plan:
    end = time.monotonic() + budget.limit_s if budget.limit_s else None
    return plan(problem, budget.effort, deadline=None if end is None else lambda: time.monotonic() > end)


def cold(name: str, seed: int, budget: Budget) -> Row:
    """One plan of a named instance."""
    return {"row": name, "seed": seed} | figures(named(name, seed), budget)


def figures(problem: Problem, budget: Budget) -> dict[str, object]:
    """Of one plan; ends the program if the checker finds anything in it."""
    watch = Stopwatch()
    found = planned(problem, budget)
    cpu_ms, wall_ms, memory = watch.cpu_ms(), watch.wall_ms(), peak_mb()
    watch = Stopwatch()
    if violations := check(problem, found):
        raise SystemExit(f"not legal: {violations[0]}, and {len(violations) - 1} more")
    check_ms = watch.cpu_ms()
    return {
        "contracts": len(problem.contracts),
        "lost_ppm": lost_ppm(found.totals),
        "gap_ppm": found.total_gap_ppm,
        "firm_gap_ppm": found.firm_gap_ppm,
        **unrest(problem, found.bindings),
        "moved_gpus": found.totals.moved_gpus,
        "stopped": found.stopped.value,
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
        "peak_mb": memory,
        "check_ms": check_ms,
    }


def unrest(problem: Problem, bindings: Sequence[Binding]) -> dict[str, int]:
    """Lots cut by plan per 1,000 lots, instants per 1,000 contracts, and the most of one contract."""
    facts = Facts(problem)
    of: dict[str, list[Binding]] = {}
    for b in bindings:
        of.setdefault(b.contract, []).append(b)
    cut = instants = most = 0
    for c in problem.contracts:
        begin, own = facts.begin(c), of.get(c.key, [])
        path = list(steps(c, begin, own, ())) if begin < c.end else []
        account = settle(facts, c, own, path)
        instants += len(account.instants)
        most = max(most, len(account.instants))
        cut += sum(_lots_cut(facts, c, step) for step in path if step.start in account.cuts)
    lots = sum(c.lots for c in problem.contracts)
    return {
        "cuts_per_1000_lots": cut * 1_000 // max(1, lots),
        "instants_per_1000_contracts": instants * 1_000 // max(1, len(problem.contracts)),
        "instants_max": most,
    }


def _lots_cut(facts: Facts, c: Contract, step: Step) -> int:
    """Lots that leave nodes on which they could have stayed."""
    change = dict(step.changed)
    if step.start == facts.now:
        ran = facts.ran.get(c.key, Counter())
        change = {n: change.get(n, 0) - ran.get(n, 0) for n in {*ran, *change}}
    return -sum(lots for node, lots in change.items() if lots < 0 and facts.serves_on(c, node, step.start))


def sellable_months(name: str, seed: int, budget: Budget) -> Row:
    """Whole-node months that the plan leaves to sell, of the most that any plan with its deliveries could leave."""
    problem = named(name, seed)
    watch = Stopwatch()
    found = planned(problem, budget)
    cpu_ms = watch.cpu_ms()
    left = sellable(problem, found.bindings)
    return {
        "row": "sellable",
        "instance": name,
        "seed": seed,
        "lost_ppm": lost_ppm(found.totals),
        "node_months": left.node_months,
        "at_most": left.most,
        "sold_of_most_ppm": left.node_months * 10**6 // max(1, left.most),
        "cpu_ms": cpu_ms,
    }
