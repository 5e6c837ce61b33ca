"""The operator's daily statement, compared with what is here: where an event was lost, it shows here at the latest.

The statement stands in the log behind every event that it speaks of. So who has all entries before it has all that it names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from laycan_verify.strict import canonical, digest, need, parse, read

from .ledger import Ledger

LINE = {"contractId": str, "uid": str, "phase": str, "sequence": int, "headDigest?": str, ...: ...}
DATA = {"lines": [LINE], "part": int, "parts": int, "digest": str}
RUNNING = ("Accepted", "Delivering")  # such a contract does not go without a last event


def differences(event: Mapping[str, Any], place: int | None, ledger: Ledger) -> list[str]:
    """One sentence for each thing that is not as this part says; with the last part of a day, for the whole of it too.

    The event is kept already, at `place` of the log, None where there is none.
    """
    data = read(DATA, event["data"], "the statement: data")
    found = [f"{event['id']}: {what}" for line in data["lines"] for what in _line(line, ledger)]
    day = event["id"].rpartition("/")[0]
    bodies = [body for part in range(1, min(data["parts"], 10_000) + 1) if (body := ledger.body(f"{day}/{part}"))]
    if len(bodies) == data["parts"]:
        lines = [line for body in bodies for line in read(DATA, parse(body, day)["data"], day)["lines"]]
        need(digest(canonical(lines, day)) == data["digest"], f"{day}: its parts have another digest than they say")
        found += [f"{day}: {what}" for what in _unnamed({line["uid"] for line in lines}, place, ledger)]
    return found


def _line(line: Mapping[str, Any], ledger: Ledger) -> Iterator[str]:
    name, uid, number = f"contract {line['contractId']}", line["uid"], line["sequence"]
    body = ledger.body(f"{uid}/{number}")
    if number and body is None:
        yield f"{name} stands at event {number}, which is not here"
    elif body is not None and digest(body) != line.get("headDigest"):
        yield f"{name}: its event {number} has other bytes here"
    elif body is not None and (phase := _phase(body)) != line["phase"]:
        yield f"{name} is {line['phase']}, and {phase} by its event {number}"
    if (lost := number - ledger.count(uid, number)) > 0:
        yield f"{name}: {lost} of its first {number} events are not here"


def _unnamed(named: set[str], place: int | None, ledger: Ledger) -> Iterator[str]:
    """Contracts that run by what is here, began before the statement, and are not in it."""
    for uid in ledger.contracts():
        first, (number, body) = ledger.place_of(f"{uid}/1"), ledger.newest(uid)
        if uid not in named and place is not None and (first is None or first < place) and _phase(body) in RUNNING:
            yield f"contract {json.loads(body)['subject']} is {_phase(body)} by its event {number}, and not in it"


def _phase(body: bytes) -> str:
    return str(json.loads(body)["data"].get("contract", {}).get("phase", ""))
