"""The formula against a simulation: what is promised is more than what happens, and not more than three times as much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.shortfall import Outcome, Part, Pool, simulate
from laycan_solver.model import Contract, Node, Problem, Reliability
from laycan_solver.planner import plan
from laycan_solver.risk import risks_of
from laycan_solver.spares import Backing
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, contract, node

DAY, MONTH = 86_400, 30 * 86_400
DEVIATIONS = 3.5  # by chance alone one assertion in some thousands fails; the seeds are fixed


def constant(nodes: int, spares: int, rate: Reliability) -> Pool:
    """The same all month."""
    return Pool(np.array([0, MONTH]), np.array([nodes]), [Part(nodes, np.array([spares]))], rate.failures_ppm, rate.repair_seconds)


def promised(nodes: list[Node], contracts: list[Contract], rate: Reliability, **more: object) -> int:
    """Parts per billion of the first contract in the planner's own plan."""
    p: Problem = small.problem(nodes, contracts, products=[small.product(reliability=rate)], **more)
    return risks_of(p, plan(p))[contracts[0].key].ppb


def fits(found: Outcome, bound: int) -> bool:
    return found.within(bound // 3, bound, DEVIATIONS)


def formula(nodes: int, spares: int, rate: Reliability) -> int:
    """The month's bound for so many nodes, whatever is sold."""
    rows = (nodes * rate.failures_ppm, nodes * rate.failures_ppm * rate.repair_seconds, spares, 1)
    return Backing(np.array([0, MONTH]), *(np.array([n], dtype=np.int64) for n in rows)).worst(0, MONTH)


RATE = Reliability()
POOLS = [(8, 2, 200_000), (64, 4, 60_000), (128, 6, 60_000)]  # N committed, s spare, runs


@pytest.mark.parametrize("fixed", [False, True], ids=["exponential", "fixed"])
@pytest.mark.parametrize(("committed", "spares", "runs"), POOLS)
def test_one_pool(committed: int, spares: int, runs: int, fixed: bool) -> None:
    """A month of a pool that does not change, whatever the distribution of repairs."""
    found = simulate(constant(committed + spares, spares, RATE), runs, 1, fixed=fixed)
    nodes = [node(f"n{i}") for i in range(committed + spares)]
    assert fits(found, promised(nodes, [contract("x", 0, 720, 8 * committed)], RATE))


@pytest.mark.parametrize(("committed", "spares", "runs"), POOLS)
def test_what_would_not_be_a_bound(committed: int, spares: int, runs: int) -> None:
    """With N for M a small pool falls short more often than said, and with `more than s` for `at least s` every pool does."""
    found = simulate(constant(committed + spares, spares, RATE), runs, 1)
    if committed == 8:
        assert not fits(found, formula(committed, spares, RATE))
    assert not fits(found, formula(committed + spares, spares + 1, RATE))


def test_demand_that_moves() -> None:
    """Spares that come and go with contracts and with an outage: the slices add up, also with those that begin short."""
    nodes = [node(f"n{i:02}") for i in range(64)]
    sold = [contract("base", 0, 720, 8 * 57), contract("peak", 240, 480, 8 * 3), contract("end", 600, 720, 8 * 2)]
    down = [small.outage(f"n{i}", 300, 348) for i in range(62, 64)]
    hours = np.array([0, 240, 300, 348, 480, 600, 720])
    there, busy = np.array([64, 64, 62, 64, 64, 64]), np.array([57, 60, 60, 60, 57, 59])
    pool = Pool(hours * HOUR, there, [Part(64, there - busy)], RATE.failures_ppm, RATE.repair_seconds)
    found, bound = simulate(pool, 60_000, 2), promised(nodes, sold, RATE, outages=down)
    assert fits(found, bound)
    assert fits(replace(found, unmet=found.short), bound)


def test_substitution() -> None:
    """Who may go to the other grade does, as long as both together have room: neither all nodes nor the own ones may run short."""
    rate = Reliability(failures_ppm=40_000)
    nodes = [*[node(f"a{i}") for i in range(8)], *[node(f"b{i}", grade="H200") for i in range(4)]]
    kinds = [small.product(reliability=rate, equivalents={"h200": 1}), small.product("h200", "H200", reliability=rate)]
    stuck, free = contract("stuck", 0, 720, 8 * 5), contract("free", 0, 720, 8 * 3, substitution=True)
    p = small.problem(nodes, [stuck, free], products=kinds)
    bound = risks_of(p, plan(p))["desk/stuck"].ppb
    parts = [Part(8, np.array([3])), Part(12, np.array([4]))]
    pool = Pool(np.array([0, MONTH]), np.array([12]), parts, rate.failures_ppm, rate.repair_seconds)
    assert fits(simulate(pool, 60_000, 3), bound)
    assert p.now == NOW
