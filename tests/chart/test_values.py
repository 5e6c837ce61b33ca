"""What the chart accepts as values, and how they reach the operator and every policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from laycan.settings import Settings, load_settings
from tests.chart.conftest import CHART, Helm, Manifest, Render

Schema = Mapping[str, Any]
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
    "holdPods.images=x": "images",
    "image.repository=": "/image/repository",
    "image.digest=sha256:0": "digest",
    "operator.replica=1": "replica",
    "operator.tolerations=all": "/operator/tolerations",
    "agent.enable=true": "enable",
    "agent.nodeSelector.pool=1": "/agent/nodeSelector/pool",
    "uninstall.timeoutSeconds=0": "/uninstall/timeoutSeconds",
    "serviceMonitor.interval=30": "/serviceMonitor/interval",
    "serviceMonitor.enabled=maybe": "/serviceMonitor/enabled",
    "serviceMonitors.enabled=true": "serviceMonitors",
    "networkPolicy.metricsFrom[0].pods=x": "/networkPolicy/metricsFrom/0",
    "networkPolicy.operatorEgress[0].from=x": "/networkPolicy/operatorEgress/0",
    "networkPolicy.egress=x": "egress",
    "networkPolicy.metricsFrom[0].podSelector=null": "/networkPolicy/metricsFrom/0",
    "mode=null": "mode",
    "operator=null": "operator",
    "operator.nodeSelector.laycan\\.dev/managed=true": "/operator/nodeSelector",
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


def test_schema_is_closed() -> None:
    """Where the chart knows the keys of a value it takes no other, so that a typo fails; values.yaml sets every key but two."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert sorted(_open(schema, schema["definitions"])) == []
    assert sorted(_unset(schema, defaults)) == ["global", "settings.failureConditions"]


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
    assert defaults.hold_image.startswith("ghcr.io/laycan/laycan:")
    assert defaults.model_copy(update={"exempt_namespaces": own.exempt_namespaces, "hold_image": own.hold_image}) == own
    chosen = _settings(render("mode=Enforce", "settings.breaker.sharePpm=1000", "settings.pauseAll=true"), tmp_path)
    assert (chosen.mode, chosen.breaker.share_ppm, chosen.pause_all) == ("Enforce", 1000, True)


@pytest.mark.parametrize("lacking", ["holdPods=null", "settings=null", "agent=null", "ledger=null", "alerts=null", "networkPolicy=null"])
def test_values_of_an_older_chart_are_enough(render: Render, tmp_path: Path, lacking: str) -> None:
    """`helm upgrade --reuse-values` passes the values of the chart before, which knew fewer: those absent are the defaults."""
    assert _settings(render(lacking), tmp_path).hold_image.startswith("ghcr.io/laycan/laycan:")


def test_what_is_switched_on_over_the_values_of_an_older_chart(render: Render) -> None:
    """Those know `enabled` at most: the rest of each part is as by default, runbooks' address, interval and the sidecar's label too."""
    on = [f"{part}.enabled=true" for part in ("alerts", "serviceMonitor", "dashboard")]
    unknown = ["alerts.runbookBase", "alerts.disabled", "serviceMonitor.interval", "serviceMonitor.labels", "dashboard.labels"]
    assert render(*on, *(f"{value}=null" for value in unknown)) == render(*on)


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


def _open(schema: Schema, definitions: Schema, path: str = "") -> Iterator[str]:
    """Objects whose keys the schema lists without refusing others."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "properties" in schema:
        if schema.get("additionalProperties") is not False:
            yield path
        for name, part in schema["properties"].items():
            yield from _open(part, definitions, f"{path}.{name}")
    if "items" in schema:
        yield from _open(schema["items"], definitions, f"{path}[]")


def _unset(schema: Schema, defaults: Any, path: str = "") -> Iterator[str]:
    """Values of the schema that values.yaml does not set."""
    for name, part in schema.get("properties", {}).items():
        if name not in defaults:
            yield f"{path}.{name}".lstrip(".")
        else:
            yield from _unset(part, defaults[name], f"{path}.{name}")


def _settings(manifests: list[Manifest], folder: Path) -> Settings:
    [data] = [manifest["data"] for manifest in manifests if manifest["kind"] == "ConfigMap"]
    file = folder / "settings.yaml"
    file.write_text(data["settings.yaml"])
    assert yaml.safe_load(data["settings.yaml"])
    return load_settings(file)
