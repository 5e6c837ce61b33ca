"""Available-to-promise: the chance of a shortfall that the planner promises, against how often a simulation falls short.

    python -m bench.atp [--seeds 0,1,2] [--runs N] [--rows tight,loose]

Nearly everything of a small instance, which asks for far more than there is, is a candidate, sold up to the target of its product. Of
every grade that is left with a chance that so many runs can tell, the contract with the greatest is taken, and the nodes that stand
behind it are simulated through its worst 30 days, slice by slice as the plan leaves them spare. The ATP error is what is promised of
what happens: above one, or it was no promise, and not far above, or nodes stand idle for nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.budgets import judged
from bench.instances import Size, instance
from bench.measure import Row, Stopwatch, apart, peak_mb, show
from bench.shortfall import Outcome, Part, Pool, simulate
from laycan_solver.backings import Backings, Stay
from laycan_solver.check import check
from laycan_solver.eligible import Demand
from laycan_solver.model import Plan, Problem, Reliability
from laycan_solver.objective import MONTH
from laycan_solver.planner import laid_out, plan
from laycan_solver.promise import Risks

SIZE = Size(300, 2_000, 2.50)
RUNS = 100_000
LEAST_PPB = 100_000  # 10 of so many runs
DEVIATIONS = 3.5
ROWS = {"tight": 1_000, "loose": 20_000}  # -> target, ppm


@dataclass(frozen=True)
class Promise:
    """A pool as the plan leaves it in the worst 30 days of a contract, and the chance that was promised for these."""

    product: str
    ppb: int
    pool: Pool


def sold(problem: Problem, target_ppm: int) -> tuple[Problem, Plan]:
    """The problem with everything that does not run as a candidate under a target, and its plan."""
    running = {b.contract for b in problem.previous}
    contracts = tuple(replace(c, accepted=c.key in running) for c in problem.contracts)
    products = tuple(replace(p, reliability=Reliability(target_ppm=target_ppm)) for p in problem.products)
    asked = replace(problem, contracts=contracts, products=products)
    found = plan(asked)
    if violations := check(asked, found):
        raise SystemExit(f"not legal: {violations[0]}")
    return asked, found


def promises(problem: Problem, found: Plan, target_ppm: int) -> list[Promise]:
    """Of every product, the greatest chance below the target; where the same nodes stand behind several, once."""
    book, demands = laid_out(problem, found.bindings, {u.contract for u in found.undelivered if u.refused})
    risks = Risks(book, demands)
    figures = risks.all()
    lots = risks.refresh()
    backings = Backings(risks.ground, lots, book.now, max(d.end for d in book.demands.values()))
    stays: dict[Stay, Demand] = {}
    for product in sorted(demands.products):
        mine = [d for d in book.demands.values() if d.contract.product == product and d.contract.firm and not d.scoped]
        told = [d for d in mine if LEAST_PPB <= figures[d.contract.key].ppb < target_ppm * 1_000]
        if told:
            worst = max(told, key=lambda d: (figures[d.contract.key].ppb, d.contract.key))
            stay = max((w[0] for w in risks.ways(worst, lots, ())), key=lambda s: backings.worst([s], worst.start, worst.end))
            if not any(s.stand == stay.stand for s in stays):
                stays[stay] = worst
    return [promised(backings, stay, demand) for stay, demand in stays.items()]


def promised(backings: Backings, stay: Stay, demand: Demand) -> Promise:
    """The worst 30 days of the contract on this stand."""
    backing, length = backings[stay.stand], min(MONTH, demand.end - stay.start)
    last = demand.end - length
    starts = np.unique(np.concatenate(([stay.start, last], backing.times, backing.times - length)))
    starts = starts[(starts >= stay.start) & (starts <= last)]
    chances = backing.chance(starts, starts + length)
    start = int(starts[chances.argmax()])
    inside = backing.cut(np.array([start, start + length]))
    rows = inside.rows(start, start + length)
    known = Reliability()
    there, spare = inside.failing[rows] // known.failures_ppm, inside.spare[rows]
    times = np.append(inside.times[:-1][rows], start + length)
    pool = Pool(times, there, [Part(int(there.max()), spare)], known.failures_ppm, known.repair_seconds)
    return Promise(demand.contract.product, int(chances.max()), pool)


def above(ppb: int, hits: int, runs: int) -> bool:
    """It happens more often than promised, chance apart."""
    share = hits / runs
    return bool(share - DEVIATIONS * (share * (1 - share) / runs) ** 0.5 > ppb / 1e9)


def row(name: str, seed: int, runs: int, size: Size = SIZE) -> Row:
    """A plan sold up to the target of that name, and what becomes of its pools."""
    problem = instance(replace(size, seed=seed))
    watch = Stopwatch()
    asked, found = sold(problem, ROWS[name])
    cpu_ms = watch.cpu_ms()
    told = promises(asked, found, ROWS[name])
    seen: list[Outcome] = [simulate(p.pool, runs, seed) for p in told]
    total, unmet, short = sum(p.ppb for p in told), sum(o.unmet for o in seen), sum(o.short for o in seen)
    candidates = [c for c in asked.contracts if not c.accepted]
    refused = [u.message for u in found.undelivered if u.refused]
    return {
        "row": f"atp-{name}",
        "seed": seed,
        "candidates": len(candidates),
        "refused": len(refused),
        "for_targets": sum("the target is" in m or "its target is" in m for m in refused),
        "pools": len(told),
        "promised_ppm": total // max(1, len(told)) // 1_000,
        "simulated_ppm": unmet * 10**6 // max(1, runs * len(told)),
        "promised_of_simulated_ppm": total * runs // max(1, unmet) // 1_000 if unmet else None,
        "above": sum(above(p.ppb, o.unmet, runs) for p, o in zip(told, seen, strict=True)),
        "with_starts_ppm": short * 10**6 // max(1, runs * len(told)),
        "plan_cpu_ms": cpu_ms,
        "peak_mb": peak_mb(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args(arguments)
    if unknown := set(given.rows.split(",")) - ROWS.keys():
        raise SystemExit(f"--rows: there is no {', '.join(sorted(unknown))}; known are {', '.join(ROWS)}")
    rows = [apart(row, name, int(seed), given.runs) for name in given.rows.split(",") for seed in given.seeds.split(",")]
    show("atp", rows, limits=judged(rows))


if __name__ == "__main__":
    main()
