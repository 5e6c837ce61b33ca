"""A5: node agents through the life of a delivery: those that may run on a delivered node do, others are not desired there, none hangs.

The controller judges a node by the DaemonSet's template, not by the pods it would get, so a restriction that only pods carry leaves pods
Pending for ever, and a taint takes the GPU operator's device plugin, and with it the delivered GPUs, off the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from controlplane import fleet
from controlplane.api import Api
from controlplane.waiting import until
from tests.cluster.policies.installed import HOLDER, HOLDER_LABEL, STRANGER, Installed, daemonset

pytestmark = pytest.mark.xdist_group("policies")

NODES = ("agents-0", "agents-1", "agents-2")
DELIVERED = NODES[:2]
DAEMONSETS = {"gpu-operator": "device-plugin", "monitoring": "node-exporter", STRANGER: "agent"}  # namespace -> name


def path(namespace: str) -> str:
    """Where the DaemonSet of a namespace lives."""
    return f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{DAEMONSETS[namespace]}"


@pytest.fixture
def agents(installed: Installed) -> Iterator[Installed]:
    """Three managed nodes and the three DaemonSets, all running; everything is gone afterwards."""
    for name in NODES:
        installed.nodes(name)
        installed.admin.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {"agents": "yes"}}})
    for namespace, name in DAEMONSETS.items():
        creator = installed.bob if namespace == STRANGER else installed.admin
        creator.create(daemonset(namespace, name, nodeSelector={"agents": "yes"}))
    yield installed
    for namespace in DAEMONSETS:
        installed.admin.delete(path(namespace), propagationPolicy="Foreground")
        until("it and its pods are gone", partial(_gone, installed.admin, path(namespace)))
    for name in NODES:
        installed.admin.delete(f"/api/v1/nodes/{name}")


def settled(cluster: Installed, namespace: str, nodes: tuple[str, ...]) -> bool:
    """Whether the DaemonSet of a namespace is ready on exactly these nodes, at its newest template, with no pod left over or waiting."""
    found = cluster.admin.get(path(namespace))
    status, wanted = found["status"], len(nodes)
    if status.get("observedGeneration") != found["metadata"]["generation"] or status.get("numberMisscheduled"):
        return False
    counts = [status.get(key, 0) for key in ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberReady")]
    pods = cluster.admin.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"app={DAEMONSETS[namespace]}")
    running = sorted(pod["spec"].get("nodeName", "") for pod in pods if pod["status"]["phase"] == "Running")
    return counts == [wanted] * 4 and len(pods) == wanted and running == sorted(nodes)


def all_settled(cluster: Installed, *, strangers_on: tuple[str, ...]) -> None:
    """Waits until the cluster's agents are ready on every node and the tenant's on those."""
    for namespace in DAEMONSETS:
        nodes = strangers_on if namespace == STRANGER else NODES
        until(f"{namespace} ready on {nodes}", partial(settled, cluster, namespace, nodes))


def test_through_a_delivery(agents: Installed) -> None:
    """From before the freeze until after the release: ready equals desired for each, through a rollout and the loss of all pods."""
    all_settled(agents, strangers_on=NODES)

    agents.hold(DELIVERED, "frozen.5eed")
    all_settled(agents, strangers_on=NODES[2:])
    agents.hold(DELIVERED, HOLDER)
    all_settled(agents, strangers_on=NODES[2:])

    for namespace in DAEMONSETS:  # what `kubectl rollout restart` does
        restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
        agents.admin.patch(path(namespace), restart)
    all_settled(agents, strangers_on=NODES[2:])

    for namespace in DAEMONSETS:
        before = _uids(agents, namespace)
        agents.admin.delete(f"/api/v1/namespaces/{namespace}/pods", gracePeriodSeconds=0)
        until("the pods are new ones", partial(_replaced, agents, namespace, before))
    all_settled(agents, strangers_on=NODES[2:])

    agents.release(DELIVERED)
    all_settled(agents, strangers_on=NODES)


def test_agents_that_ask_for_gpus_are_strangers(installed: Installed) -> None:
    """In an agent namespace too, a DaemonSet that takes GPUs is kept off delivered nodes."""
    template = daemonset("monitoring", "greedy")
    template["spec"]["template"]["spec"]["containers"] = fleet.pod("monitoring", "greedy", gpus=1)["spec"]["containers"]
    created = installed.admin.create(template, dryRun="All")
    terms = created["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms == {"nodeSelectorTerms": [{"matchExpressions": [{"key": HOLDER_LABEL, "operator": "DoesNotExist"}]}]}


def test_the_holders_own_daemonset(installed: Installed) -> None:
    """A holder's DaemonSet that asks for GPUs runs on the delivered nodes and nowhere else; a second write of it changes nothing more."""
    wanted = daemonset(HOLDER, "trainer", nodeSelector={"kubernetes.io/os": "linux"})
    wanted["spec"]["template"]["spec"]["containers"] = fleet.pod(HOLDER, "trainer", gpus=8)["spec"]["containers"]
    created = installed.alice.create(wanted)
    own = f"/apis/apps/v1/namespaces/{HOLDER}/daemonsets/trainer"
    assert created["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", HOLDER_LABEL: HOLDER}
    written = installed.alice.patch(own, {"metadata": {"annotations": {"note": "touched"}}})
    assert written["metadata"]["generation"] == created["metadata"]["generation"]
    until("both delivered nodes", lambda: installed.alice.get(own)["status"]["numberReady"] == 2)
    assert installed.alice.get(own)["status"]["desiredNumberScheduled"] == 2
    installed.alice.delete(own, propagationPolicy="Foreground")
    until("it is gone", partial(_gone, installed.alice, own))


def _uids(cluster: Installed, namespace: str) -> set[str]:
    pods = cluster.admin.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"app={DAEMONSETS[namespace]}")
    return {pod["metadata"]["uid"] for pod in pods}


def _replaced(cluster: Installed, namespace: str, before: set[str]) -> bool:
    return not before & _uids(cluster, namespace)


def _gone(api: Api, place: str) -> bool:
    return api.find(place) is None
