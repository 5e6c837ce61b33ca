"""One read of a cluster: in pages, with what to do when it cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from laycan.kube.client import ApiError
from laycan.kube.collect import LISTS, PAGE, CollectError, collect

Raw = Mapping[str, Any]


class Server:
    """Lists of so many objects by resource; `refuse` answers the first requests of a resource with these statuses."""

    def __init__(self, counts: Mapping[str, int] = {}, refuse: Mapping[str, list[int]] = {}) -> None:
        self.counts, self.refuse = counts, {resource: list(codes) for resource, codes in refuse.items()}
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, path: str, params: Mapping[str, str]) -> Raw:
        resource = path.rpartition("/")[2]
        self.asked.append((resource, params))
        if codes := self.refuse.get(resource):
            raise ApiError(codes.pop(0), "Reason", "as it is")
        start, limit = int(params.get("continue", "0")), int(params["limit"])
        names = [f"{resource}-{i}" for i in range(self.counts.get(resource, 0))]
        rest = {"continue": str(start + limit)} if start + limit < len(names) else {}
        return {"metadata": rest, "items": [{"metadata": {"name": name}} for name in names[start : start + limit]]}


def collected(server: Server) -> list[Raw]:
    return asyncio.run(collect(server, lambda raw: raw))  # type: ignore[arg-type]


def test_pages() -> None:
    """All objects, each with its kind, however many pages it takes; no list is asked for whole."""
    server = Server({"nodes": 2 * PAGE + 1, "computecontracts": 3})
    found = collected(server)
    assert len(found) == 2 * PAGE + 4
    assert {(raw["apiVersion"], raw["kind"]) for raw in found} == {("v1", "Node"), ("laycan.dev/v1alpha1", "ComputeContract")}
    assert [resource for resource, _ in server.asked].count("nodes") == 3
    assert all("limit" in params for _, params in server.asked)


def test_what_is_asked_for() -> None:
    """Managed nodes and slices of the GPU driver, contracts last; no Secret and no ConfigMap."""
    server = Server()
    collected(server)
    asked = dict(server.asked)
    assert asked["nodes"]["labelSelector"] == "laycan.dev/managed=true"
    assert asked["resourceslices"]["fieldSelector"] == "spec.driver=gpu.nvidia.com"
    assert server.asked[-1][0] == "computecontracts"
    assert not asked.keys() & {"secrets", "configmaps", "pods"}


def test_a_page_that_the_server_has_forgotten() -> None:
    """410 Gone: the list begins anew, and nothing is in it twice."""
    assert len(collected(Server({"nodes": 3}, {"nodes": [410, 410]}))) == 3


def test_objects_that_are_left_out() -> None:
    """What is reduced to nothing is not kept."""
    assert asyncio.run(collect(Server({"nodes": 3}), lambda raw: None)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("resource", ["gpumeters", "resourceslices"])
def test_kinds_that_a_cluster_may_lack(resource: str) -> None:
    """Read as empty."""
    assert len(collected(Server({"nodes": 1}, {resource: [404]}))) == 1


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        ({"nodes": [403]}, ["no right to list nodes; have a cluster admin grant the verb list on nodes, cluster-wide"]),
        (
            {"outages": [403], "resourceslices": [403]},
            [
                "no right to list outages.laycan.dev; have a cluster admin grant the verb list on outages.laycan.dev, cluster-wide",
                "no right to list resourceslices.resource.k8s.io; have a cluster admin grant the verb list on"
                " resourceslices.resource.k8s.io, cluster-wide",
            ],
        ),
        ({"computeproducts": [0]}, ["no cluster answers: as it is; see whether it runs, and give --context or --kubeconfig for another"]),
        ({"computeproducts": [401]}, ["the cluster does not know these credentials (as it is); log in again, or give another --context"]),
    ],
)
def test_what_cannot_be_read(refuse: dict[str, list[int]], said: list[str]) -> None:
    """Every missing right at once, by verb and resource; who is not known, or not answered, is told once."""
    with pytest.raises(CollectError) as told:
        collected(Server(refuse=refuse))
    assert told.value.lines == said


def test_laycan_is_not_installed() -> None:
    """One line for all of its kinds, with the command that installs it."""
    resources = [listed.path.rpartition("/")[2] for listed in LISTS if "laycan.dev" in listed.version]
    with pytest.raises(CollectError) as told:
        collected(Server(refuse={resource: [404] for resource in resources}))
    (line,) = told.value.lines
    assert "helm install laycan" in line
