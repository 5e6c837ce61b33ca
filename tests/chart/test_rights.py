"""The rights of operator and agents, read from the rendered manifests: least privilege is a property that a test can lose."""

from __future__ import annotations

from itertools import pairwise

from laycan.events.evidence_keys import SECRET as EVIDENCE_SECRET
from tests.chart.conftest import CHART, Manifest, Render

WRITES = {"create", "update", "patch", "delete", "deletecollection", "assign"}


def test_no_rule_has_a_wildcard(render: Render) -> None:
    """No rule of any role says `*`."""
    for role in _roles(render("mode=Enforce", "exchangeNamespaces={desk}")):
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], role["metadata"]["name"]


def test_cluster_wide_writes_are_these(render: Render) -> None:
    """Everything the operator may write anywhere in the cluster; it labels no namespace, reads no Secret; a policy bounds its pods."""
    assert _cluster_writes(render("mode=Enforce"), "laycan-operator") == {
        "computecontracts": {"patch"},
        "computecontracts/status": {"patch"},
        "computeproducts/status": {"patch"},
        "outages/status": {"patch"},
        "exchangeendpoints/status": {"patch"},
        "contractinstructions/status": {"patch"},
        "evidencebundles": {"create", "patch"},
        "events": {"create"},
        "nodefences": {"create", "patch", "assign"},
        "leaderepochs": {"create", "patch"},
        "nodes": {"patch"},
        "pods": {"create", "delete"},
        "pods/eviction": {"create"},
        "resourceclaims": {"create", "delete"},
        "resourceclaims/status": {"patch"},
        "resourceclaims/binding": {"patch"},
    }


def test_observe_cannot_remove_a_pod(render: Render) -> None:
    """In mode Observe the operator has no right to create, evict or delete a pod, nor to take a GPU."""
    assert (
        not {"pods", "pods/eviction", "resourceclaims", "resourceclaims/status", "resourceclaims/binding"}
        & _cluster_writes(render("mode=Observe"), "laycan-operator").keys()
    )


def test_what_a_former_mode_left_can_be_let_go(render: Render) -> None:
    """In Observe, rights on claims and hold pods are there while the Job of the uninstall runs, which would fail without."""
    found = [each for each in render("mode=Observe") if each["metadata"]["name"] == "laycan-release"]
    (job,) = [each for each in found if each["kind"] == "Job"]
    rights = [each for each in found if each["kind"] != "Job"]
    assert {each["kind"] for each in rights} == {"ClusterRole", "ClusterRoleBinding"}
    for each in rights:
        notes = each["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
        assert int(notes["helm.sh/hook-weight"]) < 0
        assert {"hook-succeeded", "hook-failed"} <= set(notes["helm.sh/hook-delete-policy"].split(","))
    asked = _cluster_writes(render("mode=Observe"), "laycan-release")
    assert asked == {
        "pods": {"delete"},
        "resourceclaims": {"delete"},
        "resourceclaims/status": {"patch"},
        "resourceclaims/binding": {"patch"},
    }
    enforced = _cluster_writes(render("mode=Enforce"), "laycan-operator")
    assert all(verbs <= enforced[resource] for resource, verbs in asked.items()), "no more than the operator has in Enforce"
    names = {each["metadata"]["name"] for each in _roles(render("mode=Enforce")) + _roles(render("uninstall.release=false"))}
    assert "laycan-release" not in names


def test_agents_write_meters_only(render: Render) -> None:
    """Of everything in the cluster an agent may write GpuMeters, which a policy bounds to its node's; it reads nodes, and nothing else."""
    assert _cluster_writes(render(), "laycan-agent") == {"gpumeters": {"create", "patch"}}
    [role] = [each for each in _roles(render()) if each["metadata"]["name"] == "laycan-agent"]
    assert {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]} == {
        ("nodes", "get"), ("gpumeters", "get"), ("gpumeters", "create"), ("gpumeters", "patch"),
    }  # fmt: skip


def test_secrets_are_read_in_exchange_namespaces_only(render: Render) -> None:
    """A Secret can be read only where an exchange's endpoint lives, by name where names are given, and the one with the evidence's keys."""
    assert _secrets(render("exchangeNamespaces={desk}", "exchangeSecretNames={gcx}")) == {
        ("Role", "laycan-system"): ({"get"}, {EVIDENCE_SECRET}),
        ("Role", "desk"): ({"get"}, {"gcx"}),
    }
    assert _secrets(render()).keys() == {("Role", "laycan-system")}


def test_each_rule_names_its_call() -> None:
    """Above each rule stands a comment: the call that needs it."""
    for name in ("rbac.yaml", "probe.yaml", "agent.yaml"):
        lines = (CHART / "templates" / name).read_text().splitlines()
        for above, line in pairwise(lines):
            if line.startswith(("- {apiGroups:", "- apiGroups:")) and not above.startswith("- {apiGroups:"):
                assert above.startswith("# "), f"{name}: {line}"


def test_bound_to_their_own_accounts_only(render: Render) -> None:
    """Every role is bound: the agents' to theirs, all others to the operator's alone; the exchanges' and the buyers' are for people."""
    manifests = render("mode=Enforce", "exchangeNamespaces={desk}")
    bindings = [each for each in manifests if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    ours = [role for role in _roles(manifests) if role["metadata"]["name"] not in {"laycan-exchange", "laycan-buyer"}]
    assert len(bindings) == len(ours) == 6
    for binding in bindings:
        account = "laycan-agent" if binding["metadata"]["name"] == "laycan-agent" else "laycan-operator"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "laycan-system"}]


def test_an_exchange_offers_and_instructs(render: Render) -> None:
    """In its own namespaces it may create contracts and instructions and read them by name; nothing else, and nowhere else."""
    roles = [role for role in _roles(render("exchangeNamespaces={desk,two}")) if role["metadata"]["name"] == "laycan-exchange"]
    assert [(role["kind"], role["metadata"]["namespace"]) for role in roles] == [("Role", "desk"), ("Role", "two")]
    assert [rule for role in roles for rule in role["rules"]] == 2 * [
        {"apiGroups": ["laycan.dev"], "resources": ["computecontracts", "contractinstructions"], "verbs": ["create", "get"]}
    ]
    assert not [role for role in _roles(render()) if role["metadata"]["name"] == "laycan-exchange"]


def _roles(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in {"Role", "ClusterRole"}]


def _secrets(manifests: list[Manifest]) -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """(kind of role, namespace) -> what it may do with Secrets, and with which."""
    return {
        (role["kind"], role["metadata"].get("namespace", "")): (set(rule["verbs"]), set(rule.get("resourceNames", ())))
        for role in _roles(manifests)
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    }


def _cluster_writes(manifests: list[Manifest], name: str) -> dict[str, set[str]]:
    writes: dict[str, set[str]] = {}  # resource -> verbs
    for role in manifests:
        if role["kind"] == "ClusterRole" and role["metadata"]["name"] == name:
            for rule in role["rules"]:
                for resource in rule["resources"]:
                    if granted := WRITES & set(rule["verbs"]):
                        writes.setdefault(resource, set()).update(granted)
    return writes
