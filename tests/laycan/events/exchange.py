"""An exchange that can fail: the demo's receiver behind a list of faults, each of which takes one request."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from demo.receiver import Ledger, application

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

Fault = Callable[[web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Arrival:
    """A request as it came in, whatever became of it. `at` in the event loop's seconds."""

    at: float
    id: str
    body: bytes
    headers: dict[str, str]

    @property
    def index(self) -> int:
        """Its place in the log; -1 of a checkpoint."""
        return int(self.headers.get("laycan-log-index", -1))


@dataclass
class Exchange:
    """The demo's receiver behind a list of faults: each takes one request, then requests pass. `says` makes the body of an answer."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: list[Fault] = field(default_factory=list)
    says: Callable[[Arrival], dict[str, Any] | None] = lambda arrival: None
    arrivals: list[Arrival] = field(default_factory=list)
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
    def events(self) -> list[Arrival]:
        """What arrived but checkpoints."""
        return [arrival for arrival in self.arrivals if arrival.index >= 0]

    @property
    def checkpoints(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.index < 0]

    @property
    def _middleware(self) -> Any:
        @web.middleware
        async def faulty(request: web.Request, handler: Any) -> web.StreamResponse:
            body = await request.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            arrival = Arrival(asyncio.get_running_loop().time(), request.headers["webhook-id"], body, headers)
            self.arrivals.append(arrival)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            try:
                answer: web.StreamResponse = await (self.faults.pop(0)(request, handler) if self.faults else handler(request))
            finally:
                self.busy -= 1
            said = self.says(arrival) if answer.status == 204 else None
            return answer if said is None else web.Response(text=json.dumps(said), content_type="application/json")

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


async def break_body(request: web.Request, handler: Any) -> web.StreamResponse:
    """Takes the event and says so, then the connection breaks in the middle of the answer's body."""
    await handler(request)
    response = web.StreamResponse(headers={"content-length": "1000"})
    await response.prepare(request)
    await response.write(b'{"have"')
    assert request.transport is not None
    request.transport.close()
    return response


async def slow(request: web.Request, handler: Any) -> web.StreamResponse:
    await asyncio.sleep(0.05)
    return await handler(request)  # type: ignore[no-any-return]
