"""The planner, its bound and the checker against the optimum of small problems."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from laycan_solver.check import check
from laycan_solver.check_certificate import proven_bounds
from laycan_solver.check_facts import Facts
from laycan_solver.model import Plan, Problem
from laycan_solver.planner import plan
from tests.draws import TIMES, seeds
from tests.laycan_solver.best_fit import best_fit
from tests.laycan_solver.exact import Exact
from tests.laycan_solver.instances import TINY, fleet, problem
from tests.laycan_solver.sliced import Sliced, plan_of
from tests.laycan_solver.truth import Truth, truth

KNOWN = Path(__file__).parent / "truth.json"  # written by `python -m tests.laycan_solver.test_exact`, in about three minutes
TINY_SEEDS = range(60)
FLEETS = (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 21, 22)  # 20 whose optimum is proven quickly


def fingerprint(p: Problem) -> str:
    """Of what differs from the defaults, so that a field that is added with one leaves the recorded optima good."""
    return hashlib.sha256(repr(_said(p)).encode()).hexdigest()[:16]


def _said(value: Any) -> Any:
    if is_dataclass(value):
        return [(f.name, _said(given)) for f in fields(value) if (given := getattr(value, f.name)) != f.default]
    if isinstance(value, Mapping | frozenset):
        return sorted(value.items() if isinstance(value, Mapping) else value)
    return [_said(part) for part in value] if isinstance(value, tuple) else value


@cache
def tiny_truth(seed: int) -> Truth:
    return truth(problem(seed, TINY))


def own(p: Plan) -> tuple[int, int]:
    """Tier 1 and the total, in micros."""
    return p.totals.firm_owed_micros, p.totals.owed_micros + p.totals.interruption_micros + p.totals.substitution_micros


@pytest.mark.parametrize("seed", TINY_SEEDS[:20])
def test_optimum_is_a_legal_plan(seed: int) -> None:
    """What CP-SAT finds passes the checker, and both count the same money."""
    sliced = Sliced(problem(seed, TINY))
    exact = Exact(sliced)
    for family, objective in enumerate((exact.firm, exact.total)):
        optimum = exact.solve(objective)
        best = plan_of(sliced, optimum.table)
        assert check(sliced.problem, best) == []
        assert own(best)[family] == optimum.value == optimum.least


@pytest.mark.parametrize("seed", TINY_SEEDS)
def test_bound_optimum_plan(seed: int) -> None:
    """bound <= optimum <= plan, in both families, and the plan is legal."""
    p, best = problem(seed, TINY), tiny_truth(seed)
    found = plan(p, 50)
    assert check(p, found) == []
    assert found.bound.firm_micros <= best.firm <= own(found)[0]
    assert found.bound.total_micros <= best.total <= own(found)[1]
    assert own(found)[0] > best.firm or own(found)[1] >= best.total_then


@pytest.mark.parametrize("seed", TINY_SEEDS[:25])
def test_no_prices_prove_too_much(seed: int) -> None:
    """Whatever prices a certificate holds, the bound that the checker derives from them is below the optimum."""
    p, rng = problem(seed, TINY), random.Random(seed)
    best, facts, certificate = tiny_truth(seed), Facts(p), plan(p, 50).certificate
    for _ in range(8):
        forged = dict(certificate)
        for family in ("firm", "total"):
            rows = certificate.get(family, [])
            assert isinstance(rows, list | tuple)
            kept = [[*row[:4], max(1, row[4] * rng.randrange(8, 14) // 10)] for row in rows if rng.random() < 0.9]
            forged[family] = kept or _random_rows(p, rng)
        proven, wrong = proven_bounds(facts, forged, p.contracts)
        assert wrong == ""
        assert proven["firm"] <= best.firm
        assert proven["total"] <= best.total


def _random_rows(p: Problem, rng: random.Random) -> list[list[object]]:
    grades = sorted({n.grade for n in p.nodes})
    top = max(c.rate * c.lot_gpus for c in p.contracts)
    end = max(c.end for c in p.contracts)
    return sorted([p.now, end, rng.choice((1, 2, 4, 8)), grade, rng.randint(1, top)] for grade in grades)


@pytest.mark.parametrize(
    "rows", [[[1]], "prices", [[5, 5, 1, "H100", 1]], [[5, 6, 1, "H100", -1]], [[5, 6, 1, "H100", 1.5]], [[5, 6, 0, "H100", 1]]]
)
def test_malformed_certificate(rows: object) -> None:
    """A certificate that is no list of positive integer prices proves nothing, and the checker says so."""
    p = replace(problem(1, TINY), now=5)
    proven, wrong = proven_bounds(Facts(p), {"firm": [], "total": rows}, p.contracts)
    assert proven == {"firm": 0, "total": 0}
    assert wrong


def test_overlapping_prices() -> None:
    """Two prices for one block at one instant are refused: the planner and the checker might read them differently."""
    p = replace(problem(1, TINY), now=5)
    _, wrong = proven_bounds(Facts(p), {"firm": [[5, 9, 1, "H100", 1], [8, 9, 1, "H100", 1]]}, p.contracts)
    assert "overlaps" in wrong


@pytest.mark.parametrize("seed", seeds(40, 300))
def test_candidates(seed: int) -> None:
    """With half of a book as candidates, the plan is legal and accepted contracts are owed no more than without them (I13)."""
    p, rng = problem(seed, TINY), random.Random(seed)
    ran = {b.contract for b in p.previous}
    contracts = [replace(c, accepted=c.key in ran or rng.random() < 0.5, admission_order=(str(rng.random()), "", "")) for c in p.contracts]
    both = replace(p, contracts=tuple(contracts))
    alone = replace(p, contracts=tuple(c for c in contracts if c.accepted))
    found, before = plan(both, 50), plan(alone, 50)
    assert check(both, found) == []
    assert found.totals.firm_owed_micros <= before.totals.firm_owed_micros
    assert found.totals.owed_micros + found.totals.interruption_micros <= before.totals.owed_micros + before.totals.interruption_micros


def known() -> dict[str, Truth]:
    return {key: Truth(**row) for key, row in json.loads(KNOWN.read_text()).items()}


def test_fleets() -> None:
    """Fleets of 40 nodes: legal, never worse than best fit, and together within 5 % of the optimum of tier 1 (all 20: 4.1 %)."""
    optimum = reached = 0
    for seed in FLEETS[: 9 * TIMES]:
        p = fleet(seed)
        best, found, baseline = known()[fingerprint(p)], plan(p), plan_of(Sliced(p), best_fit(Sliced(p)))
        assert check(p, found) == check(p, baseline) == []
        assert found.bound.firm_micros <= best.firm <= own(found)[0] <= own(baseline)[0]
        assert found.bound.total_micros <= best.total <= own(found)[1]
        optimum, reached = optimum + best.firm, reached + own(found)[0]
    assert reached <= optimum * 105 // 100


@pytest.mark.parametrize("seed", [4, 14])
def test_known_truth(seed: int) -> None:
    """The recorded optima are what CP-SAT proves."""
    p = fleet(seed)
    assert truth(p) == known()[fingerprint(p)]


if __name__ == "__main__":
    problems = [fleet(seed) for seed in FLEETS]
    KNOWN.write_text(json.dumps({fingerprint(p): vars(truth(p)) for p in problems}, indent=1) + "\n")
