"""The operator's rights, read from the rendered manifests: least privilege is a property that a test can lose."""

from __future__ import annotations

from itertools import pairwise

from tests.chart.conftest import CHART, Manifest, Render

WRITES = {"create", "update", "patch", "delete", "deletecollection", "assign"}


def test_no_rule_has_a_wildcard(render: Render) -> None:
    """No rule of any role says `*`."""
    for role in _roles(render("mode=Enforce", "exchangeNamespaces={desk}")):
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], role["metadata"]["name"]


def test_cluster_wide_writes_are_these(render: Render) -> None:
    """Everything the operator may write anywhere in the cluster; it labels no namespace, reads no Secret; a policy bounds its pods."""
    assert _cluster_writes(render("mode=Enforce")) == {
        "computecontracts": {"patch"},
        "computecontracts/status": {"patch"},
        "computeproducts/status": {"patch"},
        "contractinstructions/status": {"patch"},
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
        & _cluster_writes(render("mode=Observe")).keys()
    )


def test_secrets_are_read_in_exchange_namespaces_only(render: Render) -> None:
    """A Secret can be read only where an exchange's endpoint lives, and only by name where names are given."""
    roles = [role for role in _roles(render("exchangeNamespaces={desk}", "exchangeSecretNames={gcx}")) if _reads_secrets(role)]
    assert [(role["kind"], role["metadata"]["namespace"]) for role in roles] == [("Role", "desk")]
    assert roles[0]["rules"][0]["resourceNames"] == ["gcx"]
    assert not [role for role in _roles(render()) if _reads_secrets(role)]


def test_each_rule_names_its_call() -> None:
    """Above each rule stands a comment: the call that needs it."""
    for name in ("rbac.yaml", "probe.yaml"):
        lines = (CHART / "templates" / name).read_text().splitlines()
        for above, line in pairwise(lines):
            if line.startswith(("- {apiGroups:", "- apiGroups:")) and not above.startswith("- {apiGroups:"):
                assert above.startswith("# "), f"{name}: {line}"


def test_bound_to_the_operator_only(render: Render) -> None:
    """Every role is bound, and to nobody but the operator's ServiceAccount; the exchanges' are for the administrator to bind."""
    manifests = render("mode=Enforce", "exchangeNamespaces={desk}")
    bindings = [each for each in manifests if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    assert len(bindings) == len([role for role in _roles(manifests) if role["metadata"]["name"] != "laycan-exchange"]) == 5
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "laycan-operator", "namespace": "laycan-system"}]


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


def _reads_secrets(role: Manifest) -> bool:
    return any("secrets" in rule["resources"] for rule in role["rules"])


def _cluster_writes(manifests: list[Manifest]) -> dict[str, set[str]]:
    writes: dict[str, set[str]] = {}  # resource -> verbs
    for role in manifests:
        if role["kind"] == "ClusterRole":
            for rule in role["rules"]:
                for resource in rule["resources"]:
                    if granted := WRITES & set(rule["verbs"]):
                        writes.setdefault(resource, set()).update(granted)
    return writes
