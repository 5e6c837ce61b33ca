"""Somebody edits or deletes a policy of the chart: the operator says so, once, and preflight shows it; helm puts it right."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from laycan.cli.main import app
from laycan.delivery.drift import DriftWatch
from laycan.kube.client import Client
from laycan.kube.credentials import load_credentials
from laycan.settings import Settings
from tests.cluster.policies.installed import NAMESPACE, Installed

pytestmark = pytest.mark.xdist_group("policies")

POLICIES = "/apis/admissionregistration.k8s.io/v1"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def look(installed: Installed, times: int = 1) -> list[str]:
    """What the operator, with its own rights, sees in the last of several looks."""

    async def run() -> list[str]:
        path = installed.plane.service_account_kubeconfig(NAMESPACE, "laycan-operator")
        async with Client(load_credentials(path)) as client:
            watch = DriftWatch(client, Settings(mode="Enforce"), "test", lambda: 1_800_000_000)
            for _ in range(times):
                await watch.look()
        return sorted(map(str, watch.drifts))

    return asyncio.run(run())


def told(installed: Installed) -> list[str]:
    """Notes of the Events."""
    return [event["note"] for event in installed.admin.items(EVENTS) if event["reason"] == "PolicyDrift"]


def preflight(installed: Installed) -> tuple[int, list[str]]:
    """Exit code of the command, and what it says of policies."""
    done = CliRunner().invoke(app, ["preflight", "--kubeconfig", str(installed.plane.admin_kubeconfig), "-o", "json"])
    return done.exit_code, [each["what"] for each in json.loads(done.stdout) if each["check"] == "policies-unedited"]


def test_edits_are_told_once(installed: Installed, caplog: pytest.LogCaptureFixture) -> None:
    """An edited binding and a deleted policy: one ALARM and one Event each in three looks, errors of preflight; gone once made anew."""
    assert look(installed) == []
    assert preflight(installed) == (0, [])
    crd, delete = "laycan-guard-crd", "laycan-contract-delete"
    installed.admin.patch(
        f"{POLICIES}/validatingadmissionpolicybindings/{crd}", {"spec": {"validationActions": ["Audit"]}}, fieldManager="bob"
    )
    installed.admin.delete(f"{POLICIES}/validatingadmissionpolicies/{delete}")
    kind = "ValidatingAdmissionPolicyBinding"
    drifts = [
        f"ValidatingAdmissionPolicy {delete} is missing",
        f"{kind} {crd} does not deny (validationActions ['Audit']) although the mode is Enforce",
        f"{kind} {crd} was edited by bob",
    ]
    assert look(installed, times=3) == drifts
    alarms = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [alarm.split(";")[0] for alarm in alarms] == [f"ALARM {drift}" for drift in drifts]
    assert sorted(note.split(";")[0] for note in told(installed)) == drifts
    assert preflight(installed) == (1, drifts)
    installed.admin.delete(f"{POLICIES}/validatingadmissionpolicybindings/{crd}")
    installed.install("upgrade")
    assert look(installed) == []
    assert preflight(installed) == (0, [])
