"""A plain-HTTP listener before the TLS API server that counts writes, and at a chosen one strikes.

A crash between any two writes, and between a write and its answer, is all that a crash can be for a process that keeps its state in
the API: so every crash point is a number and a side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from controlplane.local import ControlPlane
from tests.sockets import sockets_closed

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


@dataclass(slots=True)
class Strike:
    """At the `number`-th write from now (1 = the next), before it is forwarded or after it was answered, `act` is called once.

    Whoever sent it gets no answer, but for `beside`: then it is forwarded once `act` is done.
    """

    number: int
    side: Literal["before", "after", "beside"]
    act: Callable[[], None]


class Proxy:
    """Use as a context manager; `url` is where it listens. Leases, Events and dry runs are no writes: they decide nothing that lasts."""

    def __init__(self, plane: ControlPlane) -> None:
        self.writes: list[str] = []  # "PATCH /apis/…", in the order of arrival
        self.struck = threading.Event()
        self.silent = ""  # watches of this path stay open and get nothing more, no bookmark either
        self.url = ""
        self._upstream, self._certificate = plane.url, plane.certificate
        self._strike: Strike | None = None
        self._base = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._session: ClientSession | None = None

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10), "the proxy does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the proxy does not end"

    def arm(self, strike: Strike | None) -> None:
        """Sets the next strike, counted from here."""
        self.struck.clear()
        self._base, self._strike = len(self.writes), strike

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.create_default_context(cafile=str(self._certificate))
        timeout = ClientTimeout(total=None, sock_connect=5)
        async with ClientSession(connector=TCPConnector(ssl=context, limit=0), timeout=timeout, auto_decompress=False) as self._session:
            application = web.Application(client_max_size=1 << 26)
            application.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()
            await self._end.wait()
            await runner.cleanup()
        await sockets_closed()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        body = await request.read()
        strike = self._count(request)
        if strike is not None and strike.side == "before":
            self._hit(strike)
            raise web.HTTPBadGateway
        if strike is not None and strike.side == "beside":
            await asyncio.to_thread(self._hit, strike)
            strike = None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        try:
            return await self._upstream_answers(request, headers, body, strike)
        except ClientError:  # the API server is away, or went: so are we
            assert request.transport is not None
            request.transport.abort()
            raise web.HTTPBadGateway from None

    async def _upstream_answers(
        self, request: web.Request, headers: dict[str, str], body: bytes, strike: Strike | None
    ) -> web.StreamResponse:
        assert self._session is not None
        async with self._session.request(
            request.method, self._upstream + request.raw_path, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            if strike is not None:
                await answer.read()
                self._hit(strike)
                raise web.HTTPBadGateway
            reply = web.StreamResponse(
                status=answer.status, headers={k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            )
            with contextlib.suppress(ConnectionError):  # whoever asked is dead
                await reply.prepare(request)
                async for chunk in answer.content.iter_any():
                    if not self._silences(request):
                        await reply.write(chunk)
                while self._silences(request) and request.transport is not None:  # noqa: ASYNC110 - nor is it told that the stream has ended
                    await asyncio.sleep(0.05)
                await reply.write_eof()
            return reply

    def _silences(self, request: web.Request) -> bool:
        return bool(self.silent) and request.path.endswith(self.silent) and "watch" in request.query

    def _count(self, request: web.Request) -> Strike | None:
        """Notes a write; the strike that is due at it."""
        idle = request.path.endswith(("/leases", "/events")) or "/leases/" in request.path
        if request.method == "GET" or "dryRun" in request.query or idle:
            return None
        self.writes.append(f"{request.method} {request.path}")
        strike = self._strike
        if strike is None or len(self.writes) - self._base != strike.number:
            return None
        self._strike = None
        return strike

    def _hit(self, strike: Strike) -> None:
        strike.act()
        self.struck.set()
