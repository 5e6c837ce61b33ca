"""Which nodes a run takes for itself."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from laycan.conformance.fleet import MOST_NODES, Fleet, NoFleetError, choose
from laycan.kube.client import Client
from laycan.resources.times import format_time
from laycan.settings import Settings

NOW = 1_800_000_000


class Listed:
    """An API server that lists these objects."""

    def __init__(self, nodes: list[Any], pods: list[Any], fence: dict[str, str], bindings: list[tuple[str, int, int]]) -> None:
        made = [{"node": node, "start": format_time(start), "end": format_time(end)} for node, start, end in bindings]
        self._lists = {
            "nodes": nodes,
            "pods": pods,
            "nodefences": [{"metadata": {"name": "cluster"}, "spec": {"nodes": fence}}],
            "computecontracts": [{"status": {"bindings": made}}, {"spec": {}}],
        }

    async def get(self, path: str) -> dict[str, Any]:
        return {"items": self._lists[path.rpartition("/")[2]]}


def node(
    name: str, *, grade: str = "H100", managed: str = "true", ready: str = "True", cordoned: bool = False, sharing: str = "none"
) -> Any:
    """A node of eight GPUs."""
    gpus = {"nvidia.com/gpu": "8"}
    return {
        "metadata": {
            "name": name,
            "labels": {"nvidia.com/gpu.product": grade, "laycan.dev/managed": managed, "nvidia.com/gpu.sharing-strategy": sharing},
        },
        "spec": {"unschedulable": cordoned},
        "status": {"capacity": gpus, "allocatable": gpus, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(on: str, owner: str = "") -> Any:
    """A pod of a tenant's on a node."""
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {"metadata": {"namespace": "acme", "name": "p", "ownerReferences": owners}, "spec": {"nodeName": on}}


def chosen(
    nodes: list[Any],
    wanted: tuple[str, ...] = (),
    pods: list[Any] | None = None,
    fence: dict[str, str] | None = None,
    bindings: list[tuple[str, int, int]] | None = None,
) -> Fleet:
    """What is chosen there."""
    server = cast(Client, Listed(nodes, pods or [], fence or {}, bindings or []))
    return asyncio.run(choose(server, Settings(), wanted, NOW))


def test_free_nodes_of_the_commonest_grade() -> None:
    """Neither held, promised soon, busy, cordoned, unwell nor unmanaged ones; from those of the grade that are left the planner is kept."""
    nodes = [
        node("a"), node("b"), node("other", grade="A100"), node("alien", managed="false"), node("ill", ready="Unknown"),
        node("cordoned", cordoned=True), node("shared", sharing="mps"), node("held"), node("soon"),
        node("later"), node("past"), node("busy"), node("agents"),
    ]  # fmt: skip
    bindings = [("soon", NOW + 3600, NOW + 7200), ("later", NOW + 90_000, NOW + 99_000), ("past", NOW - 100, NOW)]
    fleet = chosen(nodes, pods=[pod("busy"), pod("agents", "DaemonSet")], fence={"held": "acme"}, bindings=bindings)
    assert (fleet.grade, fleet.gpus, fleet.nodes) == ("H100", 8, ("a", "agents", "b", "later", "past"))
    assert fleet.kept_out == ("busy", "cordoned", "ill", "shared")
    assert fleet.exposed, "the planner may choose a node that is held or promised"
    assert fleet.unmanaged == ("alien",)


def test_no_more_than_needed() -> None:
    """Of a large fleet some nodes are taken, of one that was named all."""
    nodes = [node(f"n{number:02}") for number in range(20)]
    assert len(chosen(nodes).nodes) == MOST_NODES
    assert not chosen(nodes).exposed
    names = tuple(f"n{number:02}" for number in range(12))
    assert chosen(nodes, names).nodes == names
    assert len(chosen(nodes, names).kept_out) == 8


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(("a", "held"), "not free, not Ready or not managed: held"), (("a", "other"), "several grades or sizes: A100 x8, H100 x8")],
    ids=["held", "mixed"],
)
def test_unusable_wishes(wanted: tuple[str, ...], words: str) -> None:
    """Nodes that were named and cannot be used are an error that names them."""
    with pytest.raises(NoFleetError, match=words):
        chosen([node("a"), node("held"), node("other", grade="A100")], wanted, fence={"held": "acme"})


def test_nothing_free() -> None:
    """Without a free node there is nothing to run on."""
    with pytest.raises(NoFleetError, match="no managed node is free"):
        chosen([node("held")], fence={"held": "acme"})
