"""Requests for whole nodes that come one by one and could all be sold: who sells how much of them?

    python -m bench.stream [--seeds 0,1,2] [--nodes 1000] [--requests 1000] [--effort N]

A stream is drawn so that at no hour more nodes are asked for than there are; as every request takes any nodes, all of it can be sold.
The planner binds late: what has not begun may be placed anew for each further request. The baseline binds at creation, as reservation
systems do: a request gets nodes that are free through its window, the first ones, for good, or is refused. `--effort` is the
planner's, per request.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import Row, Stopwatch, apart, peak_mb, percentile, show
from laycan_solver.check import check
from laycan_solver.model import Contract, ContractChanged, ContractGone, Node, Problem, Product

Ints = NDArray[Any]

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
HOUR = 3_600
HORIZON = 2_160  # hours: 90 days
GPUS = 8  # of every node
MOST_FAILURES = 3_000  # draws in vain, after which the stream is full
GRADE = "h100"


def stream(nodes: int, requests: int, seed: int) -> Ints:
    """(requests, 3): first hour, hour after the last, nodes; in the order in which they come. Fewer where the fleet is sold out."""
    rng = np.random.default_rng(seed)
    load = np.zeros(HORIZON, dtype=np.int64)
    rows: list[tuple[int, int, int]] = []
    failures = 0
    while len(rows) < requests and failures < MOST_FAILURES:
        length = int(np.exp(rng.uniform(np.log(12), np.log(HORIZON / 2))))
        start = int(rng.integers(0, HORIZON - length + 1))
        wanted = max(1, int(np.exp(rng.uniform(0, np.log(max(1, nodes / 4))))))
        if (load[start : start + length] + wanted > nodes).any():
            failures += 1
            continue
        failures = 0
        load[start : start + length] += wanted
        rows.append((start, start + length, wanted))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def bound_at_creation(requests: Ints, nodes: int) -> tuple[Ints, list[int]]:
    """Which requests are accepted when each takes the first free nodes for good, and CPU microseconds for each."""
    busy = np.zeros((nodes, HORIZON), dtype=bool)
    accepted, spent = np.zeros(len(requests), dtype=bool), []
    for i, (start, end, wanted) in enumerate(requests.tolist()):
        watch = Stopwatch()
        free = np.flatnonzero(~busy[:, start:end].any(axis=1))[:wanted]
        if len(free) == wanted:
            busy[free, start:end] = True
            accepted[i] = True
        spent.append(watch.cpu_us())
    return accepted, spent


def bound_late(requests: Ints, nodes: int, effort: int | None) -> tuple[Ints, list[int]]:
    """The same through the planner: every request is a candidate beside all that was accepted."""
    from laycan_solver.planner import EFFORT, Planner

    fleet = tuple(Node(f"n{i:05d}", GRADE, GPUS, (f"node/n{i:05d}",) * 4) for i in range(nodes))
    planner = Planner(Problem(NOW, fleet, (Product(GRADE, frozenset({GRADE})),), ()), None, EFFORT if effort is None else effort)
    accepted, spent = np.zeros(len(requests), dtype=bool), []
    for i, request in enumerate(requests.tolist()):
        asked = candidate(i, *request)
        watch = Stopwatch()
        difference = planner.update([ContractChanged(asked)])
        spent.append(watch.cpu_us())
        accepted[i] = all(u.contract != asked.key for u in difference.undelivered)
        if not accepted[i]:
            planner.update([ContractGone(asked.key)])  # refused for good: not asked again
    if violations := check(planner.problem, planner.plan):
        raise SystemExit(f"not legal: {violations[0]}")
    if {b.contract for b in planner.plan.bindings} != {f"r{i:05d}" for i in np.flatnonzero(accepted)} or planner.plan.undelivered:
        raise SystemExit("an accepted request is not delivered in full")
    return accepted, spent


def candidate(i: int, start: int, end: int, nodes: int) -> Contract:
    name = f"r{i:05d}"
    window = NOW + start * HOUR, NOW + end * HOUR
    return Contract(name, name, GRADE, *window, nodes * GPUS, GPUS, accepted=False, admission_order=("~", "~", name))


def row(binding: str, seed: int, nodes: int, count: int, effort: int | None) -> Row:
    requests = stream(nodes, count, seed)
    accepted, spent = bound_late(requests, nodes, effort) if binding == "late" else bound_at_creation(requests, nodes)
    node_hours = (requests[:, 1] - requests[:, 0]) * requests[:, 2]
    return {
        "seed": seed,
        "binding": binding,
        "requests": len(requests),
        "load_ppm": int(node_hours.sum()) * 10**6 // (nodes * HORIZON),
        "accepted": int(accepted.sum()),
        "node_hours_sold_ppm": int(node_hours[accepted].sum()) * 10**6 // int(node_hours.sum()),
        "us_p50": percentile(spent, 50),
        "us_p99": percentile(spent, 99),
        "us_max": max(spent),
        "cpu_ms": sum(spent) // 1_000,
        "peak_mb": peak_mb(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--effort", type=int)
    given = parser.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    rows = [apart(row, how, seed, given.nodes, given.requests, given.effort) for seed in seeds for how in ("at creation", "late")]
    show("stream", rows)


if __name__ == "__main__":
    main()
