"""Delivery when something is in its way: dead nodes, slow drains. The node controller takes its usual 40 s to notice the dead."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.delivery.lead import ENOUGH, lead_seconds
from laycan.resources.times import format_time
from tests.cluster.delivering import FAST, PRODUCT, Market, Office, Sentry, delivered_cluster, holds, now, product, protect
from tests.cluster.policies.installed import Installed

pytestmark = pytest.mark.xdist_group("holds")

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Two products that are watched by heartbeats, of which one gives up the pods of dead nodes."""
    with delivered_cluster(tmp_path_factory.mktemp("failures"), tools, heartbeat_grace_seconds=40) as installed:
        detection = {"seconds": 40, "heartbeatSeconds": 15}
        installed.admin.apply(product("quick", detection=detection, planning={"deadNodes": "OutOfService"}))
        installed.admin.apply(product("careful", detection=detection))
        yield installed


@pytest.fixture
def market(cluster: Installed) -> Iterator[Market]:
    """Nodes, namespaces and contracts of one test."""
    made = Market(cluster)
    yield made
    made.clear()


def test_two_copies(market: Market) -> None:
    """Nodes fail by their heartbeats while Ready still says True; who gives up their pods, and who may say that their power is off.

    Where the product says OutOfService the replacement of a dead node's pod runs on the spare. Where it says nothing the pod is not
    touched, until somebody confirms the power-off of now (and not one from before). When a node is heard again, its taint goes.
    """
    acme, gamma = market.holder("acme"), market.holder("gamma")
    victims, spares, _others = market.nodes(2), market.nodes(2), market.nodes(2)
    end = now() + 600
    with Office(market.installed):
        quick = market.contract("quick", acme, victims[:1], now(), end, product="quick")
        careful = market.contract("careful", gamma, victims[1:], now(), end, product="careful")
        for namespace, node in zip((acme, gamma), victims, strict=True):
            market.admin.create(deployment(namespace))
            until("its pod runs", partial(runs_on, market, namespace, node))
        stale = format_time(now() - 60)  # before the last heartbeats
        for node in victims:
            fleet.kill_node(market.admin, node)
        until("quarantined", lambda: holds(market.admin, victims[:1], f"quarantine.{quick}"), seconds=60)
        assert market.ready(victims[0]), "faster than the node controller"
        until("quarantined", lambda: holds(market.admin, victims[1:], f"quarantine.{careful}"), seconds=60)
        powered_off(market, victims[1], stale)
        market.bind("quick", [(spares[0], now(), end)], "Delivering", product="quick")
        market.bind("careful", [(spares[1], now(), end)], "Delivering", product="careful")
        until("the replacement runs on the spare", lambda: runs_on(market, acme, spares[0]))
        until("the spare is held", lambda: holds(market.admin, spares[1:], gamma))
        assert runs_on(market, gamma, victims[1])
        assert [taints(market, node) for node in victims] == [[OUT_OF_SERVICE], []]

        powered_off(market, victims[1], format_time(now()))
        until("the replacement runs on the spare", lambda: runs_on(market, gamma, spares[1]))
        for node in victims:
            fleet.revive_node(market.admin, node)
        until("in service", lambda: not any(taints(market, node) for node in victims))


def test_make_before_break(market: Market) -> None:
    """A lot moves at an instant: its new node is the holder's before, and its old one until then; no other pod of his is ended.

    Where the new node is not empty in time, held up by a budget, the old one stays with its holder until it is.
    """
    acme, beta = market.holder("acme"), market.stranger()
    (old, slow_old), (new, slow_new) = market.nodes(2), market.nodes(2)
    for pod in ("first", "second"):
        market.pod(acme, pod)
    protect(market, beta, "stays", slow_new)
    with Office(market.installed, FAST.model_copy(update={"lead_seconds": 5, "drain_seconds": 11})):
        move, end = now() + 9, now() + 600
        market.contract("moves", acme, [], now(), end)
        market.bind("moves", [(old, now(), move), (new, move, end), (slow_old, now(), move), (slow_new, move, end)], lots=[0, 0, 1, 1])
        for pod in ("first", "second"):
            market.await_running(acme, pod)
        until("the new node is held", lambda: holds(market.admin, [new], acme))
        assert now() < move
        assert holds(market.admin, [old, slow_old], acme)
        until("the old node is opened", lambda: holds(market.admin, [old], ""))
        assert now() >= move
        assert holds(market.admin, [slow_old], acme) or holds(market.admin, [slow_new], acme), "he has one of the two"
        until("the old node is opened", lambda: holds(market.admin, [slow_old], ""))
        assert holds(market.admin, [new, slow_new], acme)


def test_lead_is_learnt(market: Market) -> None:
    """Pods that take their time to end lengthen the lead of later windows; a restarted operator knows it from NodeFence/cluster."""
    acme, beta, nodes, later = market.holder("acme"), market.stranger(), market.nodes(ENOUGH), market.nodes(1)
    for node in nodes:
        slow = {"kwok.local/ignores-sigterm": "true"}
        market.admin.create(fleet.pod(beta, f"on-{node}", gpus=8, annotations=slow, nodeName=node, terminationGracePeriodSeconds=300))
        market.await_running(beta, f"on-{node}")
    settings = FAST.model_copy(update={"lead_seconds": 2, "drain_seconds": 4})
    start = now()
    with Office(market.installed, settings) as office:
        market.contract("slow", acme, nodes, start, start + 600, bound_at=start - 60)
        until("held", lambda: holds(market.admin, nodes, acme))
        assert lead_seconds(PRODUCT, {}, office.world.fence, settings) >= 10
    with Office(market.installed, settings) as office:
        lead = lead_seconds(PRODUCT, {}, office.world.fence, settings)
        assert lead >= 10
        begin = now() + lead + 2
        uid = market.contract("later", acme, later, begin, begin + 600)
        until("closed", lambda: holds(market.admin, later, f"frozen.{uid}"))
        assert now() < begin - settings.lead_seconds


def test_no_backfill(market: Market) -> None:
    """With backfill for Nobody what is free is emptied and closed, never open between two holders, and opened when it is allowed again."""
    acme, beta, (node, spare) = market.holder("acme"), market.stranger(), market.nodes(2)
    market.pod(beta, "before", node=node)
    market.await_running(beta, "before")
    market.pod(acme, "worker")
    with Office(market.installed, FAST.model_copy(update={"backfill": "Nobody"})):
        until("closed", lambda: holds(market.admin, [node, spare], "frozen.none"))
        until("emptied", lambda: not market.admin.find(f"/api/v1/namespaces/{beta}/pods/before"))
        market.pod(beta, "waits", node=node)
        with Sentry(market.installed, [node, spare], [acme]).watch() as sentry:
            market.contract("held", acme, [node], now(), now() + 4)
            market.await_running(acme, "worker")
            until("closed again", lambda: holds(market.admin, [node, spare], "frozen.none"))
            until("looked at", lambda: sentry.looks > 3)
            assert (sentry.present, sentry.after) == (set(), set())
        assert not market.runs(beta, "waits")
    with Office(market.installed):
        until("free", lambda: holds(market.admin, [node, spare], ""))
        assert market.await_running(beta, "waits") == node


def deployment(namespace: str) -> Object:
    """One pod that takes a whole node."""
    pod = fleet.pod(namespace, "worker", gpus=8)
    labels = {"app": "worker"}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def runs_on(market: Market, namespace: str, node: str) -> bool:
    """Whether a pod of the namespace runs there and is not being deleted."""
    pods = market.admin.items(f"/api/v1/namespaces/{namespace}/pods")
    living = [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
    return [pod["spec"]["nodeName"] for pod in living] == [node]


def powered_off(market: Market, node: str, at: str) -> None:
    """A person's word."""
    market.admin.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {"laycan.dev/powered-off": at}}})


def taints(market: Market, node: str) -> list[str]:
    """Keys of the taints by which pods are given up."""
    found = market.admin.get(f"/api/v1/nodes/{node}")["spec"].get("taints") or ()
    return [taint["key"] for taint in found if taint["key"] == OUT_OF_SERVICE]
