"""The chart's pods on a real kubelet, from the image: Ready by their own probes, with the chart's security context and volumes.

Only this of the chart is changed: pods have the node's network and are told where the API server is, since it listens on loopback and
nobody plays a pod network here; and the operator's log lies in the pod, since nobody makes volumes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from controlplane import fleet, image, kubelet
from controlplane.api import STRATEGIC, Object
from controlplane.image import Image
from controlplane.kubelet import RealNode
from controlplane.waiting import until
from tests.cluster.delivering import delivered_cluster
from tests.cluster.operator import at, await_phase, contract, product
from tests.cluster.policies.installed import CHART, NAMESPACE, RELEASE, Installed

WORKLOADS = {
    "operator": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/laycan-operator",
    "agent": f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/laycan-agent",
}

MISSING = "NVML's library is not here: NVIDIA's container runtime is needed (agent.runtimeClassName in the chart)"
POD_LOGS = Path("/var/log/pods")  # what the agent's pod mounts; a kubelet of a test keeps its logs elsewhere


@pytest.fixture
def pod_logs() -> Iterator[None]:
    """The folder is there, as on every node."""
    made = not POD_LOGS.exists()
    POD_LOGS.mkdir(exist_ok=True)
    yield
    if made:
        POD_LOGS.rmdir()


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A control plane with the chart in mode Enforce, and two nodes of a fleet that KWOK plays."""
    if lacking := kubelet.missing():
        pytest.fail(f"a real kubelet needs {', and '.join(lacking)}", pytrace=False)
    with delivered_cluster(tmp_path_factory.mktemp("pods"), tools) as installed:
        installed.people()
        installed.nodes("n0", "n1")
        yield installed


@pytest.fixture(scope="module")
def node(cluster: Installed, built: Image) -> Iterator[RealNode]:
    """A real node, of no fleet, that has the image."""
    folder = Path(tempfile.mkdtemp(prefix="laycan-node-"))  # sockets lie in it, whose paths must be short
    try:
        with RealNode(cluster.plane, folder) as real:
            real.import_image(image.save(built.name, "docker-archive", folder / "laycan.tar"))
            until("the node is Ready", lambda: fleet.ready(cluster.admin.get(f"/api/v1/nodes/{real.name}")) == "True")
            yield real
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rolled_out(cluster: Installed, node: RealNode, built: Image, component: str) -> Object:
    """Installs this component of the chart from the image, on the real node; its pod, once it is Ready."""
    repository, _, tag = built.name.rpartition(":")
    values = {
        "mode": "Enforce",
        "image": {"repository": repository, "tag": tag},
        "operator": {"replicas": int(component == "operator")},
        "agent": {"enabled": component == "agent"},
        "ledger": {"enabled": False},
    }
    file = node.folder / "values.json"
    file.write_text(json.dumps(values))
    done = cluster.helm("upgrade", RELEASE, str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stderr
    until(
        "the other one is gone", lambda: not [pod for other in WORKLOADS if other != component for pod in pods(cluster, other)], seconds=60
    )
    server = urlsplit(cluster.plane.url)
    env = [{"name": "KUBERNETES_SERVICE_HOST", "value": server.hostname}, {"name": "KUBERNETES_SERVICE_PORT", "value": str(server.port)}]
    spec: dict[str, Any] = {"hostNetwork": True, "containers": [{"name": component, "env": env}]}
    spec["nodeSelector"] = {"$patch": "replace", "kubernetes.io/hostname": node.name}
    cluster.admin.patch(WORKLOADS[component], {"spec": {"template": {"spec": spec}}}, content_type=STRATEGIC)
    return until(f"the {component} is Ready", lambda: ready_pod(cluster, component) or {}, seconds=180)


def ready_pod(cluster: Installed, component: str) -> Object | None:
    """The component's pod that has the changes and is Ready."""
    for pod in pods(cluster, component):
        conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", ())}
        if pod["spec"].get("hostNetwork") and conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            return pod
    return None


def pods(cluster: Installed, component: str) -> list[Object]:
    found: list[Object] = cluster.admin.items(
        f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=f"app.kubernetes.io/component={component}"
    )
    return found


def confined(node: RealNode, uid: str, command: str) -> None:
    """The pod's own processes are not root, cannot become it, and have a root that they cannot write."""
    mine = [Path(f"/proc/{pid}") for pid in node.containers(uid)]
    (main,) = [place for place in mine if command in (place / "cmdline").read_bytes().decode().split("\0")][:1]
    status = dict(line.split(":\t", 1) for line in (main / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4
    assert (status["NoNewPrivs"], int(status["CapBnd"], 16), status["Seccomp"]) == ("1", 0, "2")
    (root,) = [line.split() for line in (main / "mountinfo").read_text().splitlines() if line.split()[4] == "/"]
    assert "ro" in root[5].split(",")


def test_the_operator(cluster: Installed, node: RealNode, built: Image) -> None:
    """Its Deployment becomes Ready on a kubelet, by its probes, and it takes a contract and hands a node over."""
    pod = rolled_out(cluster, node, built, "operator")
    confined(node, pod["metadata"]["uid"], "operator")
    cluster.admin.apply(product())
    cluster.admin.create(contract("from-a-pod", at(5), at(600)))
    await_phase(cluster.admin, "from-a-pod", "Delivering", seconds=60)
    (again,) = pods(cluster, "operator")
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_agent_without_a_gpu(cluster: Installed, node: RealNode, built: Image, pod_logs: None) -> None:
    """On a node without NVIDIA's library the agent's pod is Ready and stays, and says what is missing and what to do; it proves nothing."""
    pod = rolled_out(cluster, node, built, "agent")
    confined(node, pod["metadata"]["uid"], "agent")
    until("it says so", lambda: any(MISSING in log for log in node.logs(pod["metadata"]["uid"])))
    assert cluster.admin.find(f"/apis/laycan.dev/v1alpha1/gpumeters/{node.name}") is None
    assert ready_pod(cluster, "agent"), "a restart would not help"
