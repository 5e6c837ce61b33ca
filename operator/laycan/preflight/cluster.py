"""What preflight looks at: one read of everything, with the caller's own rights, before any judgement.

A kind that the server does not have reads as empty. One that the caller may not read is remembered in `hidden`, and becomes a
finding: silence must not look like health.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from laycan.kube.client import ApiError, Client
from laycan.resources.constants import API_VERSION
from laycan.settings import Settings

Raw = Mapping[str, Any]

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_GROUP = f"/apis/{API_VERSION}"
LISTS: Mapping[str, str] = {  # key of Cluster.items -> path
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "deployments": "/apis/apps/v1/deployments",
    "priorityclasses": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "validatingadmissionpolicies": f"{_ADMISSION}/validatingadmissionpolicies",
    "validatingadmissionpolicybindings": f"{_ADMISSION}/validatingadmissionpolicybindings",
    "mutatingadmissionpolicies": f"{_ADMISSION}/mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings": f"{_ADMISSION}/mutatingadmissionpolicybindings",
    "deviceclasses": "/apis/resource.k8s.io/v1/deviceclasses",
    "resourceslices": "/apis/resource.k8s.io/v1/resourceslices",
    "computecontracts": f"{_GROUP}/computecontracts",
    "computeproducts": f"{_GROUP}/computeproducts",
    "nodefences": f"{_GROUP}/nodefences",
    "gpumeters": f"{_GROUP}/gpumeters",
}


@dataclass(slots=True)
class Cluster:
    """One look at a cluster. `settings` are the chart's defaults where the chart is not installed."""

    version: tuple[int, int]
    served: frozenset[str]  # "group/version/plural" of what preflight asks for
    items: Mapping[str, list[Raw]]  # key of LISTS -> objects
    installed: bool = False
    settings: Settings = field(default_factory=Settings)
    hidden: Mapping[str, str] = field(default_factory=dict)  # key of LISTS, or `settings` -> why it could not be read
    now: int = 0  # when it was read, Unix seconds
    release: str = "laycan-system"  # namespace in which the chart was looked for

    def managed(self) -> list[Raw]:
        """The fleet."""
        return [node for node in self.items["nodes"] if labels(node).get("laycan.dev/managed") == "true"]


def labels(raw: Raw) -> Raw:
    """The labels of an object."""
    found = raw["metadata"].get("labels") or {}
    return found if isinstance(found, Mapping) else {}


def name(raw: Raw) -> str:
    """`namespace/name`, or the name of a cluster-scoped object."""
    meta = raw["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


async def read(client: Client, release: str) -> Cluster:
    """Reads it; `release` is the namespace of the release. Raises ApiError where there is no cluster at all."""
    version = await client.get("/version")
    gate = asyncio.Semaphore(4)
    hidden: dict[str, str] = {}

    async def one(key: str, path: str) -> list[Raw]:
        async with gate:
            try:
                return list((await client.get(path))["items"])
            except ApiError as error:
                if error.status in (401, 403):
                    hidden[key] = error.message
                elif error.status != 404:
                    raise
                return []

    found = await asyncio.gather(*(one(key, path) for key, path in LISTS.items()))
    settings = await _settings(client, release, hidden)
    return Cluster(
        version=(int(version["major"]), int(version["minor"].rstrip("+"))),
        served=frozenset(await _served(client)),
        items=dict(zip(LISTS, found, strict=True)),
        installed=settings is not None,
        release=release,
        settings=settings or Settings(),
        hidden=hidden,
        now=int(time.time()),
    )


async def _settings(client: Client, release: str, hidden: dict[str, str]) -> Settings | None:
    """What the installed chart says; None where there is none, or nothing that the caller or this version could read."""
    try:
        data = (await client.get(f"/api/v1/namespaces/{release}/configmaps/laycan-settings"))["data"]
        return Settings.model_validate(yaml.safe_load(data["settings.yaml"]))
    except ApiError as error:
        if error.status in (401, 403):
            hidden["settings"] = error.message
    except (KeyError, ValidationError, yaml.YAMLError):
        pass
    return None


async def _served(client: Client) -> list[str]:
    served = []
    for version in ("admissionregistration.k8s.io/v1", "resource.k8s.io/v1"):
        try:
            answer = await client.get(f"/apis/{version}")
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        served += [f"{version}/{resource['name']}" for resource in answer["resources"]]
    return served
