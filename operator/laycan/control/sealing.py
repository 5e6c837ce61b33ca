"""Receipts as the writer needs them: which contracts get any, and what they cite on the disk before a status cites it.

A receipt rests on readings that were kept from the first metered second on. So a contract gets receipts from its start or none at all;
and where keys or the log fail later, readings go on being kept, and its receipts wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import orjson
import rfc8785

from laycan.control.receipts import Seal
from laycan.delivery.metering.served import due
from laycan.events.appender import place_of
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError, Log
from laycan.resources.times import parse_time

PAUSE_SECONDS = 30.0  # how long receipts wait after a log has failed


class Sealing(Protocol):
    def of(self, contract: ContractView) -> Seal | None:
        """What the contract's next status is to be made with; None: it gets no receipts."""

    async def keep(self, contract: ContractView, readings: Mapping[str, bytes]) -> None:
        """Stores readings, each a JSON array, under their roots, hex. Raises LedgerError, and then receipts wait for a while."""


class NoReceipts:
    """Where nobody signs any."""

    def of(self, contract: ContractView) -> Seal | None:
        return None

    async def keep(self, contract: ContractView, readings: Mapping[str, bytes]) -> None:
        return


@dataclass(slots=True)
class _Batch:
    """What comes to the disk in one commit: at midnight that is the day of every contract."""

    readings: dict[str, bytes] = field(default_factory=dict)
    kept: bool = False


class Receipts:
    """`seal` gives what receipts are signed with now, None while there are no keys."""

    def __init__(
        self, seal: Callable[[], Seal | None], world: World, ledgers: Ledgers, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seal, self._world, self._ledgers, self._monotonic = seal, world, ledgers, monotonic
        self._begun = False  # keys were there
        self._failing: dict[Place, float] = {}  # its log failed: receipts wait until then
        self._gathering: dict[Place, _Batch] = {}  # while another commit waits for the disk
        self._turns: dict[Place, asyncio.Lock] = {}

    def of(self, contract: ContractView) -> Seal | None:
        seal = self._seal()
        self._begun = self._begun or seal is not None
        has_any = bool(contract.status.get("receipts"))
        if not has_any and (not self._begun or _metered(contract)):
            return None
        if seal is None or self._monotonic() < self._failing.get(self._place(contract), 0.0):
            return waiting(seal)
        return replace(seal, kept={})

    async def keep(self, contract: ContractView, readings: Mapping[str, bytes]) -> None:
        if not readings:
            return
        place = self._place(contract)
        batch = self._gathering.setdefault(place, _Batch())
        batch.readings.update(readings)
        async with self._turns.setdefault(place, asyncio.Lock()):
            if batch.kept:  # by one of those who came together
                return
            if self._gathering.get(place) is batch:
                del self._gathering[place]
            try:
                await self._ledgers.use(place, partial(_keep, readings=batch.readings), writes=True)
            except LedgerError:
                self._failing[place] = self._monotonic() + PAUSE_SECONDS
                raise
            batch.kept = True

    def _place(self, contract: ContractView) -> Place:
        return place_of(contract, self._world, self._ledgers)


class _Nobody:
    key_id, public_key = "", b""

    def sign(self, data: bytes) -> bytes:
        raise AssertionError("no receipt is issued while they wait")


def waiting(seal: Seal | None) -> Seal:
    """One that keeps readings and issues nothing."""
    known = seal or Seal(_Nobody(), "", "", lambda exchange: b"")
    return replace(known, trusted_clock=lambda *_: False, kept={})


def _metered(contract: ContractView) -> bool:
    """Whether something was metered already."""
    meter = contract.status.get("meter")
    return meter is not None and parse_time(meter["until"]) > due(contract).start


def _keep(log: Log, *, readings: Mapping[str, bytes]) -> None:
    stored = log.keep_readings(*map(_lines, readings.values()))
    assert [root.hex() for root in stored] == list(readings), "readings are found again under the root that the receipt cites"


def _lines(readings: bytes) -> Sequence[bytes]:
    return [rfc8785.dumps(reading) for reading in orjson.loads(readings)]
