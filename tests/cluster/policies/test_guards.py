"""Who may say who holds what, what binds the operator itself, and how it can tell that the fence is live."""

from __future__ import annotations

from itertools import count

import pytest

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.waiting import until
from tests.cluster.policies.installed import FENCE, HOLDER, HOLDER_LABEL, STRANGER, Installed, binding, contract, refused

pytestmark = pytest.mark.xdist_group("policies")

GROUP = "/apis/laycan.dev/v1alpha1"
_numbers = count()


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"guarded-{next(_numbers)}"


class TestAssign:
    """What decides who holds a node is written with the verb `assign` only: by the operator and by cluster admins."""

    @pytest.fixture
    def platform(self, installed: Installed) -> Api:
        """Somebody with broad rights on namespaces, nodes and our kinds, as self-service platforms have, but without `assign`."""
        writes = ["get", "create", "update", "patch", "delete"]
        rules = [
            {"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "nodes", "nodes/status"], "verbs": writes},
            {"apiGroups": ["laycan.dev"], "resources": ["nodefences", "leaderepochs"], "verbs": writes},
        ]
        rbac = "rbac.authorization.k8s.io"
        named = {"apiVersion": f"{rbac}/v1", "metadata": {"name": "platform"}}
        installed.admin.apply({**named, "kind": "ClusterRole", "rules": rules})
        subjects = [{"apiGroup": rbac, "kind": "User", "name": "platform"}]
        role = {"apiGroup": rbac, "kind": "ClusterRole", "name": "platform"}
        installed.admin.apply({**named, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": subjects})
        return installed.admin.impersonating("platform")

    def test_tenants_can_label_nothing(self, installed: Installed) -> None:
        """A tenant's edits of namespace and node labels fail on RBAC already; so do contracts and the fence itself."""
        refused(lambda: installed.bob.patch(f"/api/v1/namespaces/{STRANGER}", _labels("laycan.dev/desk", "x")), "cannot patch resource")
        refused(lambda: installed.bob.patch("/api/v1/nodes/held-0", _labels(HOLDER_LABEL, STRANGER)), "cannot patch resource")
        refused(lambda: installed.bob.patch(FENCE, {"spec": {"nodes": {"held-0": None}}}), "cannot patch resource")
        refused(lambda: installed.bob.create(contract(STRANGER, "mine")), "cannot create resource")

    @pytest.mark.parametrize("subresource", ["", "/status"])
    def test_namespaces(self, installed: Installed, platform: Api, subresource: str) -> None:
        """Who may edit namespaces can still not make one a desk's, nor take a desk away."""
        words = "only principals with verb assign"
        refused(lambda: platform.patch(f"/api/v1/namespaces/{STRANGER}{subresource}", _labels("laycan.dev/desk", "x")), words)
        refused(lambda: platform.patch(f"/api/v1/namespaces/{HOLDER}{subresource}", _labels("laycan.dev/desk", None)), words)
        platform.patch(f"/api/v1/namespaces/{HOLDER}{subresource}", _labels("team", "a"))

    def test_namespaces_born_with_the_label(self, platform: Api) -> None:
        """A new namespace cannot bring the label along."""
        refused(lambda: platform.create(fleet.namespace("born", {"laycan.dev/desk": "x"})), "only principals with verb assign")

    @pytest.mark.parametrize("namespace", ["kube-system", "laycan-system", "gpu-operator", "monitoring", "laycan-probe"])
    def test_exempt_namespaces_are_no_desks(self, installed: Installed, namespace: str) -> None:
        """No policy steers pods of an exempt namespace, so nobody can make it a buyer's."""
        refused(lambda: installed.admin.patch(f"/api/v1/namespaces/{namespace}", _labels("laycan.dev/desk", "x")), "cannot be a desk's")

    @pytest.mark.parametrize("subresource", ["", "/status"])
    def test_nodes(self, platform: Api, subresource: str) -> None:
        """Who may edit nodes can neither take the holder's label off nor set it; other labels are none of our business."""
        words = "only principals with verb assign"
        refused(lambda: platform.patch(f"/api/v1/nodes/held-0{subresource}", _labels(HOLDER_LABEL, None)), words)
        refused(lambda: platform.patch(f"/api/v1/nodes/free-0{subresource}", _labels(HOLDER_LABEL, STRANGER)), words)
        platform.patch(f"/api/v1/nodes/held-0{subresource}", _labels("team", "a"))

    def test_kubelets(self, installed: Installed) -> None:
        """A node itself cannot shed its holder."""
        kubelet = installed.admin.impersonating("system:node:held-0", "system:nodes", "system:authenticated")
        refused(lambda: kubelet.patch("/api/v1/nodes/held-0", _labels(HOLDER_LABEL, None)), "not allowed to modify")

    def test_fence_and_epoch(self, platform: Api) -> None:
        """RBAC's ordinary verbs on our own kinds are not enough to open a fence or to raise the epoch."""
        words = "only principals with verb assign"
        refused(lambda: platform.patch(FENCE, {"spec": {"nodes": {"held-0": None}}}), words)
        refused(lambda: platform.delete(FENCE), words)
        epoch = {"apiVersion": "laycan.dev/v1alpha1", "kind": "LeaderEpoch", "metadata": {"name": "cluster"}, "spec": {"epoch": 99}}
        refused(lambda: platform.create(epoch), words)


class TestOperatorBounds:
    """A12: what RBAC cannot say about the operator. Its code could be wrong; these writes would not happen."""

    @pytest.mark.parametrize(
        "patch",
        [{"labels": {HOLDER_LABEL: "acme"}}, {"annotations": {"laycan.dev/since": "now"}}],
        ids=["label", "annotation"],
    )
    def test_unmanaged_nodes_are_never_written(self, installed: Installed, patch: Object) -> None:
        """No write to a node without the managed label, not even of Laycan's own keys."""
        refused(lambda: installed.operator.patch("/api/v1/nodes/alien-0", {"metadata": patch}), "Laycan does not write to it")

    def test_own_keys_of_managed_nodes(self, installed: Installed) -> None:
        """The holder label, Laycan's annotations and the autoscalers' are what the operator writes, and takes off again."""
        keys = ("laycan.dev/since", "cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt")
        installed.operator.patch("/api/v1/nodes/free-0", {"metadata": {"annotations": dict.fromkeys(keys, "true")}})
        node = installed.operator.patch("/api/v1/nodes/free-0", {"metadata": {"annotations": dict.fromkeys(keys)}})
        assert not keys & node["metadata"].get("annotations", {}).keys()

    @pytest.mark.parametrize(
        ("patch", "words"),
        [
            ({"metadata": {"labels": {"laycan.dev/managed": None}}}, "Laycan writes the holder only"),
            ({"metadata": {"labels": {"team": "b"}}}, "Laycan writes the holder only"),
            ({"metadata": {"annotations": {"team": "b"}}}, "its own and the autoscalers' only"),
            ({"spec": {"unschedulable": True}}, "neither spec nor status"),
            ({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}, "neither spec nor status"),
        ],
        ids=["managed", "label", "annotation", "cordon", "taint"],
    )
    def test_nothing_else_of_a_node(self, installed: Installed, patch: Object, words: str) -> None:
        """It neither enlarges nor shrinks the fleet, cordons nothing, taints nothing."""
        refused(lambda: installed.operator.patch("/api/v1/nodes/free-0", patch), words)

    def test_out_of_service(self, installed: Installed) -> None:
        """The one taint that it may set is its own out-of-service, on a node in quarantine; it may always take it off, and no other."""
        path, key = "/api/v1/nodes/free-0", "node.kubernetes.io/out-of-service"
        ours, theirs = ({"key": key, "value": value, "effect": "NoExecute"} for value in ("laycan", "nodeshutdown"))

        def tainted(*taints: Object) -> Object:
            return {"spec": {"taints": [*kept, *taints]}}

        kept = installed.admin.get(path)["spec"].get("taints") or []  # the node controller's

        refused(lambda: installed.operator.patch(path, tainted(ours)), "only a node in quarantine")
        installed.fence({"free-0": "quarantine.0a1b"})
        installed.label("free-0", "quarantine.0a1b")
        refused(lambda: installed.operator.patch(path, tainted(theirs)), "neither spec nor status")
        refused(lambda: installed.operator.patch(path, tainted({**ours, "effect": "NoSchedule"})), "neither spec nor status")
        installed.operator.patch(path, tainted(ours))
        another = {"key": "team", "value": "b", "effect": "NoSchedule"}
        installed.admin.patch(path, tainted(ours, another))
        refused(lambda: installed.operator.patch(path, tainted(ours)), "neither spec nor status")
        installed.operator.patch(path, tainted(another))
        installed.admin.patch(path, tainted())
        installed.release(["free-0"])

    def test_deletes_only_where_a_pod_has_no_right_to_be(self, installed: Installed, name: str) -> None:
        """It deletes no pod on a free node, nor the holder's own on its node; on a frozen node it does."""
        pods = f"/api/v1/namespaces/{HOLDER}/pods"
        installed.alice.create(fleet.pod(HOLDER, name, nodeSelector={"kubernetes.io/hostname": "free-0"}))
        assert installed.place(HOLDER, name) == "free-0"
        refused(lambda: installed.operator.delete(f"{pods}/{name}"), "Laycan deletes no pod there")
        installed.fence({"free-0": HOLDER})
        until("the fence is seen", lambda: installed.refusal("free-0", HOLDER))
        refused(lambda: installed.operator.delete(f"{pods}/{name}"), "Laycan deletes no pod there")
        installed.fence({"free-0": "frozen.0a1b"})
        until("the freeze is seen", lambda: installed.refusal("free-0", "frozen.0a1b"))
        installed.operator.delete(f"{pods}/{name}", gracePeriodSeconds=0)
        installed.release(["free-0"])

    def test_exempt_namespaces_are_left_alone(self, installed: Installed, name: str) -> None:
        """Pods of an exempt namespace are neither evicted nor deleted, wherever they run."""
        path = f"/api/v1/namespaces/gpu-operator/pods/{name}"
        installed.admin.create(fleet.pod("gpu-operator", name, nodeName="held-0"))
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "gpu-operator"}}
        words = "Laycan removes no pod of an exempt namespace"
        refused(lambda: installed.operator.request("POST", f"{path}/eviction", eviction), words)
        refused(lambda: installed.operator.delete(path), words)
        installed.admin.delete(path, gracePeriodSeconds=0)


class TestProbe:
    """A13: the operator's question whether the fence is live has an answer that nothing else gives."""

    def test_three_answers(self, installed: Installed) -> None:
        """Fenced: 403 in the fence's words. Not fenced: 404, there is no such pod. Not allowed to ask: 403 in other words."""
        assert "laycan-node-fence" in installed.refusal("held-0", HOLDER)
        refused(lambda: _probe(installed.operator, "free-0"), "not found", 404)
        nobody = installed.admin.impersonating("nobody")
        with pytest.raises(ApiError) as caught:
            _probe(nobody, "held-0")
        assert caught.value.status == 403
        assert "laycan-node-fence" not in caught.value.message

    def test_without_its_role_binding(self, installed: Installed) -> None:
        """The operator whose RoleBinding is gone gets the 403 that does not name the fence, so it cannot take it for a live one."""
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/laycan-probe/rolebindings/laycan-probe"
        kept = installed.admin.get(path)
        installed.admin.delete(path)
        until("the right is gone", lambda: not installed.refusal("held-0", HOLDER))
        refused(lambda: _probe(installed.operator, "held-0"), "cannot create resource")
        installed.admin.create({key: kept[key] for key in ("apiVersion", "kind", "roleRef", "subjects")} | {"metadata": _plain(kept)})
        until("the right is back", lambda: installed.refusal("held-0", HOLDER))


def _labels(key: str, value: str | None) -> Object:
    return {"metadata": {"labels": {key: value}}}


def _plain(found: Object) -> Object:
    return {key: found["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}


def _probe(api: Api, node: str) -> None:
    api.request("POST", "/api/v1/namespaces/laycan-probe/pods/probe/binding", binding("probe", node), dryRun="All")
