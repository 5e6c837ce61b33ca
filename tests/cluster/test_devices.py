"""Level Device on a real control plane: exact GPUs are handed over in time, kept, taken back, and are never anybody else's meanwhile.

B1, B4 and B5 of enforcement.md 8 need no operator and stand in tests/cluster/policies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from controlplane import fleet
from controlplane.waiting import until
from laycan.delivery.devices.features import Devices, find_devices
from laycan.kube.client import Client
from laycan.kube.credentials import load_credentials
from tests.cluster.delivering import (
    Office,
    delivered_cluster,
    each_death,
    label,
    now,
    office_until_death,
    open_all,
    operator_kubeconfig,
    owners,
)
from tests.cluster.exact import (
    RESOURCE,
    CardWatch,
    GpuMarket,
    Row,
    await_has,
    cards,
    gone,
    hold_pods,
    kept,
)
from tests.cluster.policies.installed import Installed

pytestmark = pytest.mark.xdist_group("devices")


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart in mode Enforce, and the DeviceClass of NVIDIA's DRA driver."""
    with delivered_cluster(tmp_path_factory.mktemp("devices"), tools) as installed:
        installed.admin.create(fleet.device_class())
        yield installed


@pytest.fixture
def market(cluster: Installed) -> Iterator[GpuMarket]:
    """Nodes, namespaces and contracts of one test."""
    made = GpuMarket(cluster)
    yield made
    made.clear()


def test_early_pod_gets_exactly_its_gpus(market: GpuMarket) -> None:
    """Strangers fill the node and more of them wait; at the start the two promised GPUs are the contract's, and its early pod runs on them.

    A budget keeps one of the strangers until the start. Nobody else's GPU is touched, and the node is open again.
    """
    acme, beta, (node,) = market.holder("acme"), market.stranger(), market.gpu_nodes(1)
    market.crowd(beta, node, 12)
    market.admin.create(_budget(beta, f"crowd-{node}", 12))
    until("the budget counts", lambda: _budgeted(market, beta, f"crowd-{node}"))
    market.user(acme, "early", "laycan-early-0")
    with CardWatch(market.admin).watch() as seen, Office(market.installed):
        start = now() + 5
        uid = market.deal("early", acme, [Row(0, node, (2, 5), start, start + 600)], bound_at=start - 600)
        until("the hold pod waits", lambda: hold_pods(market, acme))
        while time.time() < start - 0.5:
            assert not cards(market.claim(acme, "laycan-early-0")), "a budget holds until the start"
            time.sleep(0.1)
        await_has(market, acme, "laycan-early-0", node, 2, 5, seconds=10)
        assert market.await_running(acme, "early") == node
        until("no hold pod, no label", lambda: not hold_pods(market, acme) and not label(market.admin, node))
        assert owners(market.admin) == {}
        assert {entry["uid"] for entry in market.claim(acme, "laycan-early-0")["status"]["reservedFor"]} > {uid}
        until("the others have the rest", lambda: _crowd_has(market, beta) == 6)
    assert seen.doubles == []
    assert [len(seen.had[node, f"gpu-{minor}"]) for minor in (0, 1, 3, 4, 6, 7)] == [1] * 6, "of the strangers only two had to go"


def _budget(namespace: str, name: str, least: int) -> dict[str, object]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": name}}},
    }


def _budgeted(market: GpuMarket, namespace: str, name: str) -> bool:
    budget = market.admin.get(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}")
    return "disruptionsAllowed" in budget.get("status", {}) and budget["status"].get("currentHealthy", 0) >= 8


def _crowd_has(market: GpuMarket, namespace: str) -> int:
    return sum(len(cards(claim)) for claim in market.admin.items(f"{RESOURCE}/namespaces/{namespace}/resourceclaims"))


def test_contracts_share_a_node(market: GpuMarket) -> None:
    """Two contracts of two holders have their lots on one node side by side, and a stranger the GPU that is left."""
    acme, gamma, beta, (node,) = market.holder("acme"), market.holder("gamma"), market.stranger(), market.gpu_nodes(1)
    with Office(market.installed):
        end = now() + 600
        market.deal("share-a", acme, [Row(0, node, (0, 1), now(), end), Row(1, node, (6, 3), now(), end)])
        market.deal("share-b", gamma, [Row(0, node, (2, 4, 5), now(), end)])
        for holder, name, minors in ((acme, "share-a-0", (0, 1)), (acme, "share-a-1", (3, 6)), (gamma, "share-b-0", (2, 4, 5))):
            await_has(market, holder, f"laycan-{name}", node, *minors)
            market.user(holder, f"pod-{name}", f"laycan-{name}")
        for holder, name in ((acme, "share-a-0"), (acme, "share-a-1"), (gamma, "share-b-0")):
            market.await_running(holder, f"pod-{name}")
        market.pod(beta, "last", gpus=1)
        market.await_running(beta, "last")
        assert label(market.admin, node) == ""


def test_holder_to_holder(market: GpuMarket) -> None:
    """At the end of a window the GPUs pass to the next holder, whose pod has waited, though strangers wait for each of them too."""
    acme, gamma, beta, (node,) = market.holder("acme"), market.holder("gamma"), market.stranger(), market.gpu_nodes(1)
    change = now() + 6
    with CardWatch(market.admin).watch() as seen, Office(market.installed):
        market.deal("first", acme, [Row(0, node, (0, 1, 2, 3), now(), change)])
        market.deal("second", gamma, [Row(0, node, (0, 1, 2, 3), change, change + 600)])
        await_has(market, acme, "laycan-first-0", node, 0, 1, 2, 3)
        market.crowd(beta, node, 9, free=4)
        market.user(acme, "worker", "laycan-first-0")
        market.user(gamma, "next", "laycan-second-0")
        market.await_running(acme, "worker")
        market.await_running(gamma, "next")
        assert time.time() >= change
        assert gone(market, acme, "worker")
        until("the first claim is gone", lambda: not market.claim(acme, "laycan-first-0"))
    assert seen.doubles == []
    for minor in range(4):
        assert seen.had[node, f"gpu-{minor}"] == [f"{acme}/laycan-first-0", f"{gamma}/laycan-second-0"]


class TestMove:
    """A lot that goes elsewhere keeps its claim's name: the old place must be left before the new one is entered."""

    def test_move_to_another_node(self, market: GpuMarket) -> None:
        """The pod on the old node is ended, the claim made anew, and the next pod of the same Deployment runs on the new node."""
        acme, (old, new) = market.holder("acme"), market.gpu_nodes(2)
        end = now() + 600
        with CardWatch(market.admin).watch() as seen, Office(market.installed):
            market.deal("move", acme, [Row(0, old, (1, 2), now(), end)])
            market.user(acme, "before", "laycan-move-0")
            market.await_running(acme, "before")
            market.assign("move", [Row(0, new, (6, 7), now(), end)], "Delivering")
            await_has(market, acme, "laycan-move-0", new, 6, 7)
            assert gone(market, acme, "before")
            market.user(acme, "after", "laycan-move-0")
            assert market.await_running(acme, "after") == new
        assert seen.doubles == []
        assert {old, new} == {node for node, _ in seen.had}

    def test_b6_dead_node(self, market: GpuMarket) -> None:
        """What a dead node runs may still run: the lot is not given out again before that pod is known to be gone. Nor is the node free."""
        acme, (dead, spare) = market.holder("acme"), market.gpu_nodes(2)
        end = now() + 600
        with Office(market.installed) as office:
            uid = market.deal("dead", acme, [Row(0, dead, (0, 1), now(), end), Row(1, dead, (2, 3), now(), end)])
            market.user(acme, "left", "laycan-dead-0")
            market.await_running(acme, "left")
            await_has(market, acme, "laycan-dead-1", dead, 2, 3)
            fleet.kill_node(market.admin, dead)
            until("in quarantine, though it had no owner", lambda: owners(market.admin).get(dead) == f"quarantine.{uid}", seconds=60)
            market.assign("dead", [Row(0, spare, (4, 5), now(), end), Row(1, spare, (6, 7), now(), end)], "Delivering")
            await_has(market, acme, "laycan-dead-1", spare, 6, 7)  # nobody used it
            until("asked to go", lambda: "deletionTimestamp" in market.admin.get(_pod(acme, "left"))["metadata"])
            until("overdue", lambda: uid in problems(office))
            assert "left" in problems(office)[uid]
            assert cards(market.claim(acme, "laycan-dead-0")) == {(dead, "gpu-0"), (dead, "gpu-1")}
            fleet.revive_node(market.admin, dead)
            await_has(market, acme, "laycan-dead-0", spare, 4, 5)
            until("the entry alone", lambda: len(market.claim(acme, "laycan-dead-0")["status"]["reservedFor"]) == 1)
            until("no problem is left", lambda: uid not in problems(office))

    def test_hold_pod_on_a_dead_node(self, market: GpuMarket) -> None:
        """A lot was taken on a node that had died unnoticed: nobody says that its hold pod has ended, and that keeps it from nothing."""
        acme, (dead, spare) = market.holder("acme"), market.gpu_nodes(2)
        end = now() + 600
        fleet.kill_node(market.admin, dead)
        with Office(market.installed):
            market.deal("taken", acme, [Row(0, dead, (0, 1), now(), end)])
            until("the hold pod is asked to go", lambda: market.terminating(acme))
            assert market.has(acme, "laycan-taken-0", dead, 0, 1)
            market.assign("taken", [Row(0, spare, (4, 5), now(), end)], "Delivering")
            await_has(market, acme, "laycan-taken-0", spare, 4, 5)


def problems(office: Office) -> dict[str, str]:
    """What delivery could show of each contract."""
    assert office.delivery is not None
    return dict(office.delivery.problems)


def hold_pod_uids(market: GpuMarket, namespace: str) -> set[str]:
    """A hold pod that is made anew has the name of the one before."""
    pods = (market.admin.find(_pod(namespace, name)) for name in hold_pods(market, namespace))
    return {pod["metadata"]["uid"] for pod in pods if pod is not None}


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def test_a10_death_at_each_write(market: GpuMarket) -> None:
    """The operator dies before its first write, its second, and so on, and another one takes over.

    A lot leaves a node with a pod of its own on it for one that a crowd of strangers fills: all steps of leaving and of taking.
    """
    assert each_death(market, _move_into_a_crowd) >= 11, (
        "delete, eviction, entry off; claim, hold pod, label, two evictions, entry, both off"
    )


def _move_into_a_crowd(market: GpuMarket, dies_at: int) -> bool:
    acme, beta, (old, new) = market.holder("acme"), market.stranger(), market.gpu_nodes(2, gpus=3)
    name, end = f"move-{dies_at}", now() + 600
    claim = f"laycan-{name}-0"
    with Office(market.installed):
        market.deal(name, acme, [Row(0, old, (0, 1), now(), end)])
        market.user(acme, "worker", claim)
        market.await_running(acme, "worker")
        market.crowd(beta, new, 4, free=3)
        until("settled", lambda: not hold_pods(market, acme))
    market.assign(name, [Row(0, new, (1, 2), now(), end)], "Delivering")

    def done() -> bool:
        return market.has(acme, claim, new, 1, 2) and not hold_pods(market, acme) and not label(market.admin, new)

    with CardWatch(market.admin).watch() as seen:
        died = office_until_death(market, dies_at, done)
        with Office(market.installed):
            until("delivered, and nothing left", done)
    assert seen.doubles == []
    assert gone(market, acme, "worker")
    return died


def test_b2_stays_allocated(market: GpuMarket) -> None:
    """The GPUs stay the contract's without a pod, after a pod that fits nowhere, and over a restart of the controller manager."""
    acme, (node, other), plane = market.holder("acme"), market.gpu_nodes(2), market.installed.plane
    with Office(market.installed):
        market.deal("b2", acme, [Row(0, node, (3, 4), now(), now() + 600)])
        await_has(market, acme, "laycan-b2-0", node, 3, 4)
        until("no hold pod", lambda: not hold_pods(market, acme))
    before = market.claim(acme, "laycan-b2-0")["status"]
    market.user(acme, "elsewhere", "laycan-b2-0", nodeSelector={"kubernetes.io/hostname": other})
    until("it fits nowhere", lambda: "Unschedulable" in str(market.admin.get(_pod(acme, "elsewhere"))["status"]))
    market.admin.delete(_pod(acme, "elsewhere"), gracePeriodSeconds=0)
    market.user(acme, "visitor", "laycan-b2-0")
    market.await_running(acme, "visitor")
    market.admin.delete(_pod(acme, "visitor"), gracePeriodSeconds=0)
    plane.kill("kube-controller-manager")
    plane.start("kube-controller-manager")
    until("the visitor is forgotten", lambda: len(market.claim(acme, "laycan-b2-0")["status"]["reservedFor"]) == 1)
    market.crowd(market.stranger(), node, 8, free=6)
    assert market.claim(acme, "laycan-b2-0")["status"] == before


def test_b3_collisions(market: GpuMarket) -> None:
    """Forty-eight times a stranger's pod for one GPU comes 0 to 50 ms after a lot's claim, on a node that has just so many.

    At no version of any ResourceClaim was a card in two, and each time the contract has it in the end.
    """
    acme, beta, (node,) = market.holder("acme"), market.stranger(), market.gpu_nodes(1, gpus=16)
    with CardWatch(market.admin).watch() as seen, Office(market.installed):
        for number in range(3):
            name, lots = f"b3-{number}", range(16)
            rivals = [Thread(target=partial(_collide, market, acme, beta, f"laycan-{name}-{lot}", lot % 8 * 0.007)) for lot in lots]
            for rival in rivals:
                rival.start()
            market.deal(name, acme, [Row(lot, node, (lot,), now(), now() + 600) for lot in lots])
            for lot in lots:
                await_has(market, acme, f"laycan-{name}-{lot}", node, lot)
            for rival in rivals:
                rival.join(30)
            market.assign(name, [], "Terminated")
            until("let go", lambda: not market.admin.items(f"{RESOURCE}/namespaces/{acme}/resourceclaims"))
            market.admin.request("DELETE", f"/api/v1/namespaces/{beta}/pods")
            until("the strangers are gone", lambda: not _crowd_has(market, beta))
    assert seen.doubles == []
    had = [key.partition("/")[0] for keys in seen.had.values() for key in keys]
    assert had.count(acme) >= 48
    assert had.count(beta) > 0, "some of the strangers came first"


def _collide(market: GpuMarket, holder: str, namespace: str, claim: str, seconds: float) -> None:
    until("the claim", lambda: market.claim(holder, claim), pause=0.002)
    time.sleep(seconds)
    market.pod(namespace, f"rival-{claim}", gpus=1)


class TestB7:
    """Another card under the same device name."""

    def test_b7_swapped(self, market: GpuMarket) -> None:
        """A repair puts another card in: what the claim has is no longer what was promised, and that is told."""
        acme, (node,) = market.holder("acme"), market.gpu_nodes(1)
        with Office(market.installed) as office:
            uid = market.deal("b7", acme, [Row(0, node, (2,), now(), now() + 600)])
            await_has(market, acme, "laycan-b7-0", node, 2)
            until("settled", lambda: not problems(office))
            fleet.swap_gpu(market.admin, node, 2, "GPU-another")
            until("told", lambda: f"{fleet.gpu_uuid(node, 2)} is no longer on node {node}" in problems(office).get(uid, ""))
            market.assign("b7", [Row(0, node, (3,), now(), now() + 600)], "Delivering")
            await_has(market, acme, "laycan-b7-0", node, 3)
            until("settled", lambda: not problems(office))

    def test_b7_renumbered(self, market: GpuMarket) -> None:
        """After a reboot the cards have other names: the claim follows the card, a stranger who got it by its new name goes."""
        acme, beta, (node,) = market.holder("acme"), market.stranger(), market.gpu_nodes(1, gpus=2)
        mine, other = fleet.gpu_uuid(node, 0), fleet.gpu_uuid(node, 1)
        with Office(market.installed):
            market.deal("turn", acme, [Row(0, node, (0,), now(), now() + 600)])
            await_has(market, acme, "laycan-turn-0", node, 0)
            market.pod(beta, "neighbour", gpus=1)
            market.await_running(beta, "neighbour")
            fleet.swap_gpu(market.admin, node, 0, "GPU-in-transit")
            fleet.swap_gpu(market.admin, node, 1, mine)
            fleet.swap_gpu(market.admin, node, 0, other)
            await_has(market, acme, "laycan-turn-0", node, 1)
            assert gone(market, beta, "neighbour")


def test_a_full_quota_is_told(market: GpuMarket) -> None:
    """A namespace that has no room for the hold pod is named, with what it lacks; with room it goes on by itself.

    The strictest of the Pod Security Standards is no hindrance.
    """
    acme, (node,) = market.holder("strict"), market.gpu_nodes(1)
    market.admin.patch(f"/api/v1/namespaces/{acme}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": acme}, "spec": {"hard": {"pods": "0"}}}
    market.admin.create(quota)
    path = f"/api/v1/namespaces/{acme}/resourcequotas/none"
    until("the quota counts", lambda: "hard" in market.admin.get(path).get("status", {}))
    with Office(market.installed) as office:
        uid = market.deal("quota", acme, [Row(0, node, (0,), now(), now() + 600)])
        until("told", lambda: uid in problems(office))
        assert f"namespace {acme} refuses the hold pod" in problems(office)[uid]
        assert "exceeded quota" in problems(office)[uid]
        market.admin.delete(path)
        await_has(market, acme, "laycan-quota-0", node, 0)
        until("no problem is left", lambda: not problems(office))
    assert kept(market.claim(acme, "laycan-quota-0"))


def test_a_scheduler_that_forgot(market: GpuMarket) -> None:
    """A hold pod that nobody's GPUs stand in the way of is made anew, so that an event which the scheduler missed costs seconds."""
    acme, (node,) = market.holder("acme"), market.gpu_nodes(1)
    path = f"/apis/resource.k8s.io/v1/deviceclasses/{fleet.DRIVER}"
    market.admin.delete(path)
    with Office(market.installed) as office:
        uid = market.deal("forgot", acme, [Row(0, node, (0,), now(), now() + 600)])
        until("told", lambda: "waits: " in problems(office).get(uid, ""))
        first = hold_pod_uids(market, acme)
        until("asked anew", lambda: hold_pod_uids(market, acme) - first)
        market.admin.create(fleet.device_class())
        await_has(market, acme, "laycan-forgot-0", node, 0)


def test_a_late_answer_is_forgotten(market: GpuMarket) -> None:
    """The answer to a write may come after the watch has told that the claim is gone: that is seen again, and the lot goes on."""
    acme, (old, new) = market.holder("acme"), market.gpu_nodes(2)
    with Office(market.installed) as office:
        market.deal("late", acme, [Row(0, old, (0,), now(), now() + 600)])
        await_has(market, acme, "laycan-late-0", old, 0)
        before = office.world.resource_claims[f"{acme}/laycan-late-0"]
        market.assign("late", [], "Delivering")
        until("gone", lambda: before.key not in office.world.resource_claims)
        office.call(office.world.put, "resource_claims", before.key, replace(before, deleting=True))
        market.assign("late", [Row(0, new, (5,), now(), now() + 600)], "Delivering")
        await_has(market, acme, "laycan-late-0", new, 5)


def test_detection(market: GpuMarket) -> None:
    """Exact GPUs are promised only where the guard of the claims answers; without it, why not is said."""
    binding = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-claim-guard"

    async def ask() -> Devices:
        async with Client(load_credentials(operator_kubeconfig(market.installed))) as client:
            return await find_devices(client, "laycan-probe")

    assert asyncio.run(ask()) == Devices(True, "")
    before = market.admin.get(binding)
    market.admin.delete(binding)
    until("the guard is down", lambda: "is not in force" in asyncio.run(ask()).trouble)
    market.admin.create({key: before[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "laycan-claim-guard"}})
    until("it is back", lambda: asyncio.run(ask()) == Devices(True, ""))


def test_an_uninstall_lets_go(market: GpuMarket) -> None:
    """`laycan release` evicts nobody: GPUs that nobody uses are free at once, the others with the last pod that uses their claim."""
    acme, (node,) = market.holder("acme"), market.gpu_nodes(1)
    with Office(market.installed):
        market.deal("bye", acme, [Row(lot, node, (lot,), now(), now() + 600) for lot in range(2)])
        for lot in range(2):
            await_has(market, acme, f"laycan-bye-{lot}", node, lot)
        market.user(acme, "worker", "laycan-bye-0")
        market.await_running(acme, "worker")
    open_all(market.installed)
    until("the idle lot is free", lambda: not market.claim(acme, "laycan-bye-1"))
    assert market.runs(acme, "worker") == node
    assert cards(market.claim(acme, "laycan-bye-0")) == {(node, "gpu-0")}
    market.admin.delete(_pod(acme, "worker"), gracePeriodSeconds=0)
    until("the other is free too", lambda: not market.claim(acme, "laycan-bye-0"))
