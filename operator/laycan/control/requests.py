"""The three requests that the writer makes, and what is known of each contract while one is under way.

Before a status is sent, what it would acquire is claimed; the claim ends when it is known what became of it. A request whose answer
was lost leaves its contract `unsure`: it is read before anything more is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.control.gate import Gate
from laycan.control.patches import merge_patch
from laycan.kube.client import ApiError, Client
from laycan.kube.views import ContractView, contract_view
from laycan.kube.world import World
from laycan.resources.constants import API_VERSION

_DEPOSED = ("laycan-epoch", "epoch never falls")  # the policy's name, and the rule of the object's own schema


class DeposedError(Exception):
    """Another operator leads, or the lease was not renewed in time: nothing more may be written."""


@dataclass(slots=True)
class Requests:
    """All raise ApiError; a write raises DeposedError too."""

    client: Client
    world: World
    gate: Gate
    leads: Callable[[], bool]  # asked before each write
    in_flight: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # key -> status on its way
    unsure: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)  # written, conflict, failed -> writes so far

    async def read(self, key: str) -> None:
        """Finds out what became of the last write."""
        try:
            view = contract_view(await self.client.get(_path(key)))
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            self._take(key, view)
        self.unsure.discard(key)
        self.gate.claims.settle(key)

    async def write_finalizers(self, contract: ContractView, finalizers: list[str]) -> None:
        await self._patch(contract, "", {"metadata": {"finalizers": finalizers}})

    def claim(self, contract: ContractView, status: Mapping[str, Any]) -> None:
        """What this status would acquire is taken from now on: it is about to be sent."""
        self.gate.claims.begin(contract.key, self.gate.claims_of(contract, status))

    async def write_status(self, contract: ContractView, status: dict[str, Any]) -> ContractView:
        """Sends what differs; returns the contract as it is now."""
        self.claim(contract, status)
        self.in_flight[contract.key] = status
        try:
            return await self._patch(contract, "/status", {"status": merge_patch(contract.status, status)})
        finally:
            del self.in_flight[contract.key]

    async def _patch(self, contract: ContractView, subresource: str, body: dict[str, Any]) -> ContractView:
        if not self.leads():
            raise DeposedError(f"{contract.key} is not written: the lease was not renewed in time")
        metadata = {**body.get("metadata", {}), "resourceVersion": str(contract.resource_version)}
        try:
            raw = await self.client.patch_merge(_path(contract.key) + subresource, {**body, "metadata": metadata})
        except ApiError as error:
            self.outcomes["conflict" if error.status == 409 else "failed"] += 1
            if error.status in (0, 409):  # perhaps it was done; or what we know is old
                self.unsure.add(contract.key)
            else:
                self.gate.claims.settle(contract.key)
            if error.status in (403, 422) and any(words in error.message for words in _DEPOSED):
                raise DeposedError(f"{contract.key}: {error}") from error
            raise
        self.outcomes["written"] += 1
        answer = contract_view(raw)
        self._take(contract.key, answer)
        self.gate.claims.settle(contract.key)
        return answer

    def _take(self, key: str, view: ContractView) -> None:
        self.world.take_answer("contracts", key, view)


def _path(key: str) -> str:
    namespace, name = key.split("/", 1)
    return f"/apis/{API_VERSION}/namespaces/{namespace}/computecontracts/{name}"
