"""What buyers get without asking: the evidence of each contract, as an EvidenceBundle in its handover namespace.

It is written once for each receipt, when the exchange has had time to cosign a checkpoint over it, and again when a late cosignature
makes it complete. A restart writes nothing that is there already. The object outlives the contract: it is the buyer's.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from laycan.control.claims import holder_of
from laycan.events.appender import place_of
from laycan.evidence.bundle import Exported, NoEvidenceError, bundle
from laycan.kube.client import ApiError, Client
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers
from laycan.ledger.log import LedgerError, Log
from laycan.resources.constants import API_VERSION
from laycan.resources.evidence_bundle import MOST_CHARACTERS

log = logging.getLogger(__name__)

AGAIN_SECONDS = 3600  # until an incomplete one, or one that could not be written, is looked at again


class _Given(NamedTuple):
    receipts: int  # that the contract had
    settled: bool  # nothing more is to be written for them
    next: int  # when to look again, Unix seconds


@dataclass(slots=True)
class Handouts:
    """`run` until cancelled; `step` writes what is due. `settle_seconds`: how long an exchange has for its cosignature."""

    client: Client
    world: World
    ledgers: Ledgers
    clock: Callable[[], int]
    every_seconds: float
    settle_seconds: int
    _given: dict[str, _Given] = field(default_factory=dict)  # contract uid -> what became of it

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(self.every_seconds)

    async def step(self) -> None:
        """One contract whose evidence cannot be made or written stops no other."""
        contracts = [contract for contract in self.world.contracts.values() if _receipts(contract)]
        self._given = {uid: given for uid in {c.uid for c in contracts} if (given := self._given.get(uid)) is not None}
        for contract in contracts:
            if self._due(contract, _receipts(contract)):
                self._given[contract.uid] = _Given(_receipts(contract), *await self._hand_out(contract))

    def _due(self, contract: ContractView, receipts: int) -> bool:
        given, now = self._given.get(contract.uid), self.clock()
        if given is None or given.receipts != receipts:
            self._given[contract.uid] = _Given(receipts, False, now + self.settle_seconds)
            return False
        return not given.settled and now >= given.next

    async def _hand_out(self, contract: ContractView) -> tuple[bool, int]:
        """Whether it is done with, and when to look again if not."""
        later = self.clock() + AGAIN_SECONDS
        product = self.world.products.get(contract.spec["terms"]["productRef"]["name"])
        if product is None:
            return False, later
        place = place_of(contract, self.world, self.ledgers)
        objects = {"metadata": {"uid": contract.uid}, "spec": contract.spec, "status": contract.status}, product

        def made(of: Log) -> Exported:
            return bundle([of], str(place), *objects, with_readings=False)

        try:
            spec = bundle_spec(contract, await self.ledgers.use(place, made))
            await self._write(contract, spec)
        except NoEvidenceError as error:
            log.debug("%s: its buyer gets no evidence now: %s", contract.key, error)
            return False, later
        except (LedgerError, ApiError) as error:
            log.warning("%s: its evidence was not handed out: %s", contract.key, error)
            return False, later
        return spec["complete"], later

    async def _write(self, contract: ContractView, spec: dict[str, Any]) -> None:
        name = f"{contract.name[:240]}-{contract.uid[:8]}"
        folder = f"/apis/{API_VERSION}/namespaces/{holder_of(contract.spec)}/evidencebundles"
        try:
            there = (await self.client.get(f"{folder}/{name}"))["spec"]
        except ApiError as error:
            if error.status != 404:
                raise
            await self.client.create(
                folder, {"apiVersion": API_VERSION, "kind": "EvidenceBundle", "metadata": {"name": name}, "spec": spec}
            )
            return
        if any(there.get(said) != spec[said] for said in ("uid", "receipts", "complete")):
            await self.client.patch_merge(f"{folder}/{name}", {"spec": {"bundle": None, "message": None, **spec}})


def bundle_spec(contract: ContractView, exported: Exported) -> dict[str, Any]:
    """`spec` of the EvidenceBundle. Without the bundle, and with the reason, where it is too long for an object."""
    document, lacks = exported.document, list(exported.notes)
    packed = base64.b64encode(gzip.compress(orjson.dumps(document), mtime=0)).decode()
    fits = len(packed) <= MOST_CHARACTERS
    if not fits:
        lacks.append(f"it is longer than an object may be: the operator's desk exports it, laycan evidence {contract.key}")
    spec: dict[str, Any] = {
        "contractId": contract.spec["terms"]["contractId"],
        "contract": contract.key,
        "uid": contract.uid,
        "receipts": len(document["receipts"]),
        "until": _until(document["receipts"][-1]["body"]),
        "complete": not exported.notes,
    }
    return spec | ({"bundle": packed} if fits else {}) | ({"message": "; ".join(lacks)} if lacks else {})


def _until(body: str) -> str:
    envelope = orjson.loads(body)["data"]["change"]["envelope"]
    return str(orjson.loads(base64.b64decode(envelope["payload"]))["predicate"]["period"]["end"])


def _receipts(contract: ContractView) -> int:
    return int((contract.status.get("receipts") or {}).get("sequence") or 0)
