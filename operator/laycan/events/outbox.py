"""`status.outbox`: what was decided and is not in a log yet.

The status write that decides a change also carries the change's event, so neither is ever there without the other. Once the log has
it, the entry leaves with the next write, and after a while by a write of its own: writes are what the API server is short of. The
outbox is short on purpose: while it is full, what needs an event waits; bindings and quantities never do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.events.cloudevents import event_body, event_id, event_type
from laycan.resources.times import parse_time

CAPACITY = 8
MOST_LOTS = 4096  # named in an event, which holds 64 kB
TIDY_SECONDS = 30  # so old is an entry that the log has when it is worth a write of its own


@dataclass(slots=True)
class Outbox:
    """The outbox of one contract while its next status is made. A `hurried` one always has room, and forgets what has none."""

    uid: str
    contract_id: str
    source: str
    sequence: int
    head_digest: str | None
    entries: list[dict[str, Any]]
    hurried: bool = False
    taken: tuple[dict[str, Any], ...] = ()  # entries that the log has, oldest first
    news: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)  # name and change, in order

    @classmethod
    def open(cls, status: Mapping[str, Any], *, uid: str, contract_id: str, source: str, taken: frozenset[str], hurried: bool) -> Outbox:
        """`taken` are ids that the log has."""
        ledger = status.get("ledger") or {}
        written = [dict(entry) for entry in status.get("outbox") or ()]
        entries, gone = [e for e in written if e["id"] not in taken], tuple(e for e in written if e["id"] in taken)
        return cls(uid, contract_id, source, ledger.get("sequence", 0), ledger.get("headDigest"), entries, hurried, gone)

    @property
    def room(self) -> bool:
        return self.hurried or len(self.entries) + len(self.news) < CAPACITY

    def untidy(self, now: int) -> bool:
        """Whether what the log has stands here for long."""
        if not self.taken:
            return False
        try:
            return now - parse_time(json.loads(self.taken[0]["body"])["time"]) >= TIDY_SECONDS
        except (ValueError, LookupError, TypeError):  # somebody edited it: the log has what was said
            return True

    def say(self, name: str, change: Mapping[str, Any]) -> bool:
        """Takes the news if there is room; whoever gets False leaves the thing as it was. Of many lots the first are named."""
        event_type(name)
        if self.room:
            self.news.append((name, {**change, "lots": change["lots"][:MOST_LOTS]} if "lots" in change else change))
            return True
        return False

    def seal(self, contract: Mapping[str, Any], now: int) -> None:
        """Numbers the news and writes their bodies; `contract` is the contract as it is after all of them."""
        room = CAPACITY - len(self.entries)
        for name, change in self.news[max(0, len(self.news) - room) :]:
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
