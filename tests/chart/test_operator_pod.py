"""The operator's pod, and who reaches it, as the chart renders them."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.cli.main import load
from tests.chart.conftest import Manifest, Render


def test_never_on_a_node_that_it_may_drain(render: Render) -> None:
    """Whatever node selector and tolerations are set, managed nodes are out; so are they for the Job of the uninstall."""
    for values in ((), ("operator.nodeSelector.pool=gpu", "operator.tolerations[0].operator=Exists")):
        for kind in ("Deployment", "Job"):
            affinity = _pod(render(*values), kind)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            assert affinity["nodeSelectorTerms"] == [
                {"matchExpressions": [{"key": "laycan.dev/managed", "operator": "NotIn", "values": ["true"]}]}
            ]


def test_has_no_more_power_than_it_needs(render: Render) -> None:
    """Not root, no privileges, a read-only root, no namespace of the host's; memory is bounded, CPU asked for."""
    for kind in ("Deployment", "Job"):
        pod = _pod(render(), kind)
        (one,) = pod["containers"]
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert not {"hostPID", "hostNetwork", "hostIPC"} & pod.keys()
        assert one["resources"]["limits"].keys() == {"memory"}, "a CPU limit would throttle a plan"
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        assert pod["priorityClassName"] == "laycan-operator"


def test_its_probes_and_ports_are_served(render: Render) -> None:
    """The kubelet restarts it by /healthz, and counts it ready by /readyz; the command serves both there, and metrics."""
    (one,) = _pod(render(), "Deployment")["containers"]
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    probes = {name: (one[name]["httpGet"]["path"], ports[one[name]["httpGet"]["port"]]) for name in one if name.endswith("Probe")}
    assert probes == {"startupProbe": ("/healthz", 8080), "livenessProbe": ("/healthz", 8080), "readinessProbe": ("/readyz", 8080)}
    given = [argument for argument in one["args"][2:] if argument not in ("--settings", "/etc/laycan/settings.yaml")]
    command = load("operator")
    parsed = command.make_context("operator", ["--settings", __file__, *given]).params
    assert (parsed["port"], parsed["metrics_port"]) == (ports["health"], ports["metrics"])


@pytest.mark.parametrize("values", [(), ("networkPolicy=null",)], ids=["default", "values of an older chart"])
def test_only_probes_and_metrics_come_in(render: Render, values: tuple[str, ...]) -> None:
    """Each policy picks one part's pods and lets in two ports, by number; what goes out is free until it is restricted."""
    manifests = render(*values)
    for part, kind in (("operator", "Deployment"), ("agent", "DaemonSet")):
        policy = _policies(manifests)[f"laycan-{part}"]["spec"]
        (workload,) = [each for each in manifests if each["kind"] == kind]
        assert _picks(policy, workload)
        assert policy["policyTypes"] == ["Ingress"]
        served = {port["containerPort"] for container in workload["spec"]["template"]["spec"]["containers"] for port in container["ports"]}
        assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [[8080], [8081]]
        assert served == {8080, 8081}
        assert not [rule for rule in policy["ingress"] if "from" in rule]


def test_the_job_of_the_uninstall_gets_out_as_the_operator_does(render: Render) -> None:
    """In a namespace that denies egress it would wait for the API server until its deadline. It is no pod of the Deployment."""
    manifests = render("networkPolicy.operatorEgress[0].ports[0].port=443")
    (job,), (deployment,) = ([each for each in manifests if each["kind"] == kind] for kind in ("Job", "Deployment"))
    assert [name for name, policy in _policies(manifests).items() if _picks(policy["spec"], job)] == ["laycan-operator"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_network_restricted(render: Render) -> None:
    """Readers of metrics can be named, never those of probes; each part has its own way out."""
    peers = "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus"
    policies = _policies(render(peers, "networkPolicy.operatorEgress[0].ports[0].port=443"))
    for policy in policies.values():
        health, metrics = policy["spec"]["ingress"]
        assert "from" not in health
        assert metrics["from"] == [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
    assert policies["laycan-operator"]["spec"]["egress"] == [{"ports": [{"port": 443}]}]
    assert policies["laycan-operator"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policies["laycan-agent"]["spec"]["policyTypes"] == ["Ingress"]


def test_network_policies_can_be_left_out(render: Render) -> None:
    """None at all, or none of agents that are not there."""
    assert _policies(render("networkPolicy.enabled=false")) == {}
    assert _policies(render("agent.enabled=false")).keys() == {"laycan-operator"}


def test_monitors(render: Render) -> None:
    """By default no kind that a cluster may not know, and no Service; switched on, each finds its pods' port by name."""
    assert not {"ServiceMonitor", "PodMonitor", "Service"} & {each["kind"] for each in render()}
    manifests = {each["kind"]: each for each in render("serviceMonitor.enabled=true", "serviceMonitor.labels.release=stack")}
    service, monitor, pods = (manifests[kind] for kind in ("Service", "ServiceMonitor", "PodMonitor"))
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert [port["name"] for port in service["spec"]["ports"]] == [each["port"] for each in monitor["spec"]["endpoints"]] == ["metrics"]
    assert pods["spec"]["selector"]["matchLabels"].items() <= manifests["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items()
    assert [each["port"] for each in pods["spec"]["podMetricsEndpoints"]] == ["metrics"]
    assert all(each["metadata"]["labels"]["release"] == "stack" for each in (monitor, pods))
    assert "PodMonitor" not in {each["kind"] for each in render("serviceMonitor.enabled=true", "agent.enabled=false")}


def _pod(manifests: list[Manifest], kind: str) -> dict[str, Any]:
    (found,) = [each for each in manifests if each["kind"] == kind]
    return dict(found["spec"]["template"]["spec"])


def _picks(policy: dict[str, Any], workload: Manifest) -> bool:
    labels, selector = workload["spec"]["template"]["metadata"]["labels"], policy["podSelector"]
    return bool(selector["matchLabels"].items() <= labels.items()) and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"] for each in selector["matchExpressions"]
    )


def _policies(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == "NetworkPolicy"}
