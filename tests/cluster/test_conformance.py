"""The attacks and accidents of enforcement.md 8 that concern delivery, on a real control plane: A1, A4, A6, A7, A8, A10 to A13.

The others (A2, A3, A5, A9) need no operator and stand in tests/cluster/policies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.resources.constants import BREAKER_RESET_ANNOTATION
from laycan.resources.times import format_time
from tests.cluster.delivering import (
    FAST,
    Market,
    Office,
    Sentry,
    delivered_cluster,
    each_death,
    flood,
    foreign,
    holds,
    label,
    now,
    office_until_death,
    open_all,
    owners,
    pods_on,
    protect,
)
from tests.cluster.policies.installed import FENCE, Installed

pytestmark = pytest.mark.xdist_group("conformance")

PROBE_BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/laycan-probe/rolebindings/laycan-probe"


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart in mode Enforce and the usual DaemonSets."""
    with delivered_cluster(tmp_path_factory.mktemp("conformance"), tools) as installed:
        yield installed


@pytest.fixture
def market(cluster: Installed) -> Iterator[Market]:
    """Nodes, namespaces and contracts of one test."""
    made = Market(cluster)
    yield made
    made.clear()


def test_a1_early_pods_start_with_the_window(market: Market) -> None:
    """A holder's pod created before the window is Pending, though a free node would fit, and runs on her nodes after the hand-over."""
    acme, nodes = market.holder("acme"), market.nodes(2)
    market.nodes(1)
    market.pod(acme, "early")
    until("looked at by the scheduler", lambda: unschedulable(market, acme, "early"))
    with Office(market.installed):
        start = now() + 3
        market.contract("a1", acme, nodes, start, start + 600)
        until("held", lambda: holds(market.admin, nodes, acme))
        begun = time.monotonic()
        assert market.await_running(acme, "early") in nodes
        assert time.monotonic() - begun < 60, "not when the window ends"
        market.pod(acme, "second")
        market.pod(acme, "third")
        assert market.await_running(acme, "second") in nodes
        until("no room for a third", lambda: unschedulable(market, acme, "third"))


def unschedulable(market: Market, namespace: str, name: str) -> bool:
    """Whether the scheduler has found no node for a pod."""
    pod = market.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
    return any(condition.get("reason") == "Unschedulable" for condition in pod["status"].get("conditions", ()))


def test_a4_no_stranger_after_the_probe(market: Market) -> None:
    """Under a flood of pods that tolerate everything, none is added on the nodes from the first refused bind on."""
    acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(4)
    sentry = Sentry(market.installed, nodes, [acme])
    with flood(market.admin, beta, nodes), sentry.watch(), Office(market.installed):
        until("strangers everywhere", lambda: all(foreign(market.admin, [node]) for node in nodes))
        market.contract("a4", acme, nodes, now() + 1, now() + 600)
        until("held", lambda: holds(market.admin, nodes, acme))
        assert foreign(market.admin, nodes, acme) == set()
        looks = sentry.looks
        until("a while under the flood", lambda: sentry.looks > looks + 20)
        sentry_saw = (sentry.closed_at, len(sentry.present), set(sentry.after))
    assert sentry_saw[0] is not None
    assert sentry_saw[1] > 0, "the freeze met strangers"
    assert sentry_saw[2] == set()


def test_a6_budgets_until_the_deadline(market: Market) -> None:
    """A budget that allows no eviction keeps its pod until the window begins, and not longer."""
    acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(1)
    protect(market, beta, "guarded", nodes[0])
    market.pod(beta, "plain", gpus=0, node=nodes[0])
    market.await_running(beta, "plain")
    with Office(market.installed):
        start = now() + 5
        uid = market.contract("a6", acme, nodes, start, start + 600, bound_at=start - 600)
        until("the plain pod is evicted", lambda: not market.admin.find(f"/api/v1/namespaces/{beta}/pods/plain"))
        assert holds(market.admin, nodes, f"frozen.{uid}")
        while time.time() < start - 0.5:
            assert market.runs(beta, "guarded") == nodes[0]
            time.sleep(0.1)
        until("held", lambda: holds(market.admin, nodes, acme))
        assert foreign(market.admin, nodes, acme) == set()
        assert time.time() < start + 60, "not when the window ends"


class TestA7:
    """A heartbeat stops."""

    def test_a7_rebound_and_quarantined(self, market: Market) -> None:
        """The spare is emptied and handed over; the dead node stays in quarantine after its return until it is empty and well for long."""
        acme, beta = market.holder("acme"), market.stranger()
        (victim, other), (spare,) = market.nodes(2), market.nodes(1)
        market.pod(beta, "on-spare", node=spare)
        market.await_running(beta, "on-spare")
        end = now() + 600
        with Office(market.installed) as office:
            uid = market.contract("a7", acme, [victim, other], now(), end)
            until("held", lambda: holds(market.admin, [victim, other], acme))
            market.pod(acme, "left", node=victim)
            market.await_running(acme, "left")
            fleet.kill_node(market.admin, victim)
            until("unusable", lambda: victim in unusable(office), seconds=60)
            market.bind("a7", [(other, now(), end), (spare, now(), end)], "Delivering")
            until("quarantined", lambda: holds(market.admin, [victim], f"quarantine.{uid}"))
            until("the spare is held", lambda: holds(market.admin, [spare, other], acme))
            assert foreign(market.admin, [spare], acme) == set()
            assert market.runs(acme, "left") == victim, "what a dead node runs is not ours to end"
            assert last_seen_is_plausible(office, victim)
            fleet.revive_node(market.admin, victim)
            until("ready", lambda: market.ready(victim))
            back = time.time()
            until("what it ran is gone", lambda: not [p for p in pods_on(market.admin, victim) if p["metadata"]["namespace"] == acme])
            assert victim in unusable(office)
            until("free", lambda: holds(market.admin, [victim], ""))
            assert time.time() - back >= FAST.hysteresis_seconds - 1
            until("usable", lambda: victim not in unusable(office))
            assert holds(market.admin, [spare, other], acme)

    def test_a7_deleted_and_made_anew(self, market: Market) -> None:
        """A held node that is deleted, and its namesake that appears later, are in quarantine."""
        acme, (victim,) = market.holder("acme"), market.nodes(1)
        with Office(market.installed) as office:
            uid = market.contract("anew", acme, [victim], now(), now() + 600)
            until("held", lambda: holds(market.admin, [victim], acme))
            market.admin.delete(f"/api/v1/nodes/{victim}")
            until("quarantined", lambda: owners(market.admin).get(victim) == f"quarantine.{uid}")
            market.bind("anew", [], "Delivering")
            fleet.apply_fleet(market.admin, [fleet.node(victim)])
            until("marked", lambda: label(market.admin, victim) == f"quarantine.{uid}")
            assert victim in unusable(office)
            until("free", lambda: holds(market.admin, [victim], ""))

    def test_a7_lost_gpus(self, market: Market) -> None:
        """A node whose GPUs stay away beyond the dwell fails."""
        acme, (victim,) = market.holder("acme"), market.nodes(1)
        with Office(market.installed):
            uid = market.contract("gpus", acme, [victim], now(), now() + 600)
            until("held", lambda: holds(market.admin, [victim], acme))
            fleet.set_gpus(market.admin, victim, 7)
            lost = time.time()
            until("quarantined", lambda: holds(market.admin, [victim], f"quarantine.{uid}"))
            assert time.time() - lost >= FAST.dwell_seconds - 1


def unusable(office: Office) -> frozenset[str]:
    """What the planner would be told."""
    assert office.delivery is not None
    return office.delivery.unusable()


def last_seen_is_plausible(office: Office, node: str) -> bool:
    """The last renewal of the node's Lease lies before the controller noticed, and not long ago."""
    return now() - 60 < office.world.last_seen[node] <= office.world.nodes[node].ready_since


def test_a8_holder_to_holder(market: Market) -> None:
    """At the end of a window the holder goes and the next one comes, with strangers waiting for any free GPU: none is ever on the node."""
    acme, gamma, beta, nodes = market.holder("acme"), market.holder("gamma"), market.stranger(), market.nodes(2)
    change = now() + 5
    market.contract("a8-first", acme, nodes, now(), change)
    market.contract("a8-second", gamma, nodes, change, change + 600)
    with Office(market.installed):
        until("held", lambda: holds(market.admin, nodes, acme))
        for i, name in enumerate((acme, gamma)):
            for number in range(2):
                market.pod(name, f"worker-{i}-{number}")
        for number in range(3):
            market.pod(beta, f"waits-{number}")
        with PodWatch(market, nodes) as seen, FenceWatch(market, nodes) as entries:
            for number in range(2):
                market.await_running(acme, f"worker-0-{number}")
            for number in range(2):
                market.await_running(gamma, f"worker-1-{number}")
            assert holds(market.admin, nodes, gamma)
            assert not any(market.admin.find(f"/api/v1/namespaces/{acme}/pods/worker-0-{number}") for number in range(2))
    assert beta not in seen
    assert {acme, gamma} <= seen
    assert "" not in entries


class PodWatch:
    """Namespaces of all pods that were ever on the nodes, as the API server's watch tells."""

    path = "/api/v1/pods"

    def __init__(self, market: Market, nodes: list[str]) -> None:
        self._admin, self._nodes, self._seen, self._stop = market.admin, set(nodes), set[str](), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _take(self, found: Object) -> None:
        if found["spec"].get("nodeName") in self._nodes:
            self._seen.add(found["metadata"]["namespace"])

    def _run(self) -> None:
        listed = self._admin.get(self.path)
        for found in listed["items"]:
            self._take(found)
        version = listed["metadata"]["resourceVersion"]
        while not self._stop.is_set():
            for event in self._admin.watch(self.path, seconds=2, resourceVersion=version):
                assert event["type"] != "ERROR", event
                version = event["object"]["metadata"]["resourceVersion"]
                self._take(event["object"])

    def __enter__(self) -> set[str]:
        self._thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)


class FenceWatch(PodWatch):
    """Fence entries that the nodes ever had, "" where there was none."""

    path = "/apis/laycan.dev/v1alpha1/nodefences"

    def _take(self, found: Object) -> None:
        entries = found["spec"].get("nodes") or {}
        self._seen |= {entries.get(node, "") for node in self._nodes}


class TestA10:
    """The operator dies before its first write, its second, and so on; another one takes over."""

    def test_a10_start(self, market: Market) -> None:
        """At each of its writes until the hand-over: the successor hands over, and no stranger came after the first refused bind."""
        deaths = each_death(market, self._start_of_window)
        assert deaths >= 8, "fence, two labels, two evictions, fence, two labels"

    def test_a10_end(self, market: Market) -> None:
        """At each of its writes from the end of the window on: the successor frees the node, and the holder's pod is gone."""
        deaths = each_death(market, self._end_of_window)
        assert deaths >= 4, "fence, label, eviction, label, fence"

    def test_a10_holder_to_holder(self, market: Market) -> None:
        """At each of its writes between two holders: the successor hands over to the next, and the node was never free."""
        deaths = each_death(market, self._change_of_holder)
        assert deaths >= 5, "fence, label, eviction, fence, label"

    @staticmethod
    def _start_of_window(market: Market, dies_at: int) -> bool:
        acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(2)
        for node in nodes:
            market.pod(beta, f"old-{node}", gpus=1, node=node)
            market.await_running(beta, f"old-{node}")
        sentry = Sentry(market.installed, nodes, [acme])
        with flood(market.admin, beta, nodes, per_second=5), sentry.watch():
            market.contract(f"start-{dies_at}", acme, nodes, now(), now() + 600)
            died = office_until_death(market, dies_at, lambda: holds(market.admin, nodes, acme))
            with Office(market.installed):
                until("held", lambda: holds(market.admin, nodes, acme))
                until("watched for a while", lambda: sentry.closed_at and sentry.looks > 3)
            assert sentry.after == set(), dies_at
        assert foreign(market.admin, nodes, acme) == set(), dies_at
        return died

    @staticmethod
    def _end_of_window(market: Market, dies_at: int) -> bool:
        acme, nodes = market.holder("acme"), market.nodes(1)
        market.pod(acme, "worker")
        name = f"end-{dies_at}"
        with Office(market.installed):
            market.contract(name, acme, nodes, now(), now() + 600)
            market.await_running(acme, "worker")
        market.bind(name, [], "Delivering")
        died = office_until_death(market, dies_at, lambda: holds(market.admin, nodes, ""))
        with Office(market.installed):
            until("free", lambda: holds(market.admin, nodes, "") and not owners(market.admin))
        assert not market.admin.find(f"/api/v1/namespaces/{acme}/pods/worker")
        return died

    @staticmethod
    def _change_of_holder(market: Market, dies_at: int) -> bool:
        acme, gamma, beta, nodes = market.holder("acme"), market.holder("gamma"), market.stranger(), market.nodes(1)
        market.pod(acme, "worker")
        name = f"change-{dies_at}"
        with Office(market.installed):
            market.contract(name, acme, nodes, now(), now() + 600)
            market.await_running(acme, "worker")
        market.pod(gamma, "next")
        market.pod(beta, "waits")
        with PodWatch(market, nodes) as seen, FenceWatch(market, nodes) as entries:
            market.bind(name, [], "Delivering")
            market.contract(f"{name}-next", gamma, nodes, now(), now() + 600)
            died = office_until_death(market, dies_at, lambda: holds(market.admin, nodes, gamma))
            with Office(market.installed):
                market.await_running(gamma, "next")
        assert beta not in seen
        assert "" not in entries
        assert holds(market.admin, nodes, gamma)
        return died


class TestA11:
    """What is no failure, and what is too much of it."""

    def test_a11_cordon(self, market: Market) -> None:
        """A cordon moves nothing: no write of any kind, and the planner is told nothing."""
        acme, nodes = market.holder("acme"), market.nodes(2)
        with Office(market.installed) as office:
            market.contract("cordon", acme, nodes, now(), now() + 600)
            until("held", lambda: holds(market.admin, nodes, acme))
            written = len(office.writes)
            for node in nodes:
                market.admin.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
            until("seen", lambda: all(office.world.nodes[node].raw["spec"]["unschedulable"] for node in nodes))
            settle(office)
            assert office.writes[written:] == []
            assert unusable(office) == frozenset()

    def test_a11_device_plugin_restart(self, market: Market) -> None:
        """All nodes lose all GPUs for less than the dwell: no write, nothing unusable, and plans still count on the GPUs."""
        acme, nodes = market.holder("acme"), market.nodes(3)
        with Office(market.installed, FAST.model_copy(update={"dwell_seconds": 20})) as office:
            market.contract("plugin", acme, nodes[:2], now(), now() + 600)
            until("held", lambda: holds(market.admin, nodes[:2], acme))
            written = len(office.writes)
            for node in nodes:
                fleet.set_gpus(market.admin, node, 0)
            until("seen", lambda: all(office.world.nodes[node].gpus == 0 for node in nodes))
            settle(office)
            assert unusable(office) == frozenset()
            assert [planning_gpus(office, node) for node in nodes] == [8, 8, 8]
            for node in nodes:
                fleet.set_gpus(market.admin, node, 8)
            until("seen", lambda: all(office.world.nodes[node].gpus == 8 for node in nodes))
            settle(office)
            assert office.writes[written:] == []

    def test_a11_breaker(self, market: Market) -> None:
        """Of eight nodes four fall silent: one is given up, the rest keeps what it holds until a person confirms."""
        acme, nodes = market.holder("acme"), market.nodes(8)
        breaker = FAST.breaker.model_copy(update={"share_ppm": 125_000})
        with Office(market.installed, FAST.model_copy(update={"breaker": breaker})) as office:
            uid = market.contract("breaker", acme, nodes, now(), now() + 600)
            until("held", lambda: holds(market.admin, nodes, acme))
            for node in nodes[:4]:
                fleet.kill_node(market.admin, node)
            until("silent", lambda: not any(market.ready(node) for node in nodes[:4]), seconds=60)
            until("detected", lambda: len(verdict(office).withheld) == 3)
            settle(office)
            given_up = [node for node in nodes if holds(market.admin, [node], f"quarantine.{uid}")]
            assert len(given_up) == 1
            assert unusable(office) == set(given_up)
            assert holds(market.admin, [node for node in nodes if node not in given_up], acme)
            market.admin.patch(FENCE, {"metadata": {"annotations": {BREAKER_RESET_ANNOTATION: format_time(now())}}})
            until("all given up", lambda: holds(market.admin, nodes[:4], f"quarantine.{uid}"))
            assert holds(market.admin, nodes[4:], acme)
        market.admin.patch(FENCE, {"metadata": {"annotations": {BREAKER_RESET_ANNOTATION: None}}})


def planning_gpus(office: Office, node: str) -> int:
    """What a plan may count on."""
    assert office.delivery is not None
    return office.delivery.planning_gpus(node)


def verdict(office: Office) -> Any:
    """The last judgement on failures."""
    assert office.delivery is not None
    return office.delivery.situation.verdict


def settle(office: Office) -> None:
    """Returns when the office has looked at everything that happened before, by two full passes."""
    assert office.delivery is not None
    passes = office.delivery.passes
    until("two passes", lambda: office.delivery is not None and office.delivery.passes >= passes + 2)


def test_a12_unmanaged_nodes_are_never_written(market: Market) -> None:
    """A node outside the fleet is not written even if a status binds it, and its pods stay; the API server would refuse it anyway."""
    acme, beta = market.holder("acme"), market.stranger()
    (alien,), (node,) = market.nodes(1, managed=False), market.nodes(1)
    market.pod(beta, "resident", node=alien)
    market.await_running(beta, "resident")
    with Office(market.installed) as office:
        market.contract("a12", acme, [alien, node], now(), now() + 5)
        until("held", lambda: holds(market.admin, [node], acme))
        assert "laycan" in managers(market, node)
        assert "laycan" not in managers(market, alien)
        until("over", lambda: holds(market.admin, [node], "") and not owners(market.admin))
    assert not [write for write in office.writes if alien in write]
    assert "laycan" not in managers(market, alien)
    assert market.runs(beta, "resident") == alien
    with pytest.raises(Exception, match="does not write to it"):
        market.installed.label(alien, acme)


def managers(market: Market, node: str) -> set[str]:
    """Who has written fields of a node that still stand."""
    return {entry["manager"] for entry in market.admin.get(f"/api/v1/nodes/{node}")["metadata"]["managedFields"]}


def test_a13_no_hand_over_without_the_probe(market: Market) -> None:
    """Without its RoleBinding both of the probe's binds are refused, by RBAC: no proof, so nothing is marked, drained or handed over."""
    acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(1)
    market.pod(beta, "resident", node=nodes[0])
    market.await_running(beta, "resident")
    binding = market.admin.get(PROBE_BINDING)
    market.admin.delete(PROBE_BINDING)
    with Office(market.installed) as office:
        market.contract("a13", acme, nodes, now(), now() + 600)
        until("noticed", lambda: office.delivery is not None and not office.delivery.fence.live)
        settle(office)
        assert label(market.admin, nodes[0]) == ""
        assert owners(market.admin).get(nodes[0], "") != acme
        assert market.runs(beta, "resident") == nodes[0]
        binding["metadata"] = {key: binding["metadata"][key] for key in ("name", "namespace", "labels")}
        market.admin.create(binding)
        until("held", lambda: holds(market.admin, nodes, acme))
    assert open_all(market.installed) == (1, 1)
