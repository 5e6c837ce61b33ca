"""The agent's two ports: /healthz for the kubelet, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from laycan.agent.metrics import CONTENT_TYPE


@asynccontextmanager
async def serving(port: int, metrics_port: int, troubles: Callable[[], list[str]], metrics: Callable[[], bytes]) -> AsyncIterator[None]:
    """Serves until the block ends; a port of 0 is not served."""

    async def health(_: web.Request) -> web.Response:
        found = troubles()
        return web.Response(status=503 if found else 200, text="; ".join(found) or "alive")

    async def read(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE})

    runners = []
    for where, path, answer in ((port, "/healthz", health), (metrics_port, "/metrics", read)):
        if where:
            app = web.Application()
            app.router.add_get(path, answer)
            runners.append((where, web.AppRunner(app, access_log=None)))
    try:
        for where, runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", where).start()  # noqa: S104 - a pod's port
        yield
    finally:
        for _, runner in runners:
            await runner.cleanup()
