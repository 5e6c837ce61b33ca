"""The operator's process: what is served already is adopted without a drain, and curtailment waits until its notice has passed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.resources.times import parse_time
from tests.cluster.delivering import holds
from tests.cluster.operator import Market, at, await_phase, bindings, contract, market, read

pytestmark = pytest.mark.xdist_group("commercial")


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One control plane with two nodes and two buyers for this module."""
    with market(tmp_path_factory.mktemp("commercial"), tools, nodes=2) as made:
        made.admin.apply(fleet.namespace("gamma", {"laycan.dev/desk": "desk"}))
        until("its ServiceAccount", lambda: made.admin.find("/api/v1/namespaces/gamma/serviceaccounts/default"))
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    """The market, and afterwards nothing in it."""
    yield town
    town.close()
    for namespace in ("acme", "gamma", "beta"):
        for pod in town.admin.items(f"/api/v1/namespaces/{namespace}/pods"):
            town.admin.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}", gracePeriodSeconds=0)


def runs(desk: Market, namespace: str, name: str) -> str:
    """The node on which the pod runs, "" while it does not."""
    pod = desk.admin.find(f"/api/v1/namespaces/{namespace}/pods/{name}") or {"status": {}}
    return str(pod["spec"]["nodeName"]) if pod["status"].get("phase") == "Running" else ""


def test_adopted_without_a_drain(desk: Market) -> None:
    """What a buyer runs already becomes his contract's on that very node, and goes on; a second claim to it is refused with both names.

    How punctual it was stands in the status, and in what Prometheus reads.
    """
    served, other = desk.nodes
    labels = desk.admin.get("/api/v1/namespaces/acme")["metadata"]["labels"]
    pod = fleet.pod("acme", "serving", gpus=8, nodeName=served)
    desk.admin.create(pod)
    until("it is served", lambda: runs(desk, "acme", "serving"))
    assert labels["laycan.dev/desk"] == "desk"
    operator = desk.operator()
    for name, node in (("adopts", served), ("late", served)):
        made = contract(name, at(-60), at(3600))
        made["spec"]["adopt"] = {"bindings": [{"node": node, "gpus": 8}]}
        desk.admin.create(made)
        await_phase(desk.admin, name, "Delivering" if name == "adopts" else "Rejected")
    adopted, late = read(desk.admin, "adopts") or {}, read(desk.admin, "late") or {}
    assert [node for node, *_ in bindings(adopted)] == [served]
    assert late["status"]["reason"]["code"] == "NoCapacity"
    assert f"{served} is bound to contract desk/adopts" in late["status"]["reason"]["message"]
    until("held", lambda: holds(desk.admin, [served], "acme"))
    assert runs(desk, "acme", "serving") == served
    record = until("complete", lambda: (read(desk.admin, "adopts") or {})["status"].get("handover"))
    assert record["lateSeconds"] < 60, "a contract that was created after its start is late from its creation on"
    until("all is counted", lambda: not unlike(operator.metrics()))
    judge_watches(operator.metrics())
    assert holds(desk.admin, [other], "")


def unlike(found: Mapping[str, float]) -> list[str]:
    """Figures that are not of one sold and held node beside one that may replace it; they are taken now and then, some more rarely."""
    wanted = dict.fromkeys(('laycan_contracts{phase="Delivering"}', 'laycan_nodes{state="held"}', "laycan_late_start_seconds_count"), 1.0)
    wanted |= {"laycan_fence_live": 1, "laycan_leader": 1, "laycan_first_breach_seconds": math.inf}
    for name, gpus in (("in_service", 16), ("sold", 8), ("spare", 8)):
        wanted[f'laycan_gpus_{name}{{product="h100"}}'] = gpus
    wanted['laycan_delivery_margin_gpus{product="h100"}'] = 8
    return [name for name, value in wanted.items() if found.get(name) != value]


def judge_watches(found: Mapping[str, float]) -> None:
    """Every watch is heard, and a thorough plan was made."""
    assert found['laycan_solve_seconds_count{kind="thorough"}'] > 0
    watched = {name for name in found if name.startswith("laycan_watch_age_seconds")}
    assert {f'laycan_watch_age_seconds{{kind="{kind}"}}' for kind in ("nodes", "pods", "contracts", "fence", "meters")} <= watched
    assert max(found[name] for name in watched) < 130
    assert found["laycan_measured_timestamp_seconds"] > 0


def test_curtailed_after_its_notice(desk: Market) -> None:
    """A Firm contract takes an Interruptible one's node at its start, with notice given before; until then node and pods stay."""
    desk.operator()
    interruption = {"class": "Interruptible", "interruption": {"noticeSeconds": 8, "maxHours": 2}}
    end, start = at(3600), at(20)
    desk.admin.create(contract("gives-way", at(6), end, gpus=16, partial="Allowed", firmness=interruption))
    await_phase(desk.admin, "gives-way", "Accepted")
    desk.admin.create(contract("firm", start, end, handover={"namespace": "gamma"}))
    taken = bindings(await_phase(desk.admin, "firm", "Accepted"))[0][0]
    (notice,) = until("notice", lambda: (read(desk.admin, "gives-way") or {})["status"].get("curtailments"))
    assert parse_time(notice["start"]) - parse_time(notice["noticedAt"]) >= 8
    assert parse_time(notice["start"]) <= parse_time(start)
    until("held", lambda: holds(desk.admin, desk.nodes, "acme"))
    for number in range(2):
        desk.admin.create(fleet.pod("acme", f"worker-{number}", gpus=8))
    until("it is used", lambda: runs(desk, "acme", "worker-0") and runs(desk, "acme", "worker-1"))
    while time.time() < parse_time(start) - 0.5:
        assert holds(desk.admin, desk.nodes, "acme")
        assert runs(desk, "acme", "worker-0")
        assert runs(desk, "acme", "worker-1")
    until("the Firm contract has it", lambda: holds(desk.admin, [taken], "gamma"))
    until("one is left", lambda: sorted(bool(runs(desk, "acme", f"worker-{number}")) for number in range(2)) == [False, True])
    record = until("told", lambda: curtailed(desk))
    assert (record["interruptions"], "interruptedSince" in record) == (0, False)


def curtailed(desk: Market) -> Object:
    """How punctual it was, once the contract is curtailed and complete but for that."""
    status = (read(desk.admin, "gives-way") or {})["status"]
    true = {c["type"] for c in status["conditions"] if c["status"] == "True"}
    return dict(status["handover"]) if {"Curtailed", "HandedOver"} <= true else {}
