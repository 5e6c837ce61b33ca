"""How a log begins: as the first of its name, or after one that is lost.

A log that was there is known from what others hold: the endpoint's status says how far it went, and a contract whose events have left
its outbox had them in a log. Where the file is gone all the same, the new log has a name of its own, and its first entries say which
log it follows and where each contract's history stood. So nobody takes it for the old one, begun anew. Where only contracts know that
there was a log, nobody knows which one it was: the new one is called by the second in which it begins, so no name ever comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from laycan.events.appender import exchange_of, strayed
from laycan.events.cloudevents import operator_event
from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import Beginning, Place
from laycan.ledger.log import Entry, origin_of

EVENT = "log.replaced"
HEADS = 300  # in one entry, which holds 64 kB


@dataclass(frozen=True, slots=True)
class Beginnings:
    world: World
    operator: str  # its id
    source: str  # CloudEvents source of this cluster
    clock: Callable[[], int]

    def __call__(self, place: Place) -> Beginning:
        first = origin_of(self.operator, *place)
        told = mapping(mapping(self.world.endpoints.get(str(place))).get("status")).get("log")
        known, size = text_at(told, "origin"), seconds_at(told, "size")
        if not (known == first or known.startswith(f"{first}/")):
            known, size = "", 0
        heads = [_head(contract) for contract in self.world.contracts.values() if exchange_of(contract) == place and _said(contract)]
        if not known and not heads:
            return Beginning(first)
        life = 1 + _life(known, first) if known else self.clock()
        origin = origin_of(self.operator, *place, life)
        return Beginning(origin, self._entries(origin, life, known or first, size, sorted(heads, key=str)), known, size)

    def _entries(self, origin: str, life: int, known: str, size: int, heads: Sequence[dict[str, Any]]) -> list[Entry]:
        now, found = self.clock(), []
        for number, some in enumerate(_pages(heads), 1):
            data = {"origin": origin, "replaces": {"origin": known, "size": size}, "heads": some, "contracts": len(heads)}
            entry_id = f"log/{life}/{number}"
            body = operator_event(event_id=entry_id, name=EVENT, source=self.source, subject=origin, time=now, data=data)
            found.append(Entry(entry_id, body.encode()))
        return found


def _pages(heads: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """One at least."""
    yield from ([*heads[start : start + HEADS]] for start in range(0, max(1, len(heads)), HEADS))


def _said(contract: ContractView) -> bool:
    """Whether its exchange's log has an event of it: it had more to say than waits, and the exchange was there."""
    return not strayed(contract) and seconds_at(contract.status, "ledger", "sequence") > len(contract.status.get("outbox") or ())


def _head(contract: ContractView) -> dict[str, Any]:
    ledger = contract.status["ledger"]
    return {"contract": contract.uid, "sequence": ledger["sequence"], "headDigest": ledger.get("headDigest", "")}


def _life(origin: str, first: str) -> int:
    """Of `<first>/2` it is 2, of `<first>` 1."""
    number = origin.removeprefix(first).removeprefix("/")
    return int(number) if number.isdigit() else 1
