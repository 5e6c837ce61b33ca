"""Delivery on a real node: containers run and end where KWOK only says so, and a kubelet has an opinion of its own."""

from __future__ import annotations

from typing import Any

import yaml

from controlplane import fleet
from controlplane.api import Object
from controlplane.kubelet import RealNode
from controlplane.node_files import IMAGES
from controlplane.waiting import until
from tests.cluster.delivering import Market, Office, holds, label, now, owners
from tests.cluster.policies.installed import Installed
from tests.kubelet.conftest import agents


def uid(market: Market, namespace: str, name: str) -> str:
    return str(market.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"])


def found(market: Market, namespace: str, name: str) -> Object | None:
    return market.admin.find(f"/api/v1/namespaces/{namespace}/pods/{name}")


def stubborn(gpus: int = 8) -> dict[str, Any]:
    """The spec of a container that ends at SIGKILL only, three seconds after it was asked to."""
    container = {"name": "main", "image": IMAGES[0], "args": ["stubborn"], "resources": {"limits": {fleet.GPU: str(gpus)}}}
    return {"containers": [container], "terminationGracePeriodSeconds": 3}


def static_pod(node: RealNode, name: str) -> str:
    """Lays a static pod of namespace default in the node's folder; its mirror's name."""
    (node.folder / "static" / f"{name}.yaml").write_text(yaml.safe_dump(fleet.pod("default", name)))
    return f"{name}-{node.name}"


def test_a_window_from_freeze_to_release(market: Market, cluster: Installed, node: RealNode) -> None:
    """A stranger's container gets its grace, the holder has the node only when it has ended, and runs there in fact; at the end her own
    container is gone. DaemonSets and static pods run through all of it, in the same pods, and a static pod that is laid down meanwhile
    starts and is seen."""
    acme, beta, nodes = market.holder("acme"), market.stranger(), [node.name]
    market.pod(beta, "resident", node=node.name, **stubborn())
    market.await_running(beta, "resident")
    resident, mirror, lasting = uid(market, beta, "resident"), static_pod(node, "first"), agents(cluster, node.name)
    static = market.await_running("default", mirror) and uid(market, "default", mirror)
    assert node.containers(resident)
    market.pod(acme, "early")
    with Office(market.installed):
        market.contract("window", acme, nodes, now() + 5, now() + 20)
        graced: list[int] = []  # its processes, each time that it was seen to run although it had been asked to end

        def handed_over() -> bool:
            pod = found(market, beta, "resident")
            graced.extend(node.containers(resident) if pod and pod["metadata"].get("deletionTimestamp") else ())
            return label(market.admin, node.name) == acme

        until("handed over", handed_over)
        assert node.containers(resident) == []
        assert graced
        assert market.await_running(acme, "early") == node.name
        worker = uid(market, acme, "early")
        assert len(node.containers(worker)) == 2, "the pod's sandbox and its container"
        market.await_running("default", static_pod(node, "second"))
        until("over", lambda: holds(market.admin, nodes, "") and not owners(market.admin), seconds=60)
        assert node.containers(worker) == []
        ended = found(market, acme, "early")
        assert ended is None or (ended["metadata"].get("deletionTimestamp") and ended["status"]["phase"] in ("Succeeded", "Failed"))
    assert agents(cluster, node.name) == lasting
    assert uid(market, "default", mirror) == static
    assert all(node.containers(pod) for pod in lasting.values())
    for file in (node.folder / "static").iterdir():
        file.unlink()
    until("the static pods are gone", lambda: not market.admin.items("/api/v1/namespaces/default/pods"))


def test_the_kubelet_turns_strangers_away(market: Market, node: RealNode) -> None:
    """While the fence has no data, as after a restart of the API server, a stranger's pod that names a held node gets past the API; the
    kubelet refuses it for the label's sake, and no container of it ever starts."""
    acme, beta = market.holder("acme"), market.stranger()
    market.installed.hold([node.name], acme)
    market.installed.fence({node.name: None})
    until("the fence has no entry", lambda: not market.installed.refusal(node.name))
    market.admin.create(fleet.pod(beta, "sneak", gpus=1, nodeName=node.name))
    until("refused", lambda: (found(market, beta, "sneak") or {})["status"].get("phase") == "Failed")
    refused = found(market, beta, "sneak") or {}
    assert refused["status"]["reason"] == "NodeAffinity"
    assert node.containers(refused["metadata"]["uid"]) == []
    market.admin.create(fleet.pod(acme, "own", gpus=8, nodeName=node.name))
    market.await_running(acme, "own")


def test_the_kubelet_counts_the_gpus(market: Market, node: RealNode) -> None:
    """A holder who names her node twice for all its GPUs runs once: the second pod fails at the kubelet, which the scheduler never saw."""
    acme = market.holder("acme")
    with Office(market.installed):
        market.contract("twice", acme, [node.name], now(), now() + 600)
        until("held", lambda: holds(market.admin, [node.name], acme))
        market.admin.create(fleet.pod(acme, "one", gpus=8, nodeName=node.name))
        market.await_running(acme, "one")
        market.admin.create(fleet.pod(acme, "two", gpus=8, nodeName=node.name))
        until("refused", lambda: (found(market, acme, "two") or {})["status"].get("phase") == "Failed")
    assert (found(market, acme, "two") or {})["status"]["reason"] == f"OutOf{fleet.GPU}"


def test_a_kubelet_that_returns(market: Market, node: RealNode, cluster: Installed) -> None:
    """A kubelet that falls silent leaves the holder's container running: the node is given up, a spare serves, and nobody strikes the old
    pod from the API while its container runs. When the kubelet is back both go, and the node is free once it was well for long enough."""
    acme, (spare,) = market.holder("acme"), market.nodes(1)
    with Office(market.installed) as office:
        account = market.contract("silent", acme, [node.name], now(), now() + 600)
        until("held", lambda: holds(market.admin, [node.name], acme))
        market.pod(acme, "old", node=node.name, terminationGracePeriodSeconds=3)
        market.await_running(acme, "old")
        old = uid(market, acme, "old")
        node.kill_kubelet()
        until("failed", lambda: office.delivery and node.name in office.delivery.unusable(), seconds=60)
        market.bind("silent", [(spare, now(), now() + 600)], "Delivering")
        until("given up", lambda: holds(market.admin, [node.name], f"quarantine.{account}"))
        market.pod(acme, "new", node=spare)
        market.await_running(acme, "new")
        assert node.containers(old), "the copy on the silent node"
        assert found(market, acme, "old")
        node.start_kubelet()
        until("the old pod is gone", lambda: not found(market, acme, "old"))
        assert node.containers(old) == []
        until("free", lambda: holds(market.admin, [node.name], ""), seconds=60)
        assert holds(market.admin, [spare], acme)
    assert len(agents(cluster, node.name)) == 3
