"""What the nodes' agents say of themselves: whether one runs, is heard, sees strangers, and has the right time."""

from __future__ import annotations

from collections.abc import Iterator

from laycan.kube.meter_views import MeterView, meter_view
from laycan.preflight.cluster import Cluster
from laycan.preflight.finding import Check, Finding, Level, some

CLOCK_MILLISECONDS = 1000  # beyond it receipts wait: contract.md 5.9


def meters(cluster: Cluster) -> dict[str, MeterView | None]:
    """Node of the fleet -> what its agent wrote; None without one, or where it is another machine's."""
    read = {view.node: view for view in map(meter_view, cluster.items["gpumeters"]) if view is not None}
    found: dict[str, MeterView | None] = {}
    for node in cluster.managed():
        meta = node["metadata"]
        meter = read.get(meta["name"])
        found[meta["name"]] = meter if meter is not None and meter.node_uid == meta.get("uid", "") else None
    return found


def agents_run(cluster: Cluster) -> Iterator[Finding]:
    """Where no agent runs, node Ready and allocatable GPUs are the verdict."""
    if not cluster.installed or cluster.hidden.keys() & {"gpumeters", "nodes"}:
        return
    found = meters(cluster)
    bare = [name for name, meter in found.items() if meter is None]
    if bare:
        none = len(bare) == len(found)
        yield Finding(
            Level.INFO if none else Level.WARNING,
            "agents-run",
            "no managed node has a GpuMeter" if none else f"{len(bare)} managed nodes have no GpuMeter: {some(bare)}",
            "node Ready and allocatable GPUs are the verdict there: an XID, a lost link or a throttled GPU counts as delivered",
            "run the chart's agent on them, where NVIDIA's driver is",
        )


def agents_heard(cluster: Cluster) -> Iterator[Finding]:
    """Who is silent proves nothing."""
    silent = [name for name, meter in meters(cluster).items() if meter is not None and meter.silent_at <= cluster.now]
    if silent:
        yield Finding(
            Level.ERROR,
            "agents-heard",
            f"agents that have missed two reports: {some(silent)}",
            "what they do not prove is not delivered",
            "look at the agent's pod on the node and its log",
        )


def strangers_seen(cluster: Cluster) -> Iterator[Finding]:
    """On a delivered node only the holder computes."""
    found = [name for name, meter in meters(cluster).items() if meter is not None and meter.strangers]
    if found:
        yield Finding(
            Level.WARNING,
            "strangers-seen",
            f"processes that are not the holder's are on GPUs of {some(found)}",
            "a container left them behind, or somebody got past the fence",
            "nvidia-smi on the node names them; add the namespace of an agent of yours to the exempt ones",
        )


def clocks_right(cluster: Cluster) -> Iterator[Finding]:
    """Receipts wait while a clock is off."""
    clocks = {name: meter.clock_offset_milliseconds or 0 for name, meter in meters(cluster).items() if meter is not None}
    off = [f"{name} by {milliseconds} ms" for name, milliseconds in clocks.items() if abs(milliseconds) > CLOCK_MILLISECONDS]
    if off:
        yield Finding(
            Level.WARNING,
            "clocks-right",
            f"clocks that differ from the API server's: {some(off)}",
            "findings and outages of these nodes are dated wrongly",
            "see to NTP or PTP on them",
        )


CHECKS: tuple[Check, ...] = (agents_run, agents_heard, strangers_seen, clocks_right)
