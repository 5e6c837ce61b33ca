"""The steps by which exact GPUs change hands; each looks at the API's objects and does nothing where it is done already.

Taking:  the claim -> a hold pod, first in the scheduler's queue -> other users of the GPUs go -> the scheduler allocates ->
         the cards are verified -> the contract's entry keeps them -> the hold pod goes.
Leaving: the claim is deleted, so that no further pod gets it -> its pods go -> the entry is taken off -> the claim is gone.

GPUs of a lot come free one by one, and whoever waits for a single one takes it before the lot can have them all (measured: with a
Deployment of strangers waiting, a lot of two never got them). So while others have to go, new pods of others are kept off the node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from laycan.delivery.devices.agenda import LotAgenda, Task, Work
from laycan.delivery.devices.holding import STRIKE, claims_path, hold_pod, hold_pod_name, keeping, letting_go, pods_path, resource_claim
from laycan.delivery.devices.lots import HOLD_PREFIX, Lot, Step, others
from laycan.delivery.nodes.drain import Drain
from laycan.delivery.nodes.labels import keep_off, unlabel
from laycan.kube.client import ApiError, Client
from laycan.kube.device_views import ResourceClaimView, claim_view
from laycan.kube.views import PodView, pod_view
from laycan.kube.world import World
from laycan.resources.constants import CONTRACT_LABEL
from laycan.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 16
_PATIENCE_SECONDS = 3  # with the scheduler, before its reasons are told
_ANEW_SECONDS = 6  # before it is asked anew: it looks at a pod again when an event tells it to, and without one after five minutes
_CHANGED = (404, 409, 422)  # gone, or another one by now: the next pass looks again


class LotSteps:
    """Shared by the attempts of all contracts."""

    def __init__(self, client: Client, world: World, agenda: LotAgenda, drain: Drain, settings: Settings, clock: Callable[[], int]) -> None:
        self._client, self._world, self._agenda, self._drain = client, world, agenda, drain
        self._settings, self._clock = settings, clock
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._waits: dict[str, int] = {}  # ResourceClaim -> since when nobody else has its GPUs, and the scheduler has not given them
        self._held: dict[str, tuple[int, str]] = {}  # uid of a ResourceClaim -> when its hold pod was seen, and the scheduler's words then
        self._since: dict[str, int] = {}  # ResourceClaim -> when it was first seen to have to go, or to be intruded upon

    async def attempt(self, uid: str) -> None:
        """All that can be done now for the lots of a contract; what stands in the way of one stops no other. Problems are noted."""
        self._agenda.fresh.discard(uid)
        troubles: list[str] = []
        await self._each(troubles, [self._release(claim, deadline) for claim, deadline in self._work(uid).releases])
        for what, act in ((Step.CREATE, self._create), (Step.ALLOCATE, self._allocate), (Step.KEEP, self._keep), (Step.KEPT, self._guard)):
            await self._each(troubles, [act(task) for task in self._work(uid).tasks if task.step is what])
        work = self._work(uid)
        troubles += [task.why for task in work.tasks if task.why]
        self._since = {key: at for key, at in self._since.items() if key in self._world.resource_claims}
        self._waits = {key: at for key, at in self._waits.items() if key in self._world.resource_claims}
        self._agenda.problem(uid, "; ".join(sorted(set(troubles))[:3]))

    async def open_nodes(self) -> None:
        """Nodes on which nothing changes hands any more take others' pods again."""
        for name in self._agenda.kept_off - self._agenda.awaited(self._clock()) if self._agenda.kept_off else ():
            node = self._world.nodes[name]
            if node.managed:
                await self._tolerant(unlabel(self._client, self._world, node))

    async def remove_leftovers(self) -> None:
        """Hold pods whose claim is gone, as an operator that ended in between leaves them. Once, at the start. Raises ApiError."""
        answer = await self._client.get("/api/v1/pods", {"labelSelector": CONTRACT_LABEL})
        claims = {claim.uid for claim in self._world.resource_claims.values()}  # read later: a claim is always older than its pod
        for pod in map(pod_view, answer["items"]):
            if pod.name.startswith(HOLD_PREFIX) and pod.name.removeprefix(HOLD_PREFIX) not in claims:
                await self._delete(f"{pods_path(pod.namespace)}/{pod.name}")

    def _work(self, uid: str) -> Work:
        return self._agenda.work(uid, self._clock())

    async def _each(self, troubles: list[str], acts: Iterable[Awaitable[str]]) -> None:
        for found in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(found, ApiError):
                troubles.append(str(found))
            elif isinstance(found, BaseException):
                raise found
            elif found:
                troubles.append(found)

    async def _create(self, task: Task) -> str:
        try:
            async with self._gate:
                made = claim_view(await self._client.create(claims_path(task.lot.namespace), resource_claim(task.lot)))
                self._world.put("resource_claims", made.key, made)
        except ApiError as error:
            if error.status == 409:
                return ""  # the watch will tell whose it is
            return f"namespace {task.lot.namespace} refuses the ResourceClaim {task.lot.name}: {error.message}"
        return ""

    async def _allocate(self, task: Task) -> str:
        lot, claim = task.lot, task.claim
        assert claim is not None
        held, words = await self._hold(lot, claim)
        if not held:
            return f"namespace {lot.namespace} refuses the hold pod of {lot.name}, which needs room for one small pod: {words}"
        if rivals := others(self._world, lot):
            self._waits.pop(lot.key, None)
            node = self._world.nodes.get(lot.node)
            if node is not None and node.managed and not node.holder and not node.handover:
                await self._tolerant(keep_off(self._client, self._world, node))
            return await self._clear(lot, rivals, lot.deadline)
        waited = self._clock() - self._waits.setdefault(lot.key, self._clock())
        if words and waited >= _ANEW_SECONDS:
            await self._delete(f"{pods_path(lot.namespace)}/{hold_pod_name(claim.uid)}")
            del self._waits[lot.key]
            self._held.pop(claim.uid, None)
        return f"the hold pod of {lot.key} waits: {words}" if words and waited >= _PATIENCE_SECONDS else ""

    async def _hold(self, lot: Lot, claim: ResourceClaimView) -> tuple[bool, str]:
        """Sees now and then to the hold pod: whether it is there, and what the scheduler (or who refuses it) says about it."""
        looked, words = self._held.get(claim.uid, (0, ""))
        if self._clock() < looked + _PATIENCE_SECONDS:
            return True, words
        self._agenda.tidy.discard(claim.uid)
        path = f"{pods_path(lot.namespace)}/{hold_pod_name(claim.uid)}"
        pod = await self._find(path)
        if pod is not None and pod["status"].get("phase") in ("Succeeded", "Failed"):
            await self._delete(path)  # evicted, say
            pod = None
        if pod is None:
            try:
                async with self._gate:
                    pod = await self._client.create(pods_path(lot.namespace), hold_pod(lot, claim, self._settings.hold_image))
            except ApiError as error:
                return error.status == 409, error.message
        self._held[claim.uid] = self._clock(), _unscheduled(pod)
        return True, _unscheduled(pod)

    async def _clear(self, lot: Lot, rivals: list[ResourceClaimView], deadline: int) -> str:
        """Asks who uses the lot's GPUs to go; tells who is still there once they are due."""
        pods = [pod for claim in rivals if not claim.contract for pod in self._users(claim)]
        mine = [pod for pod in pods if pod.namespace not in self._settings.exempt_namespaces]
        await self._drain.remove(mine, deadline, self._clock())
        if len(mine) < len(pods) or self._clock() >= lot.start:
            users = [f"{pod.namespace}/{pod.name}" for pod in pods] or [claim.key for claim in rivals]
            return f"{lot.key} waits for GPUs of node {lot.node} that are in use by {', '.join(users[:5])}"
        return ""

    async def _keep(self, task: Task) -> str:
        lot, claim = task.lot, task.claim
        assert claim is not None
        path = f"{claims_path(lot.namespace)}/{lot.name}/status"
        if await self._tolerant(self._keep_now(path, keeping(lot, claim))):
            self._waits.pop(lot.key, None)
            self._held.pop(claim.uid, None)
            log.info("contract %s: %s has %s of node %s", lot.uid, lot.key, ", ".join(sorted(lot.devices)), lot.node)
        return ""

    async def _guard(self, task: Task) -> str:
        """After the hand-over: no hold pod, and nobody else on the lot's GPUs."""
        lot, claim = task.lot, task.claim
        assert claim is not None
        if claim.uid not in self._agenda.tidy:
            await self._delete(f"{pods_path(lot.namespace)}/{hold_pod_name(claim.uid)}")
            self._agenda.tidy.add(claim.uid)
        rivals = others(self._world, lot)
        if not rivals:
            self._since.pop(lot.key, None)
            return ""
        now, names = self._clock(), ", ".join(rival.key for rival in rivals)
        if lot.key not in self._since:
            log.error("ALARM %s and %s have the same GPU of node %s; strangers are evicted", lot.key, names, lot.node)
        deadline = self._since.setdefault(lot.key, now) + self._settings.drain_seconds
        await self._clear(lot, rivals, deadline)
        return f"{lot.key} and {names} have the same GPU of node {lot.node}"

    async def _release(self, claim: ResourceClaimView, deadline: int) -> str:
        path = f"{claims_path(claim.namespace)}/{claim.name}"
        now = self._clock()
        due = deadline or self._since.setdefault(claim.key, now) + self._settings.drain_seconds
        if not claim.deleting:
            only = {"preconditions": {"uid": claim.uid}}
            await self._tolerant(self._deleted(path, only))
        self._held.pop(claim.uid, None)
        await self._delete(f"{pods_path(claim.namespace)}/{hold_pod_name(claim.uid)}", STRIKE)
        pods = [pod for pod in self._users(claim) if not pod.name.startswith(HOLD_PREFIX)]
        await self._drain.remove(pods, due, now)
        if pods:
            names = ", ".join(pod.name for pod in pods[:5])
            return f"{claim.key} is to go, its pods are still there: {names}" if now >= due else ""
        raw = await self._find(path)
        if raw is None:  # an answer of ours may have come after the watch had told that it is gone
            self._world.drop("resource_claims", claim.key)
        elif raw["metadata"]["uid"] == claim.uid and (ops := letting_go(raw)):
            await self._tolerant(self._client.patch_json(f"{path}/status", ops))
        return ""

    def _users(self, claim: ResourceClaimView) -> list[PodView]:
        """Pods that a claim is reserved for, and those on a node that name it."""
        found = {uid: self._pod(claim.namespace, name, uid) for name, uid in claim.pods}
        for node in {pool for pool, _ in claim.devices}:
            for key in self._world.pods_on.get(node, ()):
                pod = self._world.pods.get(key)
                if pod is not None and pod.namespace == claim.namespace and claim.name in pod.claims:
                    found[pod.uid] = pod
        return list(found.values())

    def _pod(self, namespace: str, name: str, uid: str) -> PodView:
        seen = self._world.pods.get(f"{namespace}/{name}")
        return seen if seen is not None and seen.uid == uid else PodView(namespace, name, uid, 0, "", "", "", False, 0, False)

    async def _keep_now(self, path: str, ops: list[dict[str, Any]]) -> None:
        async with self._gate:
            self._take(await self._client.patch_json(path, ops))

    async def _deleted(self, path: str, options: dict[str, Any]) -> None:
        async with self._gate:
            answer = await self._client.delete(path, options)
        if answer.get("kind") == "ResourceClaim" and "deletionTimestamp" in answer["metadata"]:
            self._take(answer)

    async def _delete(self, path: str, options: dict[str, Any] | None = None) -> None:
        async with self._gate:
            await self._tolerant(self._client.delete(path, options))

    async def _find(self, path: str) -> dict[str, Any] | None:
        try:
            async with self._gate:
                return await self._client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def _take(self, raw: dict[str, Any]) -> None:
        view = claim_view(raw)
        self._world.take_answer("resource_claims", view.key, view)

    async def _tolerant(self, write: Awaitable[Any]) -> bool:
        """Whether it was written; somebody else may have been first."""
        try:
            await write
        except ApiError as error:
            if error.status not in _CHANGED:
                raise
            return False
        return True


def _unscheduled(pod: dict[str, Any]) -> str:
    """The scheduler's words about a pod for which it finds no place."""
    conditions = pod["status"].get("conditions") or ()
    return next((str(c.get("message", "")) for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), "")
