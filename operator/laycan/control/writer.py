"""The only writer of contracts: turns decisions, the observed world and the clock into statuses, one compare-and-swap each.

Every key on the agenda is looked at anew: `status.next_status` says what the status should be now, and only a difference is sent,
with the resourceVersion of what was looked at. The answer is taken into the World at once, so that the next look is never at a
stale view. Whatever fails is retried for that contract alone, later and later.

An answer that was lost leaves it open whether the write happened; what it would have acquired stays claimed until a read tells.
What a receipt in a status cites is on the disk before the status is sent; where the disk fails, all but the receipt is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from laycan.control import status as statuses
from laycan.control.agenda import Agenda, Priority
from laycan.control.claims import Claims
from laycan.control.decision import Decision
from laycan.control.finalizer import finalizers_wanted
from laycan.control.gate import Gate
from laycan.control.lifecycle import COMMITTED, UNDECIDED
from laycan.control.pace import Pace
from laycan.control.receipts import Seal
from laycan.control.requests import DeposedError, Requests
from laycan.control.sealing import NoReceipts, Sealing
from laycan.events.outbox import CAPACITY
from laycan.kube.client import ApiError
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.log import LedgerError
from laycan.settings import Settings

log = logging.getLogger(__name__)

FIRST_WORD_SECONDS = 2  # a new contract waits so long for its first decision: one write says Received and Accepted
_LONGEST_BACKOFF = 300
_LOOKS_PER_TURN = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """What a status is computed from besides the contract."""

    settings: Settings
    source: str  # CloudEvents source of this cluster
    epoch: int


@dataclass(slots=True)
class Writer:
    world: World
    authority: Authority
    clock: Callable[[], int]
    requests: Requests
    told: Callable[[ContractView, ContractView], None] = lambda old, new: None  # after each status write
    sealing: Sealing = field(default_factory=NoReceipts)
    decisions: dict[str, Decision] = field(default_factory=dict)
    _agenda: Agenda = field(default_factory=Agenda)
    _pace: Pace = field(default_factory=Pace)
    _busy: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _again: dict[str, Priority] = field(default_factory=dict)  # touched while busy
    _taken: dict[str, frozenset[str]] = field(default_factory=dict)  # key -> ids of events that the log has
    _failed: dict[str, tuple[int, str]] = field(default_factory=dict)  # key -> (failures in a row, last message)
    _fence: Mapping[str, str] = field(default_factory=dict)
    _deleting: set[str] = field(default_factory=set)
    _fatal: DeposedError | None = None
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def gate(self) -> Gate:
        return self.requests.gate

    @property
    def claims(self) -> Claims:
        return self.gate.claims

    @property
    def failing(self) -> int:
        """Contracts whose latest look or write failed."""
        return len(self._failed)

    # --- what makes a contract worth a look

    def start(self) -> None:
        """Takes over from the world as it is; call once, when it is complete."""
        self._fence = self.world.fence.nodes if self.world.fence else {}
        self.world.listeners.append(self.on_change)
        for key in self.world.contracts:
            self.on_change("contracts", key)

    def on_change(self, kind: str, key: str) -> None:
        if kind == "contracts":
            self._contract_changed(key)
        elif kind == "instructions":
            if (instruction := self.world.instructions.get(key)) is not None and instruction.contract in self.world.contracts:
                self.touch(instruction.contract, Priority.NEW)
        elif kind == "nodes":
            for contract in self.claims.contracts_on(key):
                self.touch(contract, Priority.FAILURE)
        elif kind == "fence":
            fence = self.world.fence.nodes if self.world.fence else {}
            changed = {node for node, _ in fence.items() ^ self._fence.items()}
            self._fence = fence
            for contract in self._deleting.union(*(self.claims.contracts_on(node) for node in changed)):
                self.touch(contract, Priority.FAILURE)
        elif kind in ("namespaces", "resource_claims"):
            for contract in self._deleting:
                self.touch(contract, Priority.COSMETIC)

    def _contract_changed(self, key: str) -> None:
        contract = self.world.contracts.get(key)
        for waiting in self.gate.observe(key):
            self.touch(waiting, Priority.FAILURE)
        if contract is None:
            self._forget(key)
        elif contract.deleting:
            self._deleting.add(key)
        if contract is not None:
            self.touch(key, Priority.NEW if contract.phase in UNDECIDED else Priority.COSMETIC)
            if contract.phase in COMMITTED and contract.quote:
                self.touch(contract.quote, Priority.COSMETIC)

    def _forget(self, key: str) -> None:
        self._deleting.discard(key)
        self.decisions.pop(key, None)
        self._taken.pop(key, None)
        self._failed.pop(key, None)
        self._agenda.wake(key, None)

    def touch(self, key: str, priority: Priority) -> None:
        if key in self._busy:
            self._again[key] = min(priority, self._again.get(key, priority))
        else:
            self._agenda.add(key, priority)
        self._wakeup.set()

    def touch_all(self) -> None:
        for key in self.world.contracts:
            self.touch(key, Priority.COSMETIC)

    def taken(self, key: str, event_id: str) -> None:
        """The log has this event: the next status drops it from the outbox. It has no hurry, but where something waits for that."""
        contract = self.world.contracts.get(key)
        if contract is None:
            return
        self._taken[key] = self._taken.get(key, frozenset()) | {event_id}
        if contract.deleting or len(contract.status.get("outbox") or ()) >= CAPACITY:
            self.touch(key, Priority.COSMETIC)

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        for key, decision in decisions.items():
            old = self.decisions.get(key)
            self.decisions[key] = decision
            contract = self.world.contracts.get(key)
            if contract is not None and (old is None or replace(old, planned_at=decision.planned_at) != decision):
                self.touch(key, Priority.FAILURE if contract.phase in COMMITTED else Priority.NEW)

    # --- the loop

    async def run(self) -> None:
        """Never returns; raises DeposedError when another operator leads."""
        looks = 0
        while self._fatal is None:
            self._agenda.wake_up(self.clock())
            while len(self._busy) < self._pace.limit and (item := self._agenda.pop()) is not None:
                self._look(*item)
                looks += 1
                if looks % _LOOKS_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._wakeup.clear()
            at = self._agenda.next_wake()
            timeout = None if at is None else max(0.05, at - self.clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wakeup.wait()
        raise self._fatal

    def idle(self) -> bool:
        return not self._busy and not len(self._agenda)

    def _look(self, key: str, priority: Priority) -> None:
        if key in self._busy:  # the clock woke it while its last request is under way
            self.touch(key, priority)
            return
        contract = self.world.contracts.get(key)
        if contract is None and key not in self.requests.unsure:
            self._forget(key)
            return
        try:
            work = self._work(key, contract)
        except Exception:
            self._fail(key, "its status cannot be computed", trace=True)
            return
        if work is None:
            return
        task = asyncio.ensure_future(self._attend(key, work))
        self._busy[key] = task

    def _work(self, key: str, contract: ContractView | None) -> Callable[[], Any] | None:
        """The request that this contract needs now; None: nothing, and its next wake is set."""
        if key in self.requests.unsure or contract is None:
            return lambda: self.requests.read(key)
        now = self.clock()
        taken = self._taken.get(key, frozenset())
        finalizers = finalizers_wanted(contract, self.world, self.claims, self._decision(contract), taken, self.authority.settings, now)
        if finalizers is not None:
            return lambda: self.requests.write_finalizers(contract, finalizers)
        if contract.phase == "" and self._decision(contract) is None and now < contract.created + FIRST_WORD_SECONDS:
            self._agenda.wake(key, contract.created + FIRST_WORD_SECONDS)
            return None
        decision, seal = self._decision(contract), self.sealing.of(contract)
        status = self.gate.pass_through(contract, decision, lambda decided: self._status(contract, decided, seal, now), now)
        if status is None:
            self._agenda.wake(key, self._next_look(contract, now))
            return None
        self.requests.claim(contract, status)  # at once: others are looked at before this one is sent
        return lambda: self._write_status(contract, status, seal.kept if seal else {})

    def _next_look(self, contract: ContractView, now: int) -> int | None:
        blocked = now + 1 if self.gate.waits(contract.key) else None
        wakes = [at for at in (statuses.next_wake(contract, now, self.world, self.authority.settings), blocked) if at is not None]
        return max(min(wakes), now + 1) if wakes else None

    def _decision(self, contract: ContractView) -> Decision | None:
        decision = self.decisions.get(contract.key)
        return decision if decision is not None and decision.uid in ("", contract.uid) else None

    def _status(self, contract: ContractView, decision: Decision | None, seal: Seal | None, now: int) -> dict[str, Any] | None:
        taken = self._taken.get(contract.key, frozenset())
        by = self.authority
        return statuses.next_status(contract, self.world, decision, taken, by.settings, by.source, by.epoch, now, seal)

    # --- the requests

    async def _attend(self, key: str, work: Callable[[], Any]) -> None:
        begun = time.monotonic()
        try:
            await work()
            self._failed.pop(key, None)
            self._pace.answered(time.monotonic() - begun)
            self._again.setdefault(key, Priority.COSMETIC)  # there may be more to do: the next wake at least
        except ApiError as error:
            self._refused(key, error)
        except DeposedError as error:
            self._fatal = error
        except Exception:
            self._fail(key, "its write failed", trace=True)
        finally:
            del self._busy[key]
            if (priority := self._again.pop(key, None)) is not None:
                self.touch(key, priority)
            self._wakeup.set()

    def _refused(self, key: str, error: ApiError) -> None:
        if error.status == 409:
            self._again[key] = Priority.NEW
        elif error.status != 404:  # gone: the watch will say so
            self._fail(key, str(error))

    def _fail(self, key: str, message: str, *, trace: bool = False) -> None:
        """Notes it once per message and looks again later and later."""
        count, before = self._failed.get(key, (0, ""))
        if message != before:
            log.warning("%s: %s", key, message, exc_info=trace)
        self._failed[key] = count + 1, message
        self._agenda.wake(key, self.clock() + min(_LONGEST_BACKOFF, 1 << min(count, 9)))

    async def _write_status(self, contract: ContractView, status: dict[str, Any], readings: Mapping[str, bytes]) -> None:
        try:
            await self.sealing.keep(contract, readings)
        except LedgerError:  # the alarm was raised; the next look makes a status without the receipts
            self.claims.settle(contract.key)
            return
        answer = await self.requests.write_status(contract, status)
        self._forget_taken(contract.key, answer)
        self.told(contract, answer)

    def _forget_taken(self, key: str, view: ContractView) -> None:
        if key in self._taken:
            self._taken[key] &= {entry["id"] for entry in view.status.get("outbox") or ()}
            if not self._taken[key]:
                del self._taken[key]
