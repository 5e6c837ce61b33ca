"""A cluster with the chart in it. What the operator does to the fence, a test does here with the operator's rights."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.local import ControlPlane
from controlplane.users import bind_tenant
from controlplane.waiting import until

CHART = Path(__file__).parents[3] / "charts" / "laycan"
RELEASE, NAMESPACE = "laycan", "laycan-system"
HOLDER_LABEL = "laycan.node-restriction.kubernetes.io/holder"
FENCE = "/apis/laycan.dev/v1alpha1/nodefences/cluster"
LEADER_EPOCH = "/apis/laycan.dev/v1alpha1/leaderepochs/cluster"
FENCE_POLICY = "laycan-node-fence"
HOLDER, STRANGER = "acme", "beta"  # namespaces: alice is admin of the first, which is a desk's, and bob of the second, which is not


class Installed:
    """The chart on one control plane. `operator` acts as the operator's ServiceAccount; `alice` and `bob` are tenants."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane, self.admin = plane, plane.admin
        self.alice, self.bob = (Api(plane.tenant_kubeconfig(tenant)) for tenant in ("alice", "bob"))
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
        self.operator = self.admin.impersonating(f"system:serviceaccount:{NAMESPACE}:laycan-operator", *groups)

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the real helm as the cluster's administrator."""
        environment = {**os.environ, "KUBECONFIG": str(self.plane.admin_kubeconfig), "HELM_NAMESPACE": NAMESPACE}
        return subprocess.run([str(self.plane.helm), *arguments], env=environment, capture_output=True, text=True, timeout=180)

    def install(self, verb: str = "install", mode: str = "Enforce", *options: str, chart: Path = CHART) -> None:
        """`helm install` or `helm upgrade`, without pods of the operator and of agents: tests run both as processes."""
        values = ("--set", f"mode={mode}", "--set", "operator.replicas=0", "--set", "agent.enabled=false")
        done = self.helm(verb, RELEASE, str(chart), *(["--create-namespace"] if verb == "install" else []), *values, *options)
        assert done.returncode == 0, done.stderr
        if mode == "Enforce":
            self.await_policies()

    def await_policies(self) -> None:
        """Until the API server enforces what was just installed."""
        for labels in ({"laycan.dev/desk": "desk"}, {}):
            until("the mutating policies are live", partial(self._steered, f"steered-{len(labels)}", labels))

    def _steered(self, namespace: str, labels: dict[str, str]) -> bool:
        """Whether admission changes a pod of such a namespace already: an API server reads new policies a moment after they are made."""
        self.admin.apply(fleet.namespace(namespace, labels))
        try:
            pod = self.admin.create(fleet.pod(namespace, "look", gpus=8), dryRun="All")
        except ApiError:  # its ServiceAccount is not there yet
            return False
        return HOLDER_LABEL in str(pod["spec"].get("nodeSelector" if labels else "affinity"))

    def people(self) -> None:
        """The tenants with their namespaces, and the DaemonSets' namespaces."""
        for name, labels in ((HOLDER, {"laycan.dev/desk": "desk"}), (STRANGER, {}), ("gpu-operator", {}), ("monitoring", {}), ("desk", {})):
            self.admin.apply(fleet.namespace(name, labels))
        for namespace, tenant in ((HOLDER, "alice"), (STRANGER, "bob")):
            bind_tenant(self.admin, namespace, tenant)
            until("its ServiceAccount", partial(self.admin.find, f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))

    def nodes(self, *names: str, managed: bool = True) -> None:
        """Nodes with eight GPUs, Ready."""
        fleet.apply_fleet(self.admin, [fleet.node(name, managed=managed) for name in names])
        for name in names:
            until(f"{name} is Ready", partial(self._ready, name))

    def _ready(self, name: str) -> bool:
        return fleet.ready(self.admin.get(f"/api/v1/nodes/{name}")) == "True"

    def _open(self, name: str) -> bool:
        return not self.refusal(name)

    def fence(self, owners: Mapping[str, str | None]) -> None:
        """Writes entries of NodeFence/cluster (None removes one) as the operator, making the object if need be."""
        if self.operator.find(FENCE) is None:
            body = {"apiVersion": "laycan.dev/v1alpha1", "kind": "NodeFence", "metadata": {"name": "cluster"}, "spec": {"nodes": {}}}
            until("NodeFence/cluster", lambda: self.operator.create(body))
        epoch = (self.operator.find(LEADER_EPOCH) or {"spec": {"epoch": 0}})["spec"]["epoch"]
        self.operator.patch(FENCE, {"spec": {"nodes": dict(owners), "epoch": epoch}})

    def hold(self, names: Iterable[str], owner: str) -> None:
        """Fence, probe, then label: the order in which the operator closes nodes or hands them over."""
        held = list(names)
        self.fence(dict.fromkeys(held, owner))
        for name in held:
            until(f"the fence of {name} is live", partial(self.refusal, name, owner))
            self.label(name, owner)

    def release(self, names: Iterable[str]) -> None:
        """Label off, and the fence's entry last."""
        freed = list(names)
        for name in freed:
            self.label(name, None)
        self.fence(dict.fromkeys(freed))
        for name in freed:
            until(f"the fence of {name} is open", partial(self._open, name))

    def label(self, node: str, owner: str | None) -> None:
        """Writes the holder label as the operator."""
        self.operator.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {HOLDER_LABEL: owner}}})

    def refusal(self, node: str, owner: str = "") -> str:
        """The probe: a dry-run bind of a pod that does not exist. The fence's own words when it refuses (for this owner), else nothing."""
        try:
            self.operator.request("POST", "/api/v1/namespaces/laycan-probe/pods/probe/binding", binding("probe", node), dryRun="All")
        except ApiError as error:
            live = error.status == 403 and FENCE_POLICY in error.message and f"node {node} is held by {owner}" in error.message
            return error.message if live else ""
        return ""

    def strangers(self, nodes: Iterable[str], holder: str = HOLDER) -> list[str]:
        """Pods on these nodes that are neither the holder's nor of the cluster's own namespaces."""
        allowed = {holder, "gpu-operator", "monitoring", "kube-system"}
        pods = [pod for node in nodes for pod in self.admin.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")]
        return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods if pod["metadata"]["namespace"] not in allowed]

    def place(self, namespace: str, name: str) -> str:
        """Where the scheduler put a pod: the node, or `nowhere` once it found none that fits."""

        def verdict() -> str:
            pod = self.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
            if node := pod["spec"].get("nodeName"):
                return str(node)
            conditions = pod.get("status", {}).get("conditions", [])
            return "nowhere" if any(each.get("reason") == "Unschedulable" for each in conditions) else ""

        return until(f"a verdict on {namespace}/{name}", verdict)


def binding(pod: str, node: str, namespace: str = "") -> Object:
    """A Binding; with a namespace, of the legacy kind's own resource."""
    metadata: dict[str, Any] = {"name": pod} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}


def daemonset(namespace: str, name: str, **spec: object) -> Object:
    """A DaemonSet that tolerates everything."""
    pod = fleet.pod(namespace, name)["spec"] | {"tolerations": fleet.EVERY_TAINT, **spec}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}
    body = {"selector": {"matchLabels": labels}, "updateStrategy": strategy, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def contract(namespace: str, name: str) -> Object:
    """A ComputeContract manifest; its contractId is ID- and the name."""
    delivery = {"start": "2027-01-04T00:00:00Z", "end": "2027-02-03T00:00:00Z", "gpus": 8, "lotGpus": 8}
    terms = {"contractId": f"ID-{name}", "productRef": {"name": "h100"}, "delivery": delivery}
    return {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "ComputeContract",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"intent": "Firm", "terms": terms},
    }


def refused(attempt: Callable[[], object], words: str, status: int = 403) -> None:
    """The attempt fails with this status and these words."""
    with pytest.raises(ApiError) as caught:
        attempt()
    assert (caught.value.status, words in caught.value.message) == (status, True), str(caught.value)


def on_node(*names: str, operator: str = "In") -> dict[str, Any]:
    """A node selector term by hostname."""
    return {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": operator, "values": list(names)}]}


def requiring(*terms: dict[str, Any]) -> dict[str, Any]:
    """The affinity that requires one of the terms."""
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}
