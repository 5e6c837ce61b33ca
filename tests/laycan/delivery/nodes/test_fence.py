"""The fence between its write and its effect, against a scripted API server."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from laycan.delivery.nodes.fence import Fence
from laycan.delivery.nodes.probe import NEVER_FENCED, POLICY, Probe
from laycan.kube.views import FenceView
from laycan.kube.world import World
from tests.laycan.kube.scripted import serving


@pytest.mark.parametrize(("answers_late", "live"), [(2, True), (1_000_000, False)])
def test_a_look_at_a_fresh_entry_grants_it_a_moment(answers_late: int, live: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What was written milliseconds ago is no alarm; what is not enforced after half a second is one."""
    asked = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        node = (await request.json())["target"]["name"]
        if node != NEVER_FENCED:
            asked += 1
            if asked > answers_late:
                return web.json_response({"reason": "Forbidden", "message": f"{POLICY} denied: node {node} is held by acme"}, status=403)
        return web.json_response({"reason": "NotFound", "message": "no such pod"}, status=404)

    async def go() -> bool:
        async with serving(handle) as client:
            fence = Fence(client, World(fence=FenceView(1, {"n": "acme"}, {})), Probe(client, "laycan-probe"), 1)
            await fence.look("n")
            return fence.live

    assert asyncio.run(go()) is live
    assert ("ALARM" in caplog.text) is not live
