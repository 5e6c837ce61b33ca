"""A thread for calls that may never return."""

from __future__ import annotations

import asyncio
import threading

import pytest

from controlplane.waiting import until
from laycan.agent.worker import HangingError, Worker


def test_results_and_errors_come_back() -> None:
    """As if the function had been called here, one call after the other in one thread."""
    threads: list[int] = []

    def works() -> int:
        threads.append(threading.get_ident())
        return 7

    def fails() -> None:
        threads.append(threading.get_ident())
        raise ValueError("no")

    async def go() -> None:
        worker = Worker("test")
        assert await worker.call(works, 10) == 7
        with pytest.raises(ValueError, match="no"):
            await worker.call(fails, 10)

    asyncio.run(go())
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_one_that_hangs() -> None:
    """The caller is told at the deadline, and at once where an earlier call still hangs; when that returned, calls go on."""
    release, made = threading.Event(), list[str]()

    async def go() -> None:
        worker = Worker("test")
        with pytest.raises(HangingError):
            await worker.call(lambda: release.wait(20), 0.05)
        with pytest.raises(HangingError):
            await worker.call(lambda: made.append("too early"), 20)
        release.set()
        await asyncio.to_thread(until, "it has returned", lambda: worker.ended > worker.begun)
        await worker.call(lambda: made.append("later"), 20)

    asyncio.run(go())
    assert made == ["later"]


def test_one_that_returns_after_the_loop_has_ended() -> None:
    """Harms nobody."""
    release = threading.Event()
    worker = Worker("test")

    async def go() -> None:
        with pytest.raises(HangingError):
            await worker.call(lambda: release.wait(20), 0.05)

    asyncio.run(go())
    release.set()
    worker._thread.join(20)
    assert not worker._thread.is_alive()
