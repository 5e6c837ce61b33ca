"""The command line as a user meets it: `laycan plan` from JSON manifests to JSON, and `laycan --help`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bench.cold import Budget, planned
from bench.instances import CACHE, NAMED, draw, named, write_manifests
from bench.measure import Row, Stopwatch

LAYCAN = Path(sys.executable).parent / "laycan"


def plan_command(name: str, seed: int, budget: Budget) -> Row:
    """CPU time of the whole command, of which its planning is part, against that of planning alone in this process."""
    size = replace(NAMED[name], seed=seed)
    folder = CACHE / f"manifests-{size.name}"
    if not folder.exists():
        write_manifests(draw(size), folder)
    options = ["--effort", str(budget.effort), *(["--time-limit", str(budget.limit_s)] if budget.limit_s else [])]
    files = [str(folder / f"{kind}.json") for kind in ("fleet", "products", "contracts")]
    watch = Stopwatch()
    done = subprocess.run(
        [LAYCAN, "plan", *files, "--previous", str(folder / "previous.json"), *options, "-o", "json"], check=True, capture_output=True
    )
    command_ms, command_wall_ms = watch.cpu_ms(), watch.wall_ms()
    problem = named(name, seed)
    watch = Stopwatch()
    planned(problem, budget)
    planning_ms = watch.cpu_ms()
    return {
        "row": "command",
        "instance": name,
        "seed": seed,
        "command_ms": command_ms,
        "command_wall_ms": command_wall_ms,
        "planning_ms": planning_ms,
        "of_planning_ppm": command_ms * 10**6 // max(1, planning_ms),
        "output_mb": len(done.stdout) >> 20,
    }


def help_command(name: str, seed: int, budget: Budget) -> Row:
    """The fastest of five, as the first one reads files from disk."""
    spent = []
    for _ in range(5):
        watch = Stopwatch()
        subprocess.run([LAYCAN, "--help"], check=True, capture_output=True)
        spent.append((watch.cpu_ms(), watch.wall_ms()))
    return {"row": "help", "seed": seed, "cpu_ms": min(cpu for cpu, _ in spent), "wall_ms": min(wall for _, wall in spent)}
