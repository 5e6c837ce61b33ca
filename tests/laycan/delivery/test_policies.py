"""What counts as drift of the chart's policies."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.delivery.policies import COLLECTIONS, drifts, expected

OWN = ("helm",)
OUR_OWN = (  # of Laycan's own objects
    "laycan-claim-guard", "laycan-epoch", "laycan-meter-bounds", "laycan-operator-bounds", "laycan-operator-deletes",
)  # fmt: skip
Found = dict[str, list[dict[str, Any]]]


def as_installed(mode: str) -> Found:
    """Everything as helm leaves it; the API server's own entry is of the status."""
    found: Found = {plural: [] for plural in COLLECTIONS}
    for plural, name in expected(mode):
        actions = ["Deny"] if mode == "Enforce" or name in OUR_OWN else ["Warn"]
        managers = [
            {"manager": "helm", "fieldsV1": {"f:metadata": {}, "f:spec": {}}},
            {"manager": "checker", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "labeller", "fieldsV1": {"f:metadata": {}}},
        ]
        found[plural].append(
            {
                "metadata": {"name": name, "uid": f"{plural}/{name}", "managedFields": managers},
                "spec": {"policyName": name, "validationActions": actions},
            }
        )
    return found


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_as_installed_nothing_has_drifted(mode: str) -> None:
    """A fresh install, with a label that somebody else added, is as it should be."""
    assert drifts(as_installed(mode), mode, OWN) == []


def one(found: Found, plural: str, name: str) -> dict[str, Any]:
    """One of the objects."""
    return next(each for each in found[plural] if each["metadata"]["name"] == name)


def told(found: Found, mode: str = "Enforce", managers: tuple[str, ...] = OWN) -> list[str]:
    """What has drifted, in words."""
    return [str(drift) for drift in drifts(found, mode, managers)]


def test_missing() -> None:
    """Each policy and each binding that is gone is named."""
    found = as_installed("Enforce")
    found["mutatingadmissionpolicybindings"].clear()
    assert told(found) == [
        f"MutatingAdmissionPolicyBinding laycan-{name} is missing"
        for name in ("claim-index", "holder-inject", "keep-off", "keep-off-daemonsets")
    ]


def test_edited_by_hand() -> None:
    """Another writer of the spec is named, unless the settings know him."""
    found = as_installed("Enforce")
    meta = one(found, "validatingadmissionpolicies", "laycan-node-fence")["metadata"]
    meta["managedFields"].append({"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:failurePolicy": {}}}})
    assert told(found) == ["ValidatingAdmissionPolicy laycan-node-fence was edited by kubectl-edit"]
    assert told(found, managers=("helm", "kubectl-edit")) == []


def test_made_anew_by_hand() -> None:
    """A policy that somebody else created is his, though it may look the same."""
    found = as_installed("Enforce")
    one(found, "validatingadmissionpolicies", "laycan-guard")["metadata"]["managedFields"][0]["manager"] = "kubectl-create"
    assert told(found) == ["ValidatingAdmissionPolicy laycan-guard was edited by kubectl-create"]


def test_another_mode_than_the_settings() -> None:
    """Bindings of one mode under the settings of the other: both ways."""
    observe, enforce = told(as_installed("Observe")), told(as_installed("Enforce"), "Observe")
    assert (
        "ValidatingAdmissionPolicyBinding laycan-node-fence does not deny (validationActions ['Warn']) although the mode is Enforce"
        in observe
    )
    assert "ValidatingAdmissionPolicyBinding laycan-node-fence denies although the mode is Observe" in enforce
    assert "MutatingAdmissionPolicyBinding laycan-keep-off changes pods although the mode is Observe" in enforce
    assert not [each for each in enforce if "laycan-epoch" in each]


def test_bound_to_something_else_or_going() -> None:
    """A binding that names another policy, and one that is being deleted, bind nothing of ours."""
    found = as_installed("Enforce")
    one(found, "validatingadmissionpolicybindings", "laycan-guard")["spec"]["policyName"] = "other"
    one(found, "validatingadmissionpolicies", "laycan-guard")["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z"
    assert told(found) == [
        "ValidatingAdmissionPolicy laycan-guard is being deleted",
        "ValidatingAdmissionPolicyBinding laycan-guard binds other",
    ]
