"""What an agent costs: its node, the API server, and the operator that reads what it writes.

    python -m bench.agent [--rows process,meter,reports,events] [--meters 500] [--seconds 60] [--folder DIR]

The agent's process runs on the stand-in for NVML, so NVIDIA's driver is not in its figures. The API server is a real one; while reports
are measured its controllers and kubelets are stopped. Each report is sent as an agent sends it, with the token of a pod on that node:
metadata of its Node, and a patch of its meter. What 12,500 nodes cost follows from one report, since no report knows of another.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from bench.budgets import judged
from bench.fence_cost import alone, plain_nodes
from bench.measure import Row, percentile, show
from bench.watching import cpu_us, spread
from controlplane.build import binaries
from controlplane.local import ControlPlane
from controlplane.users import service_account_token
from controlplane.waiting import until
from laycan.agent.account import Account, Moment
from laycan.agent.clock import ClockReading
from laycan.agent.publish import COLLECTION, said
from laycan.agent.report import Author, meter
from laycan.agent.sample import Fabric, GpuSample, NodeSample, Pcie
from laycan.kube.client import METADATA_ONLY, Client
from laycan.kube.credentials import Credentials, load_credentials
from laycan.kube.meter_views import meter_view
from laycan.kube.reflector import Reflector
from laycan.kube.world import World
from tests.cluster.policies.installed import NAMESPACE, Installed
from tests.nvml.standin import NOT_SUPPORTED, StandIn, build

NODES, REPORT_SECONDS, SAMPLE_SECONDS, GPUS = 12_500, 300, 10, 8
NOON = 1_800_000_000
BATCHES = 5
ROWS = ("process", "meter", "reports", "events")
LAUNCH = """
import sys
from pathlib import Path
from laycan.kube import credentials
credentials.ACCOUNT = Path(sys.argv.pop(1))
from laycan.cli.main import run
run()
"""


class Fleet:
    """The chart on a control plane, with so many nodes that nobody plays, and an agent's pod with its token on each."""

    def __init__(self, plane: ControlPlane, number: int) -> None:
        self.plane, self.admin = plane, plane.admin
        Installed(plane).install("install", "Observe", "--set", "agent.enabled=true")
        self.nodes = plain_nodes(self.admin, number)
        self.uids = {node["metadata"]["name"]: node["metadata"]["uid"] for node in self.admin.items("/api/v1/nodes")}
        pods = until("an agent's pod on each", self._pods, seconds=300, pause=1)
        self.tokens = {node: service_account_token(self.admin, NAMESPACE, "laycan-agent", 86_400, pod) for node, pod in pods.items()}

    def _pods(self) -> Mapping[str, Any]:
        """The DaemonSet's, by node; the DaemonSet controller names the node of each, whether it is bound or not."""
        found = self.admin.items(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector="app.kubernetes.io/component=agent")
        bound = {pod["spec"]["nodeName"]: pod for pod in found if pod["spec"].get("nodeName")}
        return bound if len(bound) == len(self.nodes) else {}


def sample(energy: int) -> NodeSample:
    """Eight sound cards of an HGX H100 that used so many millijoules."""
    cards = [
        GpuSample(
            f"GPU-{slot:08x}-0000-4000-8000-{slot:012x}", f"16525230{slot:05d}", "692-2G520-0200-000", "NVIDIA H100 80GB HBM3", slot,
            energy, 0, 0, False, False, 0, 18, Fabric(3, 0), Pcie(16, 16, 5, 5), 0, True, (4711 + slot,), 700_000,
        )
        for slot in range(GPUS)
    ]  # fmt: skip
    return NodeSample("580.105.08", tuple(cards), (), ())


def account(uid: str, reports: int) -> Account:
    """A node's, after so many reports."""
    made = Account.begin(uid, SAMPLE_SECONDS, NOON)
    for number in range(reports + 1):
        made.at = NOON + max(0, number * REPORT_SECONDS - SAMPLE_SECONDS)  # as if it had been sampled meanwhile
        made.take(sample(number * REPORT_SECONDS * 600_000), Moment(NOON + number * REPORT_SECONDS, number * REPORT_SECONDS, "boot"))
    return made


def eventful(uid: str) -> Account:
    """One with all the history that is kept."""
    made = account(uid, 1)
    for number in range(800):
        now = made.at + (100 if number % 8 == 0 else 10)
        cards = sample(made.at * 600)
        pending = replace(cards.gpus[0], remap_pending=number % 2 == 0)
        made.take(NodeSample(cards.driver, (pending, *cards.gpus[1:]), (), ()), Moment(now, now - NOON, "boot"))
    return made


def process(fleet: Fleet, folder: Path, seconds: int) -> Row:
    """The agent's own process, sampling every second: CPU for a sample, and what an hour of samples every ten seconds makes of it."""
    standin = StandIn(build(folder), folder / "control")
    standin.faults["nvmlEventSetCreate"] = NOT_SUPPORTED  # its wait for XIDs polls a file, the driver's does not
    standin.write()
    node = fleet.nodes[0]
    (folder / "token").write_text(fleet.tokens[node])
    (folder / "ca.crt").write_bytes(fleet.plane.certificate.read_bytes())
    host, port = fleet.plane.url.removeprefix("https://").split(":")
    environment = standin.environment() | {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    argv = ["agent", "--node", node, "--state", str(folder / "state"), "--sample-seconds", "1", "--port", "0", "--log-format", "plain"]
    agent = subprocess.Popen([sys.executable, "-c", LAUNCH, str(folder), *argv], env=environment, stderr=subprocess.PIPE)
    try:
        until("it has reported", lambda: fleet.admin.find(f"{COLLECTION}/{node}"))
        begun_us, begun, first = cpu_us(agent.pid), time.monotonic(), sampled(folder)
        until("it has sampled on", lambda: sampled(folder) - first >= seconds or agent.poll() is not None, seconds=3 * seconds, pause=1)
        spent_us, wall_ms = cpu_us(agent.pid) - begun_us, round((time.monotonic() - begun) * 1000)
        memory = resident(agent.pid)
    finally:
        agent.terminate()
        agent.communicate(timeout=30)
        fleet.admin.delete(f"{COLLECTION}/{node}")
    each_us = spent_us // seconds
    hour_ms = each_us * 3600 // SAMPLE_SECONDS // 1000
    return {"gpus": GPUS, "samples": seconds, "wall_ms": wall_ms, "start_cpu_ms": begun_us // 1000, "sample_us": each_us,
            "node_hour_ms": hour_ms, "gpu_hour_ms": hour_ms // GPUS, **memory}  # fmt: skip


def sampled(folder: Path) -> int:
    """Seconds that the agent has sampled, by its state file."""
    told = orjson.loads((folder / "state").read_bytes())
    return int(told["spec"]["gpus"][0]["registers"]["sampledSeconds"])


def resident(pid: int) -> dict[str, int]:
    """KiB of memory: all of it, and what is its own."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {"resident_kib": int(lines["VmRSS"].split()[0]), "own_kib": int(lines["RssAnon"].split()[0])}


def sizes(fleet: Fleet) -> Row:
    """Bytes of a report as it is sent, and of the object as the API server keeps it: a quiet node's, and one's with all its history."""
    row: dict[str, Any] = {"gpus": GPUS}
    for name, make in (("quiet", lambda uid: account(uid, 1)), ("full", eventful)):
        node = fleet.nodes[-1]
        told = report(make(fleet.uids[node]), node)
        if fleet.admin.find(f"{COLLECTION}/{node}"):
            fleet.admin.delete(f"{COLLECTION}/{node}")
        stored = fleet.admin.create(said(told))
        row |= {f"{name}_bytes": len(orjson.dumps(told)), f"{name}_stored_bytes": len(orjson.dumps(stored))}
        row |= {f"{name}_findings": len(told["spec"]["findings"]), f"{name}_missed": len(told["spec"]["missed"])}
    fleet.admin.delete(f"{COLLECTION}/{node}")
    return row


def report(of: Account, node: str) -> dict[str, Any]:
    return meter(of, Author(node, "0.1.0", REPORT_SECONDS), ClockReading(True, 12))


async def send(fleet: Fleet, number: int, credentials: Credentials) -> None:
    """The `number`-th report of every node."""
    shown: list[str] = [""]
    async with Client(replace(credentials, authorization=lambda: f"Bearer {shown[0]}"), connections=4) as client:
        for node in fleet.nodes:
            shown[0] = fleet.tokens[node]
            await client.get(f"/api/v1/nodes/{node}", accept=METADATA_ONLY)
            told = report(account(fleet.uids[node], number), node)
            if number == 0:
                await client.create(COLLECTION, said(told))
            else:
                await client.patch_merge(f"{COLLECTION}/{node}", {key: told[key] for key in ("metadata", "spec")})


def reports(fleet: Fleet) -> Row:
    """CPU of the API server and of etcd for a report, in the mean of each round of all nodes; what 12,500 nodes take of a core."""
    credentials = load_credentials(fleet.plane.admin_kubeconfig)
    pids = {name: fleet.plane.running()[name] for name in ("kube-apiserver", "etcd")}
    asyncio.run(send(fleet, 0, credentials))
    found: dict[str, list[int]] = {name: [] for name in pids}
    with alone(fleet.plane):
        for number in range(1, BATCHES + 2):
            before = {name: cpu_us(pid) for name, pid in pids.items()}
            asyncio.run(send(fleet, number, credentials))
            for name, pid in pids.items():
                found[name].append((cpu_us(pid) - before[name]) // len(fleet.nodes))
    server, store = found["kube-apiserver"][1:], found["etcd"][1:]  # the first round warms up
    both = percentile(server, 50) + percentile(store, 50)
    return {"meters": len(fleet.nodes), "rounds": BATCHES, **spread("apiserver_us", server), "etcd_us_p50": percentile(store, 50),
            "reports_per_s": f"{NODES / REPORT_SECONDS:.1f}", "core_ppm": both * NODES // REPORT_SECONDS}  # fmt: skip


class Watched:
    """An operator's watch of the meters, in a thread of its own, so that its CPU can be told from that of whoever writes."""

    def __init__(self, credentials: Credentials) -> None:
        self.events, self.spent_us = 0, 0
        self.world = World()
        self.synced = threading.Event()
        self._credentials = credentials
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        assert self.synced.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def reached(self, events: int) -> bool:
        return self.events >= events

    def put(self, kind: str, key: str, view: Any) -> None:
        self.world.put(kind, key, view)
        self.events += 1
        self.spent_us = time.thread_time_ns() // 1000

    def drop(self, kind: str, key: str) -> None:
        self.world.drop(kind, key)

    def keys(self, kind: str) -> set[str]:
        return self.world.keys(kind)

    async def _run(self) -> None:
        async with Client(self._credentials) as client:
            watch = asyncio.create_task(Reflector(client, self, "meters", COLLECTION, meter_view, time.monotonic).run())
            while not self._end.is_set():
                if len(self.world.meters) > 0:
                    self.synced.set()
                await asyncio.sleep(0.5)
            watch.cancel()


def events(fleet: Fleet) -> Row:
    """CPU of an operator for each meter that changes: read from a watch, projected, kept; what 12,500 nodes take of a core."""
    credentials = load_credentials(fleet.plane.admin_kubeconfig)
    if len(fleet.admin.items(COLLECTION)) < len(fleet.nodes):
        asyncio.run(send(fleet, 0, credentials))
    number = 1 + max((parse(each) - NOON) // REPORT_SECONDS for each in fleet.admin.items(COLLECTION))
    found = []
    with Watched(credentials) as watched:
        until("all are known", lambda: len(watched.world.meters) >= len(fleet.nodes))
        for _ in range(BATCHES):
            seen, spent = watched.events, watched.spent_us
            asyncio.run(send(fleet, number, credentials))
            goal = seen + len(fleet.nodes)
            until("all were seen", partial(watched.reached, goal))
            found.append((watched.spent_us - spent) // (watched.events - seen))
            number += 1
    return {"meters": len(fleet.nodes), "events": watched.events, **spread("event_us", found),
            "core_ppm": percentile(found, 50) * NODES // REPORT_SECONDS}  # fmt: skip


def parse(told: Mapping[str, Any]) -> int:
    view = meter_view(told)
    return view.at if view is not None and view.at >= NOON else NOON


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="which of the measurements")
    parser.add_argument("--meters", type=int, default=500, help="nodes that report")
    parser.add_argument("--seconds", type=int, default=60, help="samples of the agent's process, one a second")
    parser.add_argument("--folder", type=Path, help="for the control plane and its logs; kept")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.rows.split(",")) - set(ROWS)):
        parser.error(f"--rows: no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory(prefix="laycan-bench-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with ControlPlane(folder / "plane", tools=binaries(), fsync=False, heartbeat_grace_seconds=60) as plane:
            fleet = Fleet(plane, given.meters)
            measured: Mapping[str, Callable[[], Row]] = {
                "process": lambda: process(fleet, folder, given.seconds),
                "meter": lambda: sizes(fleet),
                "reports": lambda: reports(fleet),
                "events": lambda: events(fleet),
            }
            rows: list[Row] = []
            for name in given.rows.split(","):
                rows.append({"row": f"agent-{name}", **measured[name]()})
                print(rows[-1], flush=True)
    show("agent", rows, judged(rows), nodes=NODES)


if __name__ == "__main__":
    main()
