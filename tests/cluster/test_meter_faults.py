"""What agents find, on a real control plane: the test writes GpuMeters, the operator gives nodes up, moves lots and tells why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.ledger.sqlite import open_log, path_of
from tests.cluster.operator import GROUP, Market, at, contract, market, owners, product, read

pytestmark = pytest.mark.xdist_group("meter-faults")
CLEAN_SECONDS = 900  # of the default policy
HYSTERESIS_SECONDS = 5  # of the settings QUICK


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Nodes of the usual grade, and three of another, whose product has a health policy of its own."""
    with market(tmp_path_factory.mktemp("meter-faults"), tools, nodes=6) as made:
        fleet.apply_fleet(made.admin, fleet.nodes(3, prefix="x", product=fleet.H200))
        health = {"version": "1", "fatalXids": [13], "acceptDegraded": ["PcieDegraded"]}
        made.admin.apply(product("tolerant", gpuProducts=[fleet.H200], health=health))
        spec = {"url": "http://127.0.0.1:9/", "secretRef": {"name": "hook", "key": "hmac"}}  # nobody listens
        meta = {"name": "gcx", "namespace": "desk"}
        made.admin.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": spec})
        until("all nodes Ready", lambda: all(fleet.ready(node) == "True" for node in made.admin.items("/api/v1/nodes")))
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    """The market, and afterwards nothing in it, and nothing found."""
    yield town
    town.close()
    for meter in town.admin.items(f"{GROUP}/gpumeters"):
        town.admin.delete(f"{GROUP}/gpumeters/{meter['metadata']['name']}")


def report(desk: Market, node: str, *findings: Object) -> None:
    """What the agent of the node writes now."""
    uid = desk.admin.get(f"/api/v1/nodes/{node}")["metadata"]["uid"]
    registers = dict.fromkeys(
        ("sampledSeconds", "energyMillijoules", "slowdownMilliseconds", "pcieReplays", "uncorrectableErrors", "strangerSeconds"), 0
    )
    spec = {
        "nodeUid": uid, "bootId": "boot", "driver": "580.65", "agent": "test", "sampleSeconds": 10, "reportSeconds": 300,
        "since": "2026-01-01T00:00:00Z", "at": at(0), "completeSince": "2026-01-01T00:00:00Z",
        "gpus": [{"uuid": card(node, i), "strangers": 0, "registers": registers} for i in range(8)], "findings": list(findings),
    }  # fmt: skip
    desk.admin.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "GpuMeter", "metadata": {"name": node}, "spec": spec})


def card(node: str, number: int) -> str:
    return f"GPU-{node}-{number}"


def found(node: str, signal: str, since: float = -5, until: float | None = None, **more: int) -> Object:
    """A finding on the node's third GPU, from and to so many seconds from now."""
    ended = {} if until is None else {"end": at(until)}
    return {"gpu": card(node, 3), "signal": signal, "code": 0, "value": 0, "count": 1, "start": at(since), **ended, **more}


def deliver(desk: Market, name: str, exchange: str = "gcx", **more: Any) -> str:
    """A contract of one node, told to an exchange that is deaf (its events stay in the outbox), once its buyer has it; the node."""
    made = contract(name, at(1), at(600), **more)
    made["spec"] |= {"exchangeRef": {"name": exchange}} if exchange else {}
    desk.admin.create(made)
    until(f"{name} is delivered", lambda: condition(desk, name, "HandedOver") == ("True", "Complete"))
    return bound(desk, name)


def bound(desk: Market, name: str) -> str:
    """The node that the contract has now, or is to have."""
    rows: list[Object] = (read(desk.admin, name) or {})["status"]["bindings"]
    return str(max(rows, key=lambda row: (row["end"], row["start"]))["node"])


def has_another(desk: Market, name: str, node: str) -> bool:
    """Whether the buyer has all that is due, and on another node than this."""
    return bound(desk, name) != node and condition(desk, name, "HandedOver") == ("True", "Complete")


def condition(desk: Market, name: str, kind: str) -> tuple[str, str]:
    """Its status and reason."""
    status = (read(desk.admin, name) or {}).get("status", {})
    return next(((c["status"], c["reason"]) for c in status.get("conditions", ()) if c["type"] == kind), ("", ""))


def told(desk: Market, name: str) -> dict[str, Object]:
    """The latest change of each event, as the log has it."""
    uid = (read(desk.admin, name) or {})["metadata"]["uid"]
    log = open_log(path_of(desk.ledger, "desk", "gcx"), read_only=True)
    try:
        events = [json.loads(entry.body) for entry in log.entries_of(f"{uid}/")]
    finally:
        log.close()
    return {event["type"].removeprefix("dev.laycan.").removesuffix(".v1"): event["data"]["change"] for event in events}


def notes(desk: Market, name: str) -> list[str]:
    """Reasons and notes of the Kubernetes Events on a contract."""
    events = desk.admin.items("/apis/events.k8s.io/v1/namespaces/desk/events")
    return [f"{event['reason']}: {event['note']}" for event in events if event["regarding"]["name"] == name]


def test_what_is_found_is_judged_by_the_policy_and_told(desk: Market) -> None:
    """A broken GPU costs its node: quarantine, another node, and the reason wherever it is told. A program's crash costs nothing, unless
    the policy says so. What is slower than it should be is delivered where the policy accepts it, and is moved where it does not."""
    operator = desk.operator()
    crashed, broken, slow = deliver(desk, "crashed"), deliver(desk, "broken"), deliver(desk, "slow", productRef={"name": "tolerant"})

    report(desk, crashed, found(crashed, "Xid", code=13))
    report(desk, slow, found(slow, "PcieDegraded", value=8, code=5))
    until("it is degraded", lambda: condition(desk, "slow", "Degraded") == ("True", "PcieDegraded"))
    until("it is told", lambda: "delivery.degraded" in told(desk, "slow"))
    assert told(desk, "slow")["delivery.degraded"]["reasons"] == ["PcieDegraded"]

    report(desk, broken, found(broken, "Xid", code=79))
    uid = (read(desk.admin, "broken") or {})["metadata"]["uid"]
    until("it is given up", lambda: owners(desk.admin).get(broken) == f"quarantine.{uid}", seconds=10)
    until("the buyer has another", lambda: has_another(desk, "broken", broken))
    until("it is told", lambda: "delivery.interrupted" in told(desk, "broken"))
    assert told(desk, "broken")["delivery.interrupted"]["cause"] == "Xid79"
    until("people are told", lambda: any(note.startswith("Rebound: ") and note.endswith("Xid79") for note in notes(desk, "broken")))
    assert operator.said(f"node {broken} failed: Xid79")
    assert bound(desk, "crashed") == crashed, "the crash that was reported before moved nothing"

    report(desk, crashed, found(crashed, "PcieDegraded", value=8, code=5))
    report(desk, slow, found(slow, "Xid", code=13))
    for name, node, cause in (("crashed", crashed, "PcieDegraded"), ("slow", slow, "Xid13")):
        until(f"{name} has another node", lambda name=name, node=node: bound(desk, name) != node)  # type: ignore[misc]
        until(f"{name} is told", lambda name=name: "delivery.interrupted" in told(desk, name))  # type: ignore[misc]
        assert told(desk, name)["delivery.interrupted"]["cause"] == cause
    until("no longer degraded", lambda: condition(desk, "slow", "Degraded") == ("False", "Recovered"))
    assert operator.metrics()['laycan_gpus_unfit{reason="Missing"}'] == 0
    until("it is counted", lambda: operator.metrics()['laycan_gpus_unfit{reason="Xid"}'] == 2)


def test_what_was_found_while_nobody_led(desk: Market) -> None:
    """An operator that comes back reads it all from the meters: it gives up at once, and lets nobody out of quarantine too early."""
    first = desk.operator()
    node = deliver(desk, "away", exchange="")
    first.kill()
    report(desk, node, found(node, "Missing"))
    second = desk.operator()
    until("it is given up", lambda: owners(desk.admin).get(node, "").startswith("quarantine."))
    until("the buyer has another", lambda: has_another(desk, "away", node))
    second.kill()
    ended = int(time.time()) - CLEAN_SECONDS + 3  # that is over in a moment, then comes the hysteresis
    report(desk, node, found(node, "Missing", -950, ended - time.time()))
    desk.operator()
    until("it is nobody's", lambda: node not in owners(desk.admin))
    assert time.time() >= ended - 1 + CLEAN_SECONDS + HYSTERESIS_SECONDS
