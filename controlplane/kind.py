"""A kind cluster in the place of the loopback control plane, for machines with Docker (`pytest tests/cluster --kind`).

It needs a node image with Kubernetes 1.36 or newer: the default of a recent `kind` on the PATH, or the one that
`--kind-image` names.

The API server, scheduler and controllers are those of kind's node image; KWOK runs here as a process and plays the GPU nodes' kubelets.
Tenants and KWOK are users that the cluster's administrator impersonates: their rights are their own, and nothing needs to be signed.
What only a control plane of our own can do (kill its parts) is not offered, and the fixtures skip the tests that want it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from controlplane.api import Api, Object
from controlplane.components import HERE, Settings, kwok
from controlplane.process import Process, free_ports
from controlplane.users import TENANTS, service_account_token, write_kubeconfig

CONFIG = HERE / "kind.yaml"


class KindCluster:
    """The surface of ControlPlane that tests share, on the cluster that `kubeconfig` (with kind's embedded certificates) names."""

    def __init__(self, folder: Path, kubeconfig: Path, *, tools: Mapping[str, Path], tenants: tuple[str, ...] = TENANTS) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self.folder, self._tools, self._tenants = folder, tools, tenants
        self._settings = Settings(folder, {"kwok": free_ports(1)[0]}, heartbeat_grace_seconds=10, fsync=True)
        user: Object = config["users"][0]["user"]
        self.url: str = config["clusters"][0]["cluster"]["server"]
        self.certificate = self._file("authority.crt", config["clusters"][0]["cluster"]["certificate-authority-data"])
        self._credentials = {
            "client-certificate": str(self._file("admin.crt", user["client-certificate-data"])),
            "client-key": str(self._file("admin.key", user["client-key-data"])),
        }
        self.admin_kubeconfig = self._impersonating("admin", "", ())
        self._kwok: Process | None = None

    @property
    def admin(self) -> Api:
        """A client with all rights."""
        return Api(self.admin_kubeconfig)

    @property
    def helm(self) -> Path:
        """The helm binary."""
        return self._tools["helm"]

    def start(self) -> None:
        """Lets KWOK play the kubelets."""
        for tenant in self._tenants:
            self._impersonating(tenant, tenant, ("tenants", "system:authenticated"))
        for manifest in yaml.safe_load_all((HERE / "kwok" / "rbac.yaml").read_text()):
            self.admin.apply(manifest)
        self._impersonating("kwok", "kwok", ("system:authenticated",))
        self._kwok = Process("kwok", [str(self._tools["kwok"]), *kwok(self._settings)], self.folder / "kwok.log")

    def stop(self) -> None:
        """Ends KWOK; the cluster is the caller's."""
        if self._kwok is not None:
            self._kwok.stop(3)

    def tenant_kubeconfig(self, tenant: str) -> Path:
        """The kubeconfig of one of the tenants."""
        return self._settings.kubeconfig(tenant)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 86_400) -> Path:
        """A kubeconfig for a ServiceAccount, with a token that is valid for so long."""
        token = service_account_token(self.admin, namespace, name, seconds)
        return write_kubeconfig(self.folder / f"{namespace}.{name}.kubeconfig", self.url, self.certificate, {"token": token}, namespace)

    def _impersonating(self, name: str, user: str, groups: Sequence[str]) -> Path:
        credentials = {**self._credentials, **({"as": user, "as-groups": list(groups)} if user else {})}
        return write_kubeconfig(self._settings.kubeconfig(name), self.url, self.certificate, credentials)

    def _file(self, name: str, encoded: str) -> Path:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_bytes(base64.b64decode(encoded))
        return file
