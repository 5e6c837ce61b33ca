"""An exchange that can fail: the demo's receiver behind a list of faults, each of which takes one request."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from demo.receiver import Ledger, application

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

Fault = Callable[[web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[web.StreamResponse]]


@dataclass
class Exchange:
    """The demo's receiver behind a list of faults: each takes one request, then requests pass."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: list[Fault] = field(default_factory=list)
    arrivals: list[tuple[float, str, bytes, dict[str, str]]] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    url: str = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        app = application(SECRET, self.ledger)
        app.middlewares.append(self._middleware)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        try:
            yield self
        finally:
            await runner.cleanup()

    @property
    def _middleware(self) -> Any:
        @web.middleware
        async def faulty(request: web.Request, handler: Any) -> web.StreamResponse:
            body = await request.read()
            self.arrivals.append((time.monotonic(), request.headers["webhook-id"], body, dict(request.headers)))
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            try:
                return await (self.faults.pop(0)(request, handler) if self.faults else handler(request))
            finally:
                self.busy -= 1

        return faulty


def answer(status: int, **headers: str) -> Fault:
    async def fault(request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return fault


async def hang(request: web.Request, handler: Any) -> web.StreamResponse:
    """Neither takes the event nor answers."""
    await asyncio.sleep(30)
    return web.Response()


async def lose_reply(request: web.Request, handler: Any) -> web.StreamResponse:
    """Takes the event, then the connection breaks before the answer."""
    await handler(request)
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def slow(request: web.Request, handler: Any) -> web.StreamResponse:
    await asyncio.sleep(0.05)
    return await handler(request)  # type: ignore[no-any-return]
