"""First fit, best fit, least and most allocated against the planner, on the same instances and by the same accounts.

    python -m bench.baselines [--instances 3k-95,10k-85,20k-95] [--seeds 0,1,2] [--effort N] [--no-plan]

Value lost is owed + interruption + substitution; sellable are whole nodes through whole calendar months, beside the most that any
plan with the same deliveries could leave. Every row is a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.cold import unrest
from bench.greedy import Greedy
from bench.instances import NAMED, named
from bench.measure import Row, Stopwatch, apart, peak_mb, show
from bench.schedulers import SCHEDULERS
from bench.worth import lost_ppm, plan_of, sellable
from laycan_solver.model import Plan, Problem

OURS = "laycan"


def row(name: str, seed: int, scheduler: str, effort: int | None) -> Row:
    problem = named(name, seed)
    watch = Stopwatch()
    found = _planned(problem, effort) if scheduler == OURS else _placed(problem, scheduler)
    cpu_ms = watch.cpu_ms()
    left = sellable(problem, found.bindings)
    return {
        "instance": name,
        "seed": seed,
        "scheduler": scheduler,
        "lost_ppm": lost_ppm(found.totals),
        "moved_gpus": found.totals.moved_gpus,
        **unrest(problem, found.bindings),
        "sellable_node_months": left.node_months,
        "at_most": left.most,
        "cpu_ms": cpu_ms,
        "peak_mb": peak_mb(),
    }


def _placed(problem: Problem, scheduler: str) -> Plan:
    pass_ = Greedy(problem, SCHEDULERS[scheduler]).run()
    return plan_of(problem, pass_.bindings, pass_.moves)


def _planned(problem: Problem, effort: int | None) -> Plan:
    from laycan_solver.planner import plan

    return plan(problem) if effort is None else plan(problem, effort)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", default="3k-95,10k-85,20k-95", help=f"of {', '.join(NAMED)}")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--effort", type=int, help="of the planner; its own default if absent")
    parser.add_argument("--no-plan", action="store_true", help="the baselines only")
    given = parser.parse_args(arguments)
    schedulers = [*SCHEDULERS, *([] if given.no_plan else [OURS])]
    rows = [
        apart(row, name, int(seed), scheduler, given.effort)
        for name in given.instances.split(",")
        for seed in given.seeds.split(",")
        for scheduler in schedulers
    ]
    show("baselines", rows)


if __name__ == "__main__":
    main()
