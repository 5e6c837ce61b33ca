"""Registers go on where NVML's counters begin anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.agent.registers import Counters, Registers, rise


@pytest.mark.parametrize(
    ("old", "new", "gained"), [(5, 9, 4), (5, 5, 0), (9, 4, 4), (9, 0, 0), (None, 7, 0), (7, None, 0), (None, None, 0)]
)
def test_rise(old: int | None, new: int | None, gained: int) -> None:
    """What a counter gained; where it fell it began anew from 0, and what was not told gained nothing."""
    assert rise(old, new) == gained


@given(st.lists(st.integers(0, 10**12), min_size=2))
def test_milliseconds_lose_nothing(readings: list[int]) -> None:
    """A counter that only rises gives, in whole milliseconds, its last reading less its first."""
    readings.sort()
    registers, before = Registers(), Counters(slowdown_nanoseconds=readings[0])
    for reading in readings[1:]:
        counters = Counters(slowdown_nanoseconds=reading)
        registers.add(before, counters)
        before = counters
    assert registers.slowdown_milliseconds == readings[-1] // 10**6 - readings[0] // 10**6


def test_what_is_not_told_is_remembered() -> None:
    """A counter that NVML leaves out of one sample goes on from where it stood."""
    before = Counters(100, 200, 3, 4)
    assert Counters(None, 250, None, 5).after(before) == Counters(100, 250, 3, 5)


def test_only_energy_tells_a_reset() -> None:
    """Other counters may be cleared by hand."""
    assert Counters(99, 9, 9, 9).fell_since(Counters(100, 1, 1, 1))
    assert not Counters(100, 0, 0, 0).fell_since(Counters(100, 9, 9, 9))
    assert not Counters(None, 0, 0, 0).fell_since(Counters(100, 9, 9, 9))
