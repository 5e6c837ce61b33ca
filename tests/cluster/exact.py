"""Exact GPUs on a real control plane: nodes with a DRA driver, contracts whose lots have cards, and who had which card when."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from controlplane import fleet
from controlplane.api import JSON_PATCH, Api, ApiError, Object
from controlplane.waiting import until
from laycan.resources.times import format_time
from tests.cluster.delivering import GROUP, PRODUCT, SCHEDULER_SECONDS, Market, epoch, now
from tests.cluster.policies.installed import Installed

RESOURCE = "/apis/resource.k8s.io/v1"
CONTRACT = "laycan.dev/contract"
Card = tuple[str, int]  # node, minor


class Row(NamedTuple):
    """One binding: a lot with these cards of a node in [start, end)."""

    lot: int
    node: str
    minors: Sequence[int]
    start: int
    end: int


class GpuMarket(Market):
    """A market in which cards are dealt."""

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self._published: list[str] = []

    def gpu_nodes(self, number: int, gpus: int = 8) -> list[str]:
        """New Ready nodes with so many GPUs, published by a DRA driver and by no device plugin."""
        names = self.nodes(number, plugin=False)
        fleet.apply_fleet(self.admin, [fleet.gpu_slice(name, gpus=gpus) for name in names])
        self._published += names
        return names

    def deal(self, name: str, holder: str, rows: Sequence[Row], bound_at: int | None = None) -> str:
        """An accepted contract with its lots' bindings; its uid."""
        each = len(rows[0].minors)
        delivery = {
            "start": format_time(min(row.start for row in rows)),
            "end": format_time(max(row.end for row in rows)),
            "gpus": each * len({row.lot for row in rows}),
            "lotGpus": each,
            "handover": {"namespace": holder},
        }
        manifest: Object = {
            "apiVersion": "laycan.dev/v1alpha1",
            "kind": "ComputeContract",
            "metadata": {"name": name, "namespace": "desk"},
            "spec": {"intent": "Firm", "terms": {"contractId": name, "productRef": {"name": PRODUCT}, "delivery": delivery}},
        }
        uid = str(self.admin.create(manifest)["metadata"]["uid"])
        self.assign(name, rows, bound_at=bound_at)
        return uid

    def assign(self, name: str, rows: Sequence[Row], phase: str = "Accepted", bound_at: int | None = None) -> None:
        """Writes the contract's status: its lots are bound so from now on."""
        made = [
            {
                "node": row.node,
                "product": PRODUCT,
                "gpus": len(row.minors),
                "level": "Device",
                "devices": [fleet.gpu_uuid(row.node, minor) for minor in row.minors],
                "lots": [row.lot],
                "start": format_time(row.start),
                "end": format_time(row.end),
                "boundAt": format_time(now() if bound_at is None else bound_at),
            }
            for row in rows
        ]
        path = f"{GROUP}/namespaces/desk/computecontracts/{name}/status"
        self.admin.patch(path, {"status": {"phase": phase, "epoch": epoch(self.admin), "bindings": made}})

    def user(self, namespace: str, name: str, *claims: str, **more: Any) -> None:
        """A pod that uses these ResourceClaims."""
        wanted = [{"name": f"lot-{i}", "resourceClaimName": claim} for i, claim in enumerate(claims)]
        self.pod(namespace, name, gpus=0, resourceClaims=wanted, **more)

    def crowd(self, namespace: str, node: str, pods: int, free: int = 8) -> None:
        """A Deployment of strangers, each of whom wants one GPU of the node (`free` get one): as soon as one goes the next one comes."""
        wanted = fleet.pod(namespace, "x", gpus=1, nodeSelector={"kubernetes.io/hostname": node})
        template = {"metadata": {"labels": {"app": f"crowd-{node}"}}, "spec": wanted["spec"]}
        body = {"replicas": pods, "selector": {"matchLabels": {"app": f"crowd-{node}"}}, "template": template}
        self.admin.create(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"crowd-{node}", "namespace": namespace}, "spec": body}
        )
        try:
            until("the crowd has what is free", lambda: self._given(namespace) >= free, seconds=SCHEDULER_SECONDS)
        except TimeoutError as error:
            error.add_note(self._crowd_of(namespace))
            raise

    def _crowd_of(self, namespace: str) -> str:
        """What the cluster has made of a crowd so far, for the message of a failure."""
        pods = self.admin.items(f"/api/v1/namespaces/{namespace}/pods")
        told = [f"{pod['metadata']['name']}: {pod['status'].get('conditions')}" for pod in pods]
        replicas = [found["status"] for found in self.admin.items(f"/apis/apps/v1/namespaces/{namespace}/replicasets")]
        return "\n".join([f"{self._given(namespace)} GPUs given; ReplicaSets: {replicas}", *told, str(self.installed.plane.running())])

    def _given(self, namespace: str) -> int:
        return sum(len(cards(claim)) for claim in self.admin.items(f"{RESOURCE}/namespaces/{namespace}/resourceclaims"))

    def claim(self, holder: str, name: str) -> Object:
        """A ResourceClaim, empty while there is none."""
        return self.admin.find(f"{RESOURCE}/namespaces/{holder}/resourceclaims/{name}") or {}

    def has(self, holder: str, name: str, node: str, *minors: int) -> bool:
        """Whether the claim has these cards, kept for the contract."""
        found = self.claim(holder, name)
        return cards(found) == {(node, f"gpu-{minor}") for minor in minors} and kept(found)

    def terminating(self, namespace: str) -> list[str]:
        """Names of the pods that were asked to go and have not gone."""
        pods = self.admin.items(f"/api/v1/namespaces/{namespace}/pods")
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]

    def clear(self) -> None:
        """Nothing of the test is left, claims first: without an operator nobody else takes them away."""
        for namespace in self._namespaces:
            self.admin.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments")
            for pod in self.admin.items(f"/api/v1/namespaces/{namespace}/pods"):
                self.admin.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}", gracePeriodSeconds=0)
        until("no claim is left", self._no_claim_left)
        for node in self._published:
            self.admin.delete(f"{RESOURCE}/resourceslices/{fleet.slice_name(node)}")
        self._published.clear()
        super().clear()

    def _no_claim_left(self) -> bool:
        claims = self.admin.items(f"{RESOURCE}/resourceclaims")
        for claim in claims:
            try:
                self._drop(claim)
            except ApiError as error:  # it, or who it is reserved for, changed meanwhile
                if error.status not in (404, 409, 422):
                    raise
        return not claims

    def _drop(self, claim: Object) -> None:
        path = f"{RESOURCE}/namespaces/{claim['metadata']['namespace']}/resourceclaims/{claim['metadata']['name']}"
        operator = self.installed.operator
        operator.delete(path)
        if kept(claim):
            found = (operator.find(path) or {}).get("status", {}).get("reservedFor") or []
            at = [i for i, entry in enumerate(found) if entry["resource"] != "pods"]
            for i in at:
                operator.patch(f"{path}/status", [{"op": "remove", "path": f"/status/reservedFor/{i}"}], content_type=JSON_PATCH)


def cards(claim: Object) -> set[tuple[str, str]]:
    """What a claim was given: (node, device)."""
    results = ((claim.get("status") or {}).get("allocation") or {}).get("devices", {}).get("results", [])
    return {(found["pool"], found["device"]) for found in results}


def kept(claim: Object) -> bool:
    """Whether it is reserved for the contract that its label names."""
    uid = claim["metadata"].get("labels", {}).get(CONTRACT, "?")
    return any(entry["uid"] == uid for entry in (claim.get("status") or {}).get("reservedFor") or ())


class CardWatch:
    """Who had which card, from one watch of all ResourceClaims, in the order of their versions: no state in between is missed."""

    def __init__(self, admin: Api) -> None:
        self.doubles: list[str] = []  # a card in two claims at once
        self.had: dict[tuple[str, str], list[str]] = {}  # card -> namespace/name of the claims that had it, in turn
        self._admin, self._stop = admin, threading.Event()
        self._now: dict[str, set[tuple[str, str]]] = {}

    @contextmanager
    def watch(self) -> Iterator[CardWatch]:
        thread = threading.Thread(target=self._run, daemon=True)
        listed = self._admin.get(f"{RESOURCE}/resourceclaims")
        for claim in listed["items"]:
            self._take("ADDED", claim)
        self._version = listed["metadata"]["resourceVersion"]
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(20)

    def _run(self) -> None:
        while not self._stop.is_set():
            for event in self._admin.watch(f"{RESOURCE}/resourceclaims", seconds=1, resourceVersion=self._version):
                self._version = event["object"]["metadata"]["resourceVersion"]
                self._take(event["type"], event["object"])

    def _take(self, what: str, claim: Object) -> None:
        key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        given = set() if what == "DELETED" else cards(claim)
        for card in given - self._now.get(key, set()):
            self.had.setdefault(card, []).append(key)
            self.doubles += [f"{card}: {key} and {other}" for other, has in self._now.items() if other != key and card in has]
        self._now[key] = given


def gone(market: GpuMarket, namespace: str, name: str) -> bool:
    """Whether a pod is no longer there."""
    return market.admin.find(f"/api/v1/namespaces/{namespace}/pods/{name}") is None


def hold_pods(market: GpuMarket, namespace: str) -> list[str]:
    """Names of the hold pods in a namespace."""
    pods = market.admin.items(f"/api/v1/namespaces/{namespace}/pods")
    return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("laycan-hold-")]


def await_has(market: GpuMarket, holder: str, name: str, node: str, *minors: int, seconds: float = SCHEDULER_SECONDS) -> None:
    """Waits until the claim has these cards, kept for the contract."""
    until(f"{holder}/{name} has {minors} of {node}", partial(market.has, holder, name, node, *minors), seconds=seconds)
