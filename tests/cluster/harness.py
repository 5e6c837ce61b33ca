"""The abilities that attacks need beyond the API: on a control plane of our own all of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count

import yaml

from controlplane import fleet
from controlplane.api import ApiError
from controlplane.waiting import until
from laycan.conformance.attack import Ability
from laycan.events.evidence_keys import SECRET as EVIDENCE
from laycan.settings import Settings
from tests.cluster.delivering import beside
from tests.cluster.operator import QUICK, Market, Operator
from tests.cluster.policies.installed import NAMESPACE, RELEASE
from tests.cluster.proxy import Proxy, Strike

AWAY_SECONDS = 5.0  # longer than an API server may be away without the fence losing its data for half a minute


class Loopback:
    """A market and the operator that serves it, which talks to the API server through a proxy that counts its writes."""

    abilities = frozenset(Ability)

    def __init__(self, market: Market, proxy: Proxy) -> None:
        self._market, self._proxy = market, proxy
        self._operator: Operator | None = None
        self._died = threading.Event()
        self._starts = threading.Lock()
        self._counted_from = 0
        self._cards = count()

    @property
    def settings(self) -> Settings:
        """As the operator has them."""
        rendered = self._market.admin.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/laycan-settings")["data"]["settings.yaml"]
        return Settings.model_validate({**yaml.safe_load(rendered), **QUICK})

    def doom_operator(self, write: int) -> None:
        self._counted_from = len(self._proxy.writes)
        self._proxy.arm(Strike(write, "before", self._kill))

    def _kill(self) -> None:
        assert self._operator is not None
        self._operator.signal(signal.SIGKILL)
        self._died.set()

    def operator_died(self) -> bool:
        return self._died.is_set()

    def operator_writes(self) -> int:
        return len(self._proxy.writes) - self._counted_from

    def start_operator(self, **settings: object) -> None:
        with self._starts:
            if self._operator is not None:
                self._operator.kill()
            self._proxy.arm(None)
            self._died.clear()
            self._operator = self._market.operator(server=self._proxy.url, settings={**QUICK, **settings})

    def restart_if_ended(self) -> None:
        """What a kubelet does with a container that ends by itself, say because it lost its lease."""
        if self._operator is not None and not self._operator.running() and not self._died.is_set():
            with self._starts:
                if not self._operator.running():
                    self._operator.start()

    def meddle(self, act: Callable[[], None]) -> None:
        """Does this just before the operator's next write reaches the API server."""
        self._proxy.arm(Strike(1, "beside", act))

    def silence(self, node: str) -> None:
        fleet.kill_node(self._market.admin, node)

    def revive(self, node: str) -> None:
        fleet.revive_node(self._market.admin, node)

    def set_gpus(self, node: str, gpus: int) -> None:
        fleet.set_gpus(self._market.admin, node, gpus)

    def swap_gpu(self, node: str, device: str) -> None:
        fleet.swap_gpu(self._market.admin, node, int(device.removeprefix("gpu-")), f"GPU-swapped-{next(self._cards)}")

    def restart_api_server(self) -> None:
        plane = self._market.plane
        plane.kill("kube-apiserver")
        threading.Event().wait(AWAY_SECONDS)
        plane.start("kube-apiserver")

    def restart_controllers(self) -> None:
        plane = self._market.plane
        plane.kill("kube-controller-manager")
        plane.start("kube-controller-manager")

    def upgrade(self) -> None:
        self._market.installed.install("upgrade")

    def reinstall(self, by_namespace: bool = False) -> None:
        """With the keys that there were, from the copy that docs/evidence.md tells people to keep."""
        kept = self._market.admin.find(f"/api/v1/namespaces/{NAMESPACE}/secrets/{EVIDENCE}")
        if by_namespace:
            self._market.admin.delete(f"/api/v1/namespaces/{NAMESPACE}")
            until("the namespace is gone", lambda: self._market.admin.find(f"/api/v1/namespaces/{NAMESPACE}") is None)
        else:
            done = self._market.installed.helm("uninstall", RELEASE, "--no-hooks")  # the hook's Job has no kubelet to run it
            assert done.returncode == 0, done.stderr
        account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/laycan-operator"
        until("the ServiceAccount is gone", lambda: self._market.admin.find(account) is None)
        self._market.installed.install()
        if kept is not None:
            meta = {"name": EVIDENCE, "namespace": NAMESPACE}
            self._market.admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": kept["data"]})
        until("the kinds are served", self._served)
        self.start_operator()

    def _served(self) -> bool:
        try:
            return bool(self._market.admin.get("/apis/laycan.dev/v1alpha1/computecontracts"))
        except ApiError:
            return False


@contextmanager
def loopback(market: Market) -> Iterator[Loopback]:
    """A harness with a running operator."""
    with Proxy(market.plane) as proxy:
        made = Loopback(market, proxy)
        made.start_operator()
        with beside(partial(_kubelet, made)):
            yield made


def _kubelet(harness: Loopback, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        harness.restart_if_ended()
