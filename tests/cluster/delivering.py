"""Delivery in this process, against a real control plane, with the rights of the operator's ServiceAccount.

Contracts get their statuses from the test, as administrator: what is tested is how a binding becomes true, not who decided it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.waiting import until
from laycan.delivery.protocol import Delivery
from laycan.kube.client import Client
from laycan.kube.credentials import load_credentials
from laycan.kube.reflector import Reflector
from laycan.kube.views import contract_view, fence_view, namespace_view, node_view, pod_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings
from tests.cluster.policies.installed import FENCE, HOLDER_LABEL, NAMESPACE, Installed

GROUP = "/apis/laycan.dev/v1alpha1"
PRODUCT = "h100"
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
        kubeconfig = installed.plane.service_account_kubeconfig(NAMESPACE, "laycan-operator")
        self._credentials, self._dies_at = load_credentials(kubeconfig), dies_at
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
        self._thread.join(20)
        if self.error is not None and not isinstance(self.error, Killed):
            raise self.error

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
        async with MortalClient(self._credentials, dies_at=self._dies_at) as client:
            self.writes = client.writes
            reflectors = [Reflector(client, self.world, kind, path, view, time.monotonic) for kind, path, view in _KINDS]
            watches = [asyncio.create_task(reflector.run()) for reflector in reflectors]
            try:
                await asyncio.gather(*(reflector.synced.wait() for reflector in reflectors))
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


_KINDS: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], Any]]] = (
    ("nodes", "/api/v1/nodes", node_view),
    ("pods", "/api/v1/pods", lambda raw: pod_view(raw) if raw["spec"].get("nodeName") else None),
    ("namespaces", "/api/v1/namespaces", namespace_view),
    ("contracts", f"{GROUP}/computecontracts", contract_view),
    ("products", f"{GROUP}/computeproducts", lambda raw: raw),
    ("fence", f"{GROUP}/nodefences", fence_view),
    ("epoch", f"{GROUP}/leaderepochs", lambda raw: int(raw["spec"]["epoch"])),
)


class Market:
    """What an exchange and a planner would do: products, desks' namespaces, contracts and their bindings."""

    def __init__(self, installed: Installed) -> None:
        self.installed, self.admin = installed, installed.admin
        self.admin.apply(fleet.namespace("desk"))
        product = {
            "apiVersion": "laycan.dev/v1alpha1",
            "kind": "ComputeProduct",
            "metadata": {"name": PRODUCT},
            "spec": {"gpuProducts": [fleet.H100], "nodeGpus": 8, "detection": {"seconds": 2}},
        }
        self.admin.apply(product)

    def holder(self, name: str) -> str:
        """A namespace of the desk's buyers."""
        self.admin.apply(fleet.namespace(name, {"laycan.dev/desk": "desk"}))
        until("its ServiceAccount", lambda: self.admin.find(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def stranger(self, name: str) -> str:
        """Anybody else's namespace."""
        self.admin.apply(fleet.namespace(name))
        until("its ServiceAccount", lambda: self.admin.find(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def contract(self, name: str, holder: str, nodes: Sequence[str], start: int, end: int) -> str:
        """An accepted contract bound to whole nodes; its uid."""
        manifest = {
            "apiVersion": "laycan.dev/v1alpha1",
            "kind": "ComputeContract",
            "metadata": {"name": name, "namespace": "desk"},
            "spec": {
                "intent": "Firm",
                "terms": {
                    "contractId": name,
                    "productRef": {"name": PRODUCT},
                    "delivery": {
                        "start": format_time(start),
                        "end": format_time(end),
                        "gpus": 8 * max(1, len(nodes)),
                        "lotGpus": 8,
                        "handover": {"namespace": holder},
                    },
                },
            },
        }
        uid = str(self.admin.create(manifest)["metadata"]["uid"])
        self.bind(name, [(node, start, end) for node in nodes])
        return uid

    def bind(self, name: str, bindings: Sequence[tuple[str, int, int]], phase: str = "Accepted") -> None:
        """Writes the contract's status: (node, start, end) of each binding."""
        made = [
            {
                "node": node,
                "product": PRODUCT,
                "gpus": 8,
                "level": "Node",
                "start": format_time(start),
                "end": format_time(end),
                "boundAt": format_time(int(time.time())),
            }
            for node, start, end in bindings
        ]
        epoch = (self.admin.find(f"{GROUP}/leaderepochs/cluster") or {"spec": {"epoch": 0}})["spec"]["epoch"]
        self.admin.patch(
            f"{GROUP}/namespaces/desk/computecontracts/{name}/status", {"status": {"phase": phase, "epoch": epoch, "bindings": made}}
        )

    def clear(self) -> None:
        """No contract is left; what they held is released by a running office."""
        for contract in self.admin.items(f"{GROUP}/computecontracts"):
            name = contract["metadata"]["name"]
            path = f"{GROUP}/namespaces/desk/computecontracts/{name}"
            self.admin.patch(f"{path}/status", {"status": {"phase": "Terminated", "bindings": []}})
            self.admin.patch(path, {"metadata": {"finalizers": None}})
            self.admin.delete(path)


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
    own = {holder, "kube-system", "gpu-operator", "monitoring", NAMESPACE}
    return {pod["metadata"]["uid"] for node in nodes for pod in pods_on(api, node) if pod["metadata"]["namespace"] not in own}


@contextmanager
def flood(api: Api, namespace: str, nodes: Sequence[str], per_second: int = 40) -> Iterator[None]:
    """A stranger who creates pods that tolerate everything and fit nowhere but on these nodes."""
    stop = threading.Event()

    def pour() -> None:
        number = 0
        while not stop.wait(1 / per_second):
            number += 1
            terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}]
            affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
            api.create(fleet.pod(namespace, f"flood-{number}", affinity=affinity, tolerations=fleet.EVERY_TAINT))

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
