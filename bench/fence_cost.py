"""What the fence costs the API server: CPU for a pod created and for a pod bound, beside nothing, few and many entries.

The nodes are plain objects; scheduler, controller manager and KWOK are stopped while it is measured, so that what the API server spends
it spends on these requests. CPU is that of its process over a batch, the smallest share of it that can be told apart: a percentile is
one of batches, not of single requests. A bound pod is a real one; so the cost of storing it is part of both sides.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count

from bench.measure import Row, percentile
from bench.watching import cpu_us, spread
from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.local import ControlPlane
from controlplane.waiting import until
from tests.cluster.policies.installed import FENCE, FENCE_POLICY, STRANGER, Installed, binding

BATCH = 50
IDLE = ("kube-scheduler", "kube-controller-manager", "kwok")  # what else would ask the API server for something
_POLICIES = "/apis/admissionregistration.k8s.io/v1"
_numbers = count()


def plain_nodes(api: Api, number: int, prefix: str = "plain-") -> list[str]:
    """Nodes of the fleet without a kubelet."""
    manifests = fleet.nodes(number, prefix=prefix)
    for manifest in manifests:
        del manifest["metadata"]["labels"][fleet.KUBELET_LABEL]
        api.create(manifest)
    return [manifest["metadata"]["name"] for manifest in manifests]


def entries(nodes: list[str], number: int) -> dict[str, str]:
    """So many entries of the fence: the nodes, and names of nodes that are elsewhere."""
    names = [*nodes, *(f"elsewhere-{i:05}" for i in range(number - len(nodes)))]
    return dict.fromkeys(names[:number], "acme")


def batches(plane: ControlPlane, send: Callable[[int], None], number: int) -> list[int]:
    """CPU microseconds of the API server for each request, batch by batch; the first batch warms up and is not counted."""
    pid, found = plane.running()["kube-apiserver"], []
    for _ in range(number + 1):
        before = cpu_us(pid)
        for _ in range(BATCH):
            send(next(_numbers))
        found.append((cpu_us(pid) - before) // BATCH)
    return found[1:]


@contextmanager
def alone(plane: ControlPlane) -> Iterator[None]:
    """Nobody else talks to the API server."""
    for component in IDLE:
        plane.signal(component, signal.SIGSTOP)
    try:
        yield
    finally:
        for component in IDLE:
            plane.signal(component, signal.SIGCONT)


@contextmanager
def without(api: Api, kind: str, name: str) -> Iterator[None]:
    """A policy's binding is away, and then back."""
    path = f"{_POLICIES}/{kind}/{name}"
    kept: Object = api.get(path)
    api.delete(path)
    try:
        yield
    finally:
        api.create({**kept, "metadata": {key: kept["metadata"][key] for key in ("name", "labels")}})


def fence_cost(installed: Installed, nodes: int, sizes: tuple[int, ...], rounds: int, batches_each: int) -> list[Row]:
    """A row for each number of entries, and one without the fence's policy, each with creates and binds.

    They take turns, `batches_each` batches in each of the `rounds`: what the API server's caches and heap do in the meantime meets all.
    """
    api, plane = installed.admin, installed.plane
    free = plain_nodes(api, 1, "open-")[0]
    held = plain_nodes(api, nodes)
    found: dict[str, dict[str, list[int]]] = {}
    for _ in range(rounds):
        for name, size in [*((f"fence-{size}", size) for size in sizes), ("no-fence", None)]:
            with entered(installed, held, size), alone(plane):
                for what, values in _costs(plane, api, free, batches_each).items():
                    found.setdefault(name, {}).setdefault(what, []).extend(values)
    more = {"held_nodes": nodes, "requests": BATCH * rounds * batches_each}
    return [{"row": name, **figures(each, found["no-fence"]), **more} for name, each in found.items()]


def figures(costs: Mapping[str, list[int]], beside: Mapping[str, list[int]]) -> dict[str, int]:
    """CPU of a create and of a bind, and how much that is more at the median than `beside` it, in microseconds."""
    row: dict[str, int] = {}
    for what, values in costs.items():
        over = percentile(values, 50) - percentile(beside[what], 50)
        row |= {**spread(f"{what}_us", values), f"{what}_over_us": over}
    return row


@contextmanager
def entered(installed: Installed, held: list[str], size: int | None) -> Iterator[None]:
    """The fence has so many entries, and is seen enforced; None: it has none, and its policy is away."""
    installed.fence({**dict.fromkeys(_entries(installed.admin)), **entries(held, size or 0)})
    if size:
        until("the fence is live", lambda: installed.refusal(held[0], "acme"))
    else:
        until("the fence is open", lambda: not installed.refusal(held[0]))
    if size is not None:
        yield
        return
    with without(installed.admin, "validatingadmissionpolicybindings", FENCE_POLICY):
        yield


def _entries(api: Api) -> Mapping[str, str]:
    found = api.find(FENCE)
    return (found or {}).get("spec", {}).get("nodes") or {}


def _costs(plane: ControlPlane, api: Api, node: str, number: int) -> dict[str, list[int]]:
    """Stranger's pods: created, and bound to a node that is nobody's. The scheduler that they name does not exist."""
    pods = f"/api/v1/namespaces/{STRANGER}/pods"
    made: list[str] = []

    def create(i: int) -> None:
        made.append(f"p{i}")
        api.create(fleet.pod(STRANGER, made[-1], gpus=1, schedulerName="nobody"))

    created = batches(plane, create, number)
    left = iter(made)

    def bind(_: int) -> None:
        name = next(left)
        api.request("POST", f"{pods}/{name}/binding", binding(name, node))

    bound = batches(plane, bind, number)
    for name in made:
        api.delete(f"{pods}/{name}", gracePeriodSeconds=0)
    return {"create": created, "bind": bound}
