"""A thread for calls that may never return.

A call into a hanging driver cannot be ended, only left alone: whoever waits for it gives up at a deadline, and until it returns no other
is made. The thread is a daemon: it does not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Call = tuple[Callable[[], Any], asyncio.Future[Any]]


class HangingError(Exception):
    """The call, or the one before it, has not returned yet."""


class Worker:
    """`ended` is when the latest call returned, `begun` when it was made (monotonic seconds)."""

    def __init__(self, name: str) -> None:
        self.begun = self.ended = time.monotonic()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._busy = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def call(self, function: Callable[[], T], seconds: float) -> T:
        """Its result, or what it raised. Raises HangingError if that takes longer; what comes later is dropped."""
        if self._busy:
            raise HangingError
        if not self._thread.is_alive():
            self._thread.start()
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._busy, self.begun = True, time.monotonic()
        self._calls.put((function, result))
        try:
            return await asyncio.wait_for(result, seconds)
        except TimeoutError:
            raise HangingError from None

    def _work(self) -> None:
        while True:
            function, result = self._calls.get()
            try:
                outcome: Any = function()
                error: BaseException | None = None
            except BaseException as raised:  # whoever waits gets it
                outcome, error = None, raised
            self.ended, self._busy = time.monotonic(), False
            try:
                result.get_loop().call_soon_threadsafe(_settle, result, outcome, error)
            except RuntimeError:  # the loop has ended
                return


def _settle(result: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if result.done():
        return
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(outcome)
