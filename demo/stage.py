"""The demo's set-up: a control plane, a fleet, the chart by helm, the receiver, and the operator under its own ServiceAccount."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from controlplane.api import Api
from controlplane.fleet import ALIVE, KUBELET_LABEL, apply_fleet, daemonsets
from controlplane.local import ControlPlane
from controlplane.process import Process, free_ports
from demo.evidence import Evidence, available
from demo.exchange import NAME, Exchange
from demo.script import DESK, INTRUDER, Object, load, namespace

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "laycan-system"
Say = Callable[..., None]


@dataclass
class Stage:
    """What the script acts on."""

    plane: ControlPlane
    api: Api
    folder: Path
    receiver_url: str
    secret: str  # the webhook key, whsec_...
    metrics_port: int  # of the operator
    processes: list[Process]

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.folder / "exchange.sqlite", self.folder / "logs" / "receiver.log")

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.folder / "evidence", self.plane.admin_kubeconfig, RELEASE, self.folder / "ledger")


def set_up(folder: Path, fleet: Sequence[Object], products: Sequence[Object], holders: Sequence[str], stack: ExitStack, say: Say) -> Stage:
    """Brings everything up in order; what was started is stopped when `stack` closes."""
    plane = stack.enter_context(ControlPlane(folder, heartbeat_grace_seconds=8))
    say(f"etcd, kube-apiserver, kube-scheduler, kube-controller-manager and KWOK run at {plane.url}")
    api = plane.admin
    nodes = [with_kubelet(obj) for obj in fleet if obj["kind"] == "Node"]
    apply_fleet(api, [*daemonsets(), *nodes])
    for obj in (namespace(DESK), namespace(INTRUDER), *(namespace(name) for name in holders)):
        api.apply(obj)
    say(f"{len(nodes)} GPU nodes with their DaemonSets")
    helm(plane, "install", "--create-namespace", "-f", str(ROOT / "demo" / "values.yaml"))
    say("helm installed the chart: CRDs, admission policies, rights; mode Enforce")
    for name in holders:  # an administrator's act: this namespace may be delivered to by that desk
        api.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {"laycan.dev/desk": DESK}}})
    port, metrics_port = free_ports(2)
    key = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    stage = Stage(plane, api, folder, f"http://127.0.0.1:{port}/", key, metrics_port, [])
    trusted = make_keys(stage, say) if available() else []
    outages = [obj for obj in fleet if obj["kind"] == "Outage"]
    for obj in (*products, *outages, webhook_secret(stage.secret), endpoint(stage.receiver_url, trusted)):
        api.apply(obj)
    start_receiver(stage, port, stack)
    start_operator(stage, stack)
    say(f"the operator runs under ServiceAccount laycan-system/laycan-operator; its metrics: http://127.0.0.1:{metrics_port}/metrics")
    return stage


def with_kubelet(node: Object) -> Object:
    """KWOK plays the kubelet of a node that carries its label."""
    node["metadata"].setdefault("labels", {})[KUBELET_LABEL] = ALIVE
    return node


def helm(plane: ControlPlane, verb: str, *arguments: str) -> str:
    command = [str(plane.helm), verb, "laycan", str(ROOT / "charts" / "laycan"), "--namespace", RELEASE, *arguments]
    done = subprocess.run([*command, "--kubeconfig", str(plane.admin_kubeconfig)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"helm {verb} failed: {done.stderr.strip()}")
    return done.stdout


def webhook_secret(key: str) -> Object:
    meta = {"name": "gcx-webhook", "namespace": DESK}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"hmac": key}}


def make_keys(stage: Stage, say: Say) -> list[Object]:
    """The operator's signing keys, and that of the exchange, which the ExchangeEndpoint names."""
    stage.evidence.make_keys()
    say("laycan keys made the keys that receipts, checkpoints and webhooks are signed with; the exchange made its own")
    return [stage.evidence.trusted_key()]


def endpoint(url: str, trusted: list[Object]) -> Object:
    meta = {"name": NAME, "namespace": DESK}
    spec: Object = {"url": url, "secretRef": {"name": "gcx-webhook", "key": "hmac"}, "disputeSeconds": 5}
    spec |= {"trustedKeys": trusted} if trusted else {}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": spec}


def launch(stage: Stage, name: str, argv: Sequence[str], stack: ExitStack) -> Process:
    process = Process(name, [sys.executable, *argv], stage.folder / "logs" / f"{name}.log")
    stage.processes.append(process)
    stack.callback(stop, stage, len(stage.processes) - 1)
    return process


def stop(stage: Stage, place: int) -> None:
    stage.processes[place].stop(5.0)


def start_receiver(stage: Stage, port: int, stack: ExitStack) -> None:
    key = stage.folder / "webhook.key"
    key.write_text(stage.secret)
    proof = stage.evidence.receiver_options(f"{DESK}/{NAME}") if stage.evidence.made else []
    launch(stage, "receiver", stage.exchange.argv(port, key, *proof), stack)


def start_operator(stage: Stage, stack: ExitStack) -> None:
    """The same entry point, settings and rights as the chart's Deployment, as a process of this machine: KWOK's pods run nothing."""
    settings = stage.folder / "settings.yaml"
    rendered = stage.api.get(f"/api/v1/namespaces/{RELEASE}/configmaps/laycan-settings")["data"]["settings.yaml"]
    settings.write_text(f"{rendered}\nledgerPath: {stage.evidence.logs}\n")  # a folder of this machine, not a volume
    kubeconfig = stage.plane.service_account_kubeconfig(RELEASE, "laycan-operator")
    argv = [
        "-m",
        "laycan.cli.main",
        "operator",
        "--settings",
        str(settings),
        "--kubeconfig",
        str(kubeconfig),
        "--port",
        str(free_ports(1)[0]),
        "--metrics-port",
        str(stage.metrics_port),
    ]
    launch(stage, "operator", argv, stack)


def restart(stage: Stage, process: Process) -> Process:
    """Starts a process anew that has ended, as a Deployment would."""
    again = Process(process.name, process.argv, process.log)
    stage.processes[stage.processes.index(process)] = again
    return again


def fleet_of(examples: Path) -> list[Object]:
    return load(examples / "fleet.yaml")
