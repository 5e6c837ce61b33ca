"""How fast bindings become true, and what that costs: the real operator process on a fleet whose kubelets KWOK plays.

    python -m bench.delivery [--rows ahead,at-once,many,failures,fence] [--nodes 500] [--folder DIR]

Times are wall times of a machine that runs the whole control plane as well: read them with the load. CPU and counts of requests are
those of the operator and of the API server from the moment that the contracts are created until all their nodes are held.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.budgets import judged
from bench.delivery_page import page
from bench.fence_cost import fence_cost
from bench.measure import Row, machine, show
from bench.watching import LabelWatch, cpu_us, requests, spread, waits_ms
from controlplane import fleet
from controlplane.api import STRATEGIC, Object
from controlplane.build import binaries
from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.resources.times import parse_time
from tests.cluster.operator import CONTRACTS, Market, Operator, at, contract, owners
from tests.cluster.policies.installed import STRANGER

HOLDER, GPUS, HOUR = "acme", 8, 3_600
LEAD_SECONDS, DETECTION_SECONDS = 40, 2
SETTINGS: Mapping[str, Any] = {
    "leadSeconds": LEAD_SECONDS, "drainSeconds": 5, "hysteresisSeconds": 5, "dwellSeconds": 5,
    "breaker": {"sharePpm": 1_000_000, "windowSeconds": 600},
}  # fmt: skip
PATIENCE_SECONDS = 300.0
COUNTED = {  # what only the operator asks for -> column
    "PATCH nodes": "node_writes",
    "PATCH nodefences": "fence_writes",
    "PATCH computecontracts/status": "status_writes",
    "POST pods/binding (dry run)": "probes",
    "LIST pods": "pod_lists",
}


class Spent(AbstractContextManager["Spent"]):
    """CPU of operator and API server, and requests by kind, from entering to leaving."""

    def __init__(self, stage: Market, operator: Operator) -> None:
        self._stage, self._operator = stage, operator
        self.figures: dict[str, Any] = {}

    def _now(self) -> tuple[int, int]:
        return round(self._operator.cpu_seconds() * 1000), cpu_us(self._stage.plane.running()["kube-apiserver"]) // 1000

    def __enter__(self) -> Spent:
        self._requests, self._cpu = requests(self._stage.admin.get("/metrics")), self._now()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        operator, server = (after - before for after, before in zip(self._now(), self._cpu, strict=True))
        asked = requests(self._stage.admin.get("/metrics")) - self._requests
        self.figures = {"operator_cpu_ms": operator, "apiserver_cpu_ms": server} | {name: asked[kind] for kind, name in COUNTED.items()}


def handed_over(stage: Market, contracts: Sequence[Object]) -> Row:
    """Creates the contracts at once and follows them until every node is held."""
    operator = stage.operators[-1]
    with LabelWatch(stage.admin) as labels, Spent(stage, operator) as spent:
        begun = time.time()
        for manifest in contracts:
            stage.admin.create(manifest)
        nodes = sum(manifest["spec"]["terms"]["delivery"]["gpus"] for manifest in contracts) // GPUS
        until("all are held", lambda: holding(labels) == nodes, seconds=PATIENCE_SECONDS, pause=0.1)
    due = due_at(stage.admin.items(CONTRACTS), begun)
    row = {"nodes": nodes, "contracts": len(contracts)} | spread("held_ms", waits_ms(labels.changes, due, HOLDER)) | spent.figures
    clear(stage, contracts)
    return row


def holding(labels: LabelWatch) -> int:
    return sum(owner == HOLDER for owner in labels.holders().values())


def due_at(contracts: Sequence[Object], begun: float) -> dict[str, float]:
    """Node -> when it was to be held: at the start of its binding, or when its contract was created (`begun`), if that came later."""
    bindings = [binding for found in contracts for binding in found["status"].get("bindings", ())]
    return {binding["node"]: max(float(parse_time(binding["start"])), begun) for binding in bindings}


def settle_residents(stage: Market) -> None:
    """A stranger's pod on each node, running."""
    for node in stage.nodes:
        stage.admin.create(fleet.pod(STRANGER, f"on-{node}", gpus=1, nodeSelector={"kubernetes.io/hostname": node}))
    path = f"/api/v1/namespaces/{STRANGER}/pods"
    until(
        "they run",
        lambda: all(pod["status"].get("phase") == "Running" for pod in stage.admin.items(path)),
        seconds=PATIENCE_SECONDS,
        pause=1,
    )


def clear(stage: Market, contracts: Sequence[Object]) -> None:
    for manifest in contracts:
        stage.delete(manifest["metadata"]["name"])
    until("all is free", lambda: not owners(stage.admin), seconds=PATIENCE_SECONDS, pause=0.5)


def sold(name: str, nodes: int, start: str) -> Object:
    return contract(name, start, at(HOUR), gpus=nodes * GPUS)


def ahead(stage: Market) -> Row:
    """One contract for the whole fleet, known before its lead: what is counted is the time from its start."""
    settle_residents(stage)
    return handed_over(stage, [sold("ahead", len(stage.nodes), at(LEAD_SECONDS + 5))])


def at_once(stage: Market) -> Row:
    """One contract for the whole fleet that is due when it is decided: freeze, drain and hand-over all count."""
    settle_residents(stage)
    return handed_over(stage, [sold("at-once", len(stage.nodes), at(0))])


def many(stage: Market) -> Row:
    """The whole fleet in contracts of one to eight nodes, all due when they are decided."""
    sizes: list[int] = []
    while (left := len(stage.nodes) - sum(sizes)) > 0:
        sizes.append(min(left, len(sizes) % 8 + 1))
    return handed_over(stage, [sold(f"many-{i}", size, at(0)) for i, size in enumerate(sizes)])


def failures(stage: Market) -> Row:
    """Nodes of a contract on all but twenty-four fail, eight one by one and then eight at once: until a spare is held for each."""
    manifest = sold("failing", len(stage.nodes) - 24, at(0))
    stage.admin.create(manifest)
    held = len(stage.nodes) - 24
    found: list[int] = []
    with LabelWatch(stage.admin) as labels, Spent(stage, stage.operators[-1]) as spent:
        until("all are held", lambda: holding(labels) == held, seconds=PATIENCE_SECONDS, pause=0.1)
        serving = sorted(node for node, owner in labels.holders().items() if owner == HOLDER)
        for victims in (*([node] for node in serving[:8]), serving[8:16]):
            found += replaced_ms(stage, labels, victims)
    for node in serving[:16]:
        fleet.revive_node(stage.admin, node)
    clear(stage, [manifest])
    return {"nodes": held, "failed": len(found), "detection_ms": DETECTION_SECONDS * 1000} | spread("again_ms", found) | spent.figures


def replaced_ms(stage: Market, labels: LabelWatch, victims: Sequence[str]) -> list[int]:
    """Reports these nodes silent, as the node controller does, within a moment; milliseconds from then until as many others were held."""
    before, seen = set(labels.holders()), len(labels.changes)
    for node in victims:
        fleet.kill_node(stage.admin, node)
    for node in victims:
        silent = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": at(0)}
        stage.admin.patch(f"/api/v1/nodes/{node}/status", {"status": {"conditions": [silent]}}, content_type=STRATEGIC)
    failed_at = time.time()

    def spares() -> dict[str, float]:
        return {node: failed_at for _, node, owner in labels.changes[seen:] if owner == HOLDER and node not in before}

    until("spares are held", lambda: len(spares()) == len(victims), seconds=PATIENCE_SECONDS)
    return waits_ms(labels.changes[seen:], spares(), HOLDER)


ROWS: Mapping[str, Callable[[Market], Row]] = {"ahead": ahead, "at-once": at_once, "many": many, "failures": failures}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join([*ROWS, "fence"]), help="which of the measurements")
    parser.add_argument("--nodes", type=int, default=500, help="of the fleet")
    parser.add_argument("--held", type=int, default=2_000, help="nodes that stand beside the fence of the row `fence`")
    parser.add_argument("--folder", type=Path, help="for the control plane and its logs; kept")
    parser.add_argument("--page", type=Path, help="write the figures there as Markdown")
    given = parser.parse_args(arguments)
    wanted = given.rows.split(",")
    if unknown := sorted(set(wanted) - {*ROWS, "fence"}):
        parser.error(f"--rows: no such row: {', '.join(unknown)}; there are {', '.join([*ROWS, 'fence'])}")
    with tempfile.TemporaryDirectory(prefix="laycan-bench-") as temporary:
        folder = given.folder or Path(temporary)
        rows = measured(folder, [name for name in ROWS if name in wanted], given.nodes)
        if "fence" in wanted:
            with stage_of(folder / "fence", 0) as stage:
                rows += fence_cost(stage.installed, given.held, (given.held, 12_500, 0), rounds=5, batches_each=4)
    if given.page:
        given.page.write_text(page(rows, machine(), given.nodes))
    show("delivery", rows, judged(rows), fleet=given.nodes)


@contextmanager
def stage_of(folder: Path, nodes: int) -> Iterator[Market]:
    """A market of its own. Heartbeats may be late for a minute: a busy machine is no failure of nodes."""
    with ControlPlane(folder / "control-plane", tools=binaries(), fsync=False, heartbeat_grace_seconds=60) as plane:
        yield Market(plane, folder, nodes)


def measured(folder: Path, names: Sequence[str], nodes: int) -> list[Row]:
    rows: list[Row] = []
    if names:
        with stage_of(folder / "fleet", nodes) as stage:
            stage.operator(settings=SETTINGS)
            for name in names:
                rows.append({"row": name, **ROWS[name](stage)})
                print(f"{name}: {rows[-1]}", flush=True)
            stage.close()
    return rows


if __name__ == "__main__":
    main()
