"""The command lines of the five components: what a control plane is made of, and the switches that make it a real one.

Authorization is Node and RBAC, NodeRestriction and the default admission plugins are on, every component and every controller has an
identity and rights of its own. What is left out is what a loopback cluster has no use for: leader election among one, profiling, and TLS
between etcd and the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIVE_KUBELET = "kwok.local/kubelet=alive"  # label selector of the nodes whose kubelet KWOK plays; without the label a node is dead


@dataclass(frozen=True)
class Settings:
    """Where one control plane lives and how it behaves.

    `heartbeat_grace_seconds` is the node-lifecycle controller's: a node silent for so long becomes Unknown. Kubelets renew their Lease
    four times in it. `fsync` off makes etcd several times cheaper and loses data when the machine (not etcd) crashes. `audited` are
    users of whose requests the API server keeps a record: who asked for what and whether he was allowed to, no bodies.
    """

    folder: Path
    ports: Mapping[str, int]  # component -> port; "etcd-peer" besides
    heartbeat_grace_seconds: int
    fsync: bool
    audited: tuple[str, ...] = ()

    def url(self, component: str) -> str:
        """Where a component listens."""
        scheme = "http" if component in {"etcd", "kwok"} else "https"
        return f"{scheme}://127.0.0.1:{self.ports[component]}"

    @property
    def certificate(self) -> Path:
        """The API server's certificate, which it makes on its first start; its own authority is in the same file."""
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def key(self) -> Path:
        """Its private key. It signs ServiceAccount tokens too, which spares us a tool that makes keys."""
        return self.folder / "certificates" / "apiserver.key"

    @property
    def tokens(self) -> Path:
        """The API server's token file: token,user,uid,"groups"."""
        return self.folder / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        """What the API server records."""
        return self.folder / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """Its record, a line of JSON for each request."""
        return self.folder / "logs" / "audit.log"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig file of a user."""
        return self.folder / f"{user}.kubeconfig"


def etcd(settings: Settings) -> list[str]:
    """One member, alone."""
    peer = f"http://127.0.0.1:{settings.ports['etcd-peer']}"
    return [
        "--name=default",
        f"--data-dir={settings.folder / 'etcd'}",
        f"--listen-client-urls={settings.url('etcd')}",
        f"--advertise-client-urls={settings.url('etcd')}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        *(() if settings.fsync else ("--unsafe-no-fsync",)),
    ]


def kube_apiserver(settings: Settings) -> list[str]:
    """TLS on loopback; the default admission plugins (ServiceAccount among them) and NodeRestriction."""
    return [
        f"--etcd-servers={settings.url('etcd')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports['kube-apiserver']}",
        f"--cert-dir={settings.certificate.parent}",
        "--endpoint-reconciler-type=none",  # the service `kubernetes` cannot point at a loopback address
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--token-auth-file={settings.tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={settings.key}",
        f"--service-account-signing-key-file={settings.key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--profiling=false",
        *((f"--audit-policy-file={settings.audit_policy}", f"--audit-log-path={settings.audit_log}") if settings.audited else ()),
    ]


def audit_policy(settings: Settings) -> dict[str, object]:
    """Once per request, when it was answered (a watch: when it began); nobody else's."""
    rules = [{"level": "Metadata", "users": list(settings.audited)}, {"level": "None"}]
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "omitManagedFields": True, "rules": rules}


def kube_controller_manager(settings: Settings) -> list[str]:
    """All default controllers, each under its own ServiceAccount, as a real cluster has them: policies tell them apart by name."""
    return [
        *_client(settings, "kube-controller-manager"),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={settings.key}",
        f"--root-ca-file={settings.certificate}",
        f"--node-monitor-grace-period={settings.heartbeat_grace_seconds}s",
        f"--node-monitor-period={max(1, settings.heartbeat_grace_seconds // 8)}s",
        "--concurrent-gc-syncs=5",
    ]


def kube_scheduler(settings: Settings) -> list[str]:
    """The default profile."""
    return _client(settings, "kube-scheduler")


def kwok(settings: Settings) -> list[str]:
    """All kubelets in one process: the stages beside this file, and a Lease for each live node."""
    return [
        f"--kubeconfig={settings.kubeconfig('kwok')}",
        f"--config={HERE / 'kwok' / 'stages.yaml'}",
        f"--manage-nodes-with-label-selector={LIVE_KUBELET}",
        f"--node-lease-duration-seconds={settings.heartbeat_grace_seconds}",
        "--node-ip=10.0.0.1",
        f"--server-address=127.0.0.1:{settings.ports['kwok']}",
    ]


ARGUMENTS: Mapping[str, Callable[[Settings], list[str]]] = {  # in the order of starting
    "etcd": etcd,
    "kube-apiserver": kube_apiserver,
    "kube-controller-manager": kube_controller_manager,
    "kube-scheduler": kube_scheduler,
    "kwok": kwok,
}


def _client(settings: Settings, name: str) -> list[str]:
    """What the scheduler and the controller manager have in common."""
    return [
        f"--kubeconfig={settings.kubeconfig(name)}",
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports[name]}",
        "--leader-elect=false",
        "--kube-api-qps=300",  # the defaults (20 to 50) are for sharing a real API server
        "--kube-api-burst=600",
        "--profiling=false",
    ]
