"""The agents' DaemonSet, as the chart renders it."""

from __future__ import annotations

from typing import Any

from laycan.cli.main import load
from tests.chart.conftest import Manifest, Render


def test_its_command_line_is_the_agents(render: Render) -> None:
    """The command takes every argument that the chart gives it, and they say what the values say."""
    arguments = container(render("agent.sampleSeconds=5", "agentNamespaces={monitoring}"))["args"]
    assert arguments[:2] == ["laycan", "agent"]
    given = load("agent").make_context("agent", [each.replace("$(NODE_NAME)", "n1") for each in arguments[2:]]).params
    assert (given["node"], given["sample_seconds"], given["report_seconds"]) == ("n1", 5, 300)
    assert set(given["exempt"]) == {"kube-system", "kube-node-lease", "kube-public", "gpu-operator", "laycan-system", "monitoring"}
    assert str(given["state"]).startswith(mounts(render())["state"])


def test_has_no_more_power_than_it_needs(render: Render) -> None:
    """It is not root, gains no privileges, writes into its own small folder only, and of the host's files has the pods' logs to read."""
    pod = daemonset(render())["spec"]["template"]["spec"]
    [one] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each] == ["/var/log/pods"]
    assert all(each["readOnly"] for each in one["volumeMounts"] if each["name"] == "pods")
    assert "hostNetwork" not in pod
    assert "nvidia.com/gpu" not in str(one["resources"])


def test_runs_on_the_fleet_whatever_its_taints(render: Render) -> None:
    """On managed nodes, delivered or cordoned, and nowhere else; the runtime class is the cluster owner's to name."""
    pod = daemonset(render())["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"laycan.dev/managed": "true"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "runtimeClassName" not in pod
    assert daemonset(render("agent.runtimeClassName=nvidia"))["spec"]["template"]["spec"]["runtimeClassName"] == "nvidia"


def test_can_be_left_out(render: Render) -> None:
    """Without agents there is no ServiceAccount, right or class of theirs; the policy that bounds them harms nobody."""
    for values in ("agent.enabled=false", "agent=null"):
        named = {each["kind"] for each in render(values) if each["metadata"]["name"].startswith("laycan-agent")}
        assert named == set()


def daemonset(manifests: list[Manifest]) -> Manifest:
    [found] = [each for each in manifests if each["kind"] == "DaemonSet"]
    return found


def container(manifests: list[Manifest]) -> dict[str, Any]:
    [found] = daemonset(manifests)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def mounts(manifests: list[Manifest]) -> dict[str, str]:
    """Volume -> where it is mounted."""
    return {each["name"]: each["mountPath"] for each in container(manifests)["volumeMounts"]}
