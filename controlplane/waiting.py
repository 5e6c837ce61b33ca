"""Waiting for a condition of the world outside, with a deadline: never a sleep for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, probe: Callable[[], T], *, seconds: float = 90, pause: float = 0.05) -> T:
    """Calls `probe` until it returns something true, and returns that. Raises TimeoutError, which names `what` and the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}; last answer: {answer!r}")
        time.sleep(pause)
    return answer
