"""What an install would create, compared with stored renderings: a change of the chart shows up in review as a change of these files.

`enforce.yaml` is everything but the CRDs in mode Enforce, `observe.diff` what mode Observe has instead, `everything.diff` what it has when
every value that adds or shapes something is set. After a wanted change of the chart,
`LAYCAN_UPDATE_SNAPSHOTS=1 pytest tests/chart` writes them anew.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
import yaml

from laycan.delivery.policies import COLLECTIONS, drifts, expected
from tests.chart.conftest import Manifest, Render

SNAPSHOTS = Path(__file__).parents[1] / "fixtures" / "chart"
EVERYTHING = (
    "serviceMonitor.enabled=true", "serviceMonitor.labels.release=stack", "serviceMonitor.interval=15s",
    "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=monitoring",
    "networkPolicy.operatorEgress[0].ports[0].port=443", "networkPolicy.agentEgress[0].ports[0].port=6443",
    "image.repository=registry.example/laycan", "image.tag=0.2.0-test", "image.pullSecrets={regcred}",
    "holdPods.image=registry.example/pause:3", "exchangeSecretNames={gcx}", "ledger.existingClaim=mine",
    "operator.priorityClassName=system-cluster-critical", "operator.nodeSelector.pool=system", "operator.tolerations[0].operator=Exists",
    "agent.runtimeClassName=nvidia", "agent.priorityClassName=system-node-critical", "agent.nodeSelector.pool=gpu",
    "settings.failureConditions[0].type=GpuMemWatch", "settings.failureConditions[0].status=Unknown",
)  # fmt: skip
CRDS = Path(__file__).parents[2] / "crds"


def test_enforce_is_as_stored(render: Render) -> None:
    """Mode Enforce creates exactly what was reviewed."""
    _compare("enforce.yaml", _text(render("mode=Enforce", "exchangeNamespaces={desk}")))


def test_observe_differs_as_stored(render: Render) -> None:
    """Mode Observe differs only where it must: no pod is changed or refused, and the operator cannot remove one."""
    enforce, observe = (_text(render(f"mode={mode}", "exchangeNamespaces={desk}")).splitlines() for mode in ("Enforce", "Observe"))
    _compare("observe.diff", "\n".join(difflib.unified_diff(enforce, observe, "Enforce", "Observe", lineterm="", n=2)) + "\n")


def test_everything_differs_as_stored(render: Render) -> None:
    """With all that can be switched on, named or restricted, what is added and changed is what was reviewed."""
    enforce, full = (_text(render("mode=Enforce", "exchangeNamespaces={desk}", *more)).splitlines() for more in ((), EVERYTHING))
    _compare("everything.diff", "\n".join(difflib.unified_diff(enforce, full, "Enforce", "Everything", lineterm="", n=2)) + "\n")


def test_observe_touches_no_pod(render: Render) -> None:
    """In mode Observe, the default, no mutation is bound, and whatever denies concerns Laycan's own writes only."""
    manifests = render()
    assert not _of_kind(manifests, "MutatingAdmissionPolicyBinding")
    denying = {each["metadata"]["name"] for each in _bindings(manifests) if "Deny" in each["spec"]["validationActions"]}
    assert denying == {"laycan-claim-guard", "laycan-epoch", "laycan-meter-bounds", "laycan-operator-bounds", "laycan-operator-deletes"}


def test_enforce_binds_and_denies_with_every_policy(render: Render) -> None:
    """In mode Enforce each policy has its binding, and each one that validates denies."""
    manifests = render("mode=Enforce")
    for kind in ("MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"):
        policies = {each["metadata"]["name"] for each in _of_kind(manifests, kind)}
        assert {each["spec"]["policyName"] for each in _of_kind(manifests, f"{kind}Binding")} == policies
    assert all(each["spec"]["validationActions"] == ["Deny"] for each in _bindings(manifests))


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_drift_watch_knows_every_policy(render: Render, mode: str) -> None:
    """What the operator and preflight look for (delivery/policies.py) is what the chart installs, and a fresh rendering shows no drift."""
    manifests = render(f"mode={mode}")
    found = {plural: _of_kind(manifests, kind) for plural, kind in COLLECTIONS.items()}
    assert {(plural, each["metadata"]["name"]) for plural, items in found.items() for each in items} == set(expected(mode))
    assert drifts(found, mode, ()) == []


def test_policies_with_a_param_never_fail_closed(render: Render) -> None:
    """A missing or not yet synced CRD must not stop pods: whatever has a param ignores failures and allows when the object is missing."""
    manifests = render("mode=Enforce")
    with_param = {
        each["metadata"]["name"]: each["spec"] for each in _of_kind(manifests, "ValidatingAdmissionPolicy") if "paramKind" in each["spec"]
    }
    assert set(with_param) == {"laycan-node-fence", "laycan-guard-crd", "laycan-epoch", "laycan-operator-deletes"}
    assert all(spec["failurePolicy"] == "Ignore" for spec in with_param.values())
    for each in _bindings(manifests):
        expected = {"name": "cluster", "parameterNotFoundAction": "Allow"} if each["spec"]["policyName"] in with_param else None
        assert each["spec"].get("paramRef") == expected


def test_crds_are_the_generated_ones_and_kept(render: Render) -> None:
    """The chart carries every generated CRD unchanged, and an uninstall leaves them: they hold the contracts."""
    rendered = {each["metadata"]["name"]: each for each in _of_kind(render(), "CustomResourceDefinition")}
    generated = {each["metadata"]["name"]: each for file in CRDS.glob("*.yaml") for each in yaml.safe_load_all(file.read_text())}
    assert {name: each["spec"] for name, each in rendered.items()} == {name: each["spec"] for name, each in generated.items()}
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in rendered.values())


def test_own_objects_are_not_created_by_the_chart(render: Render) -> None:
    """NodeFence/cluster and LeaderEpoch/cluster are the operator's: an object of a CRD of the same chart fails to install."""
    assert not [each for each in render("mode=Enforce") if each["apiVersion"].startswith("laycan.dev/")]


class _Readable(yaml.SafeDumper):
    """Writes text of several lines as such."""


def _scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _scalar)


def _text(manifests: list[Manifest]) -> str:
    shown = [each for each in manifests if each["kind"] != "CustomResourceDefinition"]
    return yaml.dump_all(shown, Dumper=_Readable, sort_keys=True, width=140)


def _compare(name: str, text: str) -> None:
    file = SNAPSHOTS / name
    if os.environ.get("LAYCAN_UPDATE_SNAPSHOTS"):
        file.write_text(text)
    assert text == file.read_text(), f"differs from {file}; the module's docstring says how to store a wanted change"


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def _bindings(manifests: list[Manifest]) -> list[Manifest]:
    return _of_kind(manifests, "ValidatingAdmissionPolicyBinding")
