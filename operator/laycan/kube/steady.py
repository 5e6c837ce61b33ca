"""The clock by which the operator decides: this machine's, but for a step that the API server's clock does not confirm.

Nothing that is decided can be taken back: at a time that is a month ahead every contract is over, and what is metered by then is said.
So a machine's clock that is set while the operator runs is not believed at once. Time goes on from where it was; it is the machine's
again as soon as an answer of the API server agrees with that. Corrections of less than `STEP_SECONDS` are followed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from laycan.kube.clock import Dated, lead

log = logging.getLogger(__name__)

STEP_SECONDS = 30


class ClockError(Exception):
    """This machine's clock and the API server's are far apart, and none of them is known to be right."""


def since_boot() -> float:
    """Seconds that no one sets, with those in which the machine slept, where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SteadyClock:
    """Call it for Unix seconds."""

    def __init__(self, machine: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot) -> None:
        self._machine, self._steady = machine, steady
        self._ahead = machine() - steady()  # of the steady seconds
        self._stepped = False

    def __call__(self) -> int:
        return int(self._now())

    def _now(self) -> float:
        machine, steady = self._machine(), self._steady()
        if abs(machine - steady - self._ahead) <= STEP_SECONDS:
            self._ahead, self._stepped = machine - steady, False
        elif not self._stepped:
            self._stepped = True
            step = machine - steady - self._ahead
            log.error("ALARM this machine's clock was set by %+.0f s, which is not believed before the API server agrees", step)
        return steady + self._ahead

    def begin(self, answer: Dated | None) -> None:
        """To be told of an answer of the API server before anything is decided; raises ClockError where the two do not agree at all."""
        span = lead(answer) if answer is not None else None
        if answer is not None and span is not None and (span[0] > STEP_SECONDS or span[1] < -STEP_SECONDS):
            raise ClockError(f"nothing is decided: this machine says {time.ctime(answer[1])}, and the API server says {answer[2]}")
        self.heard(answer)

    def heard(self, answer: Dated | None) -> None:
        """To be told of its latest answer: where that agrees with the machine's clock, it is believed again."""
        span = lead(answer) if answer is not None else None
        if answer is None or span is None or abs(self._machine() - answer[1]) > STEP_SECONDS or span[1] - span[0] > STEP_SECONDS:
            return  # it is old, or the clock was set while it was under way
        if span[0] <= STEP_SECONDS and span[1] >= -STEP_SECONDS:
            self._ahead = self._machine() - self._steady()
