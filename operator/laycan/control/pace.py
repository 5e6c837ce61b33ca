"""How many writes may be under way: more while they are quick, half as many when the API server is slow.

More in flight than the server can take only queues: 16 give twice the rate of one with a p99 of 0.4 s, 64 give less with 2 s.
Additive increase, multiplicative decrease, as TCP does it.
"""

from __future__ import annotations

LEAST, FIRST, MOST = 2, 8, 16
QUICK_SECONDS, SLOW_SECONDS = 0.3, 2.0


class Pace:
    def __init__(self) -> None:
        self.limit = FIRST
        self._quick = 0  # quick answers since the limit last changed

    def answered(self, seconds: float) -> None:
        """An answer took so long, retries after 429 included."""
        if seconds >= SLOW_SECONDS:
            self.limit, self._quick = max(LEAST, self.limit // 2), 0
        elif seconds <= QUICK_SECONDS:
            self._quick += 1
            if self._quick >= self.limit:
                self.limit, self._quick = min(MOST, self.limit + 1), 0
