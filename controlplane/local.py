"""Starts and stops one control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK, in one folder.

Each control plane has free ports, tokens, certificates, data and logs of its own, so that any number run side by side. `start()` returns
when every component says that it is ready; `stop()` when every process has exited. Single components can be killed and started again,
for tests that do so.
"""

from __future__ import annotations

import contextlib
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import urllib3
import yaml

from controlplane.api import Api, ApiError
from controlplane.build import binaries
from controlplane.components import ARGUMENTS, HERE, Settings, audit_policy
from controlplane.leftover import write_down
from controlplane.process import Process, free_ports
from controlplane.users import TENANTS, draw_tokens, service_account_token, tokens, write_kubeconfig

READY_SECONDS = 90.0  # an idle machine needs three
PATIENCE_SECONDS = 3.0  # kube-apiserver waits for open watches, which may never end
_NO_ANSWER = (OSError, urllib.error.URLError, urllib3.exceptions.HTTPError)


class StartError(Exception):
    """A component did not become ready; the message ends with the tail of its log."""


class ControlPlane:
    """A control plane in `folder`, which keeps its state between starts. Use as a context manager, or `start()` and `stop()`.

    `tenants` are users without rights (users.bind_tenant gives them some). `tools` are the binaries by name, built when not given. For
    `heartbeat_grace_seconds`, `fsync` and `audited` see components.Settings; `outlives_us` leaves the processes running after our end.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tools: Mapping[str, Path] | None = None,
        tenants: tuple[str, ...] = TENANTS,
        heartbeat_grace_seconds: int = 10,
        fsync: bool = True,
        outlives_us: bool = False,
        audited: tuple[str, ...] = (),
    ) -> None:
        self._settings = Settings(folder.resolve(), {}, heartbeat_grace_seconds, fsync, audited)
        self._tools, self._tenants, self._outlives_us = tools, tenants, outlives_us
        self._processes: dict[str, Process] = {}  # component -> its process, in the order of starting

    def __enter__(self) -> ControlPlane:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """Where everything of this control plane lies."""
        return self._settings.folder

    @property
    def url(self) -> str:
        """The address of the API server."""
        return self._settings.url("kube-apiserver")

    @property
    def certificate(self) -> Path:
        """The certificate authority that clients of the API server trust."""
        return self._settings.certificate

    @property
    def admin_kubeconfig(self) -> Path:
        """The kubeconfig of the set-up's administrator."""
        return self._settings.kubeconfig("admin")

    @property
    def admin(self) -> Api:
        """A client with all rights."""
        return Api(self.admin_kubeconfig)

    @property
    def helm(self) -> Path:
        """The helm binary that belongs to this control plane."""
        return self._tool("helm")

    def start(self, component: str | None = None) -> None:
        """Starts everything, or one component that was killed, and waits until it is ready. Raises StartError."""
        if component is not None:
            self._launch(component)
            self._await_ready(component)
            return
        for attempts_left in (2, 1, 0):
            try:
                self._start_all()
            except StartError as error:
                if not attempts_left or "address already in use" not in str(error):
                    raise  # else somebody took a port between our choice and its use
            else:
                return

    def stop(self) -> None:
        """Ends all processes, the last one started first, and returns when they are gone."""
        while self._processes:
            _, process = next(reversed(self._processes.items()))
            process.signal(signal.SIGCONT)  # a stopped process cannot act on SIGTERM
            process.stop(PATIENCE_SECONDS)
            self._processes.popitem()

    def kill(self, component: str) -> None:
        """SIGKILL to one component, as a crash; `start(component)` brings it back."""
        self._processes[component].kill()

    def signal(self, component: str, number: signal.Signals) -> None:
        """Any other signal to one component: SIGSTOP and SIGCONT play one that hangs."""
        self._processes[component].signal(number)

    def running(self) -> dict[str, int]:
        """The components that run now, and their process ids."""
        return {name: process.pid for name, process in self._processes.items() if process.running()}

    def ports(self) -> dict[str, int]:
        """The TCP port of each component on 127.0.0.1."""
        return dict(self._settings.ports)

    def log(self, component: str) -> Path:
        """The log file of a component."""
        return self.folder / "logs" / f"{component}.log"

    @property
    def audit_log(self) -> Path:
        """What the audited users asked for, a line of JSON for each request."""
        return self._settings.audit_log

    def tenant_kubeconfig(self, tenant: str) -> Path:
        """The kubeconfig of one of the tenants."""
        return self._settings.kubeconfig(tenant)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 86_400) -> Path:
        """A kubeconfig for a ServiceAccount, with a token that is valid for so long."""
        token = service_account_token(self.admin, namespace, name, seconds)
        return write_kubeconfig(self.folder / f"{namespace}.{name}.kubeconfig", self.url, self.certificate, {"token": token}, namespace)

    def _start_all(self) -> None:
        try:
            self._prepare()
            for name in ARGUMENTS:
                self._launch(name)
                if name in {"etcd", "kube-apiserver"}:  # the others need them
                    self._await_ready(name)
                if name == "kube-apiserver":
                    self._set_up()
            for name in ARGUMENTS:
                self._await_ready(name)
            self._await("done with the first ServiceAccount", "kube-controller-manager", self._default_service_account)
        except BaseException:  # a Ctrl-C too: nothing is left behind
            self.stop()
            raise

    def _prepare(self) -> None:
        """A folder with ports, tokens and kubeconfigs."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self._settings.certificate.parent.mkdir(exist_ok=True)
        names = [*ARGUMENTS, "etcd-peer"]
        self._settings = replace(self._settings, ports=dict(zip(names, free_ports(len(names)), strict=True)))
        draw_tokens(self._settings.tokens, self._tenants)
        if self._settings.audited:
            self._settings.audit_policy.write_text(yaml.safe_dump(audit_policy(self._settings)))
        for user, token in tokens(self._settings.tokens).items():
            write_kubeconfig(self._settings.kubeconfig(user), self.url, self.certificate, {"token": token})

    def _set_up(self) -> None:
        """The administrator's only part: what KWOK may do. The stock roles of the other components are the API server's own."""
        admin = self.admin
        for manifest in yaml.safe_load_all((HERE / "kwok" / "rbac.yaml").read_text()):
            admin.apply(manifest)

    def _launch(self, name: str) -> None:
        argv = [str(self._tool(name)), *ARGUMENTS[name](self._settings)]
        self._processes[name] = Process(name, argv, self.log(name), outlives_us=self._outlives_us)
        write_down(self.folder, {name: process.pid for name, process in self._processes.items()})

    def _tool(self, name: str) -> Path:
        if self._tools is None:
            self._tools = binaries()
        return self._tools[name]

    def _await_ready(self, name: str) -> None:
        self._await("ready", name, lambda: self._ready(name))

    def _await(self, what: str, name: str, holds: Callable[[], bool]) -> None:
        """Polls until a condition holds that the named component brings about."""
        process, deadline = self._processes[name], time.monotonic() + READY_SECONDS
        while True:
            if not process.running():
                raise StartError(f"{name} has exited; its log {process.log} ends with:\n{process.log_tail()}")
            with contextlib.suppress(*_NO_ANSWER, ApiError):
                if holds():
                    return
            if time.monotonic() > deadline:
                raise StartError(f"{name}: not {what} after {READY_SECONDS:.0f} s; its log {process.log} ends with:\n{process.log_tail()}")
            time.sleep(0.05)

    def _ready(self, name: str) -> bool:
        if name == "kube-apiserver":
            return self.certificate.exists() and self.admin.get("/readyz") == "ok"
        # The health endpoints of the others are open to all and carry nothing secret; their certificates live in memory only.
        path = "healthz" if name == "kube-controller-manager" else "readyz"  # it has no other
        with urllib.request.urlopen(f"{self._settings.url(name)}/{path}", timeout=5, context=_ANY_CERTIFICATE) as answer:  # noqa: S310
            return bool(answer.status == 200)

    def _default_service_account(self) -> bool:
        return self.admin.find("/api/v1/namespaces/default/serviceaccounts/default") is not None


_ANY_CERTIFICATE = ssl.create_default_context()
_ANY_CERTIFICATE.check_hostname = False
_ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE
