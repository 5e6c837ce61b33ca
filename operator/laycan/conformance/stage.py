"""Setting a scene, and striking it: whatever a run applied carries its label or lives in its namespaces, and goes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import yaml

from laycan.conformance import objects
from laycan.conformance.attack import NotRun
from laycan.conformance.fleet import Fleet, NoFleetError, choose
from laycan.conformance.harness import Harness
from laycan.conformance.objects import STEM
from laycan.conformance.scene import CONTRACTS, DESK, GROUP, HOLDER, NEXT, STRANGER, Options, Scene, clients, now
from laycan.conformance.waiting import NeverError, until
from laycan.kube.client import ApiError, Client
from laycan.kube.credentials import Credentials
from laycan.preflight.cluster import read
from laycan.preflight.fleet import gpus_published, no_devices, published
from laycan.resources.constants import CONFIRM_DELETE_ANNOTATION
from laycan.settings import Settings

log = logging.getLogger(__name__)

_CLASS = f"/apis/scheduling.k8s.io/v1/priorityclasses/{STEM}"
_LEVELS = ("Node", "Device")
_NAMESPACES = (HOLDER, NEXT, STRANGER, DESK)
_RUN_SECONDS = 2 * 3600  # after which what a run left ends by itself


async def installed_settings(client: Client, release: str) -> Settings:
    """The settings of the chart in this cluster. Raises NotRun where it is not installed or does not enforce."""
    try:
        data = (await client.get(f"/api/v1/namespaces/{release}/configmaps/laycan-settings"))["data"]
    except ApiError as error:
        if error.status == 404:
            raise NotRun(f"the chart is not installed: no ConfigMap laycan-settings in {release}") from error
        raise
    settings = Settings.model_validate(yaml.safe_load(data["settings.yaml"]))
    if settings.mode != "Enforce":
        raise NotRun(f"the chart is in mode {settings.mode}; it enforces nothing")
    return settings


@asynccontextmanager
async def scene(
    credentials: Credentials, release: str, nodes: Sequence[str], options: Options, harness: Harness, settings: Settings | None = None
) -> AsyncIterator[Scene]:
    """A scene on these nodes, or on all free ones. `settings` are the operator's where the chart does not know them.

    Raises NotRun, NoFleetError, ApiError.
    """
    async with AsyncExitStack() as stack:
        people = await clients(credentials, release, stack)
        admin = people["admin"]
        told = settings or await installed_settings(admin, release)
        await strike(admin)
        fleet = await choose(admin, told, nodes, now())
        devices, lacks = await _devices(admin, release, told, nodes)
        made = Scene(
            admin=admin,
            holder=people["holder"],
            stranger=people["stranger"],
            scheduler=people["scheduler"],
            operator=people["operator"],
            fleet=fleet,
            settings=told,
            harness=harness,
            options=options,
            gpus=fleet.gpus,
            devices=devices,
            no_devices=lacks,
        )
        try:
            await _set(made)
            yield made
        finally:
            await strike(admin)


async def _devices(admin: Client, release: str, settings: Settings, nodes: Sequence[str]) -> tuple[Fleet | None, str]:
    """Nodes for level Device, or why there are none."""
    cluster = await read(admin, release)
    if lacks := no_devices(cluster):
        return None, lacks
    told = {name for name, trouble in published(cluster).items() if not trouble}
    sizes = {name: number for name, number in gpus_published(cluster).items() if name in told}
    wanted = [name for name in nodes if name in sizes]
    try:
        return await choose(admin, settings, wanted, now(), sizes), ""
    except NoFleetError:
        return None, "no free managed node publishes its GPUs with uuids"


async def _set(made: Scene) -> None:
    admin, start = made.admin, now()
    for level, fleet in zip(_LEVELS, (made.fleet, made.devices), strict=True):
        if fleet is None:
            continue
        if fleet.kept_out:
            await admin.create(f"{GROUP}/outages", objects.outage(fleet.kept_out, start, start + _RUN_SECONDS, level))
        await admin.create(f"{GROUP}/computeproducts", objects.product(level, fleet.grade, fleet.gpus))
    await admin.create("/apis/scheduling.k8s.io/v1/priorityclasses", objects.priority_class(1_000_000))
    for name in _NAMESPACES:
        await admin.create("/api/v1/namespaces", objects.namespace(name, DESK if name in (HOLDER, NEXT) else ""))
    for name in (HOLDER, STRANGER):
        await admin.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings", objects.admin_binding(name))
    for name in _NAMESPACES[:3]:
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        await until(f"the ServiceAccount of {name}", lambda path=path: made.find(path))  # type: ignore[misc]


async def strike(admin: Client) -> None:
    """Takes everything of a run away; what cannot be is told, and the rest goes on. Does nothing where there is nothing."""
    await _tolerant("contracts", _cancel(admin))
    for kind in ("outages", "computeproducts"):
        for level in _LEVELS:
            await _tolerant(kind, admin.delete(f"{GROUP}/{kind}/{objects.product_name(level)}"))
    await _tolerant("the PriorityClass", admin.delete(_CLASS))
    for name in _NAMESPACES:
        await _tolerant(name, admin.delete(f"/api/v1/namespaces/{name}"))
    for name in _NAMESPACES:
        await _tolerant(name, until(f"{name} is gone", lambda name=name: _gone(admin, f"/api/v1/namespaces/{name}")))  # type: ignore[misc]


async def _cancel(admin: Client) -> None:
    found = (await admin.get(CONTRACTS))["items"]
    for raw in found:
        path, name = f"{CONTRACTS}/{raw['metadata']['name']}", raw["metadata"]["name"]
        await admin.patch_merge(path, {"metadata": {"annotations": {CONFIRM_DELETE_ANNOTATION: f"{STEM}-{name}"}}})
        await admin.delete(path)
    for raw in found:
        path = f"{CONTRACTS}/{raw['metadata']['name']}"
        await until(f"{path} is gone", lambda path=path: _gone(admin, path), 120)  # type: ignore[misc]


async def _gone(admin: Client, path: str) -> bool:
    try:
        await admin.get(path)
    except ApiError as error:
        return error.status == 404
    return False


async def _tolerant(what: str, work: Awaitable[object]) -> None:
    try:
        await work
    except ApiError as error:
        if error.status != 404:
            log.error("%s: could not be removed: %s", what, error)
    except NeverError as error:
        log.error("%s: %s", what, error)
