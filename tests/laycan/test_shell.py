"""The operator's process, as far as it goes without a cluster."""

from __future__ import annotations

import asyncio
import socket

import kopf
import pytest

from laycan.kube.credentials import Credentials
from laycan.main import Shell
from laycan.settings import Settings

NOWHERE = Credentials("https://127.0.0.1:1", None, lambda: "")


def test_a_port_that_is_taken_ends_it() -> None:
    """Without probes nobody would see that it does nothing."""

    async def live(port: int) -> None:
        shell = Shell(NOWHERE, Settings(), lambda: 0, port, 0)
        async with asyncio.timeout(30):
            await kopf.operator(registry=shell.registry(), standalone=True, clusterwide=True)

    with socket.create_server(("0.0.0.0", 0)) as taken, pytest.raises(Exception, match="handlers failed"):  # noqa: S104 - as the operator does
        asyncio.run(live(taken.getsockname()[1]))
