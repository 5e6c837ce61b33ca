"""The daily statement to an exchange: where each of its contracts stands, so that it can compare what it has with what was said.

An event of the log, not of a contract: its id follows from the day and the part, so that a statement which is made twice is the same
entry. A day's statement is cut into parts of at most `PART_BYTES`; each says how many there are, and the digest of all lines together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rfc8785

from laycan.events.cloudevents import event_type
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.resources.digest import digest
from laycan.resources.times import format_time
from laycan_verify.classes import DAY_SECONDS

NAME = "statement"
PART_BYTES = 48_000  # of its lines; an event holds 64 kB


def statement_id(origin: str, day: int, part: int) -> str:
    """`day`: UTC day since 1970-01-01; `part` from 1."""
    return f"{NAME}/{origin}/{format_time(day * DAY_SECONDS)[:10]}/{part}"


def statement(contracts: Iterable[ContractView], endpoint: str, origin: str, source: str, now: int) -> list[tuple[str, str]]:
    """(id, body) of each part for the endpoint `namespace/name`; `origin` of its log, `source` of the events, `now` in Unix seconds.

    Of a day there is one statement, of its first second's state as it is known `now`: make it once, soon after midnight UTC.
    """
    mine = [contract for contract in contracts if f"{contract.namespace}/{text_at(contract.spec, 'exchangeRef', 'name')}" == endpoint]
    lines = [line(contract) for contract in sorted(mine, key=lambda contract: contract.key)]
    parts, day, whole = _parts(lines), now // DAY_SECONDS, digest(lines)
    made = []
    for number, part in enumerate(parts, 1):
        id_, data = statement_id(origin, day, number), {"lines": part, "part": number, "parts": len(parts), "digest": whole}
        made.append((id_, _body(id_, source, endpoint, now, data)))
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


def _body(id_: str, source: str, subject: str, now: int, data: Mapping[str, Any]) -> str:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "subject": subject,
        "type": event_type(NAME),
        "time": format_time(now),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return rfc8785.dumps(event).decode()
