"""What an audit log says about rights: used, idle, refused."""

from __future__ import annotations

import json
from typing import Any

from laycan.conformance.rights import Right, compare, expand, markdown, requests

USER = "system:serviceaccount:laycan-system:laycan-operator"


def event(verb: str, resource: str, *, group: str = "", namespace: str = "", allowed: bool = True, **more: Any) -> str:
    """A line of the log."""
    resource, _, sub = resource.partition("/")
    told = {"resource": resource, "subresource": sub, "apiGroup": group, "namespace": namespace}
    decision = {"authorization.k8s.io/decision": "allow" if allowed else "forbid"}
    known = {"user": {"username": USER}, "verb": verb, "stage": "ResponseComplete", "objectRef": told, "annotations": decision}
    return json.dumps(known | more)


LOG = [
    event("patch", "nodes"),
    event("patch", "nodes"),
    event("create", "pods/eviction", namespace="acme"),
    event("get", "leases", group="coordination.k8s.io", namespace="laycan-system"),
    event("patch", "nodefences", group="laycan.dev"),
    event("watch", "pods", stage="ResponseStarted"),
    event("watch", "pods"),
    event("create", "pods", namespace="acme", allowed=False),
    event("patch", "nodes", user={"username": "somebody"}),
    event("get", "", objectRef={}),
]


def test_requests() -> None:
    """Other users and requests that name no resource do not count, a watch counts once, and RBAC's verdict divides the rest."""
    allowed, refused = requests(LOG, USER)
    assert allowed == {
        Right("", "nodes", "patch"): 2,
        Right("", "pods/eviction", "create", "acme"): 1,
        Right("coordination.k8s.io", "leases", "get", "laycan-system"): 1,
        Right("laycan.dev", "nodefences", "patch"): 1,
        Right("", "pods", "watch"): 1,
    }
    assert refused == {Right("", "pods", "create", "acme"): 1}


def test_compare() -> None:
    """A right that holds everywhere is used in any namespace, one of a namespace in that only; `assign` by a write of the fence."""
    allowed, refused = requests(LOG, USER)
    granted = {
        *expand({"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch", "get"]}, ""),
        *expand({"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}, ""),
        *expand({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}, "laycan-system"),
        *expand({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}, "kube-node-lease"),
        *expand({"apiGroups": ["laycan.dev"], "resources": ["nodefences"], "verbs": ["assign", "patch"]}, ""),
    }
    found = compare(granted, allowed, refused)
    assert {str(right): number for right, number in found.used.items()} == {
        "patch nodes": 2,
        "create pods/eviction": 1,
        "get leases.coordination.k8s.io in laycan-system": 1,
        "assign nodefences.laycan.dev": 1,
        "patch nodefences.laycan.dev": 1,
    }
    assert [str(right) for right in found.idle] == ["get nodes", "get leases.coordination.k8s.io in kube-node-lease"]
    page = markdown(found)
    assert "| get | nodes | core | everywhere | not used |" in page
    assert "* refused 1 times: create pods in acme" in page
