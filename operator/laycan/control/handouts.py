"""What buyers get without asking: the evidence of each contract, as an EvidenceBundle in its handover namespace.

It is written once for each receipt, when the exchange has had time to cosign a checkpoint over it, and again when a late cosignature
makes it complete. A restart writes nothing that is there already. The object outlives the contract: it is the buyer's. It may outlive
the log, too: what is there is never replaced by less.
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
from laycan.evidence.bundle import Exported, NoEvidenceError, bundle, predicate_of
from laycan.kube.client import ApiError, Client
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers
from laycan.ledger.log import LedgerError, Log
from laycan.resources.constants import API_VERSION
from laycan.resources.evidence_bundle import MOST_CHARACTERS

log = logging.getLogger(__name__)

AGAIN_SECONDS = 3600  # until an incomplete one, or one that could not be written, is looked at again
ALL_CHARACTERS = 500_000_000  # of all bundles: at midnight etcd, which takes 2 GB by default, holds yesterday's too


class _Given(NamedTuple):
    receipts: int  # that the contract had
    settled: bool  # nothing more is to be written for them
    next: int  # when to look again, Unix seconds
    bare: int | None = None  # index of the log's entry over which only a cosignature is missing


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
        most = min(MOST_CHARACTERS, ALL_CHARACTERS // max(1, len(contracts)))
        for contract in contracts:
            if self._due(contract, _receipts(contract)):
                self._given[contract.uid] = await self._look(contract, most)

    def _due(self, contract: ContractView, receipts: int) -> bool:
        given, now = self._given.get(contract.uid), self.clock()
        if given is None or given.receipts != receipts:
            self._given[contract.uid] = _Given(receipts, False, now + self.settle_seconds)
            return False
        return not given.settled and now >= given.next

    async def _look(self, contract: ContractView, most: int) -> _Given:
        before = self._given[contract.uid]._replace(next=self.clock() + AGAIN_SECONDS)
        try:
            return await self._hand_out(contract, most, before)
        except NoEvidenceError as error:
            log.debug("%s: its buyer gets no evidence now: %s", contract.key, error)
        except (LedgerError, ApiError) as error:
            log.warning("%s: its evidence was not handed out: %s", contract.key, error)
        except Exception:
            log.exception("%s: its evidence cannot be made", contract.key)
        return before

    async def _hand_out(self, contract: ContractView, most: int, before: _Given) -> _Given:
        """What became of it; it may be no other than `before`."""
        product = self.world.products.get(contract.spec["terms"]["productRef"]["name"])
        if product is None or holder_of(contract.spec) not in self.world.namespaces:
            return before
        place = place_of(contract, self.world, self.ledgers)
        objects = {"metadata": {"uid": contract.uid}, "spec": contract.spec, "status": contract.status}, product

        def made(of: Log) -> Exported | None:
            """None where still nobody cosigned."""
            if before.bare is not None and not ((head := of.checkpoint_covering(before.bare)) and head.cosigned):
                return None
            return bundle([of], str(place), *objects, with_readings=False)

        exported = await self.ledgers.use(place, made)
        if exported is None:
            return before
        receipts = exported.document["receipts"]
        if (first := predicate_of(receipts[0]["body"])["sequence"]) > 1:
            await self._tell_lost(contract, first)
            return before
        if len(receipts) < before.receipts:
            exported.notes.append(f"it holds {len(receipts)} of {before.receipts} receipts: the log has not all of them yet")
        spec = await asyncio.to_thread(bundle_spec, contract, exported, most)
        await self._write(contract, spec)
        bare = None if spec["complete"] or len(receipts) < before.receipts else receipts[-1]["index"]
        return before._replace(settled=spec["complete"], bare=bare)

    async def _write(self, contract: ContractView, spec: dict[str, Any]) -> None:
        there = await self._there(contract)
        if there is None:
            made = {"apiVersion": API_VERSION, "kind": "EvidenceBundle", "metadata": {"name": object_name(contract)}, "spec": spec}
            await self.client.create(_folder(contract), made)
        elif there.get("uid") == spec["uid"] and there.get("receipts", 0) > spec["receipts"]:
            log.warning("%s: its buyer keeps the evidence of %d receipts: the log has less", contract.key, there["receipts"])
        elif any(there.get(said) != spec[said] for said in ("uid", "receipts", "complete")):
            await self._patch(contract, {"bundle": None, "message": None, **spec})

    async def _tell_lost(self, contract: ContractView, first: int) -> None:
        """The log begins with receipt number `first`. What the buyer has may be all that is left of those before: it stays."""
        words = f"receipts from number {first} on are not in it: the log before theirs was lost. The operator's desk can export them"
        there = await self._there(contract)
        if there is not None and there.get("message") != words:
            log.warning("%s: the evidence that its buyer has is not added to: %s", contract.key, words)
            await self._patch(contract, {"complete": False, "message": words})

    async def _there(self, contract: ContractView) -> dict[str, Any] | None:
        """`spec` of the object, None without one."""
        try:
            found: dict[str, Any] = (await self.client.get(f"{_folder(contract)}/{object_name(contract)}"))["spec"]
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return found

    async def _patch(self, contract: ContractView, spec: dict[str, Any]) -> None:
        await self.client.patch_merge(f"{_folder(contract)}/{object_name(contract)}", {"spec": spec})


def _folder(contract: ContractView) -> str:
    return f"/apis/{API_VERSION}/namespaces/{holder_of(contract.spec)}/evidencebundles"


def object_name(contract: ContractView) -> str:
    """One for each contract, also of one name after another."""
    return f"{contract.name[:240].rstrip('-.')}-{contract.uid[:8]}"


def bundle_spec(contract: ContractView, exported: Exported, most: int = MOST_CHARACTERS) -> dict[str, Any]:
    """`spec` of the EvidenceBundle. Without the bundle, and with the reason, where it has more than `most` characters."""
    document, lacks = exported.document, list(exported.notes)
    packed = base64.b64encode(gzip.compress(orjson.dumps(document), mtime=0)).decode()
    fits = len(packed) <= most
    if not fits:
        lacks.append(f"it is too long, {len(packed)} characters: the operator's desk exports it, laycan evidence {contract.key}")
    spec: dict[str, Any] = {
        "contractId": contract.spec["terms"]["contractId"],
        "contract": contract.key,
        "uid": contract.uid,
        "receipts": len(document["receipts"]),
        "until": predicate_of(document["receipts"][-1]["body"])["period"]["end"],
        "complete": not exported.notes,
    }
    return spec | ({"bundle": packed} if fits else {}) | ({"message": "; ".join(lacks)} if lacks else {})


def _receipts(contract: ContractView) -> int:
    return int((contract.status.get("receipts") or {}).get("sequence") or 0)
