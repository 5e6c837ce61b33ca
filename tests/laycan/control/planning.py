"""The planner of a world, with its own process, one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from laycan.control.decision import Decision
from laycan.control.gate import Gate
from laycan.control.planner import Planner
from laycan.control.requests import Requests
from laycan.control.solver_process import PLANNER, Solver
from laycan.control.writer import Authority, Writer
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.kube.world import World
from tests.laycan.control.town import NOW, SETTINGS, Fleet

NOWHERE = Client(Credentials("http://127.0.0.1:1", None, lambda: ""))  # nothing here writes


class Clock:
    """Unix seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def planning(
    made: World,
    test: Callable[[Planner], Awaitable[None]],
    planner: str = PLANNER,
    deadline: float = 30.0,
    clock: Callable[[], int] = lambda: NOW,
) -> None:
    """Runs a test with a planner of this world; its process ends with the test."""

    async def go() -> None:
        solver = Solver(planner, deadline)
        requests = Requests(NOWHERE, made, Gate(made, lambda: None), lambda: True)
        writer = Writer(made, Authority(SETTINGS, "urn:laycan:x", 1), clock, requests)
        writer.start()
        office = Planner(made, writer, solver, Fleet(made), SETTINGS, clock)
        office.start()
        try:
            await test(office)
        finally:
            await solver.stop()

    asyncio.run(go())


def decided(office: Planner) -> dict[str, Decision]:
    return office.writer.decisions
