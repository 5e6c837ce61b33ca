"""The planner's reading of a certificate is the checker's: same prices, same bound, to the micro."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan_solver.check_certificate import proven_bounds
from laycan_solver.check_facts import Facts
from laycan_solver.model import Contract, Plan, Problem, Scope
from laycan_solver.planner import plan
from tests.laycan_solver import small
from tests.laycan_solver.instances import TINY, Shape, problem
from tests.laycan_solver.small import contract, node, outage


def recomputed(p: Problem, found: Plan) -> tuple[int, int]:
    refused = {u.contract for u in found.undelivered if u.refused}
    proven, wrong = proven_bounds(Facts(p), found.certificate, [c for c in p.contracts if c.key not in refused])
    assert wrong == ""
    return proven["firm"], proven["total"]


RACKS = Shape(nodes=16, contracts=30)


@pytest.mark.parametrize(("shape", "seed"), [*((TINY, seed) for seed in range(60)), *((RACKS, seed) for seed in range(8))])
def test_checker_agrees(shape: Shape, seed: int) -> None:
    """What is published is exactly what the checker derives, so that neither reads capacity, topology or rounding differently."""
    p = problem(seed, shape)
    found = plan(p, 5)
    assert (found.bound.firm_micros, found.bound.total_micros) == recomputed(p, found)


CASES = [
    ("capacity", [contract("x", 0, 10, 32)], 16),
    ("uneven lots", [contract("x", 0, 10, 15, lot_gpus=5)], 5),
    ("nothing serves", [contract("x", 0, 10, 18, lot_gpus=9)], 18),
    ("a domain is too small", [contract("x", 0, 10, 16, scope=Scope.RACK, all_or_nothing=True)], 16),
    ("spread", [contract("x", 0, 10, 16, lot_gpus=4, spread_level=Scope.RACK, spread_domains=4)], 8),
    ("outage", [contract("x", 0, 10, 16)], 0),
]


@pytest.mark.parametrize(("contracts", "gpus"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_counting_proves(contracts: list[Contract], gpus: int) -> None:
    """On two nodes in two racks so many GPUs are owed whatever is done, and the plan owes no more."""
    found = plan(small.problem([node("a", rack="r0"), node("b", rack="r1")], contracts))
    owed = gpus * 10 * 1_000_000
    assert found.totals.owed_micros == owed
    assert owed - 2 <= found.bound.total_micros <= owed


def test_outage_in_the_bound() -> None:
    """An outage that nothing can replace is owed, and the bound knows."""
    found = plan(small.problem([node("a")], [contract("x", 0, 10)], outages=[outage("a", 3, 5)]))
    assert found.totals.owed_micros == 2 * 8 * 1_000_000
    assert found.bound.firm_micros >= 2 * 8 * 1_000_000 - 1


def test_curtailment_is_not_in_the_bound() -> None:
    """What may be curtailed by right is owed to nobody: bound and plan leave it out alike."""
    lent = contract("x", 0, 10, 16, firm=False, notice_seconds=2 * 3600, curtailable_seconds=5 * 3600)
    found = plan(small.problem([], [lent]))
    assert found.totals.owed_micros == 5 * 16 * 1_000_000
    assert 0 <= found.totals.owed_micros - found.bound.total_micros <= 2
    assert plan(small.problem([], [replace(lent, firm=True)])).totals.owed_micros == 10 * 16 * 1_000_000
