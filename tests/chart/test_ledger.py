"""The volume of the log: one pod writes it, an uninstall leaves it, and the operator finds it where it looks."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.settings import Settings
from tests.chart.conftest import Manifest, Render


def test_chart_s_own_claim(render: Render) -> None:
    """By default the chart claims a volume for one pod only, and Helm keeps it for ever."""
    manifests = render()
    (claim,) = _of_kind(manifests, "PersistentVolumeClaim")
    assert claim["spec"] == {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "10Gi"}}}
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert _ledger(manifests) == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}


def test_size_and_class(render: Render) -> None:
    """Size and class are the values'."""
    (claim,) = _of_kind(render("ledger.size=1Ti", "ledger.storageClass=fast"), "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert claim["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize(
    ("values", "volume"),
    [
        (("ledger.existingClaim=mine",), {"persistentVolumeClaim": {"claimName": "mine"}}),
        (("ledger.enabled=false",), {"emptyDir": {}}),
        (("ledger.enabled=false", "ledger.existingClaim=mine"), {"emptyDir": {}}),
        (("ledger=null",), {"persistentVolumeClaim": {"claimName": "laycan-ledger"}}),
    ],
    ids=str,
)
def test_other_volumes(render: Render, values: tuple[str, ...], volume: dict[str, Any]) -> None:
    """A claim of one's own, none at all, or the values of an older chart, which are the defaults."""
    manifests = render(*values)
    assert _ledger(manifests) == volume
    claims = [claim["metadata"]["name"] for claim in _of_kind(manifests, "PersistentVolumeClaim")]
    assert claims == (["laycan-ledger"] if volume.get("persistentVolumeClaim") == {"claimName": "laycan-ledger"} else [])


def test_one_writer(render: Render) -> None:
    """The old pod is gone before the new one starts, the volume is the operator's to write, and the Job of the uninstall has none."""
    manifests = render()
    (deployment,) = _of_kind(manifests, "Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["ledger"] == {"name": "ledger", "mountPath": str(Settings().ledger_path)}
    (job,) = _of_kind(manifests, "Job")
    assert {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]} == {"settings", "tmp"}


def _ledger(manifests: list[Manifest]) -> dict[str, Any]:
    (deployment,) = _of_kind(manifests, "Deployment")
    (volume,) = [dict(each) for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "ledger"]
    del volume["name"]
    return volume


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]
