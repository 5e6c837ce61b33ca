"""When an agent writes."""

from __future__ import annotations

import pytest

from laycan.agent.timetable import Timetable

UNIX = 1_800_000_000.0


def test_regular_reports_are_spread() -> None:
    """12,500 agents that started together report evenly: no second of the period has more than three times its share."""
    waits = [Timetable(f"node-{number}", 300).wait(0.0, UNIX) for number in range(12_500)]
    counts = [0] * 300
    for wait in waits:
        counts[min(299, int(wait))] += 1
    assert max(counts) < 3 * 12_500 / 300
    assert max(waits) <= 300


def test_every_period_at_the_same_point() -> None:
    """A write that succeeds leaves the next one to the node's next turn, one period later."""
    table = Timetable("n1", 300)
    first = table.wait(0.0, UNIX)
    table.begin()
    table.wrote(first, UNIX + first)
    assert table.wait(first, UNIX + first) == pytest.approx(300)


def test_a_turn_that_comes_early_is_not_taken_twice() -> None:
    """The wait may end a moment before the turn: the write was that of the turn."""
    table = Timetable("n1", 300)
    first = table.wait(0.0, UNIX)
    table.begin()
    table.wrote(first - 0.5, UNIX + first - 0.5)
    assert table.wait(first - 0.5, UNIX + first - 0.5) == pytest.approx(300.5)


def test_what_is_urgent_waits_a_second() -> None:
    """Several things that come together are one write, a second after the first."""
    table = Timetable("n1", 300)
    table.urge(10.0)
    table.urge(10.8)
    assert table.wait(10.8, UNIX) == pytest.approx(0.2)
    assert table.wait(11.0, UNIX) == 0


def test_no_more_than_one_write_in_five_seconds() -> None:
    """Something urgent right after a write waits; what is urged during a write is not in it."""
    table = Timetable("n1", 300)
    table.urge(10.0)
    table.begin()
    table.urge(11.2)
    table.wrote(11.5, UNIX)
    assert table.wait(12.5, UNIX) == pytest.approx(4.0)
    assert table.wait(16.5, UNIX) == 0


def test_failures_wait_longer_and_longer() -> None:
    """5, 10, 20, 40, 60, 60 seconds, spread by half to either side; a success begins anew."""
    table, now, pauses = Timetable("n1", 300), 100.0, []
    for _ in range(6):
        table.begin()
        table.failed(now, 0.5)
        pauses.append(table.wait(now, UNIX))
        now += pauses[-1]
    assert pauses == [5, 10, 20, 40, 60, 60]
    table.begin()
    table.wrote(now, UNIX)
    table.urge(now)
    assert table.wait(now, UNIX) == pytest.approx(5)
    table.begin()
    table.failed(now, 0.0)
    assert table.wait(now, UNIX) == pytest.approx(2.5)


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    """The Unix time only says where in the period we are."""
    table = Timetable("n1", 300)
    table.begin()
    table.wrote(0.0, UNIX)
    assert table.wait(301.0 + 5.0, UNIX - 86_400) == 0
