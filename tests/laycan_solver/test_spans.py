"""Stretches of time, against the seconds that they cover."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laycan_solver.spans import peak, union

TIMES = st.integers(850, 1_600)


@given(st.lists(st.tuples(TIMES, TIMES)))
def test_union_covers_the_same_seconds(spans: list[tuple[int, int]]) -> None:
    """Once each, and in order."""
    found = union(spans)
    assert sorted({t for a, b in spans for t in range(a, b)}) == [t for a, b in found for t in range(a, b)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 8)).map(lambda row: (*sorted(row[:2]), row[2]))))
def test_peak_is_the_most_of_any_second(held: list[tuple[int, int, int]]) -> None:
    """Who goes at an instant makes room for who comes then; what lasts no second is never held."""
    assert peak(held) == max((sum(amount for start, end, amount in held if start <= second < end) for second in range(21)), default=0)
