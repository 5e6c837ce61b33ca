"""Evidence on a real API server: keys from a Secret that the operator alone reads, a contract's receipt, its export beside the running
operator with the operator's own rights, and a verdict offline; then one key takes over from another.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controlplane.waiting import until
from laycan.cli.main import app
from laycan.events.evidence_keys import SECRET
from laycan.ledger.sqlite import open_log, path_of
from tests.cluster.operator import QUICK, Market, Operator, at, await_phase, market
from tests.cluster.policies.installed import NAMESPACE
from tests.cluster.test_webhooks import listening, traded
from tests.laycan.events.exchange import SECRET as HOOK

pytestmark = pytest.mark.xdist_group("evidence")


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with market(tmp_path_factory.mktemp("evidence"), tools, nodes=2) as made:
        made.installed.install("upgrade", "Enforce", "--set", "exchangeNamespaces={desk}", "--set", "settings.operatorId=acme")
        key = {"hmac": base64.b64encode(HOOK.encode()).decode()}
        made.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "desk"}, "data": key})
        yield made
        made.close()


def laycan(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def current(operator: Operator) -> float:
    return operator.metrics().get("laycan_receipts_current", -1)


def announced(logs: Path) -> list[dict[str, Any]]:
    """What the log of the desk's exchange says of keys."""
    log = open_log(path_of(logs, "desk", "gcx"), read_only=True)
    try:
        return [json.loads(entry.body)["data"] for entry in log.entries_of("key.rotated/")]
    finally:
        log.close()


def test_from_keys_to_a_verdict(town: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys receipts wait, with them they are issued; what the operator's own account exports is believed by a stranger."""
    logs, admin = tmp_path / "logs", town.plane.admin_kubeconfig
    with listening(town):
        operator = town.operator(settings={**QUICK, "ledgerPath": str(logs)})
        until("it is said that there are no keys", lambda: operator.said("laycan keys --new"))
        assert current(operator) == 0
        made = laycan("keys", "--new", "--apply", "--kubeconfig", admin)
        assert made.exit_code == 0, made.output
        until("receipts are current", lambda: current(operator) == 1)

        town.admin.create(traded("proven", at(8), at(14)))
        await_phase(town.admin, "proven", "Settled", seconds=60)

        # what follows has the operator's rights and files only, as in its pod
        own = operator._kubeconfig
        monkeypatch.setattr("laycan.cli.installed.MOUNTED_SETTINGS", operator._settings)
        bundle, trust = tmp_path / "proven.json", tmp_path / "trust.json"
        exported: list[Result] = []
        until("a checkpoint is over it", lambda: _exports(exported, "desk/proven", "--out", bundle, "--kubeconfig", own))
        printed = laycan("keys", "--kubeconfig", own)
        assert printed.exit_code == 0, printed.output
        trust.write_text(printed.stdout)
        assert json.loads(printed.stdout)["operator"]["id"] == "acme"
        verdict = laycan("verify", bundle, "--trust", trust, "--require-readings")
        assert verdict.exit_code == 0, verdict.output
        assert "1 receipts tile " in verdict.output
        tested = laycan("endpoint", "test", "desk/gcx", "--kubeconfig", own, "-o", "json")
        assert tested.exit_code == 0, tested.output
        assert len(json.loads(tested.stdout)["signedBy"]) == 2
        refused = laycan("keys", "--rotate", "receipts", "--kubeconfig", own)
        assert (refused.exit_code, "patch" in refused.stderr) == (1, True)

        rotate(town, operator, logs, admin)


def _exports(results: list[Result], *arguments: object) -> bool:
    results.append(laycan("evidence", *arguments))
    return results[-1].exit_code == 0


def rotate(town: Market, operator: Operator, logs: Path, admin: Path) -> None:
    """The new key is announced once, survives a kill, and signs; the old public half stays known."""
    before = json.loads(laycan("keys", "--kubeconfig", admin).stdout)["operator"]["keys"]
    assert laycan("keys", "--rotate", "receipts", "--kubeconfig", admin).exit_code == 0
    until("it is announced", lambda: announced(logs))
    until("it has taken over", lambda: operator.metrics().get("laycan_key_rotations_pending") == 0)
    operator.kill()
    again = town.operator(settings={**QUICK, "ledgerPath": str(logs)})
    until("it has taken over again", lambda: current(again) == 1 and again.metrics().get("laycan_key_rotations_pending") == 0)
    (data,) = announced(logs)
    assert data["oldKeyId"] == before[0]["keyId"]
    assert laycan("keys", "--finish", "receipts", "--kubeconfig", admin).exit_code == 0
    after = json.loads(laycan("keys", "--kubeconfig", admin).stdout)["operator"]["keys"]
    assert [key["keyId"] for key in after if key["use"] == "receipts"] == [data["newKeyId"], data["oldKeyId"]]
    secret = town.admin.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}")["data"]
    assert "receipts.next.key" not in secret
