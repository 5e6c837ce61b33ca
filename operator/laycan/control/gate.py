"""Holds a status back until what it acquires was let go: release before acquire, one contract at a time.

Those in the way are about to be written themselves, so a wait is short. Where contracts wait for each other in a ring, one lets go
of what it leaves in a first write and acquires in a second. A wait that lasts means that the plan cannot be reached from what is
written, and asks for another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from laycan.control.claims import Claim, Claims, claims_of
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED
from laycan.kube.sound import seconds_at
from laycan.kube.views import ContractView
from laycan.kube.world import World

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5  # then a new plan is asked for

Status = dict[str, Any]


@dataclass(slots=True)
class Gate:
    world: World
    replan: Callable[[], None]
    claims: Claims = field(default_factory=Claims)
    unreached: set[str] = field(default_factory=set)  # contracts in a wait that lasts: the next plan starts from what is written of them
    _waiting: dict[str, tuple[int, frozenset[str]]] = field(default_factory=dict)  # key -> (since, contracts that must let go first)

    def observe(self, key: str) -> list[str]:
        """Takes the claims of the contract as it is observed now; returns those that waited for what it let go."""
        contract = self.world.contracts.get(key)
        held = self.claims.written.get(key, ())
        self.claims.observe(key, self.claims_of(contract, contract.status) if contract else ())
        if contract is None:
            self._waiting.pop(key, None)
        if held == self.claims.written.get(key, ()):
            return []
        return [other for other, (_, awaited) in self._waiting.items() if key in awaited]

    def waits(self, key: str) -> bool:
        return key in self._waiting

    def pass_through(
        self, contract: ContractView, decision: Decision | None, make: Callable[[Decision | None], Status | None], now: int
    ) -> Status | None:
        """What of the status that `make` gives for the decision may be written now; None: nothing."""
        status = make(decision)
        wanted = self.claims_of(contract, status) if status else ()
        blocked = self._blocked(contract, wanted, now)
        if not blocked:
            self._waiting.pop(contract.key, None)
            return status
        awaited = frozenset().union(*blocked.values())
        self._note(contract.key, awaited, now)
        ring = awaited & self._waiting.keys()
        if contract.phase not in COMMITTED or decision is None or not ring:
            return None
        free = tuple(b for b in decision.bindings if not any(b.node == c.node and b.start < c.end and c.start < b.end for c in blocked))
        released = make(replace(decision, bindings=free))
        return released if released and not self._blocked(contract, self.claims_of(contract, released), now) else None

    def claims_of(self, contract: ContractView, status: Mapping[str, Any]) -> tuple[Claim, ...]:
        return claims_of(contract, status, self._turnaround)

    def _turnaround(self, product: str) -> int:
        return seconds_at(self.world.products.get(product), "spec", "turnaroundSeconds")

    def _blocked(self, contract: ContractView, wanted: tuple[Claim, ...], now: int) -> dict[Claim, set[str]]:
        if wanted == self.claims.written.get(contract.key, ()):
            return {}
        capacity = {c.node: self.world.gpus(node) for c in wanted if (node := self.world.nodes.get(c.node)) is not None}
        return self.claims.blockers(contract.key, wanted, now, capacity)

    def _note(self, key: str, awaited: frozenset[str], now: int) -> None:
        since, _ = self._waiting.get(key, (now, awaited))
        if now - since >= PATIENCE_SECONDS:
            log.warning("%s waits for %s to let go: planning anew", key, ", ".join(sorted(awaited)[:4]))
            since = now
            self.unreached |= awaited | {key}
            self.replan()
        self._waiting[key] = since, awaited
