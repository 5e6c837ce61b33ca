"""`laycan endpoint test`: what a person sees of a ping."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from tests.laycan.cli.server import Objects, serving
from tests.laycan.events.exchange import SECRET
from tests.laycan.events.test_evidence_keys import WHOLE

KEYS = "/api/v1/namespaces/laycan-system/secrets/laycan-evidence"


class Cluster(Objects):
    """With an exchange behind the same address."""

    says: tuple[int, Any] = (200, {"have": 411})

    def answer(self, verb: str, path: str, body: Any) -> tuple[int, Any]:
        return self.says if path == "/hooks" else super().answer(verb, path, body)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    objects = {
        "/api/v1/namespaces/kube-system": {"metadata": {"uid": "8a1c"}},
        "/api/v1/namespaces/desk/secrets/gcx": {"data": {"hmac": base64.b64encode(SECRET.encode()).decode()}},
        KEYS: {"metadata": {}, "data": {name: base64.b64encode(value).decode() for name, value in WHOLE.items()}},
    }
    made = Cluster(objects)
    with serving(made, tmp_path):
        url = made.url + "/hooks"
        endpoint = {"metadata": {"namespace": "desk", "name": "gcx"}, "spec": {"url": url, "secretRef": {"name": "gcx", "key": "hmac"}}}
        made.by_path["/apis/laycan.dev/v1alpha1/exchangeendpoints"] = {"items": [endpoint]}
        yield made


def laycan(cluster: Cluster, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["endpoint", "test", *arguments, "--kubeconfig", cluster.kubeconfig])


def test_acknowledged(cluster: Cluster) -> None:
    """Status, latency, who signed and what the reply said, for people."""
    result = laycan(cluster, "desk/gcx")
    assert result.exit_code == 0, result.output
    first, signed, reply = result.stdout.splitlines()
    assert first.startswith("acknowledged: HTTP 200 in ")
    assert "the endpoint's own key, webhooks-" in signed
    assert reply.endswith('{"have":411}')
    assert result.stderr == ""


def test_json(cluster: Cluster) -> None:
    """The same for programs; one document."""
    found = json.loads(laycan(cluster, "gcx", "-n", "desk", "-o", "json").stdout)
    assert (found["acknowledged"], found["answer"], found["reply"], found["troubles"]) == (True, "HTTP 200", {"have": 411}, [])
    assert found["milliseconds"] >= 0


def test_refused(cluster: Cluster) -> None:
    """Exit 1, and what is wrong in words."""
    cluster.says = 401, {}
    result = laycan(cluster, "desk/gcx")
    assert result.exit_code == 1
    assert result.stdout.startswith("NOT acknowledged: HTTP 401")
    assert "does not believe the signature" in result.stdout


def test_without_signing_keys(cluster: Cluster) -> None:
    """By the endpoint's own key alone, as the operator would; it is noted."""
    del cluster.by_path[KEYS]
    result = laycan(cluster, "desk/gcx")
    assert result.exit_code == 0
    assert "own key only" in result.stderr


def test_nobody_of_that_name(cluster: Cluster) -> None:
    """Bad input is exit 2, and so is another action."""
    result = laycan(cluster, "desk/none")
    assert (result.exit_code, "no ExchangeEndpoint desk/none" in result.stderr) == (2, True)
    assert CliRunner().invoke(app, ["endpoint", "remove", "gcx"]).exit_code == 2
