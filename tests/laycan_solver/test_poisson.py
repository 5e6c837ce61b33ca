"""The exact tail of the Poisson distribution: against sums of fractions, rounded up, and never below one part where there is any."""

from __future__ import annotations

from fractions import Fraction

import pytest

from laycan_solver.poisson import MEAN, ONE, tail


def exactly(mean: Fraction, least: int) -> Fraction:
    """1 - P(fewer), with the exponential as a series of 120 terms."""
    series = [Fraction(1)]
    for k in range(1, 120):
        series.append(series[-1] * mean / k)
    return 1 - sum(series[:least], Fraction(0)) / sum(series)


@pytest.mark.parametrize("nodes", [1, 64, 1_000])
@pytest.mark.parametrize("least", [0, 1, 2, 5, 9])
def test_against_fractions(nodes: int, least: int) -> None:
    """The value is the exact one, rounded up to the next part of 10^18."""
    mean = nodes * 6_500 * 86_400
    assert tail(mean, least) == -(-exactly(Fraction(mean, MEAN), least) * ONE // 1)


def test_ends() -> None:
    """None or fewer is certain; nothing fails where no node stands; what is all but impossible is one part, and not nought."""
    assert tail(MEAN, 0) == tail(0, 0) == tail(MEAN, -3) == ONE
    assert tail(0, 1) == 0
    assert tail(MEAN, 10_000) == 1
    assert tail(300 * MEAN, 1) == ONE


def test_falls() -> None:
    """More spare nodes are never worse, more failures never better."""
    for nodes in (1, 50, 500):
        values = [tail(nodes * MEAN // 100, least) for least in range(60)]
        assert values == sorted(values, reverse=True)
        assert all(tail((nodes + 1) * MEAN // 100, least) >= value for least, value in enumerate(values))


def test_a_mean_beyond_sense() -> None:
    """Millions of nodes down on average: certain, at once, and no table of millions of terms."""
    assert tail(10**15 * MEAN, 3) == ONE
    assert tail(10**15 * MEAN, 2**40) == ONE
