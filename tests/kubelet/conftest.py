"""Fixtures of the tests that need a real kubelet: `make test-kubelet`, on Linux, as root, with containerd and runc installed.

One control plane and one real node serve all of them. The node is a whole one of the fleet, with eight GPUs that exist in its
capacity only; KWOK plays the others.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import STRATEGIC
from controlplane.kubelet import RealNode, missing
from controlplane.waiting import until
from tests.cluster.delivering import Market, delivered_cluster
from tests.cluster.policies.installed import Installed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the real kubelet, and is left out unless `-m kubelet` is given."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kubelet)
            item.add_marker(pytest.mark.xdist_group("kubelet"))


@pytest.fixture(scope="session")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart in mode Enforce, the usual DaemonSets, a desk and a product."""
    if lacking := missing():
        pytest.fail(f"a real kubelet needs {', and '.join(lacking)}", pytrace=False)
    with delivered_cluster(tmp_path_factory.mktemp("kubelet"), tools) as installed:
        yield installed


@pytest.fixture(scope="session")
def node(cluster: Installed) -> Iterator[RealNode]:
    """The real node, Ready, of the fleet, with its DaemonSets running."""
    folder = Path(tempfile.mkdtemp(prefix="laycan-node-"))  # sockets lie in it, whose paths must be short
    try:
        with RealNode(cluster.plane, folder) as real:
            join(cluster, real.name)
            yield real
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def market(cluster: Installed) -> Iterator[Market]:
    """Namespaces, contracts and played nodes of one test."""
    made = Market(cluster)
    yield made
    made.clear()


def join(cluster: Installed, name: str) -> None:
    """Makes a registered node one of the fleet: labels, GPUs, and its three DaemonSets."""
    like = fleet.node(name)
    labels = {key: value for key, value in like["metadata"]["labels"].items() if key != fleet.KUBELET_LABEL}
    gpus = {fleet.GPU: like["status"]["capacity"][fleet.GPU]}
    path = f"/api/v1/nodes/{name}"
    cluster.admin.patch(path, {"metadata": {"labels": labels}})
    cluster.admin.patch(f"{path}/status", {"status": {"capacity": gpus, "allocatable": gpus}}, content_type=STRATEGIC)

    def whole() -> bool:
        found = cluster.admin.get(path)
        return fleet.ready(found) == "True" and found["status"]["allocatable"].get(fleet.GPU) == gpus[fleet.GPU]

    until("the node is whole", whole)
    until("its DaemonSets run", lambda: len(agents(cluster, name)) == 3, seconds=60)


def agents(cluster: Installed, node: str) -> dict[str, str]:
    """The DaemonSets' pods that run on a node: uid by the name of their DaemonSet."""
    pods = cluster.admin.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node},status.phase=Running")
    owners = ((owner, pod) for pod in pods for owner in pod["metadata"].get("ownerReferences", ()))
    return {owner["name"]: pod["metadata"]["uid"] for owner, pod in owners if owner["kind"] == "DaemonSet"}
