"""A9: the chart comes, changes and goes, its parts are deleted under it; no pod of kube-system is ever refused, no stale fence stays.

One control plane goes through all of it, test by test; each leaves the chart installed in mode Enforce, with an empty fence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3
import yaml

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.resources.constants import PLURALS
from tests.cluster.policies.installed import FENCE, HOLDER, NAMESPACE, RELEASE, STRANGER, Installed, daemonset

pytestmark = pytest.mark.xdist_group("policies-lifecycle")

EARLY = f"/apis/apps/v1/namespaces/{STRANGER}/daemonsets/early"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodefences.laycan.dev"
POLICIES = "/apis/admissionregistration.k8s.io/v1"


class Canary:
    """Somebody who creates pods in kube-system all the time (as a dry run, which passes every admission step), and notes each refusal."""

    def __init__(self, admin: Api) -> None:
        self.created, self.refusals = 0, list[str]()
        self._admin, self._end = admin, threading.Event()
        self._thread = threading.Thread(target=self._sing)

    def __enter__(self) -> Canary:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sing(self) -> None:
        pod = fleet.pod("kube-system", "canary", nodeName="n-0", tolerations=fleet.EVERY_TAINT)
        while not self._end.wait(0.02):
            try:
                self._admin.create(pod, dryRun="All")
                self.created += 1
            except ApiError as error:
                self.refusals.append(str(error))


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A control plane that never saw the chart, with one managed node and the tenants; a canary in kube-system through all tests."""
    with ControlPlane(tmp_path_factory.mktemp("lifecycle"), tools=tools, fsync=False) as plane:
        installed = Installed(plane)
        installed.people()
        installed.nodes("n-0")
        installed.nodes("n-1", managed=False)
        early = daemonset(STRANGER, "early", nodeSelector={})
        installed.bob.create(early)
        until("kube-system's ServiceAccount", lambda: installed.admin.find("/api/v1/namespaces/kube-system/serviceaccounts/default"))
        with Canary(installed.admin) as canary:
            yield installed
        assert canary.refusals == []
        assert canary.created


@pytest.fixture
def held(cluster: Installed) -> Iterator[Installed]:
    """The node n-0 delivered to the holder; released afterwards if the test did not."""
    cluster.hold(["n-0"], HOLDER)
    yield cluster
    cluster.release(["n-0"])


def open_to_strangers(cluster: Installed) -> bool:
    """Whether a stranger could put a pod onto n-0 now; the fence's refusal is the only reason why not."""
    try:
        cluster.bob.create(fleet.pod(STRANGER, "visitor", nodeName="n-0"), dryRun="All")
    except ApiError as error:
        if "n-0 is held by" not in error.message:
            raise
        return False
    return True


def test_first_install(cluster: Installed) -> None:
    """Into an empty cluster: every expression compiles, nothing is held, and the fence works with the first NodeFence that appears."""
    cluster.install()
    policies = cluster.admin.items(f"{POLICIES}/validatingadmissionpolicies")
    for name in (policy["metadata"]["name"] for policy in policies):
        path = f"{POLICIES}/validatingadmissionpolicies/{name}"
        status = until(f"{name} is checked", partial(_status, cluster.admin, path))
        assert status["typeChecking"].get("expressionWarnings", []) == [], name
    assert open_to_strangers(cluster)
    cluster.hold(["n-0"], HOLDER)
    assert not open_to_strangers(cluster)
    cluster.release(["n-0"])
    assert open_to_strangers(cluster)


def test_daemonsets_from_before_the_install(held: Installed) -> None:
    """A DaemonSet older than the chart is unrestricted; any write of it restricts its template, and it leaves the delivered node."""
    assert "affinity" not in held.admin.get(EARLY)["spec"]["template"]["spec"]
    touched = held.admin.patch(EARLY, {"metadata": {"annotations": {"laycan.dev/touched": "yes"}}})
    assert "affinity" in touched["spec"]["template"]["spec"]
    until("it runs on the other node only", lambda: _nodes_of(held, "early") == ["n-1"])
    assert held.admin.get(EARLY)["status"]["desiredNumberScheduled"] == 1


def test_node_fence_cannot_be_deleted_while_nodes_are_held(held: Installed) -> None:
    """Neither the object nor its CRD, nor the contracts' CRD; emptied it can, and a new one is in force at once."""
    contracts = CRD.replace("nodefences", "computecontracts")
    for path in (FENCE, CRD, contracts):
        with pytest.raises(ApiError, match="still holds nodes"):
            held.admin.delete(path)
    held.release(["n-0"])
    held.admin.delete(FENCE)
    until("the fence is open", lambda: open_to_strangers(held))
    held.hold(["n-0"], "frozen.1")
    assert not open_to_strangers(held)


def test_crd_deleted_and_back(cluster: Installed) -> None:
    """Without its CRD the fence stops nobody; an upgrade brings the CRD back, and the fence knows the new object, not the old one."""
    cluster.hold(["n-0"], HOLDER)
    cluster.release(["n-0"])
    cluster.admin.delete(CRD)
    until("the CRD is gone", lambda: cluster.admin.find(CRD) is None)
    assert open_to_strangers(cluster)
    cluster.install("upgrade")
    until("the CRD serves", lambda: _established(cluster))
    assert open_to_strangers(cluster)
    cluster.hold(["n-0"], "frozen.2")
    cluster.release(["n-0"])
    assert open_to_strangers(cluster)


@pytest.mark.parametrize("parts", [["bindings"], ["policies"], ["policies", "bindings"]], ids="+".join)
def test_policy_deleted_and_back(held: Installed, parts: list[str]) -> None:
    """Deleted, the fence is open (the way out in an emergency); back again it enforces today's NodeFence, not the one it last saw."""
    kinds = {"policies": "validatingadmissionpolicies", "bindings": "validatingadmissionpolicybindings"}
    for part in parts:
        held.admin.delete(f"{POLICIES}/{kinds[part]}/laycan-node-fence")
    until("the fence is off", lambda: open_to_strangers(held))
    held.fence({"n-0": None, "n-1": HOLDER})
    held.install("upgrade")
    until("the fence is on", lambda: held.refusal("n-1", HOLDER))
    assert open_to_strangers(held)
    held.fence({"n-1": None})


def test_uninstall_and_install_again(cluster: Installed) -> None:
    """An uninstall takes the policies and leaves what holds commitments; an install right after it finds that, and works."""
    cluster.hold(["n-0"], HOLDER)
    done = cluster.helm("uninstall", RELEASE)
    assert done.returncode == 0, done.stderr
    until("the fence is off", lambda: open_to_strangers(cluster))
    until("keep-off is off", lambda: "affinity" not in cluster.bob.create(fleet.pod(STRANGER, "visitor"), dryRun="All")["spec"])
    left = [each["metadata"]["name"] for kind in _policy_kinds() for each in cluster.admin.items(f"{POLICIES}/{kind}")]
    assert [name for name in left if name.startswith("laycan")] == []
    crds = cluster.admin.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    assert sum(each["spec"]["group"] == "laycan.dev" for each in crds) == len(PLURALS)
    assert cluster.admin.get("/api/v1/namespaces/laycan-probe")["status"]["phase"] == "Active"
    assert cluster.admin.get(FENCE)["spec"]["nodes"] == {"n-0": HOLDER}
    cluster.install()
    until("the fence is on", lambda: cluster.refusal("n-0", HOLDER))
    cluster.release(["n-0"])
    assert open_to_strangers(cluster)


def test_release_namespace_deleted(held: Installed) -> None:
    """`kubectl delete namespace laycan-system` takes the operator, not the fences; then the chart can be installed again."""
    held.admin.delete(f"/api/v1/namespaces/{NAMESPACE}")
    until("the namespace is gone", lambda: held.admin.find(f"/api/v1/namespaces/{NAMESPACE}") is None)
    assert not open_to_strangers(held)
    held.install()
    held.release(["n-0"])
    assert open_to_strangers(held)


def test_observe(cluster: Installed) -> None:
    """Back in mode Observe nothing is changed and nothing refused, whatever NodeFence says; Enforce again closes what it says."""
    cluster.install("upgrade", "Observe")
    cluster.fence({"n-0": HOLDER})
    visitor = fleet.pod(STRANGER, "visitor", nodeName="n-0")
    until("the fence warns and refuses nothing", lambda: any("n-0 is held by acme" in warning for warning in _warnings(cluster, visitor)))
    until("pods stay as they are", lambda: "affinity" not in cluster.bob.create(fleet.pod(STRANGER, "visitor"), dryRun="All")["spec"])
    assert open_to_strangers(cluster)
    steered = cluster.alice.create(fleet.pod(HOLDER, "mine", gpus=1), dryRun="All")
    assert "nodeSelector" not in steered["spec"]
    cluster.install("upgrade", "Enforce")
    until("the fence is on", lambda: cluster.refusal("n-0", HOLDER))
    cluster.release(["n-0"])


def _nodes_of(cluster: Installed, name: str) -> list[str]:
    pods = cluster.admin.items(f"/api/v1/namespaces/{STRANGER}/pods", labelSelector=f"app={name}")
    return sorted(pod["spec"].get("nodeName", "") for pod in pods)


def _warnings(cluster: Installed, pod: Object) -> list[str]:
    """What the API server warns of when the pod is created, as kubectl shows it; nothing where it refuses the pod."""
    user = yaml.safe_load(cluster.plane.tenant_kubeconfig("bob").read_text())["users"][0]["user"]
    answer = urllib3.PoolManager(ca_certs=str(cluster.plane.certificate)).request(
        "POST",
        f"{cluster.plane.url}/api/v1/namespaces/{STRANGER}/pods?dryRun=All",
        headers={"Authorization": f"Bearer {user['token']}"},
        json=pod,
    )
    return answer.headers.getlist("Warning") if answer.status == 201 else []


def _status(api: Api, path: str) -> Object:
    found: Object = api.get(path).get("status", {})
    return found


def _established(cluster: Installed) -> bool:
    found = cluster.admin.find(CRD) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _policy_kinds() -> list[str]:
    return [f"{kind}admission{what}" for kind in ("mutating", "validating") for what in ("policies", "policybindings")]
