"""Prices by descent are the duals of the linear programme, where all sizes are powers of two."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ortools.linear_solver import pywraplp

from laycan_solver.descent import HALVINGS, SLACK, Bids, Descent, Floats

Asked = list[tuple[int, tuple[tuple[int, float], ...], float, float]]  # level, options, density, GPUs


def least(have: Floats, asked: Asked) -> float:
    """The value of the programme: grades have so many GPUs for each level and all above it."""
    solver = pywraplp.Solver.CreateSolver("GLOP")
    rows = [[solver.Constraint(0, float(amount)) for amount in levels] for levels in have]
    objective = solver.Objective()
    objective.SetMaximization()
    for level, options, density, gpus in asked:
        share = solver.Constraint(0, gpus)
        for grade, cost in options:
            served = solver.NumVar(0, gpus, "")
            objective.SetCoefficient(served, density - cost)
            share.SetCoefficient(served, 1)
            for row in rows[grade][: level + 1]:
                row.SetCoefficient(served, 1)
    assert solver.Solve() == solver.OPTIMAL
    return float(objective.Value())


def draw(rng: random.Random) -> tuple[Floats, Asked]:
    grades, levels, contracts = rng.randint(1, 3), rng.randint(1, 5), rng.randint(1, 40)
    have = np.sort(np.array([[rng.randint(0, 300) for _ in range(levels)] for _ in range(grades)], dtype=np.float64), axis=1)[:, ::-1]
    asked: Asked = []
    for _ in range(contracts):
        own = rng.sample(range(grades), rng.randint(1, grades))
        options = tuple((g, float(rng.choice((0, 0, 5, 20)))) for g in sorted(own))
        asked.append((rng.randrange(levels), options, float(rng.randint(1, 100)), float(rng.randint(1, 60))))
    return have, asked


@pytest.mark.parametrize("seed", range(60))
def test_dual_of_the_programme(seed: int) -> None:
    """In each of several slices the dual at the prices found is the optimum, but for the last step and what common prices may cost."""
    rng = random.Random(seed)
    slices = [draw(rng)] * 2 if seed % 2 else [draw(rng)]
    have = np.stack([h for h, _ in slices], axis=2)
    asked = slices[0][1]
    alike: dict[tuple[int, tuple[tuple[int, float], ...]], list[tuple[float, float]]] = {}
    for level, options, density, gpus in asked:
        alike.setdefault((level, options), []).append((density, gpus))
    bids = []
    for (level, options), rows in sorted(alike.items()):
        rows.sort(reverse=True)
        amounts = np.repeat(np.array([[g] for _, g in rows]), len(slices), axis=1)
        bids.append(Bids(level, options, np.array([d for d, _ in rows]), amounts))
    descent = Descent(have, bids)
    prices = descent.prices()
    assert (prices >= 0).all()
    assert (np.diff(prices, axis=1) >= 0).all()
    worth = sum(density * gpus for _, _, density, gpus in asked)
    step = 100 / 2**HALVINGS * (have.sum() + sum(gpus for *_, gpus in asked))
    for value in descent.value(prices).tolist():
        optimum = least(slices[0][0], asked)
        assert optimum - 1e-6 * worth <= value <= optimum + SLACK * worth + step + 1e-6 * worth


def test_neighbours_share_prices() -> None:
    """Slices that differ in nothing that matters have the same prices, so that a certificate has few rows."""
    have = np.full((1, 1, 50), 10.0)
    gpus = np.full((2, 50), 8.0)
    gpus[1] += np.arange(50) % 3
    prices = Descent(have, [Bids(0, ((0, 0.0),), np.array([7.0, 3.0]), gpus)]).prices()
    assert len(np.unique(prices)) == 1
    assert abs(prices[0, 0, 0] - 3.0) < 1e-3
