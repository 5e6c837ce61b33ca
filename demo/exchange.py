"""The exchange of the demo: the kit of examples/exchange in a process of its own, and what its ledger and its answers say."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]
NAME = "gcx"
REFUSALS = (400, 401, 409, 413, 422)


@dataclass(frozen=True)
class Exchange:
    """Reads beside the receiver, which alone writes."""

    ledger: Path
    log: Path  # its standard output, a line of JSON for each answer

    def argv(self, port: int, secret: Path, *more: str) -> list[str]:
        return ["-m", "examples.exchange", "--port", str(port), "--ledger", str(self.ledger), "--secret-file", str(secret), *more]

    def events(self, after: int = 0) -> list[tuple[int, Object]]:
        """What came after event number `after`, each with its number, in the order of arrival."""
        return [(n, json.loads(body)) for n, body in self._rows("SELECT rowid, body FROM event WHERE rowid > ? ORDER BY rowid", after)]

    def heard(self) -> dict[str, list[int]]:
        """Numbers of the events that it has of each contract, by uid, in the order of arrival."""
        found: dict[str, list[int]] = {}
        for _, event in self.events():
            if "sequence" in event:
                found.setdefault(event["id"].rpartition("/")[0], []).append(int(event["sequence"]))
        return found

    def alarms(self) -> list[str]:
        return [what for (what,) in self._rows("SELECT what FROM alarm ORDER BY first")]

    def entries(self) -> int:
        """How many entries of the operator's log it has."""
        return self._number("SELECT count(*) FROM place")

    def checkpoints(self) -> int:
        """How many heads of the operator's log it has found to be its own, and cosigned."""
        return self._number("SELECT count(*) FROM checkpoint")

    def cosigned(self) -> int:
        """How many entries are under the longest of them."""
        return self._number("SELECT coalesce(max(size), 0) FROM checkpoint")

    def witnessed(self, uid: str) -> int:
        """How many receipts of a contract are under it."""
        size, receipts = self.cosigned(), "SELECT place, id FROM place JOIN event USING (id) WHERE type = 'dev.laycan.receipt.issued.v1'"
        return sum(place < size and event_id.startswith(f"{uid}/") for place, event_id in self._rows(receipts))

    def answers(self) -> Counter[int]:
        """By HTTP status, of events."""
        found: Counter[int] = Counter()
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            said = json.loads(line) if line.startswith('{"id"') else {}
            if said and not said["id"].startswith("checkpoint/"):
                found[said["answer"]] += 1
        return found

    def _number(self, sql: str) -> int:
        return int(self._rows(sql)[0][0]) if self.ledger.exists() else 0

    def _rows(self, sql: str, *values: int) -> list[tuple[Any, ...]]:
        if not self.ledger.exists():
            return []
        with closing(sqlite3.connect(f"{self.ledger.resolve().as_uri()}?mode=ro", uri=True)) as reader:
            return reader.execute(sql, values).fetchall()
