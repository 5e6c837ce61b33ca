"""How this machine's clock stands: what the kernel says, and what the `Date` of servers says.

A `Date` has whole seconds, and an answer takes its time, so one of them only says between what the offset must lie. Several narrow it
down; a clock counts as wrong only where all of them leave no doubt.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

Dated = tuple[float, float, str]  # an answer: Unix seconds of ours when it was asked for and when it came, and its `Date`
FRESH_SECONDS = 600  # how long an answer tells anything about the clock
_ANSWERS = 16  # kept of each server

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_TIMEX_BYTES = 256  # struct timex is 208 on 64 bit


class ClockReading(NamedTuple):
    synchronized: bool | None  # None: the kernel does not tell
    offset_milliseconds: int  # ahead of the API server


def kernel_synchronized() -> bool | None:
    """Whether the kernel takes its clock for synchronized. Nothing is changed: `modes` of the structure is 0."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):  # no Linux, or none with this call
        return None
    return None if state < 0 else bool(state != _TIME_ERROR)


def offset_milliseconds(sent: float, received: float, date: str) -> int | None:
    """Our lead over the server at one answer (see `Dated`), None without a `Date`. Good to half a second and half the round trip."""
    span = lead((sent, received, date))
    return None if span is None else round((span[0] + span[1]) * 500)


def lead(answer: Dated) -> tuple[float, float] | None:
    """Between which seconds our lead over the server lies; None where its `Date` is none. The server rounds down when it writes it."""
    sent, received, date = answer
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    theirs = told.replace(tzinfo=told.tzinfo or UTC).timestamp()
    return sent - theirs - 1, received - theirs


class Clock:
    """Ours, beside the clocks of the servers that answer us: `heard` after each answer, `trouble` tells what is off beyond the bound."""

    def __init__(
        self, bound_milliseconds: int, now: Callable[[], float], synchronized: Callable[[], bool | None] = kernel_synchronized
    ) -> None:
        self._bound, self._now, self._synchronized = bound_milliseconds, now, synchronized
        self._spans: dict[str, deque[tuple[float, float, float]]] = {}  # server -> (when, lead at least, at most) of each answer

    def heard(self, server: str, answer: Dated | None) -> None:
        """`server` in words, as `trouble` names it."""
        if answer is not None and (span := lead(answer)) is not None:
            self._spans.setdefault(server, deque(maxlen=_ANSWERS)).append((answer[1], *span))

    def offset_milliseconds(self, server: str) -> int | None:
        """By how much we are ahead of it at least (behind, below 0); 0 where we may be equal, None where it was not heard lately."""
        now, low, high = self._now(), float("-inf"), float("inf")
        for at, least, most in reversed(self._spans.get(server, ())):
            if abs(now - at) > FRESH_SECONDS:
                continue
            if least > high or most < low:
                break  # before this one a clock was set
            low, high = max(low, least), min(high, most)
        return None if low == float("-inf") else round(1000 * (low if low > 0 else min(high, 0)))

    def trouble(self, server: str) -> str:
        """Why our clock and the server's are not to be trusted together, "" where nothing is known against them."""
        offset = self.offset_milliseconds(server)
        return "" if offset is None else self.beyond(offset, f"the operator's clock is off {server}'s")

    def beyond(self, offset: int, whose: str) -> str:
        """The words for an offset in milliseconds that is beyond the bound, "" for one within."""
        if abs(offset) <= self._bound:
            return ""
        return f"{whose} by {offset / 1000:+.1f} s, more than {self._bound / 1000:g} s"

    def blind(self, server: str) -> str:
        """Whether nobody vouches for our clock: the server was not heard lately, and the kernel does not say that it is synchronized."""
        if self.offset_milliseconds(server) is not None or self._synchronized():
            return ""
        return f"nobody vouches for the operator's clock: {server} was not heard for {FRESH_SECONDS} s, and the kernel is not synchronized"
