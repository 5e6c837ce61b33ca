"""`status.outbox`: what was decided and is not acknowledged yet.

The status write that decides a change also carries the change's event, so neither is ever there without the other. The exchange's
acknowledgement takes the entry out with the next write. The outbox is short on purpose: while it is full, what needs an event
waits; bindings and quantities never do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.events.cloudevents import event_body, event_id, event_type

CAPACITY = 8


@dataclass(slots=True)
class Outbox:
    """The outbox of one contract while its next status is made. A `silent` one has nobody to tell: it takes all and keeps nothing."""

    uid: str
    contract_id: str
    source: str
    sequence: int
    head_digest: str | None
    entries: list[dict[str, Any]]
    silent: bool = False
    news: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)  # name and change, in order

    @classmethod
    def open(cls, status: Mapping[str, Any], *, uid: str, contract_id: str, source: str, acked: frozenset[str], silent: bool) -> Outbox:
        ledger = status.get("ledger") or {}
        entries = [dict(entry) for entry in status.get("outbox") or () if entry["id"] not in acked]
        return cls(uid, contract_id, source, ledger.get("sequence", 0), ledger.get("headDigest"), entries, silent)

    @property
    def room(self) -> bool:
        return self.silent or len(self.entries) + len(self.news) < CAPACITY

    def say(self, name: str, change: Mapping[str, Any]) -> bool:
        """Takes the news if there is room; whoever gets False leaves the thing as it was."""
        event_type(name)
        if self.room:
            self.news.append((name, change))
            return True
        return False

    def seal(self, contract: Mapping[str, Any], now: int) -> None:
        """Numbers the news and writes their bodies; `contract` is the contract as it is after all of them."""
        for name, change in [] if self.silent else self.news:
            self.sequence += 1
            body = event_body(
                uid=self.uid,
                sequence=self.sequence,
                name=name,
                source=self.source,
                contract_id=self.contract_id,
                time=now,
                data={"contract": contract, "change": change},
            )
            self.head_digest = "sha256:" + hashlib.sha256(body.encode()).hexdigest()
            entry = {"id": event_id(self.uid, self.sequence), "sequence": self.sequence, "type": event_type(name), "body": body}
            self.entries.append(entry)
        self.news.clear()
