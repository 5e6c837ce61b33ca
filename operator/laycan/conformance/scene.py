"""Where attacks play: a desk, two buyers and a stranger on a live cluster, real contracts, and a clean-up that leaves nothing.

Everything is applied with the rights of whoever runs it, a cluster admin; tenants are users without any right but the stock role
`admin` in their own namespace, whom he impersonates. Contracts have short windows, so that a run that is cut off ends by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from laycan.conformance import objects
from laycan.conformance.attack import NotRun
from laycan.conformance.fleet import Fleet
from laycan.conformance.harness import Harness
from laycan.conformance.objects import STEM, Object
from laycan.conformance.waiting import NeverError, until
from laycan.delivery.nodes.drain import stays
from laycan.kube.client import ApiError, Client
from laycan.kube.credentials import Credentials
from laycan.kube.views import pod_view
from laycan.resources.constants import API_VERSION, CONFIRM_DELETE_ANNOTATION, HOLDER_LABEL
from laycan.resources.times import parse_time
from laycan.settings import Settings

GROUP = f"/apis/{API_VERSION}"
FENCE, LEADER_EPOCH = f"{GROUP}/nodefences/cluster", f"{GROUP}/leaderepochs/cluster"
DESK, HOLDER, NEXT, STRANGER = (f"{STEM}-{who}" for who in ("desk", "holder", "next", "stranger"))
CONTRACTS = f"{GROUP}/namespaces/{DESK}/computecontracts"
WINDOW_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Options:
    """How hard to try. `deaths`: at how many of its writes the operator dies in A10. `collisions`: timed ones, for B3."""

    image: str = objects.IMAGE
    flood_seconds: float = 5.0
    flood_per_second: int = 40
    deaths: int = 12
    collisions: int = 40


@dataclass(frozen=True, slots=True)
class Delivery:
    """A contract that was accepted. Times are Unix seconds."""

    name: str
    uid: str
    holder: str
    nodes: tuple[str, ...]
    start: int
    end: int


@dataclass(slots=True)
class Scene:
    """`admin` is the caller; `holder` and `stranger` are the users who rule the namespaces of these names."""

    admin: Client
    holder: Client
    stranger: Client
    scheduler: Client
    operator: Client  # its ServiceAccount: what it may do is tried by dry runs only
    fleet: Fleet
    settings: Settings
    harness: Harness
    options: Options
    gpus: int  # of one node
    devices: Fleet | None  # nodes for level Device
    no_devices: str  # why it cannot be shown; "" = it can
    _numbers: count[int] = field(default_factory=count, init=False)
    _standing: Delivery | None = field(default=None, init=False)

    # --- contracts

    async def deliver(self, holder: str, nodes: int = 1, start: int = 0, seconds: int = WINDOW_SECONDS, held: bool = True) -> Delivery:
        """An accepted contract of so many whole nodes, and with `held` one that was handed over. Raises NeverError, NotRun."""
        delivery = await self.accepted(await self.sell(holder, nodes, start, seconds))
        if not set(delivery.nodes) <= set(self.fleet.nodes) or len(delivery.nodes) != nodes:
            await self.end(delivery)
            raise NeverError(f"contract {delivery.name} was bound to {', '.join(delivery.nodes) or 'nothing'}")
        if held:
            await self.await_held(delivery)
        return delivery

    async def sell(self, holder: str, nodes: int, start: int = 0, seconds: int = WINDOW_SECONDS, busy: bool = False) -> str:
        """Applies a contract, and returns its name; with `busy` nodes need not be free now. Raises NotRun."""
        if not busy and not 0 < nodes <= len(await self.free()):
            raise NotRun(f"needs {nodes or 'some'} free managed nodes of one grade")
        start = max(start, now() + (self.settings.lead_seconds + 10 if self.fleet.exposed else 0))
        name = self.new_name()
        await self.admin.create(CONTRACTS, objects.contract(name, holder, nodes * self.gpus, self.gpus, start, start + seconds))
        return name

    def new_name(self) -> str:
        """Of a contract."""
        return f"c{next(self._numbers)}"

    async def accepted(self, name: str) -> Delivery:
        """The contract once it is accepted. Raises NeverError."""
        await until(f"contract {name} is decided", lambda: self._decided(name))
        raw = await self.contract(name)
        window = raw["spec"]["terms"]["delivery"]
        start, end = (parse_time(window[key]) for key in ("start", "end"))
        return Delivery(name, raw["metadata"]["uid"], window["handover"]["namespace"], await self.bound(name), start, end)

    async def standing(self) -> Delivery:
        """Two nodes (one if there are not more) that are delivered to the holder all the time."""
        if self._standing is None:
            self._standing = await self.deliver(HOLDER, min(2, len(await self.free())) or 1)
        return self._standing

    async def drop_standing(self) -> None:
        """Ends that delivery."""
        if self._standing is not None:
            delivery, self._standing = self._standing, None
            await self.end(delivery)

    async def end(self, delivery: Delivery) -> None:
        """The desk cancels; returns when its nodes are free again."""
        await self.cancel(delivery.name)
        await until("its nodes are free", lambda: self.are(delivery.nodes, ""), self.patience)

    async def cancel(self, name: str) -> None:
        """Deletes a contract as a desk does, and returns when it is gone."""
        path = f"{CONTRACTS}/{name}"
        await self.admin.patch_merge(path, {"metadata": {"annotations": {CONFIRM_DELETE_ANNOTATION: f"{STEM}-{name}"}}})
        await self.admin.delete(path)
        await until(f"contract {name} is gone", lambda: self.gone(path), self.patience)

    async def contract(self, name: str) -> Object:
        return await self.admin.get(f"{CONTRACTS}/{name}")

    async def bound(self, name: str) -> tuple[str, ...]:
        """Nodes of the bindings that are not over."""
        found = (await self.contract(name)).get("status", {}).get("bindings") or ()
        return tuple(sorted({each["node"] for each in found if parse_time(each["end"]) > now()}))

    async def _decided(self, name: str) -> bool:
        status = (await self.contract(name)).get("status", {})
        if status.get("phase") == "Rejected":
            raise NeverError(f"contract {name} was refused: {status.get('reason')}")
        return status.get("phase") in ("Accepted", "Delivering") and bool(status.get("bindings"))

    # --- nodes

    @property
    def patience(self) -> float:
        """Seconds after which a hand-over or a release is not late but missing."""
        return 30.0 + 3 * self.settings.drain_seconds + 2 * self.settings.lead_seconds + self.settings.reconcile_seconds

    async def free(self) -> list[str]:
        """Nodes of the run that nobody holds now and that are well."""
        owners = await self.owners()
        return [node for node in self.fleet.nodes if node not in owners and await self.ready(node)]

    async def ready(self, node: str) -> bool:
        conditions = (await self.admin.get(f"/api/v1/nodes/{node}"))["status"].get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    async def owners(self) -> Mapping[str, str]:
        """The fence's entries."""
        fence = await self.find(FENCE)
        return (fence or {}).get("spec", {}).get("nodes") or {}

    async def label(self, node: str) -> str:
        return str((await self.admin.get(f"/api/v1/nodes/{node}"))["metadata"]["labels"].get(HOLDER_LABEL, ""))

    async def are(self, nodes: Sequence[str], owner: str) -> bool:
        """Whether fence and labels of all these nodes say this owner; "" = free."""
        entries = await self.owners()
        return all(entries.get(node, "") == owner for node in nodes) and all([await self.label(node) == owner for node in nodes])

    async def await_held(self, delivery: Delivery) -> float:
        """Waits for the hand-over; seconds from now, or from the start of the window if that is later."""
        await until(
            f"{', '.join(delivery.nodes)} are held by {delivery.holder}",
            lambda: self.are(delivery.nodes, delivery.holder),
            self.patience + max(0, delivery.start - now()),
        )
        return max(0.0, time.time() - delivery.start)

    async def strangers(self, nodes: Sequence[str], holder: str = HOLDER) -> set[str]:
        """namespace/name of pods on these nodes that may not be there."""
        found = set()
        for node in nodes:
            for raw in (await self.admin.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"}))["items"]:
                pod = pod_view(raw)
                if not stays(pod, self.settings, holder):
                    found.add(f"{pod.namespace}/{pod.name}")
        return found

    async def fenced(self, node: str) -> bool:
        """Whether a stranger's bind to the node is refused by the fence at this moment; nothing is bound."""
        error = await self.refusal(self.bind(self.admin, "nobody", node, dry=True))
        return error is not None and fences(error, node)

    # --- pods

    async def pod(self, who: Client, namespace: str, name: str, dry: bool = False, **options: Any) -> Object:
        made = objects.pod(name, image=self.options.image, **options)
        return await who.create(pods(namespace), made, {"dryRun": "All"} if dry else None)

    async def runs(self, namespace: str, name: str) -> str:
        """The node on which the pod runs, "" while it does not."""
        found = await self.find(f"{pods(namespace)}/{name}") or {}
        return str(found["spec"]["nodeName"]) if found.get("status", {}).get("phase") == "Running" else ""

    async def place(self, namespace: str, name: str) -> str:
        """The node that the scheduler chose, or `nowhere` once it found none."""

        async def verdict() -> str:
            found = await self.admin.get(f"{pods(namespace)}/{name}")
            if node := found["spec"].get("nodeName"):
                return str(node)
            conditions = found.get("status", {}).get("conditions") or ()
            return "nowhere" if any(each.get("reason") == "Unschedulable" for each in conditions) else ""

        return await until(f"the scheduler's verdict on {namespace}/{name}", verdict)

    async def bind(self, who: Client, name: str, node: str, dry: bool = False, legacy: bool = False) -> Object:
        """Binds a stranger's pod by its subresource, or by the legacy resource."""
        path = f"/api/v1/namespaces/{STRANGER}/bindings" if legacy else f"{pods(STRANGER)}/{name}/binding"
        return await who.create(path, objects.binding(name, node), {"dryRun": "All"} if dry else None)

    async def clear_pods(self) -> None:
        """No pod, budget or DaemonSet of an attack is left in the tenants' namespaces."""
        for namespace in (HOLDER, NEXT, STRANGER):
            for path in (
                f"/apis/apps/v1/namespaces/{namespace}/daemonsets",
                f"/apis/batch/v1/namespaces/{namespace}/jobs",
                f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
            ):
                await self.admin.delete(path, {"propagationPolicy": "Background"})
            await self.admin.delete(pods(namespace), {"gracePeriodSeconds": 0})
        if self.devices is not None:
            await self.admin.delete(f"/apis/resource.k8s.io/v1/namespaces/{STRANGER}/resourceclaims")

    async def tidy(self) -> None:
        """After an attack, however it ended: no pod of it is left, and no contract but the standing one."""
        await self.clear_pods()
        for raw in (await self.admin.get(CONTRACTS))["items"]:
            name = raw["metadata"]["name"]
            if self._standing is None or name != self._standing.name:
                await self.cancel(name)

    # --- asking

    async def find(self, path: str) -> Object | None:
        """An object that may not be there."""
        try:
            return await self.admin.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def gone(self, path: str) -> bool:
        return await self.find(path) is None

    @staticmethod
    async def refusal(attempt: Awaitable[Any]) -> ApiError | None:
        """How the API server refused; None if it did not."""
        try:
            await attempt
        except ApiError as error:
            return error
        return None

    async def act(self, deed: Callable[..., None], *arguments: Any, **named: Any) -> None:
        """A deed of the harness, which blocks."""
        await asyncio.to_thread(deed, *arguments, **named)


def fences(error: ApiError, node: str) -> bool:
    """Whether it is the fence that refused."""
    return error.status == 403 and f"node {node} is held by" in error.message


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def now() -> int:
    """Unix seconds."""
    return int(time.time())


async def clients(credentials: Credentials, release: str, stack: AsyncExitStack) -> dict[str, Client]:
    """Who appears in a scene, by the name of his field there."""
    users = {
        "admin": "",
        "holder": HOLDER,
        "stranger": STRANGER,
        "scheduler": "system:kube-scheduler",
        "operator": f"system:serviceaccount:{release}:laycan-operator",
    }
    return {who: await stack.enter_async_context(Client(credentials, as_user=user)) for who, user in users.items()}
