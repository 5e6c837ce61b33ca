"""A release's life with live contracts: the release before this one, upgrade, rollback, upgrade, uninstall, install.

Everything is real: Helm, both charts, the API server with its policies and CRDs, the operator of each release as a process.
The older one is the code of that release, on today's dependencies.

One control plane goes through all of it, test by test, under a reader that judges every state of every contract.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from controlplane import fleet
from controlplane.api import APPLY, ApiError, Object
from controlplane.local import ControlPlane
from controlplane.users import service_account_token, write_kubeconfig
from controlplane.waiting import until
from laycan import __version__
from laycan.cli.main import app
from laycan.resources.constants import PLURALS
from tests.cluster.operator import GROUP, Market, Operator, at, await_phase, bindings, owners, read
from tests.cluster.policies.installed import CHART, FENCE, NAMESPACE, RELEASE
from tests.cluster.reader import Reader
from tests.cluster.test_webhooks import listening, traded
from tests.laycan.events.exchange import SECRET as HOOK

pytestmark = pytest.mark.xdist_group("release")

PREVIOUS = CHART.parents[1] / "tests" / "fixtures" / "charts" / "laycan-0.1.0.tgz"
HOUR = 3600
BOUGHT = "/api/v1/namespaces/acme/pods"
PREVIOUS_CODE = PREVIOUS.with_name("laycan-0.1.0-code.tar.xz")
SET = ("--set", "settings.operatorId=acme", "--set", "exchangeNamespaces={desk}")
EVERYTHING = (
    "alerts.enabled=true",
    "serviceMonitor.enabled=true",
    "exchangeNamespaces={desk}",
    "networkPolicy.operatorEgress[0].ports[0].port=443",
)


LOCKED = "is being written by another process"  # 0.1.0 takes a planner's process that it is just starting for one, and tries again


class Previous(Operator):
    """The operator of the release before this one; its code lies in `previous` beside its folder."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self.log.parents[1] / "previous")}

    def command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "laycan.cli.main", "operator"]

    def ready(self) -> bool:
        """It has no such probe; its log tells when all is read."""
        return self.healthy() and self.said(" after the lease")


@dataclass
class Town:
    """`promised` is what every later step must find again: contract -> its spec and bindings."""

    market: Market
    folder: Path
    promised: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    pods: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> uid, node
    receipts: list[str] = field(default_factory=list)
    crds: dict[str, set[str]] = field(default_factory=dict)  # CRD -> its fields in the previous release

    def helm(self, *arguments: str) -> str:
        done = self.market.installed.helm(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def change(self, *arguments: str, kind: type[Operator] = Operator) -> Operator:
        """A change of the release, as a Deployment with the strategy Recreate goes through it: the old pod ends, the new one starts."""
        (running,) = (each for each in self.market.operators if each.running())
        assert running.stop() == 0
        self.helm(*arguments)
        self.market.installed.await_policies()
        return self.started(kind)

    def started(self, kind: type[Operator] = Operator) -> Operator:
        operator = self.market.operator(kind=kind)
        until("it is ready", operator.ready, seconds=60)
        return operator

    def settings(self) -> Any:
        found = self.market.admin.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/laycan-settings")
        return yaml.safe_load(found["data"]["settings.yaml"])

    def image(self) -> str:
        """What the Deployment would run."""
        found = self.market.admin.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/laycan-operator")
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def as_promised(self) -> None:
        """Terms and bindings, the fence, the buyer's pods, the evidence, and the policies are as they were."""
        admin = self.market.admin
        assert {name: _promise(read(admin, name)) for name in self.promised} == self.promised
        node = self.promised["running"][1][0][0]
        until("the node is the buyer's", lambda: owners(admin).get(node) == "acme", seconds=60)
        until("the fence is live", lambda: self.market.installed.refusal(node, "acme"))
        assert _pods(self.market) == self.pods, "no pod of the holder was evicted"
        exported = self.export()
        assert exported[: len(self.receipts)] == self.receipts
        operator = self.market.operators[-1]
        alarms = [line for line in operator.log.read_text().splitlines() if "ALARM" in line]
        assert [line for line in alarms if not (isinstance(operator, Previous) and LOCKED in line)] == []
        self.receipts = exported

    def export(self) -> list[str]:
        """The receipts of the contract that is over, judged by what was known of the operator's keys at the beginning."""
        bundle, trust = self.folder / "done.json", self.folder / "trust.json"
        logs = ("--ledger", str(self.market.ledger))
        made = _laycan("evidence", "desk/done", "--out", str(bundle), *logs, "--kubeconfig", str(self.market.plane.admin_kubeconfig))
        assert made.exit_code == 0, made.output
        if not trust.exists():
            trust.write_text(_laycan("keys", "--kubeconfig", str(self.market.plane.admin_kubeconfig)).stdout)
        judged = _laycan("verify", str(bundle), "--trust", str(trust))
        assert judged.exit_code == 0, judged.output
        return [receipt["body"] for receipt in json.loads(bundle.read_text())["receipts"]]


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The previous release, four nodes of the fleet and one beside it, a desk and its buyer."""
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(PREVIOUS_CODE) as code:
        code.extractall(folder / "previous", filter="data")
    with ControlPlane(folder / "control-plane", tools=tools, fsync=False) as plane:
        plane.admin.apply(fleet.namespace("desk"))
        market = Market(plane, folder, 4, chart=PREVIOUS, values=SET)
        market.installed.nodes("beside", managed=False)  # where the operator's pods run
        key = {"hmac": base64.b64encode(HOOK.encode()).decode()}
        market.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "desk"}, "data": key})
        with listening(market) as exchange, Reader(market.admin, market.nodes) as reader:
            yield Town(market, folder)
        assert (exchange.ledger.gaps, exchange.ledger.disorder, exchange.ledger.altered, exchange.ledger.bad_signatures) == (0, 0, 0, 0)
        assert reader.faults == []
        market.close()


def test_the_previous_release_delivers(town: Town) -> None:
    """Contracts under the older chart: one that is over, one that is served, one to come; with keys, receipts, and a pod of the buyer's."""
    admin = town.market.admin
    assert _laycan("keys", "--new", "--apply", "--kubeconfig", str(town.market.plane.admin_kubeconfig)).exit_code == 0
    operator = town.started(Previous)
    until("receipts are current", lambda: operator.metrics().get("laycan_receipts_current") == 1)
    for name, start, end in (("done", 15, 20), ("running", 5, HOUR), ("coming", HOUR // 2, HOUR)):
        admin.create(traded(name, at(start), at(end)))
    (row,) = bindings(await_phase(admin, "running", "Delivering"))
    until("it is handed over", lambda: owners(admin).get(row[0]) == "acme")
    town.market.installed.alice.create(fleet.pod("acme", "training", gpus=8, nodeSelector={"kubernetes.io/hostname": row[0]}))
    until("the buyer's pod runs", lambda: _running(town.market))
    await_phase(admin, "done", "Settled", seconds=60)
    await_phase(admin, "coming", "Accepted")
    town.promised = {name: _promise(read(admin, name)) for name in ("done", "running", "coming")}
    town.pods = _pods(town.market)
    town.crds = _fields(town.market)
    until("a checkpoint is over it", lambda: _exports(town), seconds=60)
    town.as_promised()
    assert town.receipts
    assert town.image() == "laycan:0.1.0"


def test_upgrade(town: Town) -> None:
    """With what was set before and this chart's defaults; no field that the older CRDs had is lost."""
    town.change("upgrade", RELEASE, str(CHART), "--reset-then-reuse-values")
    town.as_promised()
    assert (town.settings()["mode"], town.settings()["operatorId"]) == ("Enforce", "acme"), "what was set stays set"
    assert town.image() == f"ghcr.io/laycan/laycan:{__version__}"
    assert town.market.admin.find(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/laycan-operator")
    now = _fields(town.market)
    assert {name: fields - now[name] for name, fields in town.crds.items()} == {name: set() for name in town.crds}
    assert sum(map(len, now.values())) > sum(map(len, town.crds.values()))


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_everything_passes_the_api_server(town: Town, mode: str) -> None:
    """What the chart renders with everything on is taken by the API server, field by field; the kinds of Prometheus it does not know."""
    sets = [argument for value in (f"mode={mode}", *EVERYTHING) for argument in ("--set", value)]
    rendered = town.helm("template", RELEASE, str(CHART), "--kube-version", "1.36.3", *sets)
    ours = [each for each in yaml.safe_load_all(rendered) if each and not each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(ours) > 60
    for each in ours:
        town.market.admin.request(
            "PATCH", town.market.admin.path(each), each, content_type=APPLY,
            dryRun="All", fieldManager="helm", force="true", fieldValidation="Strict",
        )  # fmt: skip


def test_pod_security(town: Town) -> None:
    """A namespace of the level `restricted` takes the operator's pod as it is rendered; the agents' need more, and are refused there."""
    admin = town.market.admin
    admin.apply(fleet.namespace("strict", {"pod-security.kubernetes.io/enforce": "restricted"}))
    rendered = [each for each in yaml.safe_load_all(town.helm("template", RELEASE, str(CHART), "--kube-version", "1.36.3")) if each]
    pods = {each["kind"]: each["spec"]["template"]["spec"] for each in rendered if each["kind"] in ("Deployment", "DaemonSet", "Job")}

    def dry(kind: str) -> Object:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": pods[kind]["serviceAccountName"], "namespace": "strict"},
        }
        admin.apply(account)
        meta = {"name": kind.lower(), "namespace": "strict"}
        spec = {**pods[kind], "priorityClassName": "system-cluster-critical" if kind == "DaemonSet" else pods[kind]["priorityClassName"]}
        return admin.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, dryRun="All")

    for kind in ("Deployment", "Job"):
        made = dry(kind)
        assert made["spec"]["priority"] == 1_000_000_000
    with pytest.raises(ApiError, match=r"violates PodSecurity.*host namespaces.*hostPath"):
        dry("DaemonSet")


@pytest.mark.parametrize("mode", ["Observe", "Enforce"])
def test_notes_work_word_by_word(town: Town, mode: str) -> None:
    """Each numbered step of NOTES.txt is a command that works here; what people fill in is in capitals."""
    printed = town.helm("upgrade", RELEASE, str(CHART), "--reset-then-reuse-values", "--set", f"mode={mode}", "--dry-run=server")
    steps = re.findall(r"^  \d+\. (.+?)(?:   +.*)?$", printed.partition("NOTES:")[2], re.MULTILINE)
    assert len(steps) == {"Observe": 7, "Enforce": 5}[mode]
    for step in steps:
        _step(town, step)


def test_rollback(town: Town) -> None:
    """Back to the older chart, its CRDs and its rights: what it had promised stands."""
    admin = town.market.admin
    outage = {"type": "Planned", "nodes": ["n003"], "start": at(100 * HOUR), "end": at(101 * HOUR), "acceptRisk": True}
    admin.create({"apiVersion": "laycan.dev/v1alpha1", "kind": "Outage", "metadata": {"name": "risky"}, "spec": outage})
    town.change("rollback", RELEASE, "1", kind=Previous)
    assert _fields(town.market) == town.crds
    town.as_promised()
    assert town.image() == "laycan:0.1.0"
    assert "acceptRisk" not in admin.get(f"{GROUP}/outages/risky")["spec"], "what only the newer CRD knows is not seen any more"
    admin.delete(f"{GROUP}/outages/risky")


def test_upgrade_with_all_older_values(town: Town) -> None:
    """`--reuse-values` brings the older chart's defaults along; what they lack is as by default, and the image is the older one's."""
    town.change("upgrade", RELEASE, str(CHART), "--reuse-values")
    town.as_promised()
    assert (town.settings()["mode"], town.settings()["operatorId"]) == ("Enforce", "acme")
    assert town.image() == f"laycan:{__version__}"
    assert town.market.admin.find(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/laycan-operator")


def test_uninstall(town: Town) -> None:
    """The Job opens the fences, the chart goes; contracts, CRDs, evidence, keys and the buyer's pods stay."""
    market, admin = town.market, town.market.admin
    (running,) = (each for each in market.operators if each.running())
    assert "released 1 nodes and 1 fence entries" in _job(town)
    assert running.wait() == 1, "it gives way to the release"
    town.helm("uninstall", RELEASE)
    assert admin.get(FENCE)["spec"].get("nodes", {}) == {}
    assert {name: _promise(read(admin, name)) for name in town.promised} == town.promised
    assert _pods(market) == town.pods
    crds = admin.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    assert sum(each["spec"]["group"] == "laycan.dev" for each in crds) == len(PLURALS)
    for kept in (
        f"/api/v1/namespaces/{NAMESPACE}/secrets/laycan-evidence",
        f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/laycan-ledger",
    ):
        assert admin.find(kept), kept
    policies = admin.items("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
    assert [each for each in policies if each["metadata"]["name"].startswith("laycan")] == []


def test_install_again(town: Town) -> None:
    """A new release finds what the old one left, closes the fences again, goes on with the log; the next contract gets a free node."""
    town.market.installed.install("install", "Enforce", *SET)
    town.started()
    town.as_promised()
    town.market.admin.create(traded("next", at(5), at(HOUR)))
    ((node, *_),) = bindings(await_phase(town.market.admin, "next", "Delivering"))
    assert node not in {rows[0][0] for name, (_, rows) in town.promised.items() if name != "done"}
    until("it is handed over", lambda: owners(town.market.admin).get(node) == "acme")


def _step(town: Town, step: str) -> None:
    """Runs a step of the notes; what kubectl does with one object is done through the API, without effect."""
    admin, kubeconfig = town.market.admin, ("--kubeconfig", str(town.market.plane.admin_kubeconfig))
    words = step.split()
    if words[0] == "laycan":
        command, _, piped = step.partition(" | ")
        done = _laycan(*command.split()[1:], *kubeconfig)
        assert done.exit_code in (0, 1), f"{step}: {done.output}"
        if piped:
            assert piped == "kubectl create -f -"
            secret = yaml.safe_load(done.stdout)
            secret["metadata"]["name"] += "-again"  # the cluster has its keys already
            admin.create(secret, dryRun="All")
    elif words[0] == "helm":
        town.helm(*[str(CHART) if word == "CHART" else word for word in words[1:]], "--dry-run=server")
    elif words[:2] == ["kubectl", "label"]:
        (key, value), place = words[4].split("="), {"NODE": "/api/v1/nodes/n003", "BUYER": "/api/v1/namespaces/acme"}[words[3]]
        assert (place.split("/")[3], key) in {("nodes", "laycan.dev/managed"), ("namespaces", "laycan.dev/desk")}
        assert words[2] == place.split("/")[3].rstrip("s")
        admin.patch(place, {"metadata": {"labels": {key: value.lower()}}}, dryRun="All")
    else:
        assert step in ("kubectl apply -f CONTRACTS", "kubectl get cc -A")
        crd = admin.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/computecontracts.laycan.dev")
        assert "cc" in crd["spec"]["names"]["shortNames"]


def _laycan(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def _exports(town: Town) -> bool:
    try:
        return bool(town.export())
    except AssertionError:
        return False


def _promise(found: Object | None) -> tuple[Any, Any]:
    assert found is not None
    return found["spec"], bindings(found)


def _pods(market: Market) -> dict[str, tuple[str, str]]:
    living = [pod for pod in market.admin.items(BOUGHT) if not pod["metadata"].get("deletionTimestamp")]
    return {pod["metadata"]["name"]: (pod["metadata"]["uid"], pod["spec"].get("nodeName", "")) for pod in living}


def _running(market: Market) -> bool:
    return [pod["status"].get("phase") for pod in market.admin.items(BOUGHT)] == ["Running"]


def _fields(market: Market) -> dict[str, set[str]]:
    """CRD -> dotted paths of its fields."""
    crds = market.admin.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    ours = [each for each in crds if each["spec"]["group"] == "laycan.dev"]
    return {each["metadata"]["name"]: set(_paths(each["spec"]["versions"][0]["schema"]["openAPIV3Schema"])) for each in ours}


def _paths(schema: Object, at: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        yield f"{at}.{name}"
        yield from _paths(part, f"{at}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from _paths(schema[name], f"{at}[]")


def _job(town: Town) -> str:
    """Runs what the Job of the uninstall would, with its rights: no kubelet here starts its container."""
    (job,) = [each for each in yaml.safe_load_all(town.helm("get", "hooks", RELEASE)) if each and each["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    plane, kubeconfig, settings = town.market.plane, town.folder / "job.kubeconfig", town.folder / "job.yaml"
    settings.write_text(yaml.safe_dump(town.settings()))
    token = service_account_token(plane.admin, NAMESPACE, job["spec"]["template"]["spec"]["serviceAccountName"], 3600)
    write_kubeconfig(kubeconfig, plane.url, plane.certificate, {"token": token})
    arguments = [argument.replace("/etc/laycan/settings.yaml", str(settings)) for argument in container["args"]]
    assert arguments[:2] == ["laycan", "release"]
    command = [str(Path(sys.executable).with_name("laycan")), *arguments[1:], "--kubeconfig", str(kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
