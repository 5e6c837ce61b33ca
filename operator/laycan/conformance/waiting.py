"""Waiting for what must come, and watching for what must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.05


class NeverError(Exception):
    """What was waited for did not come in its time."""


async def until(what: str, holds: Callable[[], Awaitable[T]], seconds: float = 60.0) -> T:
    """Asks again and again until the answer is true, and returns it. Raises NeverError."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        if answer := await holds():
            return answer
        if loop.time() > end:
            raise NeverError(f"after {seconds:.0f} s still not: {what}")
        await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def beside(work: Callable[[], Awaitable[Any]]) -> AsyncIterator[None]:
    """Repeats the work beside the block until that ends; an error of the work is the block's."""

    async def forever() -> None:
        while True:
            await work()
            await asyncio.sleep(0)

    task = asyncio.create_task(forever())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
