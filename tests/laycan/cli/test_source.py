"""Where commands get their case from: a cluster and its snapshot give the same, and what is missing is told with what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from laycan.cli.source import open_case
from laycan.kube.collect import LISTS
from laycan.planning.bundle import reduced
from tests.laycan.cli.server import Objects, serving

DESK = Path(__file__).parents[3] / "examples" / "desk"
NOW = "2027-01-12T09:00:00Z"


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Objects]:
    """The desk's example, served by an API."""
    objects = [item for name in ("fleet", "book") for item in yaml.safe_load((DESK / f"{name}.yaml").read_text())["items"]]
    paths: dict[str, Any] = {
        listed.path: {"metadata": {}, "items": [raw for raw in objects if raw["kind"] == listed.kind]} for listed in LISTS
    }
    with serving(Objects(paths), tmp_path) as running:
        yield running


def test_a_cluster_and_its_snapshot(cluster: Objects, tmp_path: Path) -> None:
    """The same bytes from every command, whichever of the two is asked; the snapshot's time counts without --now."""
    file = tmp_path / "state.json"
    where = ("--kubeconfig", cluster.kubeconfig, "--now", NOW)
    written = laycan("snapshot", "--out", file, *where)
    assert written.exit_code == 0, written.output
    assert f"24 nodes, 2 products, 9 contracts, 1 outages as of {NOW}; next: laycan plan {file}" in written.stderr
    for command in (["plan"], ["status"], ["book"], ["why", "desk/gamma-eval"]):
        of_cluster, of_file = laycan(*command, *where, "-o", "json"), laycan(*command, file, "-o", "json")
        assert of_cluster.exit_code == of_file.exit_code == 0, of_cluster.output
        assert of_cluster.stdout == of_file.stdout
        assert json.loads(of_file.stdout)["now"] == NOW


def test_a_snapshot_on_stdout(cluster: Objects) -> None:
    """One document, and nothing is said."""
    result = laycan("snapshot", "--out", "-", "--kubeconfig", cluster.kubeconfig)
    assert (result.exit_code, result.stderr) == (0, "")
    items = json.loads(result.stdout)["items"]
    assert items == [reduced(item) for item in items]


@pytest.mark.parametrize("command", [["plan"], ["status"], ["book"], ["why", "x"], ["snapshot", "--out", "-"]])
class TestTroubles:
    """Exit 2 with nothing on stdout, whichever command it is."""

    def test_no_right(self, cluster: Objects, command: list[str]) -> None:
        """Which verb on which resource is missing."""
        cluster.forbidden = {"/api/v1/nodes"}
        result = laycan(*command, "--kubeconfig", cluster.kubeconfig)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "error: no right to list nodes; have a cluster admin grant the verb list on nodes, cluster-wide" in result.stderr

    def test_not_installed(self, cluster: Objects, command: list[str]) -> None:
        """How to install it."""
        cluster.by_path = {path: found for path, found in cluster.by_path.items() if "laycan.dev" not in path}
        result = laycan(*command, "--kubeconfig", cluster.kubeconfig)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "helm install laycan" in result.stderr

    def test_no_such_context(self, cluster: Objects, command: list[str]) -> None:
        """How to find one."""
        result = laycan(*command, "--kubeconfig", cluster.kubeconfig, "--context", "nowhere")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "kubectl config get-contexts" in result.stderr

    def test_no_cluster_at_all(self, tmp_path: Path, command: list[str]) -> None:
        """What to give instead."""
        result = laycan(*command, "--kubeconfig", tmp_path / "none")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "give --kubeconfig FILE or set KUBECONFIG; or name files" in result.stderr


def test_the_current_context(cluster: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PATH and options the cluster that kubectl would ask."""
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig)
    assert len(open_case(None).manifests.nodes) == 24
    assert len(open_case([], context="c").manifests.nodes) == 24


def test_more_files_beside_a_snapshot(tmp_path: Path) -> None:
    """A contract that the cluster has not got is accepted as it stands; it may be planned beside the others."""
    more = yaml.safe_load((DESK / "book.yaml").read_text())["items"][1]
    more["metadata"]["name"], more["spec"]["terms"]["contractId"] = "new", "GCX-new"
    del more["status"]
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(more))
    case = open_case([str(DESK), str(tmp_path)])
    assert next(c for c in case.problem.contracts if c.key == "desk/new").accepted
    assert not next(c for c in open_case([str(DESK), str(tmp_path)], admit=True).problem.contracts if c.key == "desk/new").accepted
