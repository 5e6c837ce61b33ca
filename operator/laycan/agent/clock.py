"""How the node's clock stands: what the kernel says, and what the API server's `Date` says."""

from __future__ import annotations

import ctypes
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

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
    """Our lead over the server, from Unix seconds of ours and its `Date`; None without one. Good to half a second and half the round trip.

    A `Date` has whole seconds, rounded down: in the mean it is half a second old when it is written.
    """
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    theirs = told.replace(tzinfo=told.tzinfo or UTC).timestamp() + 0.5
    return round(((sent + received) / 2 - theirs) * 1000)
