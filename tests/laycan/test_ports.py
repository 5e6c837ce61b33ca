"""The ports of a process, as the kubelet and Prometheus read them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from controlplane.process import free_ports
from laycan.control.metrics import CONTENT_TYPE, Metrics
from laycan.ports import serving


def test_probes_and_metrics() -> None:
    """A probe is 200 while nothing is wrong and 503 with the reasons else; a scraper gets the text in the format that it knows."""
    troubles: list[str] = []
    port, metrics_port = free_ports(2)

    async def ask(number: int, path: str) -> tuple[int, str, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{number}{path}") as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()

    async def story() -> None:
        probes = {"/healthz": lambda: troubles, "/readyz": lambda: ["not yet"]}
        async with serving(port, probes, metrics_port, Metrics().text, CONTENT_TYPE):
            assert (await ask(port, "/healthz"))[::2] == (200, "ok")
            troubles.extend(["one", "two"])
            assert (await ask(port, "/healthz"))[::2] == (503, "one; two")
            assert (await ask(port, "/readyz"))[::2] == (503, "not yet")
            assert (await ask(port, "/metrics"))[0] == 404
            status, kind, text = await ask(metrics_port, "/metrics")
            assert (status, kind.startswith("text/plain; version=0.0.4")) == (200, True)
            assert "# TYPE laycan_rebind_seconds histogram" in text

    asyncio.run(story())


def test_a_pod_that_has_ipv6_alone() -> None:
    """The kubelet asks at the pod's address, whatever its family: else it would end a healthy process again and again."""
    switch = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    if not switch.exists() or switch.read_text().strip() != "0":
        pytest.skip("this machine has no IPv6")
    (port,) = free_ports(1)

    async def story() -> None:
        async with serving(port, {"/healthz": list}, 0, bytes, "text/plain"), aiohttp.ClientSession() as session:
            for host in ("[::1]", "127.0.0.1"):
                async with session.get(f"http://{host}:{port}/healthz") as answer:
                    assert answer.status == 200, host

    asyncio.run(story())


def test_a_port_of_0_is_not_served() -> None:
    """Who asks for no port listens nowhere."""

    async def story() -> None:
        async with serving(0, {"/healthz": list}, 0, bytes, "text/plain"):
            pass

    asyncio.run(story())
