"""An HTTP server that answers as a test tells it: for what a healthy API server does not do on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from laycan.kube.client import Client
from laycan.kube.credentials import Credentials

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Scripted:
    """`answers` are used up one request after the other; the last one stays."""

    answers: list[Answer]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # (verb and path, query)
    bodies: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((f"{request.method} {request.path}", dict(request.query)))
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


@asynccontextmanager
async def serving(handle: Answer) -> AsyncIterator[Client]:
    """A client of a server that answers by `handle`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    credentials = Credentials(f"http://127.0.0.1:{runner.addresses[0][1]}", None, lambda: "Bearer t0ken")
    try:
        async with Client(credentials, timeout_seconds=2.0) as client:
            yield client
    finally:
        await runner.cleanup()


def says(status: int, body: Any, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def refuses(status: int, reason: str, **headers: str) -> Answer:
    return says(status, {"kind": "Status", "reason": reason, "message": f"{reason} it is"}, **headers)


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def streams(*events: Any, stay: bool = False) -> Answer:
    """A watch of these events, which then ends or stays open without a word."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if stay:
            await asyncio.Event().wait()
        return response

    return answer
