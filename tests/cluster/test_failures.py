"""Dead nodes on a cluster whose node controller takes its usual 40 s to notice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.resources.times import format_time
from tests.cluster.delivering import Market, Office, delivered_cluster, holds, now, product
from tests.cluster.policies.installed import Installed

pytestmark = pytest.mark.xdist_group("failures")

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
        stale = format_time(now())
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
