"""The targets of the planner, row by row, each against its limit in budgets.yaml.

    python -m bench.plan [--rows 10k-85,node-death,…] [--seeds 0,1,2] [--effort N] [--limit SECONDS] [--deaths N]
        [--quotes N]
    python -m bench.plan --folders DIR...     plans folders of manifests with fleet, products, contracts and previous.json

Every row and seed is a process of its own; every plan is checked before it counts. Times are printed and never asserted. Without
`--effort` and `--limit` the planner runs with its own effort and without a cap on the clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench import cold, command, quotes, update
from bench.budgets import judged
from bench.measure import Row, apart, show
from laycan.planning.case import problem_of
from laycan.planning.manifests import load
from laycan.planning.plan_io import read_previous
from laycan_solver.model import Problem
from laycan_solver.planner import EFFORT

Measure = Callable[[str, int, cold.Budget], Row]  # (instance, seed, budget) -> a row

ROWS: dict[str, tuple[Measure, str, int]] = {  # -> what measures it, instance, seeds
    "10k-85": (cold.cold, "10k-85", 3),
    "20k-95": (cold.cold, "20k-95", 3),
    "10k-105": (cold.cold, "10k-105", 3),
    "20k-105": (cold.cold, "20k-105", 3),
    "3k-95": (cold.cold, "3k-95", 5),
    "40k-85": (cold.cold, "40k-85", 3),
    "node-death": (update.node_death, "10k-85", 3),
    "node-death-active": (partial(update.node_death, only_active=True), "10k-85", 3),
    "dead-10k-85": (update.many_dead, "10k-85", 3),
    "dead-20k-95": (update.many_dead, "20k-95", 3),
    "quote-10k-85": (quotes.quotes, "10k-85", 3),
    "quote-20k-95": (quotes.quotes, "20k-95", 3),
    "offers-3k-95": (quotes.offers, "3k-95", 3),
    "offers-10k-85": (quotes.offers, "10k-85", 1),
    "sellable": (cold.sellable_months, "10k-80", 3),
    "command": (command.plan_command, "10k-85", 1),
    "help": (command.help_command, "", 1),
}


def read(folder: Path) -> Problem:
    """The problem of a folder of manifests."""
    files = sorted(str(path) for path in folder.glob("*.json") if path.name != "previous.json")
    now, announced = read_previous(str(folder / "previous.json"))
    return problem_of(load(files), now=now, previous=announced)


def folder_row(folder: Path, budget: cold.Budget) -> Row:
    return {"row": folder.name} | cold.figures(read(folder), budget)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seeds", help="instead of each row's own")
    parser.add_argument("--instance", help="instead of each row's own, to try a row out")
    parser.add_argument("--effort", type=int, default=EFFORT)
    parser.add_argument("--limit", type=int, help="wall-clock seconds per plan")
    parser.add_argument("--deaths", type=int, default=cold.Budget.deaths, help="nodes that die in the rows node-death")
    parser.add_argument("--quotes", type=int, default=cold.Budget.quotes, help="questions in the rows quote")
    parser.add_argument("--folders", nargs="+", type=Path, default=[], metavar="DIR")
    given = parser.parse_args(arguments)
    budget = cold.Budget(given.effort, given.limit, given.deaths, given.quotes)
    rows: list[Row] = [apart(folder_row, folder, budget) for folder in given.folders]
    for name in () if given.folders else given.rows.split(","):
        if name not in ROWS:
            raise SystemExit(f"--rows: there is no {name}; known are {', '.join(ROWS)}")
        measure, instance, count = ROWS[name]
        for seed in given.seeds.split(",") if given.seeds else range(count):
            rows.append(apart(measure, given.instance or instance, int(seed), budget))
            print(".", end="", flush=True)
    print()
    show("plan", rows, limits=[] if given.instance else judged(rows))


if __name__ == "__main__":
    main()
