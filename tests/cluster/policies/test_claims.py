"""B1, B4 and B5: exact GPUs that a contract holds by its ResourceClaim, and what tenants try to get them, or to be rid of the claim.

There is no operator here: what it does, a test does with the operator's rights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import JSON_PATCH, Api, ApiError, Object
from controlplane.waiting import until
from tests.cluster.policies.installed import HOLDER, HOLDER_LABEL, STRANGER, Installed, refused

pytestmark = pytest.mark.xdist_group("policies")

NODE, HELD_GPUS = "exact-0", (1, 6)
CLAIM, HOLD_POD, CONTRACT = "laycan-exact-0", "laycan-hold-0", "0a1b2c"
CLAIMS = f"/apis/resource.k8s.io/v1/namespaces/{HOLDER}/resourceclaims"
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/laycan-operator"
GUARD, OWN = "deliver contracts", "Laycan's own"
_numbers = count()


def resource_claim(
    namespace: str, name: str, uuids: list[str] | None = None, labels: dict[str, str] | None = None, **exactly: Any
) -> Object:
    """A claim to exactly these GPUs, or to any one."""
    chosen = [{"cel": {"expression": f"device.attributes['gpu.nvidia.com'].uuid in {json.dumps(uuids)}"}}] if uuids else []
    request = {"deviceClassName": fleet.DRIVER, "count": len(uuids or "1"), "selectors": chosen, **exactly}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"devices": {"requests": [{"name": "gpus", "exactly": request}]}},
    }


def using(namespace: str, name: str, *claims: str, **spec: Any) -> Object:
    """A pod that uses claims."""
    return fleet.pod(
        namespace, name, resourceClaims=[{"name": f"c{i}", "resourceClaimName": claim} for i, claim in enumerate(claims)], **spec
    )


def hold_pod(name: str = HOLD_POD, **spec: Any) -> Object:
    """A hold pod, as the operator makes it."""
    values = {"priorityClassName": "laycan-hold", "automountServiceAccountToken": False, **spec}
    return using(HOLDER, name, CLAIM, **values)


def keep(api: Api) -> None:
    """The entry that keeps the claim's GPUs for the contract."""
    entry = {"apiGroup": "laycan.dev", "resource": "computecontracts", "name": "exact", "uid": CONTRACT}
    api.patch(f"{CLAIMS}/{CLAIM}/status", [{"op": "add", "path": "/status/reservedFor/-", "value": entry}], content_type=JSON_PATCH)


def gpus_of(claim: Object) -> set[str]:
    """The devices that a claim was given."""
    results = ((claim.get("status") or {}).get("allocation") or {}).get("devices", {}).get("results", [])
    return {found["device"] for found in results if found["pool"] == NODE}


@pytest.fixture(scope="module", autouse=True)
def held(installed: Installed) -> Iterator[None]:
    """A node whose GPUs a DRA driver publishes; two of them are the holder's, kept by no pod."""
    admin, operator = installed.admin, installed.operator
    fleet.apply_fleet(admin, [fleet.device_class(), fleet.node(NODE, plugin=False), fleet.gpu_slice(NODE)])
    until(f"{NODE} is Ready", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{NODE}")) == "True")
    uuids = [fleet.gpu_uuid(NODE, minor) for minor in HELD_GPUS]
    operator.create(resource_claim(HOLDER, CLAIM, uuids, {"laycan.dev/contract": CONTRACT}))
    operator.create(hold_pod())
    until("allocated", lambda: gpus_of(admin.get(f"{CLAIMS}/{CLAIM}")))
    keep(operator)
    operator.delete(f"/api/v1/namespaces/{HOLDER}/pods/{HOLD_POD}")
    until("kept by the contract alone", lambda: len(admin.get(f"{CLAIMS}/{CLAIM}")["status"]["reservedFor"]) == 1)
    yield
    operator.delete(f"{CLAIMS}/{CLAIM}")
    operator.patch(f"{CLAIMS}/{CLAIM}/status", [{"op": "remove", "path": "/status/reservedFor/0"}], content_type=JSON_PATCH)
    until("the claim is gone", lambda: admin.find(f"{CLAIMS}/{CLAIM}") is None)
    for path in (f"/api/v1/nodes/{NODE}", f"/apis/resource.k8s.io/v1/resourceslices/{fleet.slice_name(NODE)}"):
        admin.delete(path)
    admin.delete(f"/apis/resource.k8s.io/v1/deviceclasses/{fleet.DRIVER}")


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"claim-{next(_numbers)}"


@pytest.fixture(autouse=True)
def clean(installed: Installed) -> Iterator[None]:
    """After each test the claim has its GPUs, kept for the contract, and nobody else has them; then pods and claims of the tenants go."""
    yield
    claims = installed.admin.items("/apis/resource.k8s.io/v1/resourceclaims")
    mine = {f"gpu-{minor}" for minor in HELD_GPUS}
    assert [each["metadata"]["name"] for each in claims if gpus_of(each) & mine] == [CLAIM]
    kept = installed.admin.get(f"{CLAIMS}/{CLAIM}")
    assert gpus_of(kept) == mine
    assert CONTRACT in {each["uid"] for each in kept["status"]["reservedFor"]}
    for namespace in (HOLDER, STRANGER):
        installed.admin.delete(f"/api/v1/namespaces/{namespace}/pods", gracePeriodSeconds=0)
    installed.admin.delete(f"/apis/resource.k8s.io/v1/namespaces/{STRANGER}/resourceclaims")


def test_b1_the_right_that_no_object_has(installed: Installed) -> None:
    """Without `resourceclaims/binding`, cluster-wide, the operator itself cannot change who a claim is reserved for."""
    role = installed.admin.get(ROLE)
    fewer = [rule for rule in role["rules"] if "resourceclaims/binding" not in rule["resources"]]
    assert len(fewer) == len(role["rules"]) - 1
    installed.admin.patch(ROLE, {"rules": fewer})
    path, ops = f"{CLAIMS}/{CLAIM}/status", [{"op": "remove", "path": "/status/reservedFor/0"}]

    def refusal() -> str:
        try:
            installed.operator.patch(path, ops, content_type=JSON_PATCH, dryRun="All")
        except ApiError as error:
            return error.message
        return ""

    assert 'requires resource="resourceclaims/binding", verb="patch"' in until("the right is gone", refusal)
    installed.admin.patch(ROLE, {"rules": role["rules"]})
    until("the right is back", lambda: not refusal())


class TestB4:
    """The holder's own admin, who has every right on claims that the stock role gives, and the contract's claim."""

    ATTEMPTS: dict[str, Callable[[Api], object]] = {  # noqa: RUF012 - parametrizes
        "deletes it": lambda alice: alice.delete(f"{CLAIMS}/{CLAIM}"),
        "strips its finalizer": lambda alice: alice.patch(f"{CLAIMS}/{CLAIM}", {"metadata": {"finalizers": None}}),
        "strips its label": lambda alice: alice.patch(f"{CLAIMS}/{CLAIM}", {"metadata": {"labels": None}}),
        "deletes all claims": lambda alice: alice.request("DELETE", CLAIMS),
        "makes one of its kind": lambda alice: alice.create(resource_claim(HOLDER, "laycan-exact-1")),
        "labels one of hers": lambda alice: alice.create(resource_claim(HOLDER, "mine", None, {"laycan.dev/contract": CONTRACT})),
        "makes the probe's": lambda alice: alice.create(resource_claim(HOLDER, "laycan-never")),
    }

    @pytest.mark.parametrize("attempt", ATTEMPTS)
    def test_b4_cannot_be_undone(self, installed: Installed, attempt: str) -> None:
        """Neither she nor the cluster's admin, by mistake, changes it."""
        refused(lambda: self.ATTEMPTS[attempt](installed.alice), GUARD)
        refused(lambda: self.ATTEMPTS[attempt](installed.admin), GUARD)

    def test_b4_status(self, installed: Installed) -> None:
        """Its status is the scheduler's and the operator's; who may report about devices may report, and no more."""
        path = f"{CLAIMS}/{CLAIM}/status"
        stripped = [{"op": "remove", "path": "/status/reservedFor/0"}]
        refused(lambda: installed.alice.patch(path, stripped, content_type=JSON_PATCH), "cannot patch resource")
        refused(lambda: installed.admin.patch(path, stripped, content_type=JSON_PATCH), GUARD)
        device = {"driver": fleet.DRIVER, "pool": NODE, "device": f"gpu-{HELD_GPUS[0]}", "data": {"healthy": True}}
        reported = installed.admin.patch(path, {"status": {"devices": [device]}})
        assert reported["status"]["devices"][0]["data"] == {"healthy": True}

    def test_b4_use(self, installed: Installed, name: str) -> None:
        """Her pod that names the claim runs where the GPUs are; it is not steered to the holder's nodes, nor kept off any."""
        made = installed.alice.create(using(HOLDER, name, CLAIM))
        assert installed.place(HOLDER, name) == NODE
        assert not made["spec"].get("nodeSelector")
        assert not made["spec"].get("affinity")

    def test_b4_a_name_from_before(self, installed: Installed) -> None:
        """A claim that only has a name of ours, from before the chart, may be deleted by its owner: else nobody could."""
        binding = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-claim-guard"
        path = f"{CLAIMS}/laycan-old"
        installed.admin.delete(binding)
        until("made while nobody looks", lambda: _succeeds(lambda: installed.alice.create(resource_claim(HOLDER, "laycan-old"))))
        installed.install("upgrade")  # as Helm makes it: a policy by another hand is drift
        until("guarded again", lambda: "laycan-claim-guard" in _canary(installed))
        refused(lambda: installed.alice.patch(path, {"metadata": {"labels": {"a": "b"}}}), GUARD)
        installed.alice.delete(path)

    @pytest.mark.parametrize("more", [{"gpus": 1}, {"claims": "mine"}], ids=["counts", "claims"])
    def test_b4_other_gpus_are_steered(self, installed: Installed, name: str, more: dict[str, Any]) -> None:
        """A pod of hers that asks for other GPUs too belongs on the nodes delivered to her as a whole."""
        claims = [CLAIM, *([more["claims"]] if "claims" in more else [])]
        made = installed.alice.create(using(HOLDER, name, *claims, gpus=more.get("gpus", 0)), dryRun="All")
        assert made["spec"]["nodeSelector"] == {HOLDER_LABEL: HOLDER}


class TestIndex:
    """One template for many lots."""

    STATEFUL, JOB = "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"

    @pytest.mark.parametrize("label", [STATEFUL, JOB])
    def test_each_pod_gets_its_lot(self, installed: Installed, name: str, label: str) -> None:
        """Pod 7 of a template that names -index uses lot 7; what names a lot, or is no contract's claim, stays as it is."""
        pod = using(HOLDER, name, "laycan-exact-index", "mine", "laycan-exact-0", "other-index")
        pod["metadata"]["labels"] = {label: "7"}
        made = installed.alice.create(pod, dryRun="All")
        names = [each["resourceClaimName"] for each in made["spec"]["resourceClaims"]]
        assert names == ["laycan-exact-7", "mine", "laycan-exact-0", "other-index"]

    def test_a_stateful_set(self, installed: Installed, name: str) -> None:
        """The controller's own label is there in time: its first pod runs on the GPUs of lot 0, and is steered by the claim alone."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": using(HOLDER, name, "laycan-exact-index")["spec"]}
        spec = {"serviceName": name, "replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        installed.alice.create(
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": HOLDER}, "spec": spec}
        )
        until("its first pod", lambda: installed.admin.find(f"/api/v1/namespaces/{HOLDER}/pods/{name}-0"))
        assert installed.place(HOLDER, f"{name}-0") == NODE
        assert not installed.admin.get(f"/api/v1/namespaces/{HOLDER}/pods/{name}-0")["spec"].get("nodeSelector")
        installed.alice.delete(f"/apis/apps/v1/namespaces/{HOLDER}/statefulsets/{name}")

    @pytest.mark.parametrize(("namespace", "labels"), [(HOLDER, {}), (STRANGER, {STATEFUL: "7"})], ids=["no index", "no desk's"])
    def test_nobody_else(self, installed: Installed, name: str, namespace: str, labels: dict[str, str]) -> None:
        """A pod without an index, or outside the buyers' namespaces, is left alone."""
        pod = using(namespace, name, "laycan-exact-index")
        pod["metadata"]["labels"] = labels
        made = installed.admin.create(pod, dryRun="All")
        assert made["spec"]["resourceClaims"][0]["resourceClaimName"] == "laycan-exact-index"


class TestB5:
    """Bob, who would like those very GPUs."""

    @pytest.mark.parametrize(
        "exactly",
        [{}, {"allocationMode": "All", "count": None}, {"tolerations": [{"operator": "Exists"}]}],
        ids=["by uuid", "all of them", "tolerating"],
    )
    def test_b5_own_claim(self, installed: Installed, name: str, exactly: dict[str, Any]) -> None:
        """A claim of his to one of them waits for ever."""
        wanted = resource_claim(STRANGER, name, [fleet.gpu_uuid(NODE, HELD_GPUS[0])], **exactly)
        installed.bob.create(wanted)
        installed.bob.create(using(STRANGER, name, name))
        assert installed.place(STRANGER, name) == "nowhere"

    @pytest.mark.parametrize("resource", ["nvidia.com/gpu", "deviceclass.resource.kubernetes.io/gpu.nvidia.com"])
    def test_b5_extended_resource(self, installed: Installed, name: str, resource: str) -> None:
        """Pods that count GPUs, by either name, get the six that are free on the node, and no seventh."""
        for number in range(7):
            pod = fleet.pod(STRANGER, f"{name}-{number}", nodeSelector={"kubernetes.io/hostname": NODE})
            pod["spec"]["containers"][0]["resources"] = {"limits": {resource: "1"}}
            installed.bob.create(pod)
        places = [installed.place(STRANGER, f"{name}-{number}") for number in range(7)]
        assert sorted(places) == [NODE] * 6 + ["nowhere"]

    def test_b5_names_and_classes(self, installed: Installed, name: str) -> None:
        """No DeviceClass of his own, no look over the fence as an administrator, no claim or pod that passes for one of Laycan's."""
        bob = installed.bob
        refused(lambda: bob.create(fleet.device_class() | {"metadata": {"name": "mine"}}), "cannot create resource")
        refused(lambda: bob.create(resource_claim(STRANGER, name, adminAccess=True)), "admin access", 422)
        refused(lambda: bob.create(resource_claim(STRANGER, "laycan-mine-0")), GUARD)
        refused(lambda: bob.create(resource_claim(STRANGER, name, None, {"laycan.dev/contract": CONTRACT})), GUARD)
        refused(lambda: bob.create(fleet.pod(STRANGER, "laycan-hold-1")), OWN)
        refused(lambda: bob.create(fleet.pod(STRANGER, name, priorityClassName="laycan-hold")), OWN)

    @pytest.mark.parametrize(("pod", "labels"), [("mine", {"laycan.dev/contract": CONTRACT}), ("laycan-mine", {})], ids=["label", "name"])
    def test_b5_a_template(self, installed: Installed, name: str, pod: str, labels: dict[str, str]) -> None:
        """No controller makes for him what he may not make himself: neither a template nor a pod's name makes a claim pass for ours."""
        made = resource_claim(STRANGER, name)
        template = made | {"kind": "ResourceClaimTemplate", "spec": {"metadata": {"labels": labels}, "spec": made["spec"]}}
        installed.bob.create(template)
        claims = [{"name": "c", "resourceClaimTemplateName": name}]
        installed.bob.create(fleet.pod(STRANGER, f"{pod}-{name}", resourceClaims=claims))
        events = f"/api/v1/namespaces/{STRANGER}/events"

        def refusals() -> list[str]:
            return [each for each in map(str, installed.admin.items(events)) if f"{pod}-{name}" in each and "deliver contracts" in each]

        until("it is refused", refusals)
        found = installed.admin.items(f"/apis/resource.k8s.io/v1/namespaces/{STRANGER}/resourceclaims")
        assert not [each for each in found if each["metadata"]["name"].startswith(f"{pod}-{name}")]


class TestOperator:
    """What RBAC cannot say about the operator's new rights."""

    @pytest.mark.parametrize(
        ("pod", "words"),
        [
            (fleet.pod(HOLDER, "laycan-hold-9", priorityClassName="laycan-hold"), "creates hold pods only"),
            (hold_pod("worker"), "creates hold pods only"),
            (hold_pod("laycan-hold-9", priorityClassName=""), "creates hold pods only"),
            (using(STRANGER, "laycan-hold-9", CLAIM, priorityClassName="laycan-hold"), "creates hold pods only"),
            (using(HOLDER, "laycan-hold-9", CLAIM, "mine", priorityClassName="laycan-hold"), "creates hold pods only"),
            (hold_pod("laycan-hold-9", hostNetwork=True), "no privileges"),
            (hold_pod("laycan-hold-9", automountServiceAccountToken=True), "no privileges"),
            (hold_pod("laycan-hold-9", volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "no privileges"),
            (hold_pod("laycan-hold-9", volumes=[{"name": "v", "secret": {"secretName": "s"}}]), "no privileges"),
        ],
        ids=["no claim", "name", "class", "namespace", "another's claim", "host network", "token", "host path", "secret"],
    )
    def test_creates_hold_pods_only(self, installed: Installed, pod: Object, words: str) -> None:
        """Any other pod is refused to it."""
        refused(lambda: installed.operator.create(pod, dryRun="All"), words)

    def test_no_privileged_container(self, installed: Installed) -> None:
        """Nor may a container of a hold pod have privileges."""
        pod = hold_pod("laycan-hold-9")
        pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        refused(lambda: installed.operator.create(pod, dryRun="All"), "no privileges")

    def test_the_canary(self, installed: Installed) -> None:
        """The claim by which it sees that claims are guarded is refused to itself, in the guard's name."""
        assert "laycan-claim-guard" in _canary(installed)

    def test_deletes_pods_that_use_claims(self, installed: Installed, name: str) -> None:
        """It may delete a pod that has GPUs by a claim, or that was given them as an extended resource, on a node that has no fence."""
        installed.bob.create(resource_claim(STRANGER, name))
        installed.bob.create(using(STRANGER, name, name))
        installed.bob.create(fleet.pod(STRANGER, f"{name}-counts", gpus=1, nodeSelector={"kubernetes.io/hostname": NODE}))
        installed.bob.create(fleet.pod(STRANGER, f"{name}-plain", nodeSelector={"kubernetes.io/hostname": NODE}))
        pods = f"/api/v1/namespaces/{STRANGER}/pods"
        for each in (name, f"{name}-counts", f"{name}-plain"):
            assert installed.place(STRANGER, each) != "nowhere"
        installed.operator.delete(f"{pods}/{name}", gracePeriodSeconds=0)
        installed.operator.delete(f"{pods}/{name}-counts", gracePeriodSeconds=0)
        refused(lambda: installed.operator.delete(f"{pods}/{name}-plain"), "Laycan deletes no pod there")


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ApiError:
        return False
    return True


def _canary(installed: Installed) -> str:
    try:
        installed.operator.create(resource_claim("laycan-probe", "laycan-never"), dryRun="All")
    except ApiError as error:
        return error.message
    return ""
