"""The daily statement to an exchange: where each of its contracts stands, so that it can compare what it has with what was said.

An event of the log, not of a contract. A day's statement is cut into parts of at most `PART_BYTES`; each says how many there are, and the
digest of all lines together. All parts are appended in one transaction, after every event that they speak of: so a log has the whole
statement of a day or none, and who has the log up to there has all that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import rfc8785

from laycan.events.cloudevents import operator_event
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.ledger.log import ContentConflictError, Entry, Log
from laycan.resources.digest import digest
from laycan.resources.times import format_time
from laycan_verify.classes import DAY_SECONDS

NAME = "statement"
PART_BYTES = 48_000  # of its lines; an event holds 64 kB


def statement_id(origin: str, day: int, part: int) -> str:
    """`day`: UTC day since 1970-01-01; `part` from 1."""
    return f"{NAME}/{origin}/{format_time(day * DAY_SECONDS)[:10]}/{part}"


def say(log: Log, contracts: Sequence[ContractView], endpoint: str, source: str, now: int) -> list[str]:
    """Appends the day's statement unless the log has it; the ids of its parts, none where it was there. Raises as `Log.append` does.

    `contracts` of the endpoint `namespace/name`, `source` of the events, `now` in Unix seconds. What waits in their outboxes goes before.
    """
    if log.index_of(statement_id(log.origin, now // DAY_SECONDS, 1)) is not None:
        return []
    waiting = [Entry(entry["id"], entry["body"].encode()) for each in contracts for entry in each.status.get("outbox") or ()]
    parts = [Entry(id_, body.encode()) for id_, body in statement(contracts, endpoint, log.origin, source, now)]
    with suppress(ContentConflictError):  # an outbox was edited: the appender's alarm; all else was appended
        log.append([*waiting, *parts])
    return [part.id for part in parts]


def statement(contracts: Iterable[ContractView], endpoint: str, origin: str, source: str, now: int) -> list[tuple[str, str]]:
    """(id, body) of each part; `origin` of the log, the others as in `say`."""
    lines = [line(contract) for contract in sorted(contracts, key=lambda contract: contract.key)]
    parts, day, whole = _parts(lines), now // DAY_SECONDS, digest(lines)
    made = []
    for number, part in enumerate(parts, 1):
        id_, data = statement_id(origin, day, number), {"lines": part, "part": number, "parts": len(parts), "digest": whole}
        made.append((id_, operator_event(event_id=id_, name=NAME, source=source, subject=endpoint, time=now, data=data)))
    return made


def line(contract: ContractView) -> dict[str, Any]:
    """Where one contract stands: the last event's number and digest are what the exchange must have."""
    status = contract.status
    ledger = status.get("ledger") or {}
    found: dict[str, Any] = {
        "contractId": text_at(contract.spec, "terms", "contractId"),
        "uid": contract.uid,
        "phase": contract.phase,
        "sequence": ledger.get("sequence", 0),
        "headDigest": ledger.get("headDigest"),
        "quantities": status.get("quantities"),
        "meteredUntil": (status.get("meter") or {}).get("until"),
        "receipts": (status.get("receipts") or {}).get("sequence"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _parts(lines: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """At least one, though there be no contract."""
    parts: list[list[Mapping[str, Any]]] = [[]]
    size = 0
    for each in lines:
        length = len(rfc8785.dumps(dict(each))) + 1
        if parts[-1] and size + length > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(each)
        size += length
    return parts
