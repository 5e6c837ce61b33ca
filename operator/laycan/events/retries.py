"""When a failed attempt is repeated, and when an event must no longer hold up those behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

DELAYS = (0.0, 1.0, 5.0, 30.0, 120.0, 300.0, 900.0, 1800.0, 3600.0)  # seconds before each retry; the last one for ever
JITTER = 0.2
PARK_SECONDS = 3600
LONGEST_RETRY_AFTER = 86_400.0
_RETRIED_4XX = frozenset({408, 409, 425, 429})


class Verdict(Enum):
    ACK = "ack"
    RETRY = "retry"  # the receiver is away or busy: keep the order and come back
    REFUSED = "refused"  # the receiver does not want this event; parked after a while
    GONE = "gone"  # the receiver wants nothing any more


def judge(status: int) -> Verdict:
    """What an HTTP status means for an event. Redirects are failures: the endpoint says where it is, not whoever answers there."""
    if 200 <= status < 300:
        return Verdict.ACK
    if status == 410:
        return Verdict.GONE
    if 400 <= status < 500 and status not in _RETRIED_4XX:
        return Verdict.REFUSED
    return Verdict.RETRY


def retry_after(value: str | None, now: int) -> float:
    """Seconds that a Retry-After header asks for (a number or a date), 0 without one or with nonsense."""
    if not value:
        return 0.0
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


@dataclass(slots=True)
class Attempts:
    """The failures of one event so far, in memory only: a restarted sender begins anew and loses nothing."""

    failures: int = 0
    refused_since: float | None = None  # the caller's clock, seconds
    not_before: float = 0.0
    parked: bool = False  # refused for so long that those behind it go on

    def failed(self, verdict: Verdict, at: float, asked: float, jitter: Callable[[float, float], float]) -> None:
        """Notes a failure at `at` and sets the next attempt: `asked` is what Retry-After said."""
        delay = max(DELAYS[min(self.failures, len(DELAYS) - 1)] * jitter(1 - JITTER, 1 + JITTER), asked)
        self.failures += 1
        self.not_before, self.parked = at + delay, False
        if verdict is Verdict.REFUSED:
            self.refused_since = at if self.refused_since is None else self.refused_since
            parks_at = self.refused_since + PARK_SECONDS
            self.parked = at >= parks_at
            self.not_before = self.not_before if self.parked else min(self.not_before, parks_at)
