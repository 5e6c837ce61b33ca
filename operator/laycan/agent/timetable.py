"""When an agent writes its meter: now and then, and at once when something must be told. Pure; times are seconds.

The regular reports of 12,500 agents are spread over the period by a hash of the node's name, so that they do not come together.
"""

from __future__ import annotations

import hashlib

DEBOUNCE_SECONDS = 1.0  # what comes together is told together
LEAST_SECONDS = 5.0  # between two writes of a node
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0  # after a write that failed


class Timetable:
    """`now` is monotonic; `clock`, the Unix time, only says where in the period we are."""

    def __init__(self, node: str, report_seconds: int) -> None:
        self._period = report_seconds
        self._phase = int.from_bytes(hashlib.sha256(node.encode()).digest()[:8]) % (report_seconds * 1000) / 1000
        self._urged: float | None = None  # since when something waits to be told
        self._regular: float | None = None
        self._not_before = 0.0
        self._failures = 0

    def urge(self, now: float) -> None:
        """Something must be told at once."""
        if self._urged is None:
            self._urged = now

    def wait(self, now: float, clock: float) -> float:
        """Seconds until the next write; 0: it is due."""
        if self._regular is None:
            self._regular = now + self._to_phase(clock)
        due = self._regular if self._urged is None else min(self._regular, self._urged + DEBOUNCE_SECONDS)
        return max(0.0, max(due, self._not_before) - now)

    def begin(self) -> None:
        """A write begins: what is urged from now on is not in it."""
        self._urged = None

    def wrote(self, now: float, clock: float) -> None:
        """It succeeded."""
        turn = self._to_phase(clock)
        self._failures, self._not_before = 0, now + LEAST_SECONDS
        self._regular = now + (turn if turn >= LEAST_SECONDS else turn + self._period)  # one that comes so soon was this one

    def failed(self, now: float, jitter: float) -> None:
        """It did not, and is tried again after a pause that doubles; `jitter` in [0, 1) spreads those who failed together."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._failures)
        self._failures, self._not_before = min(self._failures + 1, 16), now + pause * (0.5 + jitter)
        self.urge(now)

    def _to_phase(self, clock: float) -> float:
        """Seconds until the node's next turn."""
        return self._period - (clock - self._phase) % self._period
