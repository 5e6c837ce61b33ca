"""A2 and A3: what tenants, and for binds even the cluster's admin, try in order to get onto a delivered node, and what comes of it.

There is no operator here: what holds, holds while it is away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.waiting import until
from tests.cluster.policies.installed import HOLDER, HOLDER_LABEL, STRANGER, Installed, binding, on_node, requiring

pytestmark = pytest.mark.xdist_group("policies")

HELD = ("held-0", "held-1")
TO_HELD: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": "held-0"}}
MIRROR = {"kubernetes.io/config.mirror": "forged", "kubernetes.io/config.source": "file"}
DAEMON = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "0", "controller": True}
_numbers = count()

# What bob asks of the scheduler; none of it has a node.
STRANDED: dict[str, dict[str, Any]] = {
    "selects the node": TO_HELD,
    "tolerates everything": TO_HELD | {"tolerations": fleet.EVERY_TAINT},
    "asks for a GPU": TO_HELD | {"gpus": 1},
    "requires the node by affinity": {"affinity": requiring(on_node(*HELD))},
    "hides it among several terms": {
        "affinity": requiring(
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["held-0"]}]},
            on_node("held-1"),
            {"matchExpressions": [{"key": HOLDER_LABEL, "operator": "Exists"}]},
        )
    },
    "leaves one term empty": {"affinity": requiring({}, on_node("held-0"))},
    "has other affinities only": TO_HELD | {"affinity": {"podAntiAffinity": {}}},
    "prefers and requires nothing": TO_HELD | {"affinity": {"nodeAffinity": {}}},
    "asks for the holder's label": {"nodeSelector": {HOLDER_LABEL: HOLDER}, "gpus": 1},
    "claims to be held": TO_HELD | {"annotations": {"laycan.dev/placement": "held"}},
    "claims to be critical": TO_HELD | {"priorityClassName": "system-node-critical", "gpus": 8},
    "spreads over all nodes": TO_HELD
    | {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]},
}


@pytest.fixture
def name() -> str:
    """A pod's name that no other test has."""
    return f"pod-{next(_numbers)}"


@pytest.fixture(autouse=True)
def clean(installed: Installed) -> Iterator[None]:
    """After each test: no stranger is on a delivered node, whatever was tried; then all pods go."""
    yield
    assert installed.strangers(HELD) == []
    for namespace in (HOLDER, STRANGER, "monitoring", "gpu-operator"):
        installed.admin.delete(f"/api/v1/namespaces/{namespace}/pods", gracePeriodSeconds=0)


class TestScheduler:
    """Ways through the scheduler: the pod stays Pending. Better than a refused bind, because nothing is preempted for it."""

    @pytest.mark.parametrize("attack", STRANDED)
    def test_strangers_find_no_delivered_node(self, installed: Installed, name: str, attack: str) -> None:
        """A stranger's pod that insists on a delivered node has nowhere to go."""
        installed.bob.create(fleet.pod(STRANGER, name, **STRANDED[attack]))
        assert installed.place(STRANGER, name) == "nowhere"

    @pytest.mark.parametrize("namespace", [STRANGER, "monitoring"])
    def test_pods_with_forged_owner(self, installed: Installed, name: str, namespace: str) -> None:
        """Naming a DaemonSet as owner does not make a pod an agent's, not even in an agent namespace: only the controller is believed."""
        pod = fleet.pod(namespace, name, **TO_HELD)
        pod["metadata"]["ownerReferences"] = [DAEMON]
        created = installed.admin.create(pod, dryRun="All")
        assert created["spec"]["affinity"] == requiring({"matchExpressions": [{"key": HOLDER_LABEL, "operator": "DoesNotExist"}]})

    def test_ordinary_pods_run_elsewhere(self, installed: Installed) -> None:
        """Whoever asks for nothing of Laycan's gets a free node, as ever: also on a managed one that nobody holds."""
        names = [f"plain-{i}" for i in range(6)]
        for plain in names:
            installed.bob.create(fleet.pod(STRANGER, plain, gpus=1, tolerations=fleet.EVERY_TAINT))
        assert {installed.place(STRANGER, plain) for plain in names} <= {"free-0", "alien-0"}

    def test_pods_made_by_controllers(self, installed: Installed, name: str) -> None:
        """A Job's pods are treated like any other, though a controller of the cluster creates them."""
        spec = {"template": {"spec": {"restartPolicy": "Never", **fleet.pod(STRANGER, name, **TO_HELD)["spec"]}}}
        installed.bob.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": STRANGER}, "spec": spec})
        pods = until("the Job's pod", lambda: installed.bob.items(_pods(STRANGER), labelSelector=f"job-name={name}"))
        assert installed.place(STRANGER, pods[0]["metadata"]["name"]) == "nowhere"
        installed.bob.delete(f"/apis/batch/v1/namespaces/{STRANGER}/jobs/{name}", propagationPolicy="Background")

    def test_gated_pod_cannot_be_bent(self, installed: Installed, name: str) -> None:
        """While gated a pod's affinity may be narrowed, not dropped; ungated with a new toleration it still has nowhere to go."""
        pod = installed.bob.create(fleet.pod(STRANGER, name, **TO_HELD, schedulingGates=[{"name": "example.com/wait"}]))
        path = f"{_pods(STRANGER)}/{name}"
        assert _refused(lambda: installed.bob.patch(path, {"spec": {"affinity": None}})).status == 422
        tolerations = [*pod["spec"]["tolerations"], *fleet.EVERY_TAINT]
        installed.bob.patch(path, {"spec": {"schedulingGates": None, "tolerations": tolerations}})
        assert installed.place(STRANGER, name) == "nowhere"

    def test_higher_priority_does_not_preempt(self, installed: Installed, name: str) -> None:
        """A3: a stranger of higher priority who needs the GPUs of the holder's pod is not even considered, so that pod stays."""
        _own_priority(installed.admin)
        mine = installed.alice.create(fleet.pod(HOLDER, name, gpus=8, **TO_HELD))
        assert installed.place(HOLDER, name) == "held-0"
        installed.bob.create(fleet.pod(STRANGER, name, gpus=8, priorityClassName="high", tolerations=fleet.EVERY_TAINT, **TO_HELD))
        assert installed.place(STRANGER, name) == "nowhere"
        now = installed.alice.get(f"{_pods(HOLDER)}/{name}")
        assert now["metadata"]["uid"] == mine["metadata"]["uid"]
        assert "deletionTimestamp" not in now["metadata"]
        assert "nominatedNodeName" not in installed.bob.get(f"{_pods(STRANGER)}/{name}")["status"]


class TestPastTheScheduler:
    """Ways around the scheduler: refused by the fence, for everybody."""

    @pytest.mark.parametrize("who", ["bob", "admin"])
    @pytest.mark.parametrize("annotations", [{}, MIRROR], ids=["plain", "forged mirror"])
    def test_node_name(self, installed: Installed, name: str, who: str, annotations: dict[str, str]) -> None:
        """A pod that names its node itself is refused; pretending to be a static pod changes nothing."""
        api: Api = getattr(installed, who)
        pod = fleet.pod(STRANGER, name, nodeName="held-0", tolerations=fleet.EVERY_TAINT, annotations=annotations)
        _refused_by_fence(lambda: api.create(pod))

    def test_node_name_in_agent_namespace(self, installed: Installed, name: str) -> None:
        """An agent namespace's bindings pass, because keep-off judges its pods; there too nobody may name the node."""
        _refused_by_fence(lambda: installed.admin.create(fleet.pod("monitoring", name, nodeName="held-0")))

    @pytest.mark.parametrize("who", ["admin", "kube-scheduler"])
    @pytest.mark.parametrize("legacy", [False, True], ids=["subresource", "legacy"])
    def test_binds(self, installed: Installed, name: str, who: str, legacy: bool) -> None:
        """A stranger's pod cannot be bound to a delivered node by the cluster's admin, nor by the scheduler; to a free one it can."""
        api = installed.admin if who == "admin" else installed.admin.impersonating("system:kube-scheduler")
        installed.bob.create(fleet.pod(STRANGER, name, schedulerName="nobody"))
        if legacy and who == "kube-scheduler":
            assert _refused(lambda: _bind(api, name, "held-0", legacy=legacy)).status == 403  # it has no right to the legacy resource
            return
        _refused_by_fence(lambda: _bind(api, name, "held-0", legacy=legacy))
        _bind(api, name, "free-0", legacy=legacy)
        assert installed.place(STRANGER, name) == "free-0"

    @pytest.mark.parametrize("legacy", [False, True], ids=["subresource", "legacy"])
    def test_tenants_cannot_bind(self, installed: Installed, name: str, legacy: bool) -> None:
        """A tenant's own binding fails on RBAC already."""
        installed.bob.create(fleet.pod(STRANGER, name, schedulerName="nobody"))
        error = _refused(lambda: _bind(installed.bob, name, "held-0", legacy=legacy))
        assert error.status == 403
        assert "cannot create resource" in error.message

    def test_static_pods_still_register(self, installed: Installed, name: str) -> None:
        """A kubelet may show its static pods on a delivered node: they run already, and refusing the mirror would only hide them."""
        node = installed.admin.get("/api/v1/nodes/held-0")
        pod = fleet.pod(STRANGER, name, nodeName="held-0", annotations=MIRROR)
        owner = {"apiVersion": "v1", "kind": "Node", "name": "held-0", "uid": node["metadata"]["uid"], "controller": True}
        pod["metadata"]["ownerReferences"] = [owner]
        kubelet = installed.admin.impersonating("system:node:held-0", "system:nodes", "system:authenticated")
        assert "affinity" not in kubelet.create(pod, dryRun="All")["spec"]


class TestHolder:
    """The holder gets what was delivered, and nothing that was not."""

    def test_gpu_pods_go_to_the_delivered_nodes(self, installed: Installed) -> None:
        """A1 in part: pods that ask for GPUs need no selector; they fill exactly the delivered nodes."""
        names = [f"train-{i}" for i in range(3)]
        for train in names:
            installed.alice.create(fleet.pod(HOLDER, train, gpus=8))
        assert sorted(installed.place(HOLDER, train) for train in names) == ["held-0", "held-1", "nowhere"]

    def test_gpus_of_init_containers_and_pods_count(self, installed: Installed, name: str) -> None:
        """Steering cannot be dodged by asking for the GPU in another place of the spec."""
        pod = fleet.pod(HOLDER, name)
        pod["spec"]["initContainers"] = [fleet.pod(HOLDER, name, gpus=1)["spec"]["containers"][0] | {"name": "init"}]
        assert installed.alice.create(pod)["spec"]["nodeSelector"] == {HOLDER_LABEL: HOLDER}

    def test_pods_without_gpus_stay_outside(self, installed: Installed, name: str) -> None:
        """A pod that asks for no GPU is kept off like anybody's, unless it says that it belongs to the held ones."""
        installed.alice.create(fleet.pod(HOLDER, name, **TO_HELD))
        assert installed.place(HOLDER, name) == "nowhere"
        installed.alice.create(fleet.pod(HOLDER, f"{name}-held", annotations={"laycan.dev/placement": "held"}, **TO_HELD))
        assert installed.place(HOLDER, f"{name}-held") == "held-0"

    def test_other_nodes_are_out_of_reach(self, installed: Installed, name: str) -> None:
        """The holder cannot choose another node, nor take the selector away again."""
        installed.alice.create(fleet.pod(HOLDER, name, gpus=1, nodeSelector={"kubernetes.io/hostname": "free-0"}))
        assert installed.place(HOLDER, name) == "nowhere"
        error = _refused(lambda: installed.alice.patch(f"{_pods(HOLDER)}/{name}", {"spec": {"nodeSelector": {HOLDER_LABEL: None}}}))
        assert error.status == 422

    def test_own_value_of_the_label_is_overwritten(self, installed: Installed, name: str) -> None:
        """A selector for somebody else's nodes becomes the one for the own."""
        pod = installed.alice.create(fleet.pod(HOLDER, name, gpus=1, nodeSelector={HOLDER_LABEL: "gamma"}))
        assert pod["spec"]["nodeSelector"] == {HOLDER_LABEL: HOLDER}

    def test_exempt_namespaces_may_run_there(self, installed: Installed, name: str) -> None:
        """The GPU operator's own pods are let through, unchanged."""
        created = installed.admin.create(fleet.pod("gpu-operator", name, **TO_HELD))
        assert "affinity" not in created["spec"]
        assert installed.place("gpu-operator", name) == "held-0"


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _bind(api: Api, pod: str, node: str, *, legacy: bool) -> Object:
    if legacy:
        return api.create(binding(pod, node, STRANGER))
    created: Object = api.request("POST", f"{_pods(STRANGER)}/{pod}/binding", binding(pod, node))
    return created


def _refused(attempt: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        attempt()
    return caught.value


def _refused_by_fence(attempt: Callable[[], object]) -> None:
    error = _refused(attempt)
    assert (error.status, "node held-0 is held by acme" in error.message) == (403, True), error.message


def _own_priority(admin: Api) -> None:
    admin.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1_000_000})
