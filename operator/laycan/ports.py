"""The two ports of a process: probes for the kubelet, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.Response]]
Probe = Callable[[], list[str]]  # what is wrong; nothing: 200


@asynccontextmanager
async def serving(
    port: int, probes: Mapping[str, Probe], metrics_port: int, metrics: Callable[[], bytes], kind: str
) -> AsyncIterator[None]:
    """Serves until the block ends; a port of 0 is not served. `probes`: path -> probe; `kind`: the content type of the metrics."""
    async with AsyncExitStack() as stack:
        if port:
            await stack.enter_async_context(_site(port, {path: _probed(probe) for path, probe in probes.items()}))
        if metrics_port:
            await stack.enter_async_context(_site(metrics_port, {"/metrics": _metered(metrics, kind)}))
        yield


def _probed(probe: Probe) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        found = probe()
        return web.Response(status=503 if found else 200, text="; ".join(found) or "ok")

    return answer


def _metered(metrics: Callable[[], bytes], kind: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": kind})

    return answer


@asynccontextmanager
async def _site(port: int, answers: Mapping[str, Answer]) -> AsyncIterator[None]:
    app = web.Application()
    for path, answer in answers.items():
        app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.TCPSite(runner, None, port).start()  # of every address of the pod, which may have IPv6 alone
        yield
    finally:
        await runner.cleanup()
