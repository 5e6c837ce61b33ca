"""`laycan keys`: fresh keys that the operator takes, the trust file, and one key after another without a gap in what can be checked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from laycan.events.evidence_keys import decoded, read_keys
from tests.laycan.cli.server import Objects, serving

SECRET = "/api/v1/namespaces/laycan-system/secrets/laycan-evidence"
ENDPOINTS = "/apis/laycan.dev/v1alpha1/exchangeendpoints"
SETTINGS = "/api/v1/namespaces/laycan-system/configmaps/laycan-settings"
FORMER = base64.b64encode(bytes(range(1, 33))).decode()
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Objects]:
    endpoint = {
        "metadata": {"namespace": "desk", "name": "gcx"},
        "spec": {
            "trustedKeys": [
                {"keyId": "gcx-0", "algorithm": "Ed25519", "publicKey": FORMER, "revokedAt": "2027-01-01T00:00:00Z"},
                {"keyId": "gcx-1", "algorithm": "Ed25519", "publicKey": KEY, "validFrom": "2027-01-01T00:00:00Z"},
            ]
        },
    }
    objects = {
        "/api/v1/namespaces/kube-system": {"metadata": {"uid": "8a1c"}},
        SETTINGS: {"data": {"settings.yaml": 'operatorId: ""\n'}},
        ENDPOINTS: {"items": [endpoint]},
    }
    with serving(Objects(objects), tmp_path) as made:
        yield made


def laycan(cluster: Objects, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", "--kubeconfig", cluster.kubeconfig, *arguments])


def trust(cluster: Objects) -> dict[str, Any]:
    result = laycan(cluster)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def stored(cluster: Objects) -> dict[str, bytes]:
    """As the API server would keep it."""
    secret = cluster.by_path[SECRET]
    given = {key: base64.b64encode(text.encode()).decode() for key, text in secret.pop("stringData", {}).items()}
    secret["data"] = {**secret.get("data", {}), **given}
    return decoded(secret)


@pytest.fixture
def keyed(cluster: Objects) -> Objects:
    assert laycan(cluster, "--new", "--apply").exit_code == 0
    stored(cluster)
    return cluster


class TestNew:
    def test_printed(self) -> None:
        """A Secret for the release's namespace that the operator can sign with; a second one has other keys. No cluster is asked."""
        made = [json.loads(CliRunner().invoke(app, ["keys", "--new", "--namespace", "acme"]).stdout) for _ in range(2)]
        assert made[0]["metadata"]["namespace"] == "acme"
        keys, trouble = read_keys({key: text.encode() for key, text in made[0]["stringData"].items()})
        assert (keys is not None, trouble) == (True, "")
        assert not set(made[0]["stringData"].values()) & set(made[1]["stringData"].values())

    def test_applied(self, cluster: Objects) -> None:
        """`--apply` creates it, and never writes over one that is there."""
        result = laycan(cluster, "--new", "--apply")
        assert (result.exit_code, result.stdout) == (0, "created Secret laycan-system/laycan-evidence\n")
        before = stored(cluster)
        again = laycan(cluster, "--new", "--apply")
        assert again.exit_code == 1
        assert "not overwritten" in again.stderr
        assert stored(cluster) == before


class TestTrustFile:
    def test_whole(self, keyed: Objects) -> None:
        """The operator's three keys by use; the exchange's with their times for each use; as witness the one that is not revoked."""
        found = trust(keyed)
        assert found["operator"]["id"] == "laycan-8a1c"
        assert [key["use"] for key in found["operator"]["keys"]] == ["receipts", "checkpoints", "webhooks"]
        assert all(key["keyId"].startswith(key["use"]) for key in found["operator"]["keys"])
        (exchange,) = found["exchanges"]
        assert exchange["name"] == "desk/gcx"
        assert {(key["use"], key["keyId"], key.get("validFrom"), key.get("revokedAt")) for key in exchange["keys"]} == {
            (use, *times)
            for use in ("confirmations", "instructions")
            for times in (("gcx-0", None, "2027-01-01T00:00:00Z"), ("gcx-1", "2027-01-01T00:00:00Z", None))
        }
        assert found["witnesses"] == [{"name": "gcx-1", "publicKey": KEY}]

    def test_no_private_half(self, keyed: Objects) -> None:
        """Nothing of the Secret but public halves is in it."""
        text = laycan(keyed).stdout
        for value in stored(keyed).values():
            assert not any(line in text for line in value.decode().splitlines() if len(line) > 20)

    def test_operator_id_of_the_settings(self, keyed: Objects) -> None:
        """The chart's value names the operator."""
        keyed.by_path[SETTINGS]["data"]["settings.yaml"] = "operatorId: acme-dc1\n"
        assert trust(keyed)["operator"]["id"] == "acme-dc1"


class TestRotation:
    def test_whole(self, keyed: Objects) -> None:
        """Both keys are in the trust file while one takes over, and after it: what the old one signed can be checked for ever."""
        old = next(key for key in trust(keyed)["operator"]["keys"] if key["use"] == "receipts")
        result = laycan(keyed, "--rotate", "receipts")
        assert result.exit_code == 0
        between = trust(keyed)["operator"]["keys"]
        (new,) = [key for key in between if key["use"] == "receipts" and key != old]
        assert f"{old['keyId']} announces {new['keyId']}" in result.stdout
        assert laycan(keyed, "--finish", "receipts").exit_code == 0
        keys, trouble = read_keys(stored(keyed))
        assert keys is not None
        assert (keys.receipts.key_id, keys.rotations, trouble) == (new["keyId"], (), "")
        after = trust(keyed)["operator"]["keys"]
        assert sorted(map(str, after)) == sorted(map(str, between))
        assert len(after) == 4

    def test_twice(self, keyed: Objects) -> None:
        """Two rotations one after the other leave all three public keys."""
        for _ in range(2):
            assert laycan(keyed, "--rotate", "webhooks").exit_code == 0
            assert laycan(keyed, "--finish", "webhooks").exit_code == 0
        assert len({key["keyId"] for key in trust(keyed)["operator"]["keys"] if key["use"] == "webhooks"}) == 3

    def test_stolen(self, keyed: Objects) -> None:
        """The old key stays in every trust file, with the time from which it counts for nothing, also after the next change."""
        old = trust(keyed)["operator"]["keys"][0]
        for more in (("--stolen", "2027-01-04T00:00:00Z"), ()):
            assert laycan(keyed, "--rotate", "receipts").exit_code == 0
            assert laycan(keyed, "--finish", "receipts", *more).exit_code == 0
        named = {key["keyId"]: key.get("revokedAt") for key in trust(keyed)["operator"]["keys"] if key["use"] == "receipts"}
        assert named.pop(old["keyId"]) == "2027-01-04T00:00:00Z"
        assert list(named.values()) == [None, None]

    @pytest.mark.parametrize(("first", "then"), [(("--rotate",), "--rotate"), ((), "--finish")], ids=["rotate twice", "finish nothing"])
    def test_refused(self, keyed: Objects, first: tuple[str, ...], then: str) -> None:
        """A second key beside the first, or an end without a beginning, changes nothing."""
        for option in first:
            laycan(keyed, option, "receipts")
        before = stored(keyed)
        result = laycan(keyed, then, "receipts")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert stored(keyed) == before


class TestRefusals:
    def test_no_secret(self, cluster: Objects) -> None:
        """Without a Secret there is nothing to print; the words name it, where it was looked for, and what makes it."""
        result = laycan(cluster)
        assert result.exit_code == 1
        assert "no Secret laycan-system/laycan-evidence; name the release's --namespace, or make it: laycan keys --new" in result.stderr

    def test_half_written(self, keyed: Objects) -> None:
        """A half-written key is named, and nothing is changed on top of it."""
        keyed.by_path[SECRET]["data"]["checkpoints.key"] = base64.b64encode(b"-----BEGIN PRI").decode()
        for arguments in ((), ("--rotate", "receipts"), ("--finish", "receipts")):
            result = laycan(keyed, *arguments)
            assert result.exit_code == 1
            assert "checkpoints.key" in result.stderr

    def test_no_right(self, keyed: Objects) -> None:
        """Who may not read the Secret is told so."""
        keyed.forbidden.add(SECRET)
        result = laycan(keyed)
        assert (result.exit_code, "no right to GET" in result.stderr) == (1, True)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--apply",),
            ("--new", "--rotate", "receipts"),
            ("--rotate", "receipts", "--finish", "receipts"),
            ("--rotate", "receipts", "--stolen", "2027-01-04T00:00:00Z"),
            ("--finish", "receipts", "--stolen", "yesterday"),
        ],
    )
    def test_usage(self, cluster: Objects, arguments: tuple[str, ...]) -> None:
        """Options that do not go together are bad input."""
        assert laycan(cluster, *arguments).exit_code == 2

    def test_no_cluster(self, tmp_path: Path) -> None:
        """Without a kubeconfig it is bad input too."""
        assert CliRunner().invoke(app, ["keys", "--kubeconfig", str(tmp_path / "none")]).exit_code == 2
