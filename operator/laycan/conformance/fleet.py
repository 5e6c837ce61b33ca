"""Which nodes a run may use: managed, well, of one grade, nobody's now or soon, and with nobody's pods on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from laycan.delivery.nodes.drain import stays
from laycan.kube.client import Client
from laycan.kube.views import fence_view, node_view, pod_view
from laycan.planning.problem import unplannable
from laycan.resources.constants import API_VERSION, GRADE_LABEL
from laycan.resources.times import parse_time
from laycan.settings import Settings

Raw = Mapping[str, Any]
MOST_NODES = 8  # of a run that names none
HORIZON_SECONDS = 7200  # a node that is promised within it is not free


class NoFleetError(Exception):
    """There is nothing to run on; the message says why."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """`kept_out`: nodes of the grade from which the planner is kept. `exposed`: others remain that it might choose all the same."""

    grade: str
    gpus: int  # of one node
    nodes: tuple[str, ...]
    kept_out: tuple[str, ...] = ()
    exposed: bool = False
    unmanaged: tuple[str, ...] = ()


async def choose(client: Client, settings: Settings, wanted: Sequence[str], now: int, exact: Mapping[str, int] | None = None) -> Fleet:
    """The named nodes, else some free ones of the commonest grade. Raises NoFleetError, ApiError.

    `exact`: only nodes that publish each of their GPUs, node -> GPUs. None: only those whose device plugin counts them.
    """
    raws = {raw["metadata"]["name"]: raw for raw in (await client.get("/api/v1/nodes"))["items"]}
    sizes = {name: node_view(raw).gpus for name, raw in raws.items()} if exact is None else exact
    managed = {name: raw for name, raw in raws.items() if node_view(raw).managed}
    promised = await _promised(client, now)
    busy = await _busy(client, settings)
    free = [
        name for name, raw in managed.items() if name not in promised | busy and sizes.get(name) and node_view(raw).ready and _plain(raw)
    ]
    if missing := [name for name in wanted if name not in free]:
        raise NoFleetError(f"not free, not Ready or not managed: {', '.join(missing)}")
    kinds = Counter(_kind(managed[name], sizes) for name in (wanted or free))
    if not kinds:
        raise NoFleetError("no managed node is free: all are held, promised within two hours, not Ready, or run somebody's pods")
    (grade, gpus), _ = kinds.most_common(1)[0]
    if len(kinds) > 1 and wanted:
        raise NoFleetError(f"the nodes are of several grades or sizes: {', '.join(sorted(f'{grade} x{gpus}' for grade, gpus in kinds))}")
    nodes = tuple(sorted(name for name in (wanted or free) if _kind(managed[name], sizes) == (grade, gpus)))[: len(wanted) or MOST_NODES]
    rest = [name for name, raw in managed.items() if _kind(raw, sizes)[0] == grade and name not in nodes]
    return Fleet(
        grade=grade,
        gpus=gpus,
        nodes=nodes,
        kept_out=tuple(sorted(set(rest) - promised)),
        exposed=bool(set(rest) & promised),
        unmanaged=tuple(sorted(set(raws) - set(managed))),
    )


def _kind(raw: Raw, sizes: Mapping[str, int]) -> tuple[str, int]:
    return str(raw["metadata"]["labels"].get(GRADE_LABEL, "")), sizes.get(raw["metadata"]["name"], 0)


def _plain(raw: Raw) -> bool:
    return unplannable(raw) is None and not raw["spec"].get("unschedulable")


async def _promised(client: Client, now: int) -> set[str]:
    """Nodes that are held, or bound to a contract within the horizon."""
    fences = (await client.get(f"/apis/{API_VERSION}/nodefences"))["items"]
    found = {name for raw in fences for name in fence_view(raw).nodes}
    for contract in (await client.get(f"/apis/{API_VERSION}/computecontracts"))["items"]:
        for binding in (contract.get("status") or {}).get("bindings") or ():
            if parse_time(binding["start"]) < now + HORIZON_SECONDS and parse_time(binding["end"]) > now:
                found.add(binding["node"])
    return found


async def _busy(client: Client, settings: Settings) -> set[str]:
    """Nodes with pods that a hand-over would evict."""
    views = [pod_view(raw) for raw in (await client.get("/api/v1/pods"))["items"] if raw["spec"].get("nodeName")]
    return {pod.node for pod in views if pod.owner_kind != "DaemonSet" and not stays(pod, settings)}
