"""From the contracts' outboxes to the logs: what was decided is said once, in order, for ever.

    status write (outbox) -> append, on the disk -> `taken` -> the next status write drops the entry

Whoever is killed in between finds the entry in the outbox again and appends the same bytes under the same id, which the log knows. An
entry is taken from the status as it was seen, so that it is not lost where the contract goes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

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
        self._waiting: dict[Place, dict[str, ContractView]] = {}  # log -> uid -> the contract with entries that it has not yet
        self._since: dict[str, tuple[Place, float]] = {}  # uid -> where and since when it waits, monotonic seconds
        self._known: dict[str, frozenset[str]] = {}  # uid -> ids that a log has and its outbox still shows
        self._uids: dict[str, str] = {}  # key -> uid
        self._failures: dict[Place, int] = {}  # in a row
        self._not_before: dict[Place, float] = {}  # loop time
        self._woken = asyncio.Event()

    def age(self) -> float:
        """For how long the oldest entry has waited for its log, seconds."""
        return time.monotonic() - min(since for _, since in self._since.values()) if self._since else 0.0

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
        if self._unsaid(contract):
            self._wait(contract)

    def _unsaid(self, contract: ContractView) -> list[Mapping[str, Any]]:
        """Entries that no log has yet, as far as we know, oldest first."""
        known = self._known.get(contract.uid, frozenset())
        return [entry for entry in contract.status.get("outbox") or () if entry["id"] not in known]

    def _wait(self, contract: ContractView) -> None:
        place = place_of(contract, self._world, self._ledgers)
        before, since = self._since.get(contract.uid, (place, time.monotonic()))
        if before != place:
            del self._waiting[before][contract.uid]
        self._waiting.setdefault(place, {})[contract.uid] = contract
        self._since[contract.uid] = place, since
        self._woken.set()

    # --- saying it

    async def _step(self) -> float | None:
        """Appends what waits; seconds until a log is tried again that failed, None without any."""
        for place in [place for place, contracts in self._waiting.items() if contracts]:
            for batch in self._batches(place):
                if not await self._append(place, batch):
                    break
        now = asyncio.get_running_loop().time()
        return min((max(0.0, at - now) for at in self._not_before.values()), default=None)

    def _batches(self, place: Place) -> Iterator[Sequence[ContractView]]:
        if self._not_before.get(place, 0.0) <= asyncio.get_running_loop().time():
            contracts = list(self._waiting[place].values())
            yield from (contracts[start : start + BATCH] for start in range(0, len(contracts), BATCH))

    async def _append(self, place: Place, batch: Sequence[ContractView]) -> bool:
        """One transaction; False where the log cannot be used now."""
        entries = {contract.uid: self._unsaid(contract) for contract in batch}
        said = [entry for each in entries.values() for entry in each]
        signer = self._signer() if any(entry["type"] == RECEIPT for entry in said) else None
        work = partial(_say, entries=[Entry(entry["id"], entry["body"].encode()) for entry in said], signer=signer)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await self._ledgers.use(place, work, writes=True)
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
            self._done(place, contract, [entry["id"] for entry in entries[contract.uid]])
        self._grown(place)
        return True

    def _done(self, place: Place, contract: ContractView, ids: Sequence[str]) -> None:
        if self._uids.get(contract.key) == contract.uid:  # else it is gone
            self._known[contract.uid] = self._known.get(contract.uid, frozenset()).union(ids)
            for entry_id in ids:
                self._taken(contract.key, entry_id)
        newest = self._waiting[place].get(contract.uid)
        if newest is None:
            return  # it waits for another log by now, which has to say the rest
        if newest is contract or not self._unsaid(newest):
            del self._waiting[place][contract.uid], self._since[contract.uid]
        else:
            self._since[contract.uid] = place, time.monotonic()


def place_of(contract: ContractView, world: World, ledgers: Ledgers) -> Place:
    """Whose log takes a contract's events: its exchange's, also when that has gone but its log is there, else the local one."""
    place = exchange_of(contract)
    return place if str(place) in world.endpoints or (place != LOCAL and ledgers.has(place)) else LOCAL


def exchange_of(contract: ContractView) -> Place:
    return Place.of(contract.exchange) if contract.exchange else LOCAL


def strayed(contract: ContractView) -> bool:
    """Whether it names an exchange that was not there when it was judged: what was said of it stands in the local log."""
    return text_at(contract.status, "reason", "code") == "UnknownExchange"


def _say(log: Log, *, entries: Sequence[Entry], signer: Signer | None) -> Mapping[str, int]:
    indices = log.append(entries)
    if signer is not None:
        sign_checkpoint(log, signer)
    return indices
