"""An event loop whose time leaps: where nothing is to be read and nobody is at work, it goes on to the next timer at once.

Hours of retries pass in seconds, with real connections and real files; `unix` is the clock that goes with it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from datetime import datetime, tzinfo
from typing import Any

QUIET_SECONDS = 0.001  # of real time without any news; connections within the process need less


class _Leaping(selectors.DefaultSelector):
    leapt = 0.0  # seconds
    at_work = 0  # other threads

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(timeout if timeout is None else min(timeout, QUIET_SECONDS))
        if not found and not self.at_work and timeout is not None and timeout > QUIET_SECONDS:
            self.leapt += timeout - QUIET_SECONDS
        return found


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return super().time() + self._leaping.leapt

    def unix(self) -> int:
        return int(time.time() + self._leaping.leapt)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        self._leaping.at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._rest)
        return future

    def _rest(self, future: object) -> None:
        self._leaping.at_work -= 1


def datetime_by(clock: Callable[[], float]) -> type[datetime]:
    """For a receiver of a stock library, which compares timestamps with its own clock: `clock` gives Unix seconds."""

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(clock(), tz)

    return Datetime


def leap(work: Coroutine[Any, Any, None]) -> None:
    """Runs it on such a loop."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(work)


def unix() -> int:
    """Now, by the running loop if there is one."""
    loop = asyncio._get_running_loop()
    return loop.unix() if isinstance(loop, LeapingLoop) else int(time.time())


LeapingDatetime = datetime_by(unix)
