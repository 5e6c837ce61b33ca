"""Shares of 300-second stretches under slowdown."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from laycan.agent.slowdown import Slowdown, Stretch
from laycan.resources.signals import SLOWDOWN_SECONDS
from tests.laycan.agent.cards import NOON, at, begun, card, node, told

SECOND = 1_000_000_000


@given(st.integers(0, 299), st.lists(st.tuples(st.integers(0, 1200), st.integers(0, SECOND)), max_size=20))
def test_beside_each_second_for_itself(offset: int, gains: list[tuple[int, int]]) -> None:
    """Each stretch is told with the share of its seconds, up to whole per cent; below one nothing is told of it; none is told twice."""
    slowdown, now = Slowdown(NOON + offset), NOON + offset
    slow: dict[int, int] = {}  # second -> nanoseconds of it
    found: list[Stretch] = []
    for wait, rate in gains:
        slow |= dict.fromkeys(range(now, now + wait), rate)
        found += slowdown.add(now, now + wait, rate * wait)
        now += wait
    tiles = {(start, start + SLOWDOWN_SECONDS): sum(slow.get(each, 0) for each in range(start, start + SLOWDOWN_SECONDS))
             for start in range(NOON, now - SLOWDOWN_SECONDS + 1, SLOWDOWN_SECONDS)}  # fmt: skip
    wanted = {start: _rounded_up(total) for (start, _), total in tiles.items() if total >= 3 * SECOND}
    said = {start - start % 300: ppm for begin, end, ppm in found for start in range(begin, end, SLOWDOWN_SECONDS)}
    assert said == wanted
    assert all(begin >= NOON + offset and end <= now for begin, end, _ in found)


def _rounded_up(nanoseconds: int) -> int:
    share = Fraction(nanoseconds, SLOWDOWN_SECONDS * SECOND) * 100
    return -(-share.numerator // share.denominator) * 10_000


def test_a_counter_of_two_reasons() -> None:
    """Thermal and power brake at once count twice in NVML's sum: no share is over one."""
    assert Slowdown(NOON).add(NOON, NOON + 300, 450 * SECOND) == [Stretch(NOON, NOON + 300, 1_000_000)]


class TestFindings:
    def test_as_bad_as_before(self) -> None:
        """Stretches that are equally slow and follow each other are one finding, those that differ are two; one in between that is not
        slow parts them. None is told at once: the next report says it."""
        account = begun(card(slowdown_nanoseconds=0))
        total = 0
        for number, gain in enumerate((30, 30, 60, 2, 60)):
            total += gain * SECOND
            seconds = 300 * (number + 1)
            account.at = NOON + seconds - 10  # as if it had been sampled meanwhile
            assert not account.take(node(card(slowdown_nanoseconds=total)), at(seconds))
        spans = [(start, end, value) for _, _, value, _, start, end in told(account, "Slowdown")]
        assert spans == [(0, 600, 100_000), (600, 900, 200_000), (1200, 1500, 200_000)]
        assert account.gpus["GPU-0"].registers.slowdown_milliseconds == 182_000
