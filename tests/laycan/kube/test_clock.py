"""What a `Date` says of our clock: no false alarm, and none missed beyond two seconds and a round trip."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.kube.clock import FRESH_SECONDS, Clock, Dated, kernel_synchronized, lead, offset_milliseconds

NOW = 1_800_000_000.0


def answer(at: float, ahead: float, trip: float = 0.02, stamped: float = 0.5) -> Dated:
    """An answer that came at `at` by our clock, which is `ahead` of the server's; stamped at that share of the round trip."""
    return at - trip, at, formatdate(int(at - trip * (1 - stamped) - ahead), usegmt=True)


def clock(synchronized: bool | None = True, at: float = NOW) -> Clock:
    return Clock(1000, lambda: at, lambda: synchronized)


@given(st.floats(0, 1), st.floats(-100, 100), st.floats(0, 20), st.floats(0, 1))
def test_one_answer_holds_the_truth(fraction: float, ahead: float, trip: float, stamped: float) -> None:
    """Whatever the second, the offset, the round trip and where in it the server wrote its `Date`: the offset lies between the bounds."""
    span = lead(answer(NOW + fraction, ahead, trip, stamped))
    assert span is not None
    assert span[0] - 1e-6 <= ahead <= span[1] + 1e-6
    middle = offset_milliseconds(*answer(NOW + fraction, ahead, trip, stamped))
    assert middle is not None
    assert abs(middle / 1000 - ahead) <= 0.502 + trip / 2


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 20), st.floats(0, 1)), min_size=1, max_size=16), st.floats(-1, 1))
def test_no_false_alarm(answers: list[tuple[float, float, float]], ahead: float) -> None:
    """A clock within a second is never found wrong, however slow the server is."""
    mine = clock()
    for fraction, trip, stamped in answers:
        mine.heard("s", answer(NOW + fraction, ahead, trip, stamped))
    assert mine.trouble("s") == ""


@pytest.mark.parametrize("ahead", [30.0, -30.0, 2.1, -2.1, 86_400.0])
def test_wrong_at_the_first_answer(ahead: float) -> None:
    """Beyond two seconds one answer is enough, and the words say which way and how much at least."""
    mine = clock()
    mine.heard("the API server", answer(NOW, ahead))
    offset = mine.offset_milliseconds("the API server")
    assert offset is not None
    assert 1000 < abs(offset) <= abs(ahead) * 1000 + 1
    assert f"the API server's by {offset / 1000:+.1f} s, more than 1 s" in mine.trouble("the API server")


def test_several_answers_narrow_it_down() -> None:
    """A second and a half is found by answers at different parts of a second."""
    mine = clock()
    for i in range(10):
        mine.heard("s", answer(NOW + i / 10, 1.5))
    assert 1300 < (mine.offset_milliseconds("s") or 0) <= 1500


def test_a_clock_that_was_set() -> None:
    """After the clock was put right, what was heard before counts no more."""
    mine = clock()
    for i in range(3):
        mine.heard("s", answer(NOW + 30 + i, 30))
    assert mine.trouble("s")
    mine.heard("s", answer(NOW + 4, 0))
    assert mine.trouble("s") == ""


def test_old_answers() -> None:
    """What was heard long ago says nothing; then the kernel's word counts, and without it nobody vouches for the clock."""
    at = NOW + FRESH_SECONDS + 1
    for synchronized, trusted in ((True, True), (False, False), (None, False)):
        mine = clock(synchronized, at)
        mine.heard("s", answer(NOW, 30))
        assert mine.trouble("s") == ""
        assert (mine.blind("s") == "") == trusted
    fresh = clock(False)
    fresh.heard("s", answer(NOW, 0))
    assert fresh.blind("s") == ""


@pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Foo 2027 00:00:00 GMT"])
def test_a_date_that_is_none(date: str) -> None:
    """It is as if nothing had been heard."""
    mine = clock()
    mine.heard("s", (NOW, NOW, date))
    mine.heard("s", None)
    assert mine.offset_milliseconds("s") is None


def test_kernel() -> None:
    """The kernel is asked without changing anything; whatever it says is an answer."""
    assert kernel_synchronized() in (True, False, None)
