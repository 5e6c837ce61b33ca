"""Contracts that an older, laxer CRD let in: whatever is missing or of another shape, the others never notice, and nodes stay protected."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laycan.control.gate import Gate
from laycan.control.planner import Planner
from laycan.control.requests import Requests
from laycan.control.solver_process import PLANNER, Solver
from laycan.control.writer import Authority, Writer
from laycan.delivery.nodes.desired import Want
from laycan.delivery.nodes.situation import Situation
from laycan.events.appender import Appender
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.kube.views import FenceView, contract_view
from laycan.kube.world import World
from laycan.ledger.ledgers import Beginning, Ledgers
from laycan.resources.times import format_time
from tests.laycan.control.town import HOUR, NOW, SETTINGS, Fleet, bound, contract, node, product, world

NOWHERE = Client(Credentials("http://127.0.0.1:1", None, lambda: ""))
GONE = object()
SHAPES: tuple[Any, ...] = (GONE, None, "x", 7, [], {})


def stored(phase: str) -> dict[str, Any]:
    """A contract with every part that the loops look at, bound to n1 an hour from now."""
    start, end, now = (format_time(NOW + seconds) for seconds in (HOUR, 2 * HOUR, 0))
    delivery = {"start": start, "end": end, "gpus": 8, "lotGpus": 8, "handover": {"namespace": "acme"}}
    meta = {"namespace": "desk", "name": "bad", "uid": "uid-bad", "generation": 1, "resourceVersion": "5"}
    terms = {"contractId": "bad", "productRef": {"name": "h100"}, "delivery": delivery}
    status = bound("n1", phase=phase) | {
        "outbox": [{"id": "uid-bad/1", "sequence": 1, "type": "t", "body": "{}"}],
        "ledger": {"sequence": 1},
        "curtailments": [{"gpus": 8, "start": start, "end": end, "noticedAt": now}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": now}],
    }
    return {
        "metadata": meta | {"creationTimestamp": format_time(NOW - 60)},
        "spec": {"intent": "Firm", "exchangeRef": {"name": "gcx"}, "adopt": {"bindings": [{"node": "n1", "gpus": 8}]}, "terms": terms},
        "status": status,
    }


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(part, (*at, key))


def broken(phase: str, *roots: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The contract with one part of these roots missing, or of another shape."""
    whole = stored(phase)
    for root in roots:
        for path in paths(whole[root], (root,)):
            for shape in SHAPES:
                made = copy.deepcopy(whole)
                *above, last = path
                place = made
                for key in above:
                    place = place[key]
                if shape is not GONE:
                    place[last] = shape
                elif isinstance(place, dict):
                    del place[last]
                yield path, made


def town() -> World:
    made = world([contract("good", created=NOW - 30)], ["n1", "n2", "n3"])
    made.nodes["n1"] = node("n1", labels={"laycan.node-restriction.kubernetes.io/holder": "acme"})
    made.fence = FenceView(1, {"n1": "acme"}, {})
    made.endpoints["desk/gcx"] = {"metadata": {}, "spec": {"url": "https://x.example/", "secretRef": {"name": "hook", "key": "hmac"}}}
    return made


def listen(made: World, solver: Solver) -> tuple[Planner, Situation]:
    """Everything that hears of each change: one exception in any of them would end the watch of all contracts."""
    requests = Requests(NOWHERE, made, Gate(made, lambda: None), lambda: True)
    writer = Writer(made, Authority(SETTINGS, "urn:laycan:x", 1), lambda: NOW, requests)
    writer.start()
    planner = Planner(made, writer, solver, Fleet(made), SETTINGS, lambda: NOW)
    planner.start()

    ledgers = Ledgers(Path("nowhere"), lambda place: Beginning("op/local"))
    appender = Appender(made, ledgers, writer.taken, lambda place: None, lambda: None)
    made.listeners.append(appender._on_change)
    return planner, Situation(made, SETTINGS, lambda: None)


@pytest.mark.parametrize("phase", ["Accepted", "Delivering", "Delivered", "Suspended"])
def test_no_shape_of_a_contract_ends_a_watch(phase: str) -> None:
    """Neither when it arrives nor when delivery looks at it."""
    count = 0
    for _, raw in broken(phase, "spec", "status"):
        made = town()
        _, situation = listen(made, Solver())
        made.put("contracts", "desk/bad", contract_view(raw))
        situation.look(NOW + HOUR, full=True)
        count += 1
    assert count > 200


def test_a_promise_that_cannot_be_read_keeps_its_node() -> None:
    """Whatever is wrong with its terms, nobody else is planned there and delivery does not open it; the others are decided at once."""

    async def go() -> int:
        solver, count = Solver(PLANNER, 30.0), 0
        try:
            for path, raw in broken("Accepted", "spec"):
                made = town()
                planner, situation = listen(made, solver)
                made.put("contracts", "desk/bad", contract_view(raw))
                await planner.step()
                good = planner.writer.decisions["desk/good"]
                assert good.accepted, path
                assert "n1" not in {b.node for b in good.bindings}, path
                situation.look(NOW + HOUR, full=True)
                target = situation.targets.get("n1")
                assert target is None or target.want is Want.HOLD, path
                count += 1
        finally:
            await solver.stop()
        return count

    assert asyncio.run(go()) > 100


def test_a_binding_keeps_its_node_without_its_product() -> None:
    """What protects the node is read although the rest of the entry is not; what names no node or time is no binding."""
    raw = stored("Accepted")
    raw["status"]["bindings"] = [{**raw["status"]["bindings"][0], "product": None, "level": 3, "lots": "x"}, {"node": "n2"}, 5]
    raw["status"]["bindings"][0] |= {"handedOverAt": "soon", "meteredSince": 7}
    (kept,) = contract_view(raw).status["bindings"]
    assert kept == bound("n1")["bindings"][0]


def test_a_product_of_another_shape_ends_no_watch() -> None:
    """Nor does one bad product keep a contract from being looked at."""
    shapes: tuple[Any, ...] = (None, "x", {"turnaroundSeconds": "long", "detection": 5}, {"detection": {"seconds": []}})
    for spec in shapes:
        made = town()
        _, situation = listen(made, Solver())
        made.put("contracts", "desk/bad", contract_view(stored("Accepted")))
        made.put("products", "h100", product("h100") | {"spec": spec, "metadata": {"name": "h100", "resourceVersion": "9"}})
        situation.look(NOW + HOUR, full=True)
        made.nodes["n1"] = node("n1", ready=False)
        situation.look(NOW + HOUR, full=True)
