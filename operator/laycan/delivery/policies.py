"""The admission policies of the chart, and how far those in the cluster are from them.

They are Helm's: the operator may read them and not write them. Whoever edits one by hand leaves his name in managedFields, beside
or instead of the installer's, and keeps it there even if he puts everything back; so does whoever makes a missing one anew. Which
names are the installer's is a setting, because a GitOps controller applies the same chart under its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Raw = Mapping[str, Any]

PATH = "/apis/admissionregistration.k8s.io/v1"
API_VERSION = "admissionregistration.k8s.io/v1"
# An upgrade alone keeps what somebody added to a list (server-side apply merges), and stops at a conflict for the rest.
REMEDY = "delete it if it is there, and `helm upgrade` with the same values makes it anew"
COLLECTIONS: Mapping[str, str] = {  # plural -> kind
    "validatingadmissionpolicies": "ValidatingAdmissionPolicy",
    "validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
    "mutatingadmissionpolicies": "MutatingAdmissionPolicy",
    "mutatingadmissionpolicybindings": "MutatingAdmissionPolicyBinding",
}
# By name as in charts/laycan/templates/policies, which a test compares.
VALIDATING = ("laycan-contract-delete", "laycan-guard", "laycan-guard-crd", "laycan-hold-pods", "laycan-node-fence")
# They concern Laycan's own objects and writes, in every mode.
ALWAYS_DENY = ("laycan-claim-guard", "laycan-epoch", "laycan-meter-bounds", "laycan-operator-bounds", "laycan-operator-deletes")
MUTATING = ("laycan-claim-index", "laycan-holder-inject", "laycan-keep-off", "laycan-keep-off-daemonsets")


@dataclass(frozen=True, slots=True, order=True)
class Drift:
    """What is wrong with one policy or binding. `uid` is "" where there is none."""

    kind: str
    name: str
    what: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.what}"


def expected(mode: str) -> Iterator[tuple[str, str]]:
    """(plural, name) of all that the chart installs in this mode."""
    validating, mutating, bindings = "validatingadmissionpolicies", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"
    for name in (*VALIDATING, *ALWAYS_DENY):
        yield validating, name
        yield "validatingadmissionpolicybindings", name
    for name in MUTATING:
        yield mutating, name
        if mode == "Enforce":
            yield bindings, name


def drifts(found: Mapping[str, Iterable[Raw]], mode: str, managers: Iterable[str]) -> list[Drift]:
    """All differences, in order. `found` is plural -> objects as listed; `managers` are the field managers that may write them."""
    known = {(plural, raw["metadata"]["name"]): raw for plural, items in found.items() for raw in items}
    wanted, own = list(expected(mode)), frozenset(managers)
    result = [Drift(COLLECTIONS[plural], name, "is missing") for plural, name in wanted if (plural, name) not in known]
    for plural, name in wanted:
        raw = known.get((plural, name))
        if raw is not None:
            result += [Drift(COLLECTIONS[plural], name, what, raw["metadata"].get("uid", "")) for what in _wrong(raw, plural, mode, own)]
    for name in MUTATING:
        raw = known.get(("mutatingadmissionpolicybindings", name))
        if raw is not None and mode != "Enforce":
            what = f"changes pods although the mode is {mode}"
            result.append(Drift(COLLECTIONS["mutatingadmissionpolicybindings"], name, what, raw["metadata"].get("uid", "")))
    return sorted(result)


def _wrong(raw: Raw, plural: str, mode: str, own: frozenset[str]) -> Iterator[str]:
    if strangers := sorted(_writers(raw) - own):
        yield f"was edited by {', '.join(strangers)}"
    if "deletionTimestamp" in raw["metadata"]:
        yield "is being deleted"
    if plural == "validatingadmissionpolicybindings":
        name, actions = raw["metadata"]["name"], set(raw["spec"].get("validationActions") or ())
        denies = mode == "Enforce" or name in ALWAYS_DENY
        if denies and "Deny" not in actions:
            yield f"does not deny (validationActions {sorted(actions)}) although the mode is {mode}"
        elif not denies and "Deny" in actions:
            yield f"denies although the mode is {mode}"
    if plural.endswith("bindings") and raw["spec"].get("policyName") != raw["metadata"]["name"]:
        yield f"binds {raw['spec'].get('policyName')}"


def _writers(raw: Raw) -> set[str]:
    """Field managers of the spec."""
    entries = raw["metadata"].get("managedFields") or ()
    return {entry.get("manager", "") for entry in entries if "f:spec" in (entry.get("fieldsV1") or {}) and not entry.get("subresource")}
