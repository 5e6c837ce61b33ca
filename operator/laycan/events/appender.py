"""From the contracts' outboxes to the logs: what was decided is said once, in order, for ever.

    status write (outbox) -> append, on the disk -> `taken` -> the next status write drops the entry

Whoever is killed in between finds the entry in the outbox again and appends the same bytes under the same id, which the log knows. An
entry is taken from the status as it was seen, so that it is not lost where the contract goes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from laycan.events.cloudevents import event_type
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.checkpoints import sign_checkpoint
from laycan.ledger.keys import Signer
from laycan.ledger.ledgers import LOCAL, Ledgers, Place
from laycan.ledger.log import ContentConflictError, Entry, LedgerError, Log

log = logging.getLogger(__name__)

BATCH = 256  # contracts in one transaction
LONGEST_PAUSE_SECONDS = 30.0
RECEIPT = event_type("receipt.issued")


class Appender:
    """`run` until cancelled. `taken` is called for each entry that a log has, `grown` for each log that has more."""

    def __init__(
        self,
        world: World,
        ledgers: Ledgers,
        taken: Callable[[str, str], None],  # (contract key, event id)
        grown: Callable[[Place], None],
        signer: Callable[[], Signer | None],
        observe: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`signer` gives the key for checkpoints, `observe` is told how long each append took."""
        self.conflicts = 0  # since the start
        self._world, self._ledgers, self._taken, self._grown = world, ledgers, taken, grown
        self._signer, self._observe = signer, observe
        self._waiting: dict[str, ContractView] = {}  # uid -> the contract with entries that no log has yet
        self._since: dict[str, float] = {}  # uid -> since when it waits, monotonic seconds
        self._known: dict[str, frozenset[str]] = {}  # uid -> ids that a log has and its outbox still shows
        self._uids: dict[str, str] = {}  # key -> uid
        self._failures: dict[Place, int] = {}  # in a row
        self._not_before: dict[Place, float] = {}  # loop time
        self._woken = asyncio.Event()

    def age(self) -> float:
        """For how long the oldest entry has waited for its log, seconds."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    async def run(self) -> None:
        self._world.listeners.append(self._on_change)
        try:
            for key in list(self._world.contracts):
                self._on_change("contracts", key)
            while True:
                self._woken.clear()
                pause = await self._step()
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                except TimeoutError:
                    pass
        finally:
            self._world.listeners.remove(self._on_change)

    # --- what is to be said

    def _on_change(self, kind: str, key: str) -> None:
        if kind != "contracts":
            return
        contract = self._world.contracts.get(key)
        if contract is None or self._uids.get(key, contract.uid) != contract.uid:
            self._known.pop(self._uids.pop(key, ""), None)
        if contract is None:
            return
        self._uids[key] = contract.uid
        if known := self._known.pop(contract.uid, None):
            left = known.intersection(entry["id"] for entry in contract.status.get("outbox") or ())
            self._known |= {contract.uid: left} if left else {}
        if self._entries(contract):
            self._waiting[contract.uid] = contract
            self._since.setdefault(contract.uid, time.monotonic())
            self._woken.set()

    def _entries(self, contract: ContractView) -> list[Entry]:
        """What no log has yet, as far as we know, oldest first."""
        known = self._known.get(contract.uid, frozenset())
        return [Entry(e["id"], e["body"].encode()) for e in contract.status.get("outbox") or () if e["id"] not in known]

    # --- saying it

    async def _step(self) -> float | None:
        """Appends what waits; seconds until a log is tried again that failed, None without any."""
        now = asyncio.get_running_loop().time()
        places: dict[Place, list[ContractView]] = {}
        for contract in self._waiting.values():
            places.setdefault(place_of(contract, self._world, self._ledgers), []).append(contract)
        pauses = []
        for place, contracts in places.items():
            for batch in _batches(contracts) if self._not_before.get(place, 0.0) <= now else ():
                if not await self._append(place, batch):
                    break
            if (at := self._not_before.get(place, 0.0)) > now:
                pauses.append(at - now)
        return min(pauses, default=None)

    async def _append(self, place: Place, batch: Sequence[ContractView]) -> bool:
        """One transaction; False where the log cannot be used now."""
        entries = {contract.uid: self._entries(contract) for contract in batch}
        receipts = any(e["type"] == RECEIPT for contract in batch for e in contract.status.get("outbox") or ())
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            said = [entry for each in entries.values() for entry in each]
            await self._ledgers.use(place, partial(_say, entries=said, signer=self._signer() if receipts else None), writes=True)
        except ContentConflictError as error:
            self.conflicts += len(error.ids)
            log.critical("ALARM %s; what the log says stands", error)
        except LedgerError:
            failures = self._failures[place] = self._failures.get(place, 0) + 1
            self._not_before[place] = begun + min(LONGEST_PAUSE_SECONDS, 2.0 ** min(failures, 8) / 2)
            return False
        self._observe(loop.time() - begun)
        self._failures.pop(place, None)
        self._not_before.pop(place, None)
        for contract in batch:
            self._done(contract, entries[contract.uid])
        self._grown(place)
        return True

    def _done(self, contract: ContractView, entries: Iterable[Entry]) -> None:
        ids = [entry.id for entry in entries]
        if self._uids.get(contract.key) == contract.uid:  # else it is gone
            self._known[contract.uid] = self._known.get(contract.uid, frozenset()).union(ids)
            for entry_id in ids:
                self._taken(contract.key, entry_id)
        newest = self._waiting[contract.uid]
        if newest is contract or not self._entries(newest):
            del self._waiting[contract.uid], self._since[contract.uid]
        else:
            self._since[contract.uid] = time.monotonic()


def place_of(contract: ContractView, world: World, ledgers: Ledgers) -> Place:
    """Whose log takes a contract's events: its exchange's, also when that has gone but its log is there, else the local one."""
    place = exchange_of(contract)
    return place if str(place) in world.endpoints or (place != LOCAL and ledgers.has(place)) else LOCAL


def exchange_of(contract: ContractView) -> Place:
    name = text_at(contract.spec, "exchangeRef", "name")
    return Place(contract.namespace, name) if name else LOCAL


def _say(log: Log, *, entries: Sequence[Entry], signer: Signer | None) -> Mapping[str, int]:
    indices = log.append(entries)
    if signer is not None:
        sign_checkpoint(log, signer)
    return indices


def _batches(contracts: Sequence[ContractView]) -> Iterator[Sequence[ContractView]]:
    return (contracts[start : start + BATCH] for start in range(0, len(contracts), BATCH))
