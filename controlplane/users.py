"""Who may talk to the API server, and the kubeconfig files they do it with.

Tokens are drawn once per folder and written to the API server's token file, which it reads at its start only: all users are fixed by then.
`admin` is the only member of system:masters and serves the set-up; tenants have no right until a namespace binds them to a role.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import yaml

from controlplane.api import Api

COMPONENT_USERS: Mapping[str, tuple[str, str]] = {  # file name -> user, group
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", ""),
}
TENANTS = ("alice", "bob")


def draw_tokens(file: Path, tenants: tuple[str, ...]) -> None:
    """Writes the token file with a fresh token for each user, unless the folder has one from an earlier start."""
    if file.exists():
        return
    users = {**COMPONENT_USERS, **{tenant: (tenant, "tenants") for tenant in tenants}}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w", newline="") as out:
        csv.writer(out).writerows([token_urlsafe(24), user, name, group] for name, (user, group) in users.items())


def tokens(file: Path) -> dict[str, str]:
    """Reads them back: file name of the user -> token."""
    with file.open(newline="") as rows:
        return {row[2]: row[0] for row in csv.reader(rows)}


def write_kubeconfig(file: Path, server: str, certificate: Path, user: Mapping[str, Any], namespace: str = "default") -> Path:
    """Writes a kubeconfig with one cluster, one user (say `{"token": ...}`) and one context, readable by its owner only."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": str(certificate)}}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user", "namespace": namespace}}],
        "current-context": "local",
    }
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        yaml.safe_dump(config, out, sort_keys=False)
    return file


def service_account_token(admin: Api, namespace: str, name: str, seconds: int, pod: Mapping[str, Any] | None = None) -> str:
    """Asks the API server for a token of a ServiceAccount, as a kubelet does for its pods; bound to this pod, if one is given."""
    spec: dict[str, Any] = {"expirationSeconds": seconds}
    if pod is not None:
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", **{key: pod["metadata"][key] for key in ("name", "uid")}}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token: str = admin.request("POST", path, request)["status"]["token"]
    return token


def bind_tenant(admin: Api, namespace: str, tenant: str, role: str = "admin") -> None:
    """Gives a tenant a stock ClusterRole (admin, edit, view) inside one namespace."""
    admin.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{tenant}-{role}", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": tenant}],
        }
    )
