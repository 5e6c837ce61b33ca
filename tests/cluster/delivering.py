"""Delivery in this process, against a real control plane, with the rights of the operator's ServiceAccount.

Contracts get their statuses from the test, as administrator: what is tested is how a binding becomes true, not who decided it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.delivery.devices.features import find_devices
from laycan.delivery.protocol import Delivery
from laycan.delivery.release import release
from laycan.kube.client import Client
from laycan.kube.credentials import load_credentials
from laycan.kube.device_views import claim_view, slice_view
from laycan.kube.reflector import Reflector
from laycan.kube.views import PodView, contract_view, fence_view, namespace_view, node_view, pod_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings
from tests.cluster.policies.installed import FENCE, HOLDER_LABEL, NAMESPACE, Installed
from tests.sockets import sockets_closed

GROUP = "/apis/laycan.dev/v1alpha1"
PRODUCT = "h100"
# kube-scheduler 1.36 keeps the GPU of a pod that went while it was being bound for 120 s (AssumeExtendedResourceTimeoutDefaultSeconds), and
# tries a pod that it has parked again after 300 s where it missed the event that would have told it to.
SCHEDULER_SECONDS = 400
AGENTS = {"kube-system", "gpu-operator", "monitoring", NAMESPACE}  # namespaces of the cluster's own
FAST = Settings.model_validate(
    {
        "mode": "Enforce",
        "leadSeconds": 3,
        "drainSeconds": 3,
        "hysteresisSeconds": 4,
        "dwellSeconds": 3,
        "reconcileSeconds": 2,
        "breaker": {"sharePpm": 1_000_000, "windowSeconds": 600},
    }
)


M = TypeVar("M", bound="Market")


class Killed(BaseException):
    """The process ends here: not an Exception, so that nothing on the way can handle it."""


class MortalClient(Client):
    """Dies before its n-th write that is not a probe, and answers nothing afterwards; `writes` counts them."""

    def __init__(self, *arguments: Any, dies_at: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.writes: list[str] = []
        self._dies_at = dies_at

    async def _call(self, verb: str, path: str, params: Mapping[str, str] | None, *rest: Any, **more: Any) -> Any:
        if verb != "GET" and "dryRun" not in (params or {}):
            self.writes.append(f"{verb} {path}")
        if self._dies_at is not None and len(self.writes) >= self._dies_at:
            raise Killed
        return await super()._call(verb, path, params, *rest, **more)


class Office:
    """One process of the operator, as far as delivery goes: reflectors, a world, a `Delivery`, in a thread with its own event loop."""

    def __init__(self, installed: Installed, settings: Settings = FAST, dies_at: int | None = None) -> None:
        self.settings, self.world, self.dead = settings, World(), threading.Event()
        self.delivery: Delivery | None = None
        self.writes: list[str] = []
        self.error: BaseException | None = None
        self.cpu_seconds = 0.0
        self._credentials, self._dies_at = load_credentials(operator_kubeconfig(installed)), dies_at
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Office:
        self._thread.start()
        assert self._ready.wait(30) or self.error is None, f"no complete world: {self.error!r}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._end is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)
        if self.error is not None and not isinstance(self.error, Killed):
            raise self.error

    def dies_next(self) -> bool:
        """Whether it has stopped before a write that it was not to survive."""
        return isinstance(self.error, Killed)

    def call(self, act: Callable[..., object], *arguments: object) -> None:
        """Runs it in the office's event loop, and returns when it has."""
        assert self._loop is not None
        done = threading.Event()
        self._loop.call_soon_threadsafe(act, *arguments)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self.error = error
        finally:
            self.cpu_seconds = time.thread_time()
            self.dead.set()
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with MortalClient(self._credentials, dies_at=self._dies_at) as client:
                self.writes = client.writes
                await self._work(client)
        finally:
            await sockets_closed()

    async def _work(self, client: MortalClient) -> None:
        reflectors = [Reflector(client, self.world, kind, path, view, time.monotonic) for kind, path, view in _KINDS]
        watches = [asyncio.create_task(reflector.run()) for reflector in reflectors]
        try:
            await asyncio.gather(*(reflector.synced.wait() for reflector in reflectors))
            self.world.no_devices = (await find_devices(client, self.settings.probe_namespace)).trouble
            self.delivery = Delivery(client, self.world, self.settings, lambda: int(time.time()))
            self._ready.set()
            await self._until_end(asyncio.create_task(self.delivery.run()))
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _until_end(self, run: asyncio.Task[None]) -> None:
        assert self._end is not None
        end = asyncio.create_task(self._end.wait())
        await asyncio.wait({run, end}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if run.done():
            run.result()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def _bound_pod(raw: Mapping[str, Any]) -> PodView | None:
    return pod_view(raw) if raw["spec"].get("nodeName") else None


def _epoch_of(raw: Mapping[str, Any]) -> int:
    return int(raw["spec"]["epoch"])


_KINDS: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], Any]]] = (
    ("nodes", "/api/v1/nodes", node_view),
    ("pods", "/api/v1/pods", _bound_pod),
    ("namespaces", "/api/v1/namespaces", namespace_view),
    ("contracts", f"{GROUP}/computecontracts", contract_view),
    ("products", f"{GROUP}/computeproducts", dict),
    ("fence", f"{GROUP}/nodefences", fence_view),
    ("epoch", f"{GROUP}/leaderepochs", _epoch_of),
    ("resource_slices", "/apis/resource.k8s.io/v1/resourceslices", slice_view),
    ("resource_claims", "/apis/resource.k8s.io/v1/resourceclaims", claim_view),
)


class Market:
    """What an exchange, a planner and tenants would do, on nodes and in namespaces that each test has for itself."""

    def __init__(self, installed: Installed) -> None:
        self.installed, self.admin = installed, installed.admin
        self._numbers = count()
        self._nodes: list[str] = []
        self._namespaces: list[str] = []

    def nodes(self, number: int, **options: Any) -> list[str]:
        """New Ready nodes of eight GPUs."""
        stem = f"n{next(self._numbers)}"
        names = [f"{stem}-{i}" for i in range(number)]
        fleet.apply_fleet(self.admin, [fleet.node(name, **options) for name in names])
        self._nodes += names
        for name in names:
            until(f"{name} is Ready", partial(self.ready, name))
        return names

    def ready(self, node: str) -> bool:
        return fleet.ready(self.admin.get(f"/api/v1/nodes/{node}")) == "True"

    def holder(self, stem: str) -> str:
        """A new namespace of a buyer of the desk's."""
        return self._namespace(stem, {"laycan.dev/desk": "desk"})

    def stranger(self, stem: str = "beta") -> str:
        """A new namespace of anybody else's."""
        return self._namespace(stem, {})

    def _namespace(self, stem: str, labels: dict[str, str]) -> str:
        name = f"{stem}-{next(self._numbers)}"
        self.admin.apply(fleet.namespace(name, labels))
        self._namespaces.append(name)
        until("its ServiceAccount", lambda: self.admin.find(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def desk_takes(self, namespace: str) -> None:
        """Makes a namespace that was anybody's a buyer's of the desk."""
        self.admin.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"laycan.dev/desk": "desk"}}})

    def pod(self, namespace: str, name: str, gpus: int = 8, node: str = "", **more: Any) -> None:
        """A pod, meant for one node if that is named; the scheduler puts it there."""
        selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
        manifest = fleet.pod(namespace, name, gpus=gpus, **selector, **more)
        manifest["metadata"]["labels"] = {"app": name}
        self.admin.create(manifest)

    def runs(self, namespace: str, name: str) -> str:
        """The node on which a pod runs, "" while it does not."""
        found = self.admin.find(f"/api/v1/namespaces/{namespace}/pods/{name}") or {}
        return str(found["spec"]["nodeName"]) if found.get("status", {}).get("phase") == "Running" else ""

    def await_running(self, namespace: str, name: str, seconds: float = SCHEDULER_SECONDS) -> str:
        return until(f"{namespace}/{name} runs", lambda: self.runs(namespace, name), seconds=seconds)

    def contract(
        self,
        name: str,
        holder: str,
        nodes: Sequence[str],
        start: int,
        end: int,
        bound_at: int | None = None,
        adopts: bool = False,
        product: str = PRODUCT,
    ) -> str:
        """An accepted contract bound to whole nodes, and taking over what runs there if it `adopts`; its uid."""
        delivery = {
            "start": format_time(start),
            "end": format_time(end),
            "gpus": 8 * max(1, len(nodes)),
            "lotGpus": 8,
            "handover": {"namespace": holder},
        }
        manifest: Object = {
            "apiVersion": "laycan.dev/v1alpha1",
            "kind": "ComputeContract",
            "metadata": {"name": name, "namespace": "desk"},
            "spec": {"intent": "Firm", "terms": {"contractId": name, "productRef": {"name": product}, "delivery": delivery}},
        }
        if adopts:
            manifest["spec"]["adopt"] = {"bindings": [{"node": node, "gpus": 8} for node in nodes]}
        uid = str(self.admin.create(manifest)["metadata"]["uid"])
        self.bind(name, [(node, start, end) for node in nodes], bound_at=bound_at, product=product)
        return uid

    def bind(
        self,
        name: str,
        bindings: Sequence[tuple[str, int, int]],
        phase: str = "Accepted",
        bound_at: int | None = None,
        product: str = PRODUCT,
        lots: Sequence[int] | None = None,
    ) -> None:
        """Writes the contract's status: (node, start, end) of each binding, decided now unless said otherwise, and the lot of each."""
        decided = format_time(int(time.time()) if bound_at is None else bound_at)
        made: list[Object] = [
            {
                "node": node,
                "product": product,
                "gpus": 8,
                "level": "Node",
                "start": format_time(start),
                "end": format_time(end),
                "boundAt": decided,
            }
            for node, start, end in bindings
        ]
        for binding, lot in zip(made, lots or (), strict=False):
            binding["lots"] = [lot]
        self.admin.patch(f"{_contract(name)}/status", {"status": {"phase": phase, "epoch": epoch(self.admin), "bindings": made}})

    def note_access(self, name: str) -> None:
        """What the operator's status says once the buyer has all nodes of the contract."""
        made = self.admin.get(_contract(name))["status"]["bindings"]
        had = [binding | {"handedOverAt": format_time(now())} for binding in made]
        self.admin.patch(f"{_contract(name)}/status", {"status": {"epoch": epoch(self.admin), "bindings": had}})

    def clear(self) -> None:
        """Nothing of the test is left, whatever state it ended in."""
        for contract in self.admin.items(f"{GROUP}/computecontracts"):
            path = _contract(contract["metadata"]["name"])
            self.admin.patch(f"{path}/status", {"status": {"phase": "Terminated", "epoch": epoch(self.admin), "bindings": []}})
            self.admin.delete(path)
        for namespace in self._namespaces:
            self.admin.request("DELETE", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")
            self.admin.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments")
            for pod in self.admin.items(f"/api/v1/namespaces/{namespace}/pods"):
                self.admin.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}", gracePeriodSeconds=0)
        open_all(self.installed)
        for node in self._nodes:
            self.admin.delete(f"/api/v1/nodes/{node}")
        self._nodes.clear()
        self._namespaces.clear()


def each_death(market: M, scene: Callable[[M, int], bool]) -> int:
    """Plays the scene with an operator that dies at its first write, the second and so on, until it survives; how often it died."""
    for dies_at in range(1, 40):
        died = scene(market, dies_at)
        market.clear()
        if not died:
            return dies_at - 1
    raise AssertionError("it never got to its end")


def office_until_death(market: Market, dies_at: int, done: Callable[[], bool]) -> bool:
    """Runs an operator until it dies before this write, or is done; whether it died."""
    with Office(market.installed, dies_at=dies_at) as office:
        until("dead or done", lambda: office.dead.is_set() or done())
        died = office.dead.is_set()
    return died or office.dies_next()


def open_all(installed: Installed) -> tuple[int, int]:
    """Releases all nodes, with the operator's rights; numbers of nodes and entries."""

    async def run() -> tuple[int, int]:
        async with Client(load_credentials(operator_kubeconfig(installed))) as client:
            done = await release(client, epoch(installed.admin))
        await sockets_closed()
        return done.nodes, done.entries

    return asyncio.run(run())


def operator_kubeconfig(installed: Installed) -> Path:
    """With the rights of the operator's ServiceAccount, and no others."""
    return installed.plane.service_account_kubeconfig(NAMESPACE, "laycan-operator")


@contextmanager
def delivered_cluster(folder: Path, tools: dict[str, Path], **options: Any) -> Iterator[Installed]:
    """A control plane with the chart in mode Enforce, the usual DaemonSets, a desk and a product; no node yet."""
    with ControlPlane(folder, tools=tools, fsync=False, **options) as plane:
        installed = Installed(plane)
        fleet.apply_fleet(installed.admin, fleet.daemonsets())
        installed.install()
        installed.admin.apply(fleet.namespace("desk"))
        installed.admin.apply(product(PRODUCT, detection={"seconds": 2}))
        yield installed


def product(name: str, **spec: Any) -> Object:
    """A ComputeProduct of the fleet's standard node."""
    known = {"gpuProducts": [fleet.H100], "nodeGpus": 8}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": name}, "spec": known | spec}


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def epoch(api: Api) -> int:
    """The leader's epoch, 0 before there was one."""
    found = api.find(f"{GROUP}/leaderepochs/cluster")
    return int(found["spec"]["epoch"]) if found else 0


def _contract(name: str) -> str:
    return f"{GROUP}/namespaces/desk/computecontracts/{name}"


def owners(api: Api) -> dict[str, str]:
    """The fence's entries."""
    fence = api.find(FENCE)
    return dict(fence["spec"].get("nodes") or {}) if fence else {}


def label(api: Api, node: str) -> str:
    """The holder label of a node."""
    return str(api.get(f"/api/v1/nodes/{node}")["metadata"]["labels"].get(HOLDER_LABEL, ""))


def holds(api: Api, nodes: Sequence[str], owner: str) -> bool:
    """Whether fence and labels of all nodes say this owner ("" = free)."""
    entries = owners(api)
    return all(entries.get(node, "") == owner == label(api, node) for node in nodes)


def pods_on(api: Api, node: str) -> list[Object]:
    """Pods that are on the node and have not ended."""
    pods = api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
    return [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]


def foreign(api: Api, nodes: Sequence[str], holder: str = "") -> set[str]:
    """uids of pods on the nodes that are neither the holder's nor of the cluster's own agents."""
    return {pod["metadata"]["uid"] for node in nodes for pod in pods_on(api, node) if pod["metadata"]["namespace"] not in AGENTS | {holder}}


def protect(market: Market, namespace: str, name: str, node: str) -> None:
    """A running pod with a budget that allows no eviction."""
    market.pod(namespace, name, node=node)
    market.await_running(namespace, name)
    budget: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }
    market.admin.create(budget)
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}"
    until("the budget counts", lambda: market.admin.get(path).get("status", {}).get("currentHealthy") == 1)


@contextmanager
def flood(api: Api, namespace: str, nodes: Sequence[str], per_second: int = 40) -> Iterator[None]:
    """A stranger who creates pods that tolerate everything and fit nowhere but on these nodes."""
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}

    def pour(stop: threading.Event) -> None:
        number = 0
        while not stop.wait(1 / per_second):
            number += 1
            api.create(fleet.pod(namespace, f"flood-{number}", affinity=affinity, tolerations=fleet.EVERY_TAINT))

    with beside(pour):
        yield


class Sentry:
    """Independent reader of A4: from the moment the fence refuses a bind to all the nodes, no stranger is added on them.

    Entered before the freeze. `after` says what came too late.
    """

    def __init__(self, installed: Installed, nodes: Sequence[str], holders: Sequence[str]) -> None:
        self._installed, self._nodes, self._holders = installed, nodes, set(holders)
        self.closed_at: float | None = None
        self.present: set[str] = set()  # uids of the strangers at that time
        self.after: set[str] = set()
        self.looks = 0

    @contextmanager
    def watch(self) -> Iterator[Sentry]:
        with beside(self._look):
            yield self

    def _look(self, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            if self.closed_at is None:
                if all(self._installed.refusal(node) for node in self._nodes):
                    self.closed_at = time.monotonic()
                    self.present = self._strangers()
                continue
            self.after |= self._strangers() - self.present
            self.looks += 1

    def _strangers(self) -> set[str]:
        found = {
            pod["metadata"]["uid"]: pod["metadata"]["namespace"] for node in self._nodes for pod in pods_on(self._installed.admin, node)
        }
        return {uid for uid, namespace in found.items() if namespace not in self._holders | AGENTS}


@contextmanager
def beside(target: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs it beside the test, and fails the test with its error."""
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            target(stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    if errors:
        raise errors[0]
