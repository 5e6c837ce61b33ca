"""What plans owe, what is proven about it and what they cost, for folders of manifests.

    python -m bench.plan [--effort N] DIR...

Each folder holds fleet, products, contracts and, as previous.json, the plan that was announced. One line per folder: value lost and
proven gap in millionths of value (total and Firm), interrupted contract instants, lots short, CPU seconds of the plan and of its check.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from laycan.planning.case import problem_of
from laycan.planning.manifests import load
from laycan.planning.plan_io import read_previous
from laycan_solver.check import check
from laycan_solver.model import Plan, Problem
from laycan_solver.planner import EFFORT, plan

COLUMNS = ("folder", "lost ppm", "gap ppm", "firm gap ppm", "interruption ppm", "substitution ppm", "instants", "gaps", "plan s", "check s")


def read(folder: Path) -> Problem:
    files = sorted(str(path) for path in folder.glob("*.json") if path.name != "previous.json")
    now, announced = read_previous(str(folder / "previous.json"))
    return problem_of(load(files), now=now, previous=announced)


def row(folder: Path, effort: int) -> list[object]:
    problem = read(folder)
    started = time.process_time()
    found = plan(problem, effort)
    planned = time.process_time()
    violations = check(problem, found)
    if violations:
        raise SystemExit(f"{folder}: {violations[0]}")
    return [folder.name, *figures(found), f"{planned - started:.2f}", f"{time.process_time() - planned:.2f}"]


def figures(found: Plan) -> list[object]:
    totals = found.totals
    parts = (
        totals.owed_micros + totals.interruption_micros + totals.substitution_micros,
        totals.interruption_micros,
        totals.substitution_micros,
    )
    lost, interruption, substitution = (n * 10**6 // max(1, totals.value_micros) for n in parts)
    return [lost, found.total_gap_ppm, found.firm_gap_ppm, interruption, substitution, totals.contract_instants, len(found.undelivered)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--effort", type=int, default=EFFORT)
    arguments = parser.parse_args()
    print(" | ".join(COLUMNS))
    for folder in arguments.folders:
        print(" | ".join(str(cell) for cell in row(folder, arguments.effort)), flush=True)


if __name__ == "__main__":
    main()
