"""Event loops that leave no socket behind: one that is collected later fails whatever test happens to run then."""

from __future__ import annotations

import asyncio
import time

BOUND = 40.0  # seconds; asyncio itself gives a TLS connection 30 to say goodbye, then cuts it


async def sockets_closed() -> None:
    """TLS connections take a moment to say goodbye after their session is closed, more on a busy machine; a loop that ends before
    leaks them."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    end = time.monotonic() + BOUND
    while len(selector.get_map()) > 1 and time.monotonic() < end:  # noqa: ASYNC110 - one is the loop's own; no event tells
        await asyncio.sleep(0.01)
