"""`laycan evidence`: from the log's file and the cluster, or files, to a bundle; beside an operator that writes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from laycan.ledger.log import Entry
from tests.laycan.cli.server import Objects, serving
from tests.laycan.control.desk import T0
from tests.laycan.events.test_evidence_keys import WHOLE
from tests.laycan.evidence.story import DAY, OPERATOR, WITNESS_KEY, WITNESS_NAME, Told, checkpoint, deliver, objects, story
from tests.laycan.evidence.test_bundle import KEYS, said

CONTRACT = "/apis/laycan.dev/v1alpha1/namespaces/desk/computecontracts/c1"
PRODUCTS = "/apis/laycan.dev/v1alpha1/computeproducts"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Told]:
    """One receipt; its log is open for writing, as the operator has it."""
    found = story(tmp_path / "logs")
    deliver(found, T0, T0 + DAY + 900)
    checkpoint(found.log, KEYS, T0 + DAY + 1000)
    yield found
    found.log.close()


@pytest.fixture
def cluster(made: Told, tmp_path: Path) -> Iterator[Objects]:
    contract, product = objects(made)
    with serving(Objects({CONTRACT: contract, PRODUCTS: {"items": [{"metadata": {"name": "other"}}, product]}}), tmp_path) as found:
        yield found


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evidence", *map(str, arguments)])


def test_beside_the_operator(cluster: Objects, made: Told, tmp_path: Path) -> None:
    """From the cluster and the log that the operator has open; the file is verified. Without a terminal no progress is shown."""
    result = laycan("desk/c1", "--out", tmp_path / "c1.json", "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig)
    assert (result.exit_code, result.output) == (0, "")
    assert said((tmp_path / "c1.json").read_bytes(), quorum=1, all_readings=True)[0] == 0
    made.log.append([Entry("other/1", b"x")])


def test_to_stdout(cluster: Objects, tmp_path: Path) -> None:
    """`-` is stdout, for `kubectl exec`: one document and nothing else; the namespace may be an option."""
    result = laycan("c1", "-n", "desk", "--out", "-", "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig, "--no-readings")
    assert result.exit_code == 0
    assert "readings" not in json.loads(result.stdout)
    assert said(result.stdout.encode())[0] == 0


def test_from_files(made: Told, tmp_path: Path) -> None:
    """A contract that is gone from the cluster: its objects come from files, one or a List, and no cluster is asked."""
    (tmp_path / "objects.json").write_text(json.dumps({"kind": "List", "items": list(objects(made))}))
    result = laycan(
        "desk/c1",
        "--out",
        tmp_path / "c1.json",
        "--ledger",
        tmp_path / "logs",
        "--objects",
        tmp_path / "objects.json",
        "--kubeconfig",
        "/none",
    )
    assert (result.exit_code, result.output) == (0, "")
    assert said((tmp_path / "c1.json").read_bytes())[0] == 0


def test_from_the_log_to_a_verdict(cluster: Objects, tmp_path: Path) -> None:
    """Keys, evidence and verify as on the page: accepted with the printed trust file, refused after one flipped byte."""
    public = base64.b64encode(WITNESS_KEY.public_key().public_bytes_raw()).decode()
    trusted = {"trustedKeys": [{"keyId": WITNESS_NAME, "algorithm": "Ed25519", "publicKey": public}]}
    cluster.by_path |= {
        "/api/v1/namespaces/kube-system": {"metadata": {"uid": "8a1c"}},
        "/api/v1/namespaces/laycan-system/configmaps/laycan-settings": {"data": {"settings.yaml": f"operatorId: {OPERATOR}\n"}},
        "/api/v1/namespaces/laycan-system/secrets/laycan-evidence": {
            "metadata": {},
            "data": {name: base64.b64encode(value).decode() for name, value in WHOLE.items()},
        },
        "/apis/laycan.dev/v1alpha1/exchangeendpoints": {"items": [{"metadata": {"namespace": "desk", "name": "gcx"}, "spec": trusted}]},
    }
    bundle, trust = tmp_path / "c1.json", tmp_path / "trust.json"
    assert laycan("desk/c1", "--out", bundle, "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig).exit_code == 0
    printed = CliRunner().invoke(app, ["keys", "--kubeconfig", cluster.kubeconfig])
    assert printed.exit_code == 0, printed.output
    trust.write_text(printed.stdout)
    asked = ["verify", str(bundle), "--trust", str(trust), "--cosignatures", "1", "--require-readings"]
    verdict = CliRunner().invoke(app, asked)
    assert verdict.exit_code == 0, verdict.output
    assert "What was checked holds." in verdict.output
    data = bytearray(bundle.read_bytes())
    place = data.index(b'"proof":["') + 20
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    bundle.write_bytes(bytes(data))
    assert CliRunner().invoke(app, asked).exit_code == 4


class TestRefusals:
    """Exit 1: there is no such evidence. Exit 2: bad input. Nothing is written."""

    def check(self, code: int, word: str, *arguments: str | Path, folder: Path) -> None:
        result = laycan(*arguments, "--out", folder / "out.json")
        assert result.exit_code == code
        assert result.stderr.startswith("error: ")
        assert word in result.stderr
        assert not list(folder.glob("out.json*"))

    def test_no_log(self, cluster: Objects, tmp_path: Path) -> None:
        """Without a log the words name the file."""
        asked = ("desk/c1", "--ledger", tmp_path / "none", "--kubeconfig", cluster.kubeconfig)
        self.check(1, "none/desk/gcx.sqlite", *asked, folder=tmp_path)

    def test_no_contract(self, cluster: Objects, tmp_path: Path) -> None:
        """A contract that the cluster does not have may come from files."""
        self.check(2, "--objects", "desk/c2", "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig, folder=tmp_path)

    def test_not_its_product(self, cluster: Objects, tmp_path: Path) -> None:
        """A product that promises something else by now is no evidence."""
        cluster.by_path[PRODUCTS]["items"][1]["spec"]["nodeGpus"] = 4
        self.check(1, "h100", "desk/c1", "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig, folder=tmp_path)

    @pytest.mark.parametrize("lacking", ["uid", "product", "file"])
    def test_files_that_are_not_enough(self, made: Told, tmp_path: Path, lacking: str) -> None:
        """Objects without uid, without the product, or no file at all."""
        contract, product = objects(made)
        given: list[dict[str, Any]] = [contract, product]
        if lacking == "uid":
            del contract["metadata"]["uid"]
        elif lacking == "product":
            given = [contract]
        if lacking != "file":
            (tmp_path / "objects.json").write_text(json.dumps({"items": given}))
        self.check(
            2,
            {"uid": "uid", "product": "ComputeProduct h100", "file": "objects.json"}[lacking],
            "desk/c1",
            "--ledger",
            tmp_path / "logs",
            "--objects",
            tmp_path / "objects.json",
            folder=tmp_path,
        )

    def test_file_that_cannot_be_written(self, cluster: Objects, tmp_path: Path) -> None:
        """A folder that is not there is bad input."""
        result = laycan("desk/c1", "--out", tmp_path / "no" / "c1.json", "--ledger", tmp_path / "logs", "--kubeconfig", cluster.kubeconfig)
        assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)
