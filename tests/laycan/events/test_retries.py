"""The retry schedule, what a status code means, and Retry-After."""

from __future__ import annotations

import pytest

from laycan.events.retries import DELAYS, PARK_SECONDS, Attempts, Verdict, judge, retry_after

NOW = 1_798_000_000


def steady(low: float, high: float) -> float:
    return (low + high) / 2


def test_schedule() -> None:
    """0, 1, 5, 30 s, 2, 5, 15, 30 min, then hourly for ever."""
    attempts, at, gaps = Attempts(), 0.0, []
    for _ in range(11):
        attempts.failed(Verdict.RETRY, at, 0.0, steady)
        gaps.append(attempts.not_before - at)
        at = attempts.not_before
    assert gaps == [0, 1, 5, 30, 120, 300, 900, 1800, 3600, 3600, 3600]
    assert not attempts.parked


def test_jitter_is_twenty_percent() -> None:
    """The random source is asked for a factor between 0.8 and 1.2."""
    asked = []

    def record(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    attempts = Attempts(failures=3)
    attempts.failed(Verdict.RETRY, 0.0, 0.0, record)
    assert asked == [(0.8, 1.2)]
    assert attempts.not_before == pytest.approx(DELAYS[3] * 1.2)


def test_retry_after_is_obeyed() -> None:
    """A longer Retry-After wins over the schedule, a shorter one does not."""
    attempts = Attempts()
    attempts.failed(Verdict.RETRY, 10.0, 120.0, steady)
    assert attempts.not_before == 130.0
    attempts = Attempts(failures=4)
    attempts.failed(Verdict.RETRY, 10.0, 5.0, steady)
    assert attempts.not_before == 130.0


def test_refused_events_are_parked_after_an_hour() -> None:
    """A 4xx is tried for an hour before those behind it may pass; an absent receiver never lets them pass."""
    attempts = Attempts()
    attempts.failed(Verdict.REFUSED, 100.0, 0.0, steady)
    attempts.failed(Verdict.REFUSED, 100.0 + PARK_SECONDS - 1, 0.0, steady)
    assert not attempts.parked
    attempts.failed(Verdict.REFUSED, 100.0 + PARK_SECONDS, 0.0, steady)
    assert attempts.parked
    attempts.failed(Verdict.RETRY, 100.0 + 2 * PARK_SECONDS, 0.0, steady)
    assert not attempts.parked


def test_the_hour_is_one_of_refusals() -> None:
    """It begins with the first refusal, not with an outage before; and an attempt is made when it is over, not an hour later."""
    attempts = Attempts()
    for at in (0.0, 5000.0, 10_000.0):
        attempts.failed(Verdict.RETRY, at, 0.0, steady)
    at = 20_000.0
    for _ in range(20):
        attempts.failed(Verdict.REFUSED, at, 0.0, steady)
        if attempts.parked:
            break
        at = attempts.not_before
    assert at == 20_000.0 + PARK_SECONDS


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "ACK"), (204, "ACK"), (299, "ACK")]
    + [(s, "RETRY") for s in (301, 302, 308, 408, 409, 425, 429, 500, 502, 503, 504, 599)]
    + [(s, "REFUSED") for s in (400, 401, 403, 404, 413, 422)]
    + [(410, "GONE")],
)
def test_status_codes(status: int, verdict: str) -> None:
    assert judge(status) is Verdict[verdict]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        ("Wed, 23 Dec 2026 04:28:40 GMT", 120),
        ("Wed, 23 Dec 2026 04:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("99999999", 86_400),
    ],
)
def test_retry_after_forms(value: str | None, seconds: float) -> None:
    """Seconds or a date, never negative, never more than a day, nonsense is nothing."""
    assert retry_after(value, NOW) == seconds
