"""What the chart accepts as values, and how they reach the operator and every policy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from laycan.settings import Settings, load_settings
from tests.chart.conftest import CHART, Helm, Manifest, Render

BAD_VALUES = {
    "mode=enforce": "/mode",
    "settings.breaker.sharePpm=1000001": "/settings/breaker/sharePpm",
    "settings.dwellSeconds=-1": "/settings/dwellSeconds",
    "settings.backfill=Some": "/settings/backfill",
    "settings.flapping.times=1": "/settings/flapping/times",
    "settings.failureConditions[0].type=X": "/settings/failureConditions/0",
    "settings.drainSeconds=soon": "/settings/drainSeconds",
    "settings.reconcileSeconds=0": "/settings/reconcileSeconds",
    "settings.unknown=1": "unknown",
    "operator.replicas=2": "/operator/replicas",
    "exemptNamespaces={Acme}": "/exemptNamespaces/0",
    "exemptNamespaces={laycan-probe}": "/exemptNamespaces/0",
    "agentNamespaces=monitoring": "/agentNamespaces",
    "image.pullPolicy=Sometimes": "/image/pullPolicy",
    "agent.sampleSeconds=0": "/agent/sampleSeconds",
    "agent.reportSeconds=7200": "/agent/reportSeconds",
    "agent.maxUnavailable=some": "/agent/maxUnavailable",
    "settings.operatorId=acme dc": "/settings/operatorId",
    "settings.operatorId=acme/dc": "/settings/operatorId",
    "settings.clockBoundMilliseconds=0": "/settings/clockBoundMilliseconds",
    "settings.heartbeatSeconds=4": "/settings/heartbeatSeconds",
    "ledger.size=0Gi": "/ledger/size",
    "ledger.storage=10Gi": "storage",
    "alerts.enabled=yes": "/alerts/enabled",
    "modes=Enforce": "modes",
}


def test_lint(helm: Helm) -> None:
    """`helm lint --strict` finds nothing."""
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("value", BAD_VALUES)
def test_bad_values_are_refused(helm: Helm, value: str) -> None:
    """A value that the operator or a policy could not live with is refused before anything is rendered, and named."""
    done = helm("template", "laycan", str(CHART), "--kube-version", "1.36.3", "--set", value)
    assert done.returncode != 0
    assert BAD_VALUES[value] in done.stderr


def test_older_kubernetes_is_refused(helm: Helm) -> None:
    """Below 1.36 MutatingAdmissionPolicy is not served as v1: the chart refuses to install half a fence."""
    done = helm("template", "laycan", str(CHART), "--kube-version", "1.35.9")
    assert done.returncode != 0
    assert "1.36" in done.stderr


def test_operator_reads_the_rendered_settings(render: Render, tmp_path: Path) -> None:
    """The operator's own loader takes what the chart renders, value for value; nothing set anew means its own defaults."""
    defaults = _settings(render(), tmp_path)
    own = Settings.model_validate({})
    assert set(defaults.exempt_namespaces) == set(own.exempt_namespaces)
    assert defaults.hold_image.startswith("laycan:")
    assert defaults.model_copy(update={"exempt_namespaces": own.exempt_namespaces, "hold_image": own.hold_image}) == own
    chosen = _settings(render("mode=Enforce", "settings.breaker.sharePpm=1000", "settings.pauseAll=true"), tmp_path)
    assert (chosen.mode, chosen.breaker.share_ppm, chosen.pause_all) == ("Enforce", 1000, True)


@pytest.mark.parametrize("lacking", ["holdPods=null", "settings=null", "agent=null", "ledger=null", "alerts=null"])
def test_values_of_an_older_chart_are_enough(render: Render, tmp_path: Path, lacking: str) -> None:
    """`helm upgrade --reuse-values` passes the values of the chart before, which knew fewer: those absent are the defaults."""
    assert _settings(render(lacking), tmp_path).hold_image.startswith("laycan:")


def test_release_namespace_and_kube_system_are_always_exempt(render: Render, tmp_path: Path) -> None:
    """Nobody can configure away the namespaces that the cluster and Laycan's own repair need; policies and operator agree on the list."""
    manifests = render("exemptNamespaces={gpu-operator}", namespace="delivery-office")
    exempt = {"gpu-operator", "kube-system", "delivery-office"}
    assert set(_settings(manifests, tmp_path).exempt_namespaces) == exempt
    selectors = [
        expression["values"]
        for manifest in manifests
        for expression in manifest.get("spec", {}).get("matchConstraints", {}).get("namespaceSelector", {}).get("matchExpressions", [])
        if expression["key"] == "kubernetes.io/metadata.name"
    ]
    assert len(selectors) == 5  # claim-index, holder-inject, keep-off, keep-off-daemonsets, node-fence
    assert all(set(selector) == exempt for selector in selectors)


def _settings(manifests: list[Manifest], folder: Path) -> Settings:
    [data] = [manifest["data"] for manifest in manifests if manifest["kind"] == "ConfigMap"]
    file = folder / "settings.yaml"
    file.write_text(data["settings.yaml"])
    assert yaml.safe_load(data["settings.yaml"])
    return load_settings(file)
