"""The operator as its own process, outside the cluster, with the rights and the settings that the chart gives it.

It runs in its own process group, so that a test can end it and the planner's child as one, as a crashing container ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.local import ControlPlane
from controlplane.users import service_account_token, write_kubeconfig
from controlplane.waiting import until
from tests.cluster.policies.installed import CHART, FENCE, NAMESPACE, Installed
from tests.cluster.served import Served

GROUP = "/apis/laycan.dev/v1alpha1"
CONTRACTS = f"{GROUP}/computecontracts"
# seconds, so that a test need not wait for minutes; the breaker would stop a test that kills a tenth of its small fleet, and a machine
# that stands still three times in ten minutes would make the whole of it flap
QUICK = {
    "leadSeconds": 2, "drainSeconds": 2, "hysteresisSeconds": 5, "dwellSeconds": 5, "meterSeconds": 5, "meterLagSeconds": 5,
    "reconcileSeconds": 5, "heartbeatSeconds": 5, "breaker": {"sharePpm": 1_000_000, "windowSeconds": 600},
    "flapping": {"times": 3, "windowSeconds": 30},
}  # fmt: skip


class Operator(Served):
    """`server` replaces the API server's address, e.g. by a proxy's; `pod` is the pod whose container this plays, `ledger` its volume."""

    def __init__(
        self, plane: ControlPlane, folder: Path, *, ledger: Path, server: str = "", pod: str = "", settings: Mapping[str, Any] = QUICK
    ) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "operator.log"
        self._settings, self._kubeconfig, self._pod = folder / "settings.yaml", folder / "kubeconfig", pod
        rendered = plane.admin.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/laycan-settings")["data"]["settings.yaml"]
        self._settings.write_text(yaml.safe_dump({**yaml.safe_load(rendered), "ledgerPath": str(ledger), **settings}))
        token = service_account_token(plane.admin, NAMESPACE, "laycan-operator", 86_400)
        write_kubeconfig(self._kubeconfig, server or plane.url, plane.certificate, {"token": token})

    def start(self) -> None:
        argv = [*self.command(), *self.arguments(), "--log-format", "plain"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=self.environment(), start_new_session=True)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "POD_NAME": self._pod}

    def command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("laycan")), "operator"]

    def arguments(self) -> list[str]:
        files = ["--settings", str(self._settings), "--kubeconfig", str(self._kubeconfig)]
        return [*files, "--port", str(self.port), "--metrics-port", str(self._metrics_port)]

    def signal(self, number: signal.Signals) -> None:
        """To the operator and its children at once."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self.running():
            self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """As a kubelet does: SIGTERM to the process, and its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.wait()

    def wait(self, seconds: float = 90) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def cpu_seconds(self) -> float:
        """CPU time of the operator so far, with its planner's."""
        ticks = os.sysconf("SC_CLK_TCK")
        mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and _group(int(pid)) == self.pid]
        return sum(sum(_stat(int(pid))[11:13]) for pid in mine) / ticks

    def said(self, text: str) -> bool:
        return text in self.log.read_text()


def _stat(pid: int) -> list[int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) if field.lstrip("-").isdigit() else 0 for field in fields]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def contract(name: str, start: str, end: str, **more: Any) -> Object:
    """A ComputeContract manifest of namespace `desk`: one node of the product h100 for the holder acme unless said otherwise."""
    delivery = {"start": start, "end": end, "gpus": 8, "lotGpus": 8, "handover": {"namespace": "acme"}}
    delivery |= {key: more.pop(key) for key in tuple(more) if key in ("gpus", "lotGpus", "handover", "scope", "spread", "partial")}
    terms = {"contractId": name, "productRef": {"name": "h100"}, "delivery": delivery, **more}
    return {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "ComputeContract",
        "metadata": {"name": name, "namespace": "desk"},
        "spec": {"intent": "Firm", "terms": terms},
    }


def instruction(name: str, action: str, *, on: str = "", previous: str = "", **payload: Any) -> Object:
    """An unsigned ContractInstruction of namespace `desk`, effective now, on the contract `on` (by default of the same name)."""
    act = {"contractId": on or name, "action": action, "effectiveTime": at(0), **payload}
    act |= {"previousDigest": previous} if previous else {}
    return {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "ContractInstruction",
        "metadata": {"name": name, "namespace": "desk"},
        "spec": {"contractRef": {"name": on or name}, "act": act},
    }


def product(name: str = "h100", **spec: Any) -> Object:
    """A ComputeProduct of the fleet's standard node."""
    known = {"gpuProducts": ["NVIDIA-H100-80GB-HBM3"], "nodeGpus": 8, "detection": {"seconds": 2}}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": name}, "spec": known | spec}


def read(api: Api, name: str) -> Object | None:
    return api.find(f"{GROUP}/namespaces/desk/computecontracts/{name}")


def phase(api: Api, name: str) -> str:
    found = read(api, name)
    return str(found.get("status", {}).get("phase", "")) if found else ""


def await_phase(api: Api, name: str, wanted: str, seconds: float = 90) -> Object:
    """Waits until the contract is in this phase; the object."""

    until(f"{name} is {wanted}", lambda: phase(api, name) == wanted, seconds=seconds)
    return read(api, name) or {}


def await_all(what: str, conditions: Mapping[str, Callable[[], object]], seconds: float = 90) -> None:
    """Waits for several conditions; the error names those that never held."""

    def missing() -> list[str]:
        return [name for name, holds in conditions.items() if not holds()]

    until(what, lambda: not missing(), seconds=seconds)


class Market:
    """A control plane with the chart in mode Enforce, a fleet of one grade, one product, a desk and its buyer."""

    def __init__(self, plane: ControlPlane, folder: Path, nodes: int, chart: Path = CHART, values: Sequence[str] = ()) -> None:
        self.plane, self.admin, self._folder, self._started = plane, plane.admin, folder, count(1)
        self.ledger = folder / "ledger-0"  # the volume of the operators until the next `close`
        self.operators: list[Operator] = []  # started since the last `close`
        self.installed = Installed(plane)
        self.installed.install("install", "Enforce", *values, chart=chart)
        self.installed.people()
        fleet.apply_fleet(self.admin, fleet.nodes(nodes))
        self.nodes = [f"n{i:03}" for i in range(nodes)]
        until("all nodes Ready", lambda: all(fleet.ready(node) == "True" for node in self.admin.items("/api/v1/nodes")))
        until("the kinds of the chart are served", self._served)
        self.admin.apply(product())

    def _served(self) -> bool:
        """An API server answers 429 for a kind that was just installed until its caches are there."""
        try:
            return all(
                self.admin.get(f"{GROUP}/{plural}") for plural in ("computecontracts", "computeproducts", "outages", "exchangeendpoints")
            )
        except ApiError:
            return False

    def operator(self, kind: type[Operator] | None = None, **options: Any) -> Operator:
        """Starts one, in the pod of its predecessor unless said otherwise; it ends with `close` at the latest."""
        number = next(self._started)
        started = (kind or Operator)(
            self.plane, self._folder / f"operator-{number}", **{"pod": "operator-0", "ledger": self.ledger, **options}
        )
        self.operators.append(started)
        started.start()
        until("the operator lives", lambda: started.healthy() or not started.running())
        assert started.running(), started.log.read_text()
        return started

    def close(self) -> None:
        """No operator runs, no contract is left and no log of them, no node is held, every node is well."""
        for operator in self.operators:
            if operator.running():
                operator.signal(signal.SIGCONT)
            operator.kill()
        self.operators.clear()
        self.ledger = self._folder / f"ledger-{next(self._started)}"
        for found in self.admin.items(CONTRACTS):
            path = f"{GROUP}/namespaces/{found['metadata']['namespace']}/computecontracts/{found['metadata']['name']}"
            note = {"laycan.dev/confirm-delete": found["spec"]["terms"]["contractId"]}
            self.admin.patch(path, {"metadata": {"finalizers": None, "annotations": note}})
            self.admin.delete(path)
        self.installed.release(owners(self.admin))
        for node in self.admin.items("/api/v1/nodes"):
            if fleet.ready(node) != "True":
                fleet.revive_node(self.admin, node["metadata"]["name"])
            self.admin.patch(f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": None}})

    def delete(self, name: str) -> None:
        """As a desk does it: with the confirmation that the chart's policy asks for."""
        path = f"{GROUP}/namespaces/desk/computecontracts/{name}"
        self.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": name}}})
        self.admin.delete(path)


def owners(api: Api) -> dict[str, str]:
    """The fence's entries."""
    fence = api.find(FENCE)
    return dict(fence["spec"].get("nodes") or {}) if fence else {}


@contextmanager
def market(folder: Path, tools: Mapping[str, Path], nodes: int, **options: Any) -> Iterator[Market]:
    """A market on a control plane of its own; `options` are ControlPlane's."""
    with ControlPlane(folder / "control-plane", tools=tools, fsync=False, **options) as plane:
        yield Market(plane, folder, nodes)


def bindings(contract: Object) -> list[tuple[str, int, str, str]]:
    """(node, GPUs, start, end), sorted."""
    return sorted((b["node"], b["gpus"], b["start"], b["end"]) for b in contract["status"].get("bindings", ()))


def at(seconds: float) -> str:
    """A time so many seconds from now, as resources write it."""
    return datetime.fromtimestamp(int(time.time() + seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
