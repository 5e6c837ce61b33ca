"""Each check of preflight finds its trouble, says what to do, and is silent where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from laycan.delivery.policies import COLLECTIONS, expected
from laycan.preflight.checks import CHECKS, inspect
from laycan.preflight.cluster import Cluster
from laycan.preflight.finding import Finding, Level
from laycan.resources.constants import HOLDER_LABEL, PLURALS
from laycan.resources.times import parse_time
from tests.laycan.preflight.clusters import cluster, daemonset, meter, named, node, pod

ESTABLISHED = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
PLUGIN = "nvidia-plugin"
KEEP_OFF = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": HOLDER_LABEL, "operator": "DoesNotExist"}]}, {}]
            }
        }
    }
}


def crds() -> list[dict[str, Any]]:
    """All kinds of the chart, established."""
    return [named(f"{plural}.laycan.dev", spec={"group": "laycan.dev"}, **ESTABLISHED) for plural in PLURALS.values()]


def policies(mode: str = "Enforce") -> dict[str, list[Any]]:
    """All policies of the chart, as helm applied them."""
    found: dict[str, list[Any]] = {plural: [] for plural in COLLECTIONS}
    for plural, name in expected(mode):
        spec: dict[str, Any] = {"policyName": name, "validationActions": ["Deny"]} if plural.endswith("bindings") else {}
        found[plural].append({"metadata": {"name": name, "managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {}}}]}, "spec": spec})
    return found


def sound(**more: Any) -> Cluster:
    """An installed chart in mode Enforce with one node that can do everything."""
    device = {"name": "gpu-0", "attributes": {"uuid": {"string": "GPU-0"}}}
    slices = [named("s", spec={"driver": "gpu.nvidia.com", "nodeName": "n0", "devices": [device]})]
    known = {
        "nodes": [node()], "gpumeters": [meter()],
        "customresourcedefinitions": crds(), "deviceclasses": [named("gpu.nvidia.com")], "resourceslices": slices,
        **policies(),
    }  # fmt: skip
    return cluster(**(known | more))


def found(check: str, where: Cluster) -> list[Finding]:
    """What one check found."""
    return [finding for finding in inspect(where) if finding.check == check]


def test_a_sound_cluster() -> None:
    """Where everything is well only the level that nodes can give is told."""
    assert [(each.level, each.check, each.what) for each in inspect(sound())] == [
        (Level.INFO, "levels", "level Device on 1 managed nodes: n0")
    ]


def rivals() -> list[dict[str, Any]]:
    return [named("laycan-hold", value=100), named("tenant", value=101), named("system-node-critical", value=2_000_000_000)]


def contract(phase: str) -> dict[str, Any]:
    delivery = {"handover": {"namespace": "acme"}}
    return {"metadata": {"namespace": "desk", "name": "c"}, "spec": {"terms": {"delivery": delivery}}, "status": {"phase": phase}}


def product(grades: str, node_gpus: int) -> dict[str, Any]:
    return named("p", spec={"gpuProducts": grades.split(", "), "nodeGpus": node_gpus})


def bare_slice() -> list[dict[str, Any]]:
    return [named("s", spec={"driver": "gpu.nvidia.com", "nodeName": "n0", "devices": [{"name": "gpu-0"}]})]


TROUBLES: dict[str, tuple[str, Level, Callable[[], Cluster]]] = {  # words of the finding -> check, level, cluster
    "Kubernetes 1.35": ("kubernetes-version", Level.ERROR, lambda: replace(sound(), version=(1, 35))),
    "MutatingAdmissionPolicy v1 is not there": ("policies-served", Level.ERROR, lambda: replace(sound(), served=frozenset())),
    "the chart is not installed": ("chart-installed", Level.INFO, lambda: cluster(installed=False)),
    "mode Observe": ("chart-installed", Level.INFO, lambda: cluster(mode="Observe")),
    "nodefences.laycan.dev is missing": ("crds-there", Level.ERROR, lambda: sound(customresourcedefinitions=[])),
    "outages.laycan.dev is not established": (
        "crds-there", Level.ERROR, lambda: sound(customresourcedefinitions=[named("outages.laycan.dev", spec={"group": "laycan.dev"})]),
    ),
    "MutatingAdmissionPolicy laycan-keep-off is missing": ("policies-unedited", Level.ERROR, lambda: sound(mutatingadmissionpolicies=[])),
    "nodes were not checked": ("readable", Level.WARNING, lambda: replace(sound(), hidden={"nodes": "forbidden"})),
    "no node is managed": ("fleet-chosen", Level.ERROR, lambda: sound(nodes=[])),
    "1 GPU nodes are not managed: n1": (
        "fleet-chosen", Level.INFO, lambda: sound(nodes=[node(), node("n1", labels={"laycan.dev/managed": None})]),
    ),
    "without the label nvidia.com/gpu.product: n0": (
        "grade-labelled", Level.ERROR, lambda: sound(nodes=[node(labels={"nvidia.com/gpu.product": None})]),
    ),
    "1 managed nodes are of grade H100": (
        "grade-sold", Level.WARNING, lambda: sound(computeproducts=[product("A100", 8)]),
    ),
    "no managed node is of product p: gpuProducts are A100, A30": (
        "product-delivered", Level.WARNING, lambda: sound(computeproducts=[product("A100, A30", 8)]),
    ),
    "product p has nodeGpus 4, its nodes have 8 GPUs": (
        "product-delivered", Level.WARNING, lambda: sound(computeproducts=[product("H100", 4)]),
    ),
    "no label of level Zone on n1": (
        "topology-labelled", Level.WARNING, lambda: sound(nodes=[node(), node("n1", labels={"topology.kubernetes.io/zone": None})]),
    ),
    "node n0 is not planned": ("whole-gpus", Level.ERROR, lambda: sound(nodes=[node(capacity={"nvidia.com/mig-1g.10gb": "7"})])),
    "level Node on 1 managed nodes": ("levels", Level.INFO, lambda: sound(resourceslices=[])),
    "level Node on 1 managed nodes: n0": ("levels", Level.INFO, lambda: sound(resourceslices=bare_slice())),
    "DaemonSet gpu-things/nvidia-plugin": (
        "daemonsets", Level.ERROR,
        lambda: sound(daemonsets=[daemonset("gpu-things", "nvidia-plugin", **KEEP_OFF)], pods=[pod("gpu-things", "p", "n0", PLUGIN)]),
    ),
    "DaemonSet acme/agent runs": (
        "daemonsets", Level.WARNING,
        lambda: sound(daemonsets=[daemonset("acme", "agent", **KEEP_OFF)], pods=[pod("acme", "p", "n0", "agent")]),
    ),
    "DaemonSet acme/early": ("untouched-daemonsets", Level.ERROR, lambda: sound(daemonsets=[daemonset("acme", "early")])),
    "DaemonSet monitoring/greedy": (
        "agent-namespaces", Level.WARNING,
        lambda: sound(daemonsets=[daemonset("monitoring", "greedy")], pods=[pod("monitoring", "p", "n0", "greedy", gpus=1)]),
    ),
    "static pod acme/proxy on n0": (
        "static-pods", Level.WARNING, lambda: sound(pods=[pod("acme", "proxy", "n0", annotations={"kubernetes.io/config.mirror": "x"})]),
    ),
    "1 pending pods: acme/old": ("pending-pods", Level.WARNING, lambda: sound(pods=[pod("acme", "old")])),
    "cluster-autoscaler is present": ("autoscalers", Level.WARNING, lambda: sound(deployments=[named("cluster-autoscaler-aws")])),
    "Karpenter is present": (
        "autoscalers", Level.WARNING,
        lambda: sound(customresourcedefinitions=[*crds(), named("nodepools.karpenter.sh", spec={"group": "karpenter.sh"})]),
    ),
    "no managed node has a GpuMeter": ("agents-run", Level.INFO, lambda: sound(gpumeters=[])),
    "1 managed nodes have no GpuMeter: n1": ("agents-run", Level.WARNING, lambda: sound(nodes=[node(), node("n1")])),
    "have no GpuMeter: n0": (
        "agents-run", Level.WARNING,
        lambda: sound(nodes=[node(), node("n1")], gpumeters=[meter(nodeUid="another"), meter("n1")]),
    ),
    "missed two reports: n0": ("agents-heard", Level.ERROR, lambda: replace(sound(), now=parse_time("2027-01-04T00:10:30Z"))),
    "not the holder's are on GPUs of n0": (
        "strangers-seen", Level.WARNING, lambda: sound(gpumeters=[meter(gpus=[{"uuid": "GPU-0", "strangers": 2}])]),
    ),
    "n0 by -1001 ms": ("clocks-right", Level.WARNING, lambda: sound(gpumeters=[meter(clock={"offsetMilliseconds": -1001})])),
    "handover namespace acme": ("handover-namespaces", Level.ERROR, lambda: sound(computecontracts=[contract("Accepted")])),
    "PriorityClasses above laycan-hold: tenant": ("priorities", Level.WARNING, lambda: sound(priorityclasses=rivals())),
}  # fmt: skip


@pytest.mark.parametrize("words", TROUBLES)
def test_trouble_is_found(words: str) -> None:
    """The finding names the object, its level and a way out."""
    check, level, make = TROUBLES[words]
    matching = [each for each in found(check, make()) if words in each.what]
    assert [each.level for each in matching] == [level]
    assert matching[0].why
    assert matching[0].do


def test_every_check_has_a_trouble() -> None:
    """No check goes untested."""
    tested = {check.replace("-", "_") for check, _, _ in TROUBLES.values()}
    assert {check.__name__ for check in CHECKS} == tested


def test_what_is_no_trouble() -> None:
    """Steered and kept-off workloads, exempt namespaces, decided contracts, a desk's own namespace and a fair clock are left alone."""
    steered = {"nodeSelector": {HOLDER_LABEL: "acme"}}
    where = sound(
        daemonsets=[daemonset("kube-system", "kube-proxy"), daemonset("monitoring", "exporter"), daemonset("acme", "kept", **KEEP_OFF)],
        pods=[pod("kube-system", "p", "n0", "kube-proxy"), pod("monitoring", "e", "n0", "exporter"), pod("acme", "mine", spec=steered)],
        computecontracts=[contract("Rejected"), contract("Delivering")],
        namespaces=[{"metadata": {"name": "acme", "labels": {"laycan.dev/desk": "desk"}}}],
        gpumeters=[meter(clock={"offsetMilliseconds": 1000})],
    )
    assert [each.check for each in inspect(where)] == ["levels"]


def test_a_term_that_matches_everything_else_is_no_restriction() -> None:
    """Terms are ORed: one without the keep-off expression lets the pod onto delivered nodes."""
    terms = [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    where = sound(daemonsets=[daemonset("acme", "own", affinity={"nodeAffinity": required})])
    assert [each.what for each in found("untouched-daemonsets", where)] == ["DaemonSet acme/own"]


def test_what_is_hidden_is_not_judged() -> None:
    """Whoever may read neither nodes nor settings is told that, not that the fleet is empty and the chart not there."""
    blind = replace(cluster(installed=False), hidden={"nodes": "forbidden", "settings": "forbidden"})
    assert {finding.check for finding in inspect(blind)} == {"readable"}
