"""January 2027 on a real API server: an exchange that listens, signs and cosigns, and an operator whose clock is a file.

The clock stands still while the operator works. The exchange is the kit of examples/exchange; it lives by the same clock.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from typer.testing import CliRunner

from controlplane import fleet
from controlplane.api import Object
from controlplane.local import ControlPlane
from controlplane.waiting import until
from demo.evidence import Verdict, verify
from examples.exchange.receiver import Witness
from laycan.cli.main import app
from laycan.ledger.sqlite import open_log, path_of
from laycan.resources.times import format_time, parse_time
from tests.cluster.operator import GROUP, contract, instruction, phase, product, read
from tests.cluster.policies.installed import Installed
from tests.cluster.warp import Age, Machine, Warped
from tests.laycan.control.acts import envelope, signing_key, trusted
from tests.laycan.events.clockwork import datetime_by
from tests.laycan.events.exchange import SECRET, Exchange, serving

START, END = "2027-01-04T00:00:00Z", "2027-02-03T00:00:00Z"
WHOLE = 165_888_000  # GPU-seconds of 64 GPUs for 720 h
PRICE = {"amount": "2.10", "currency": "USD", "shortfallMultiplePpm": 1_500_000}
WITNESS = "gcx.example"
INSTRUCTIONS = 1  # number of the exchange's key that signs acts; the next one cosigns
ENDPOINT = f"{GROUP}/namespaces/desk/exchangeendpoints/gcx"


def hardware(grade: str) -> str:
    return f"NVIDIA-{grade.upper()}"


def machines(grade: str, count: int, prefix: str = "") -> list[Machine]:
    """`<grade>0`, …; four to a rack."""
    name = prefix or grade
    return [Machine(f"{name}{i}", hardware(grade), rack=f"{name}-r{i // 4}") for i in range(count)]


def laycan(*arguments: object) -> str:
    """Standard output of a command that must succeed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


class Year:
    """The control plane, the machines, the clock, the exchange, and an operator. `folder` holds what is exported."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane, self.admin, self.folder, self.installed = plane, plane.admin, folder, Installed(plane)
        self.admin.create(fleet.namespace("desk"))
        self.installed.install("install", "Enforce", "--set", "exchangeNamespaces={desk}")
        self.installed.people()
        for player in ("kube-controller-manager", "kube-scheduler", "kwok"):  # they live today
            plane.kill(player)
        self.age = Age(self.admin, folder / "clock", "2027-01-03T12:00:00Z")
        self.trust = folder / "trust.json"
        laycan("keys", "--new", "--apply", "--kubeconfig", plane.admin_kubeconfig)
        self.publish()
        origin = f"{json.loads(self.trust.read_text())['operator']['id']}/desk/gcx"
        witness = Witness(WITNESS, signing_key(INSTRUCTIONS + 1))
        self.exchange = Exchange(self.trust.read_bytes(), origin, witness, published=True, clock=lambda: self.age.now, hold=5.0)
        self.operator = Warped(plane, folder, folder / "clock")

    @contextmanager
    def open(self, dispute_seconds: int) -> Iterator[None]:
        """The exchange listens; the operator runs, and ends with it."""
        with pytest.MonkeyPatch.context() as patch, serving(self.exchange):
            patch.setattr(standardwebhooks.webhooks, "datetime", datetime_by(lambda: self.exchange.now))
            meta = {"name": "hook", "namespace": "desk"}
            data = {"hmac": base64.b64encode(SECRET.encode()).decode()}
            self.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
            keys = [trusted(INSTRUCTIONS), {**trusted(INSTRUCTIONS + 1), "keyId": WITNESS}]
            hook = {"url": self.exchange.url, "secretRef": {"name": "hook", "key": "hmac"}}
            spec = {**hook, "trustedKeys": keys, "disputeSeconds": dispute_seconds}
            meta = {"name": "gcx", "namespace": "desk"}
            self.admin.create({"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": spec})
            self.publish()
            self.operator.start()
            try:
                yield
            finally:
                self.operator.kill()

    # --- what is sold

    def buyer(self, namespace: str) -> None:
        """One more beside acme, with the ServiceAccount that the controller manager would make."""
        self.admin.create(fleet.namespace(namespace, {"laycan.dev/desk": "desk"}))
        self.admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}})

    def sell(self, grade: str, gpus: int = 64, offer: Mapping[str, Any] | None = None, **terms: Any) -> None:
        """A product of that grade, and a contract of the same name for GPUs of it in lots of 8. `offer`: more of the product's spec."""
        self.offer(grade, **(offer or {}))
        self.trade(grade, grade, gpus, **terms)

    def offer(self, grade: str, **more: Any) -> None:
        self.admin.apply(product(grade, **{"gpuProducts": [hardware(grade)], "detection": {"seconds": 40}, **more}))

    def trade(self, name: str, grade: str, gpus: int, start: str = START, end: str = END, **terms: Any) -> None:
        made = contract(name, start, end, gpus=gpus, **{"price": PRICE, **terms})
        made["spec"]["terms"]["productRef"]["name"] = grade
        made["spec"]["exchangeRef"] = {"name": "gcx"}
        self.admin.create(made)

    def instruct(self, name: str, action: str, **payload: Any) -> None:
        """The exchange signs it, and it is done."""
        head = self.status(name).get("instructions", {}).get("headDigest", "")
        made = instruction(f"{name}-{action.lower()}", action, on=name, previous=head, effectiveTime=format_time(self.age.now), **payload)
        made["spec"]["envelope"] = envelope(made["spec"]["act"], INSTRUCTIONS)
        self.admin.create(made)
        path = f"{GROUP}/namespaces/desk/contractinstructions/{made['metadata']['name']}"
        until(f"{action} is applied", lambda: self.admin.get(path).get("status", {}).get("phase") == "Applied")

    # --- where it stands

    def status(self, name: str) -> Object:
        return dict((read(self.admin, name) or {})["status"])

    def quantities(self, name: str) -> dict[str, int]:
        return counted(self.status(name).get("quantities", {}))

    def condition(self, name: str, kind: str) -> str:
        found = [c for c in self.status(name)["conditions"] if c["type"] == kind]
        return f"{found[0]['status']} {found[0]['reason']}" if found else ""

    def on(self, name: str, lot: int) -> str:
        """The node that serves a lot now."""
        mine = (b for b in self.status(name).get("bindings", ()) if lot in b["lots"] and "handedOverAt" in b)
        return next((str(b["node"]) for b in mine if parse_time(b["start"]) <= self.age.now < parse_time(b["end"])), "")

    def nodes(self, name: str, lots: int) -> dict[int, str]:
        return {lot: self.on(name, lot) for lot in range(lots)}

    def bound(self, name: str, node: str) -> bool:
        return any(b["node"] == node for b in self.status(name).get("bindings", ()))

    def phase(self, name: str) -> str:
        return phase(self.admin, name)

    def complete(self, name: str) -> bool:
        return self.condition(name, "HandedOver") == "True Complete"

    def interrupted(self, name: str) -> bool:
        return self.condition(name, "HandedOver") == "False Interrupted"

    # --- what happens to machines

    def lost(self, name: str) -> None:
        """A node without power, from now on: no agent, no kubelet."""
        self.age.machines[name].silent = True
        self.age.ready(name, False, self.age.now)

    def back(self, name: str) -> None:
        """It runs again, from now on."""
        self.age.machines[name].silent = False
        self.age.ready(name, True, self.age.now)

    def xid_79(self, node: str, since: str) -> None:
        """One of its GPUs falls off the bus after `since`, the last good sample; told now."""
        broken = self.age.machines[node]
        broken.findings = [{"gpu": broken.gpu(5), "signal": "Xid", "code": 79, "value": 0, "count": 1, "start": since}]
        self.age.report(broken, self.age.now)

    def linger(self, node: str, namespace: str) -> None:
        """A pod on a node that takes its time to end: it goes when it is `ended`."""
        self.admin.create(fleet.pod(namespace, f"slow-{node}", gpus=8, nodeName=node))

    def ended(self, node: str, namespace: str) -> None:
        self.admin.delete(f"/api/v1/namespaces/{namespace}/pods/slow-{node}", gracePeriodSeconds=0)

    def ending(self, node: str, namespace: str) -> bool:
        """Whether that pod was told to go."""
        found = self.admin.get(f"/api/v1/namespaces/{namespace}/pods/slow-{node}")
        return "deletionTimestamp" in found["metadata"]

    # --- what the exchange was told, and what is proven

    def changes(self, name: str, kind: str = "") -> list[Object]:
        """The exchange's events of a contract in order, as (type, time, change) in one object."""
        found = [event for event in self.exchange.ledger.events if event["subject"] == name]
        assert [int(event["sequence"]) for event in found] == list(range(1, len(found) + 1)), "none is missing, and none came out of order"
        told = [{"type": _kind(event), "time": event["time"], **event["data"].get("change", {})} for event in found]
        return [each for each in told if kind in ("", each["type"])]

    def news(self, name: str, *kinds: str) -> list[str]:
        """Types of those events, only of these kinds where some are named."""
        return [each["type"] for each in self.changes(name) if not kinds or each["type"].startswith(kinds)]

    def receipts(self, name: str) -> list[Object]:
        """What the receipts say that the exchange has."""
        payloads = [each["envelope"]["payload"] for each in self.changes(name, "receipt.issued")]
        return [json.loads(base64.b64decode(payload))["predicate"] for payload in payloads]

    def all_told(self, name: str) -> bool:
        return bool(len(self.news(name)) == self.status(name)["ledger"]["sequence"])

    @property
    def log(self) -> Path:
        """The operator's, of what it tells the exchange."""
        return path_of(self.folder / "ledger", "desk", "gcx")

    def witnessed(self) -> bool:
        """Whether the head of all that the log holds is cosigned."""
        log = open_log(self.log, read_only=True)
        try:
            head = log.latest_checkpoint()
            return bool(head and head.cosigned and head.size == log.size)
        finally:
            log.close()

    def publish(self) -> None:
        self.trust.write_text(laycan("keys", "--kubeconfig", self.plane.admin_kubeconfig))

    def export(self, name: str) -> Path:
        until("the exchange has cosigned all", self.witnessed)
        out = self.folder / f"{name}.json"
        kubeconfig, logs = self.plane.admin_kubeconfig, self.folder / "ledger"
        laycan("evidence", f"desk/{name}", "--out", out, "--ledger", logs, "--kubeconfig", kubeconfig)
        return out

    def verdict(self, *bundles: Path) -> Verdict:
        """`laycan verify` in a process of its own: with the files and the trust file, and nothing else."""
        return verify(bundles, self.trust)

    def settle(self, *names: str) -> None:
        """All are settled, and the exchange knows it."""
        for name in names:
            until(f"{name} is settled", lambda name=name: self.phase(name) == "Settled")  # type: ignore[misc]
            until(f"all of {name} is told", partial(self.all_told, name))


def _kind(event: Object) -> str:
    return str(event["type"]).removeprefix("dev.laycan.").removesuffix(".v1")


def counted(quantities: Mapping[str, int]) -> dict[str, int]:
    """Those that are not 0, under shorter names, GPU-seconds."""
    return {key.removesuffix("GpuSeconds"): value for key, value in quantities.items() if value}


@contextmanager
def january(tools: Mapping[str, Path], folder: Path, *, dispute_seconds: int = 3600) -> Iterator[Year]:
    """On a control plane of its own. The operator runs; machines and contracts are the test's to add."""
    with ControlPlane(folder / "control-plane", tools=tools, fsync=False) as plane:
        year = Year(plane, folder)
        with year.open(dispute_seconds):
            yield year
