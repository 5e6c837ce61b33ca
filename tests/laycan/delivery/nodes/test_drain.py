"""When pods are listed: in as few requests as the cluster's size allows, and again whenever somebody may have come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from laycan.delivery.nodes.attempt import Steps
from laycan.delivery.nodes.drain import Drain, Order
from laycan.delivery.nodes.fence import Fence
from laycan.delivery.nodes.probe import POLICY, Probe
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import Client
from laycan.kube.views import FenceView, PodView, node_view
from laycan.kube.world import ONLY, World
from laycan.resources.constants import HOLDER_LABEL, MANAGED_LABEL
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, world
from tests.laycan.kube.scripted import serving


def stranger(name: str, node: str) -> PodView:
    return PodView("beta", name, f"uid-{name}", 1, node, "Running", "", False, 8, False)


@dataclass
class Server:
    """One node `n`, the fence, and as many lists as were asked for. `enforces`: whether the fence's policy has its data."""

    entries: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=lambda: {MANAGED_LABEL: "true"})
    enforces: bool = True
    lists: list[str] = field(default_factory=list)  # their field selectors
    version: int = 1

    def node(self) -> dict[str, Any]:
        status = {
            "capacity": {"nvidia.com/gpu": "8"},
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        return {"metadata": {"name": "n", "uid": "u", "labels": dict(self.labels), "resourceVersion": str(self.version)}, "status": status}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.version += 1
        if request.method == "GET":
            self.lists.append(request.query["fieldSelector"])
            return web.json_response({"items": []})
        body = json.loads(await request.read())
        if request.path.endswith("/binding"):
            node = body["target"]["name"]
            if self.enforces and node in self.entries:
                return web.json_response({"message": f"{POLICY}: node {node} is held by {self.entries[node]}"}, status=403)
            return web.json_response({"message": "no such pod"}, status=404)
        if request.path.endswith("/nodes/n"):
            (self.labels[HOLDER_LABEL],) = (op["value"] for op in body if op["op"] == "add" and "holder" in op["path"])
            return web.json_response(self.node())
        self.entries |= body["spec"]["nodes"]
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "spec": {"nodes": self.entries}})


async def fence_down(server: Server, seen: World, fence: Fence) -> None:
    """The API server restarts: a probe finds the fence open, a later one closed again."""
    server.enforces = False
    await fence.look("n")
    server.enforces = True
    await fence.look("n")


async def entry_lost(server: Server, seen: World, fence: Fence) -> None:
    """Somebody takes the entry out by hand."""
    server.entries.clear()
    seen.put("fence", ONLY, FenceView(server.version + 1, {}, {}))


async def stranger_seen(server: Server, seen: World, fence: Fence) -> None:
    """The watch tells of a pod that should not be there."""
    seen.put("pods", "beta/new", stranger("new", "n"))


async def nothing(server: Server, seen: World, fence: Fence) -> None:
    """The lead goes by."""


@pytest.mark.parametrize(("happens", "lists"), [(nothing, 1), (fence_down, 2), (entry_lost, 2), (stranger_seen, 2)])
def test_what_was_emptied_in_the_lead(happens: Callable[[Server, World, Fence], Awaitable[None]], lists: int) -> None:
    """A node that was found empty behind its entry is handed over at the start without another list, unless somebody may have come."""
    server, now = Server(), T0

    async def go() -> str:
        nonlocal now
        seen = world([node_view(server.node())], [contract("a", "acme", [binding("n", 30, 100)])])
        async with serving(server.handle) as client:
            situation = Situation(seen, SETTINGS, lambda: None)
            fence = Fence(client, seen, Probe(client, "laycan-probe"), 1)
            steps = Steps(client, seen, situation, fence, Drain(client, seen, SETTINGS), SETTINGS, lambda: now)
            for now in (T0, T0 + 30):
                situation.look(now, full=True)
                await steps.attempt("uid-a", ["n"])
                if now == T0:
                    assert (seen.nodes["n"].holder, len(server.lists)) == ("frozen.uid-a", 1)
                    await happens(server, seen, fence)
        return seen.nodes["n"].holder

    assert asyncio.run(go()) == "acme"
    assert len(server.lists) == lists


@pytest.mark.parametrize(
    ("nodes", "pods", "selectors"),
    [
        (3, 150, {"spec.nodeName!="}),
        (2, 101, {"spec.nodeName=n0", "spec.nodeName=n1"}),
        (1, 10, {"spec.nodeName=n0"}),
    ],
)
def test_one_list_for_many_nodes(nodes: int, pods: int, selectors: set[str]) -> None:
    """Where the cluster has few pods for each node that is asked about, all are listed at once; each node's stay its own."""
    lists: list[str] = []
    running = {"spec": {"nodeName": "n1"}, "metadata": {"namespace": "beta", "name": "p", "uid": "u"}, "status": {"phase": "Running"}}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            selector = request.query["fieldSelector"]
            lists.append(selector)
            return web.json_response({"items": [running] if selector in ("spec.nodeName!=", "spec.nodeName=n1") else []})
        return web.json_response({}, status=201)

    async def go(client: Client) -> set[str]:
        known = World(pods={f"beta/{i}": stranger(str(i), "elsewhere") for i in range(pods)})
        return await Drain(client, known, SETTINGS).empty([Order(f"n{i}", T0 + 30) for i in range(nodes)], T0)

    async def main() -> set[str]:
        async with serving(handle) as client:
            return await go(client)

    assert asyncio.run(main()) == {f"n{i}" for i in range(nodes)} - {"n1"}
    assert set(lists) == selectors
    assert len(lists) == len(selectors)


@pytest.mark.parametrize("status", [429, 500], ids=["a budget", "two budgets"])
def test_a_pod_that_may_not_be_evicted_yet(status: int) -> None:
    """Until the deadline its node waits, and no other does, whatever the API server says about its budgets; then it is deleted."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        if request.method == "GET":
            pod = {"metadata": {"namespace": "beta", "name": "p", "uid": "u"}, "spec": {"nodeName": "a"}, "status": {"phase": "Running"}}
            return web.json_response({"items": [pod] if request.query["fieldSelector"] == "spec.nodeName=a" else []})
        return web.json_response({"message": "not yet"}, status=status if request.method == "POST" else 200)

    async def main() -> None:
        async with serving(handle) as client:
            seen = World(pods={f"beta/{i}": stranger(str(i), "c") for i in range(1000)})
            drain = Drain(client, seen, SETTINGS)
            assert await drain.empty([Order("a", T0 + 10), Order("b", T0 + 10)], T0) == {"b"}
            assert drain.held_up == {"a"}
            assert await drain.empty([Order("a", T0 + 10), Order("b", T0 + 10)], T0 + 10) == {"b"}
        assert (asked.count("POST"), asked.count("DELETE")) == (1, 1)

    asyncio.run(main())
