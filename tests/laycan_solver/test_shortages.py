"""The hours and pools that a certificate shows to be short."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan_solver.eligible import Demands, Fleet
from laycan_solver.shortages import Shortage, shortages
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, contract, node
from tests.laycan_solver.test_certificate import proof_of

PAIR = [small.product(equivalents={"h200": 80_000}), small.product("h200", "H200")]


def test_marginal_price() -> None:
    """With one node and two contracts, a GPU more is worth what the cheaper one pays per hour, while both are due."""
    p = small.problem([node("a")], [contract("x", 0, 10, price_micros=3_000_000), contract("y", 4, 8, price_micros=2_000_000)])
    assert shortages(p, proof_of(p).certificate) == [Shortage(NOW + 4 * HOUR, NOW + 8 * HOUR, "H100", 8, 2_000_000, 2_000_000, ("h100",))]


def test_touching_windows_are_one() -> None:
    """Where the price changes, the window goes on: the average by time, and the most."""
    rows = [
        [NOW, NOW + HOUR, 8, "H100", 8_000_000],
        [NOW + HOUR, NOW + 4 * HOUR, 8, "H100", 16_000_000],
        [NOW + 5 * HOUR, NOW + 6 * HOUR, 8, "H100", 8],
    ]
    found = shortages(small.problem([], []), {"total": rows})
    assert [(s.start, s.end, s.micros, s.most_micros) for s in found] == [
        (NOW, NOW + 4 * HOUR, 2, 2),  # 1.75 on average
        (NOW + 5 * HOUR, NOW + 6 * HOUR, 0, 0),
    ]


def test_blocks_cost_what_they_are_made_of() -> None:
    """A block of 8 GPUs costs its own price and those of the smaller blocks in it."""
    spans = {"total": [[NOW, NOW + HOUR, 2, "H100", 10**6], [NOW, NOW + HOUR, 8, "H100", 8 * 10**6]]}
    found = shortages(small.problem([], []), spans)
    assert [(s.gpus, s.most_micros) for s in found] == [(2, 1), (8, 2)]
    assert shortages(small.problem([], []), spans, "firm") == []


def test_margins() -> None:
    """For a gap: what the marginal GPU-hour is worth on average, nothing where all have room, the cheapest of the grades that would do."""
    x, y = contract("x", 0, 10, price_micros=3_000_000), contract("y", 4, 8, price_micros=2_000_000)
    p = small.problem([node("a")], [x, y])
    demands = Demands(p, Fleet(p))
    margins, demand = proof_of(p).margins, demands.demand(0)
    assert demand
    spans = ((4, 8), (5, 6), (0, 4), (2, 8), (7, 10), (0, 10))
    assert [margins.micros(demand, NOW + a * HOUR, NOW + b * HOUR) for a, b in spans] == [
        2_000_000, 2_000_000, 0, 1_333_333, 666_667, 800_000,
    ]  # fmt: skip
    wide = small.problem([node("a"), node("b", grade="H200")], [x, replace(y, substitution=True)], products=PAIR)
    other = Demands(wide, Fleet(wide)).demand(1)
    assert other
    assert proof_of(wide).margins.micros(other, NOW + 4 * HOUR, NOW + 8 * HOUR) == 80_000


def test_no_certificate() -> None:
    """What is no list of prices is refused, and the message says what to pass."""
    with pytest.raises(ValueError, match=r"pass Plan\.certificate"):
        shortages(small.problem([], []), {"total": "prices"})
