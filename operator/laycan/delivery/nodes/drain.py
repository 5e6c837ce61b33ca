"""Emptying a node: who may stay, who goes, and whether all have gone.

Pods are listed from the API server, not from a watch: after the probe no stranger can be added, so the list is final. Many nodes are
looked at in one list of all pods where the cluster has few of them: measured, the API server spends 24 us for each pod of a list and
1.5 ms for a list of one node. The Eviction API respects PodDisruptionBudgets until the deadline, after which pods are deleted. A pod
that is ending still has its GPUs and counts as there; one that has ended does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from laycan.kube.client import ApiError, Client
from laycan.kube.views import PodView, pod_view
from laycan.kube.world import World
from laycan.resources.constants import HOLDER_LABEL
from laycan.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 16
_PODS_PER_LIST = 50  # so many pods of a list of all cost as much as one list of a node
_MOST_PODS = 5_000  # in one answer, for the sake of our memory
_KILL_GRACE_SECONDS = 1  # 0 would strike the pod from the API while it may still run


@dataclass(frozen=True, slots=True)
class Order:
    """How one node is to be emptied. `deadline`: Unix seconds until which PodDisruptionBudgets hold."""

    node: str
    deadline: int
    keep: str = ""  # namespace whose pods stay
    placed_only: bool = False  # only pods that were steered to a holder's node go


def stays(pod: PodView, settings: Settings, keep: str = "") -> bool:
    """Whether a pod may be on a node that is closed; `keep` is the holder's namespace, "" for nobody's."""
    if pod.namespace in settings.exempt_namespaces or pod.phase in ("Succeeded", "Failed"):
        return True
    if pod.namespace in settings.agent_namespaces and pod.owner_kind == "DaemonSet" and pod.gpus == 0:
        return True
    return (pod.mirror and pod.owner_kind == "Node") or (bool(keep) and pod.namespace == keep)


class Drain:
    """Evictions and lists of all contracts share one bound on what is under way."""

    def __init__(self, client: Client, world: World, settings: Settings) -> None:
        self._client, self._world, self._settings = client, world, settings
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.held_up: set[str] = set()  # nodes on which a PodDisruptionBudget allowed no eviction

    async def empty(self, orders: Iterable[Order], now: int) -> set[str]:
        """One attempt: the nodes that a fresh list shows to be empty; elsewhere all who must go were asked to. Raises ApiError."""
        orders = list(orders)
        pods = await self._pods([order.node for order in orders])
        left = await asyncio.gather(*(self._clear(order, pods.get(order.node, []), now) for order in orders))
        return {order.node for order, count in zip(orders, left, strict=True) if count == 0}

    async def remove(self, pods: Iterable[PodView], deadline: int, now: int) -> None:
        """Asks these pods to go, as `deadline` says. Raises ApiError."""
        await asyncio.gather(*(self._remove(pod, deadline, now) for pod in pods))

    async def _pods(self, nodes: list[str]) -> dict[str, list[dict[str, Any]]]:
        """What the API server has on these nodes now: node -> pods."""
        known = len(self._world.pods)
        if len(nodes) > 1 and known <= min(_MOST_PODS, _PODS_PER_LIST * len(nodes)):
            listed = [await self._list("spec.nodeName!=")]
        else:
            listed = await asyncio.gather(*(self._list(f"spec.nodeName={node}") for node in nodes))
        found: dict[str, list[dict[str, Any]]] = {}
        for pods in listed:
            for raw in pods:
                found.setdefault(raw["spec"]["nodeName"], []).append(raw)
        return found

    async def _list(self, selector: str) -> list[dict[str, Any]]:
        async with self._gate:
            pods: list[dict[str, Any]] = (await self._client.get("/api/v1/pods", {"fieldSelector": selector}))["items"]
        return pods

    async def _clear(self, order: Order, here: list[dict[str, Any]], now: int) -> int:
        pods = [pod_view(raw) for raw in here if self._goes(raw, order)]
        if pods:
            log.info("node %s: %d pods have to go: %s", order.node, len(pods), ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:5]))
        await self.remove(pods, order.deadline, now)
        return len(pods)

    def _goes(self, raw: dict[str, Any], order: Order) -> bool:
        if order.placed_only and HOLDER_LABEL not in (raw["spec"].get("nodeSelector") or {}):
            return False
        return not stays(pod_view(raw), self._settings, order.keep)

    async def _remove(self, pod: PodView, deadline: int, now: int) -> None:
        overdue = now >= deadline + self._settings.drain_seconds
        if pod.deleting and not overdue:
            return
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        only = {"preconditions": {"uid": pod.uid}}  # not its successor of the same name
        try:
            async with self._gate:
                if now < deadline:
                    await self._evict(path, pod, only)
                elif overdue:  # it had its own grace period since the deadline
                    await self._client.delete(path, {**only, "gracePeriodSeconds": _KILL_GRACE_SECONDS})
                else:
                    await self._client.delete(path, only)
        except ApiError as error:
            budgets = error.status == 429 or (error.status == 500 and now < deadline)  # not yet; 500 is what two budgets for one pod get
            if not budgets and error.status not in (404, 409):  # gone, or another one by now
                raise
            if budgets:
                self.held_up.add(pod.node)

    async def _evict(self, path: str, pod: PodView, only: dict[str, Any]) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": pod.namespace, "name": pod.name},
            "deleteOptions": only,
        }
        await self._client.create(f"{path}/eviction", body, attempts=1)
