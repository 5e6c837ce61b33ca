"""A full fleet loses nodes: the openb cluster at 97 % load, its first twelve 8-GPU nodes killed.

    python -m bench.repair DATA [--seeds 0,1,2] [--effort N] [--killed 12]

DATA holds the published node and pod lists (openb_node_list_gpu_node.csv, openb_pod_list_multigpu50.csv). Pods that ask for whole
GPUs come in a seeded order, and become contracts of one lot that any node may serve, each on a random
node that holds it, as long as there is one and the load stays below 97 %: a careless history, which leaves single free GPUs all over
the fleet. A day later the nodes die. Compared are best fit, which places again what died, and the planner; beside them the
fewest GPUs that must be short whatever is moved, by counting blocks of GPUs. A healthy move is one of a lot whose node lives.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.cold import unrest
from bench.greedy import Greedy
from bench.measure import Row, Stopwatch, peak_mb, show
from bench.schedulers import Ints, best_fit
from bench.worth import lost_ppm, plan_of
from laycan_solver.check import check
from laycan_solver.model import Contract, Node, NodeChanged, Plan, Problem, Product
from laycan_solver.planner import EFFORT, Planner

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
DAY = 86_400
WINDOW = 30 * DAY
LOAD_PPM = 970_000
GRADE = "any"


def nodes_of(file: Path) -> tuple[Node, ...]:
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    return tuple(Node(r["sn"], GRADE, int(r["gpu"]), (f"node/{r['sn']}",) * 4) for r in rows)


def contracts_of(file: Path) -> list[Contract]:
    """One for each pod of whole GPUs."""
    with file.open() as lines:
        rows = [r for r in csv.DictReader(lines) if int(r["num_gpu"]) > 0 and int(r["gpu_milli"]) == 1_000]
    return [Contract(r["name"], r["name"], GRADE, NOW, NOW + WINDOW, int(r["num_gpu"]), int(r["num_gpu"])) for r in rows]


def loaded(nodes: tuple[Node, ...], wanted: Sequence[Contract], seed: int, load_ppm: int = LOAD_PPM) -> Problem:
    """The fleet a day after the contracts began, each on a random node that held it, in the given order."""
    products = (Product(GRADE, frozenset({GRADE})),)
    draw = np.random.default_rng(seed)

    def any_fit(free: Ints, healthy: Ints, units: Ints, lot: int) -> Ints:
        return draw.choice(np.flatnonzero(units), 1) if units.any() else np.flatnonzero(units)

    placed = {b.contract: b for b in Greedy(Problem(NOW, nodes, products, tuple(wanted)), any_fit).run().bindings}
    room = load_ppm * sum(n.gpus for n in nodes) // 10**6
    kept = []
    for contract in wanted:
        if contract.key in placed and contract.gpus <= room:
            room -= contract.gpus
            kept.append(contract)
    previous = tuple(sorted(placed[c.key] for c in kept))
    return Problem(NOW + DAY, nodes, products, tuple(kept), previous=previous)


def fewest_short(nodes: Sequence[Node], contracts: Sequence[Contract]) -> int:
    """GPUs that no arrangement can serve: lots of at least k GPUs need blocks of k inside nodes."""
    sizes = sorted({c.lot_gpus for c in contracts})
    blocks = {k: sum(n.gpus // k for n in nodes if n.usable) for k in sizes}
    need = {k: sum(c.lots * (c.lot_gpus // k) for c in contracts) for k in sizes}
    return max([0, *(k * (need[k] - blocks[k]) for k in sizes)])


def legal(problem: Problem, found: Plan) -> Plan:
    """The plan; ends the program if the checker finds anything in it."""
    if violations := check(problem, found):
        raise SystemExit(f"not legal: {violations[0]}, and {len(violations) - 1} more")
    return found


def row(name: str, problem: Problem, found: Plan, cpu_ms: int) -> Row:
    short = {u.contract for u in found.undelivered}
    lost = {n.name for n in problem.nodes if not n.usable}
    return {
        "repair": name,
        "contracts_short": len(short),
        "gpus_short": sum(c.gpus for c in problem.contracts if c.key in short),
        "healthy_moves": sum(1 for m in found.moves if m.source not in lost),
        "moves": len(found.moves),
        "lost_ppm": lost_ppm(found.totals),
        "gap_ppm": found.total_gap_ppm,
        **unrest(problem, found.bindings),
        "cpu_ms": cpu_ms,
    }


def repair(nodes: tuple[Node, ...], wanted: list[Contract], seed: int, kill: int, effort: int) -> list[Row]:
    """Both repairs of one seed."""
    order = random.Random(seed).sample(wanted, len(wanted))
    healthy = loaded(nodes, order, seed)
    killed = [replace(n, usable=False) for n in nodes if n.gpus == 8][:kill]
    broken = replace(healthy, nodes=tuple({n.name: n for n in (*nodes, *killed)}.values()))
    watch = Stopwatch()
    again = Greedy(broken, best_fit).run()
    cpu_ms = watch.cpu_ms()
    first = row("best fit", broken, legal(broken, plan_of(broken, again.bindings, again.moves)), cpu_ms)
    planner = Planner(healthy, plan_of(healthy, healthy.previous, ()), effort)
    watch = Stopwatch()
    planner.update([NodeChanged(n) for n in killed])
    cpu_ms = watch.cpu_ms()
    ours = row("laycan", broken, legal(planner.problem, planner.plan), cpu_ms)
    sold = sum(c.gpus for c in healthy.contracts)
    asked = {"seed": seed, "contracts": len(healthy.contracts), "load_ppm": sold * 10**6 // sum(n.gpus for n in nodes)}
    return [asked | r | {"fewest_gpus_short": fewest_short(broken.nodes, broken.contracts)} for r in (dict(first), dict(ours))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--effort", type=int, default=EFFORT)
    parser.add_argument("--killed", type=int, default=12)
    given = parser.parse_args(arguments)
    nodes = nodes_of(given.data / "openb_node_list_gpu_node.csv")
    wanted = contracts_of(given.data / "openb_pod_list_multigpu50.csv")
    rows = [r for seed in given.seeds.split(",") for r in repair(nodes, wanted, int(seed), given.killed, given.effort)]
    show("repair", rows, nodes=len(nodes), gpus=sum(n.gpus for n in nodes), killed=given.killed, peak_mb=peak_mb())


if __name__ == "__main__":
    main()
