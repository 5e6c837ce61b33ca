"""Contracts that come whole: what serves them, block by block of time."""

from __future__ import annotations

from laycan_solver.construct import settle
from laycan_solver.planner import laid_out
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node, product


def test_gap_in_a_substitute() -> None:
    """What comes whole and is served in its own grade for a part of its window gets a substitute for the rest."""
    products = [product(equivalents={"h200": 1_000}), product("h200", "H200")]
    contracts = [contract("busy", 6, 12), contract("c", 0, 12, all_or_nothing=True, substitution=True)]
    p = small.problem([node("a"), node("b", grade="H200")], contracts, products=products)
    book, _ = laid_out(p, [binding("busy", "a", 6, 12)], set())
    settle(book, 1, cuts=True, own=True)
    assert [(s.column, s.start, s.end) for s in book.segments[1]] == [(0, NOW, NOW + 6 * HOUR)]
    settle(book, 1, cuts=True)
    assert [(s.column, s.start, s.end) for s in book.segments[1]] == [(0, NOW, NOW + 6 * HOUR), (1, NOW + 6 * HOUR, NOW + 12 * HOUR)]
