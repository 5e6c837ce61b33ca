"""A desk looks ahead: each node of a small fleet, and each rack of a large one, is lost, one at a time.

    make bench-whatif

The plan is kept; every loss is one update of a copy of it. Prints CPU time, how many losses are harmless, and what the worst costs.
"""

from __future__ import annotations

from pathlib import Path

from bench.budgets import judged
from bench.instances import CACHE, named
from bench.measure import Row, Stopwatch, apart, peak_mb, show
from laycan_solver.kinds import Scope
from laycan_solver.lose_each import lose_each
from laycan_solver.planner import EFFORT, Planner
from laycan_solver.whatif import domains

# row -> a named instance, and what is lost of it one at a time (None: nodes)
ROWS: dict[str, tuple[str, Scope | None]] = {
    "lose-each-node-3k-95": ("3k-95", None),
    "lose-each-rack-10k-85": ("10k-85", Scope.RACK),
}


def losses(name: str, level: Scope | None, seed: int = 0, effort: int = EFFORT, cache: Path = CACHE) -> Row:
    """Loses each node, or each domain of a level, of a named instance."""
    problem = named(name, seed, cache)
    planner = Planner(problem, effort=effort)
    planner.kept()
    groups = domains(problem, level)
    watch = Stopwatch()
    found = lose_each(planner, groups, problem.now)
    return {
        "row": f"lose-each-{level.label.lower() if level else 'node'}-{name}",
        "seed": seed,
        "losses": len(groups),
        "harmless": found.harmless,
        "worst_micros": found.rows[0].effect.cost_micros,
        "cpu_ms": watch.cpu_ms(),
        "cpu_ms_each": watch.cpu_ms() // max(1, len(groups)),
        "peak_mb": peak_mb(),
    }


def main() -> None:
    found = [apart(losses, name, level) for name, level in ROWS.values()]
    show("whatif", found, judged(found))


if __name__ == "__main__":
    main()
