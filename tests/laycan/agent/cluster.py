"""An API server of one Node and its GpuMeter, and an agent before it whose GPUs, clock and processes a test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from laycan.agent.account import Moment
from laycan.agent.agent import Agent, Options
from laycan.agent.processes import Processes
from laycan.agent.sample import NodeSample
from laycan.resources.constants import HOLDER_LABEL
from tests.laycan.agent.cards import at, card, node
from tests.laycan.control.apiserver import merged
from tests.laycan.kube.scripted import hangs_up, serving

Json = dict[str, Any]


class OneNode:
    """`meter` is the stored object. `fault` says what becomes of a write: "" it is done, "lose" its answer, or a status."""

    def __init__(self) -> None:
        self.uid, self.holder = "uid-1", ""
        self.meter: Json | None = None
        self.writes: list[str] = []
        self.looks = 0
        self.away = False
        self.fault: str | int = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            return await hangs_up(request)
        if request.path.startswith("/api/v1/nodes/"):
            self.looks += 1
            labels = {HOLDER_LABEL: self.holder} if self.holder else {}
            return web.json_response({"metadata": {"name": "n1", "uid": self.uid, "labels": labels}})
        if request.method == "GET":
            return web.json_response(self.meter) if self.meter else refusal(404)
        return await self._write(request)

    async def _write(self, request: web.Request) -> web.StreamResponse:
        told = await request.json()
        assert request.query["fieldValidation"] == "Strict"
        self.writes.append(request.method)
        if isinstance(self.fault, int):
            return refusal(self.fault)
        if request.method == "PATCH" and self.meter is None:
            return refusal(404)
        if request.method == "POST" and self.meter is not None:
            return refusal(409)
        new = merged(self.meter or {}, told)
        if self.meter and taken_back(self.meter["spec"], new["spec"]):
            return refusal(422)
        self.meter = new
        return await hangs_up(request) if self.fault == "lose" else web.json_response(new)


def taken_back(old: Json, new: Json) -> bool:
    """The rules of the CRD."""
    return bool(old["nodeUid"] == new["nodeUid"] and (old["since"] != new["since"] or old["at"] > new["at"]))


def refusal(status: int) -> web.Response:
    return web.json_response({"kind": "Status", "reason": "No", "message": "on purpose"}, status=status)


class Machine:
    """What the agent sees of the node: a sample (or what is raised instead), and the time in seconds after noon."""

    def __init__(self) -> None:
        self.now, self.boot, self.uptime = 0, "boot-1", 86_400
        self.sample: NodeSample | Callable[[], NodeSample] = node(card(0), card(1))
        self.asked: list[bool] = []  # whether all were complete, as the session was told

    def look(self, complete: bool) -> NodeSample:
        self.asked.append(complete)
        return self.sample() if callable(self.sample) else self.sample

    def moment(self) -> Moment:
        return at(self.now, self.boot, self.uptime + self.now)


@asynccontextmanager
async def agent_of(api: OneNode, machine: Machine, **options: Any) -> AsyncIterator[Agent]:
    """An agent that nobody runs: a test calls its rounds, reports and looks."""
    folder: Path | None = options.pop("folder", None)
    places = (folder / "proc", folder / "pods") if folder else (Path("/nowhere"), Path("/nowhere"))
    async with serving(api.handle) as client:
        known = {"sample_seconds": 10, **options}
        yield Agent(Options("n1", **known), client, machine.look, machine.moment, Processes(("gpu-operator",), *places))
