"""What the exchange keeps, in one SQLite file. What was committed is on the disk (WAL, synchronous=FULL), and only then acknowledged.

Nothing is ever changed or deleted in it, but for `contract`, which says where each one stands by the newest event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from laycan_verify.merkle import join, leaf_hash, node_hash

TABLES = """
CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, type TEXT NOT NULL, body BLOB NOT NULL, received INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS place (origin TEXT, place INTEGER, id TEXT NOT NULL, PRIMARY KEY (origin, place), UNIQUE (origin, id)) STRICT;
CREATE TABLE IF NOT EXISTS contract (uid TEXT PRIMARY KEY, sequence INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS receipt (uid TEXT, sequence INTEGER, digest TEXT NOT NULL, cites TEXT, PRIMARY KEY (uid, sequence)) STRICT;
CREATE TABLE IF NOT EXISTS checkpoint (origin TEXT, size INTEGER, note TEXT NOT NULL, PRIMARY KEY (origin, size)) STRICT;
CREATE TABLE IF NOT EXISTS alarm (what TEXT PRIMARY KEY, proof BLOB NOT NULL, first INTEGER NOT NULL, times INTEGER NOT NULL) STRICT;
"""


STANDS = """INSERT INTO contract VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET sequence = excluded.sequence, id = excluded.id WHERE excluded.sequence > sequence"""
IN_ORDER = "SELECT body, received FROM event WHERE type LIKE ? ORDER BY substr(id, 1, instr(id, '/')), length(id), id"


class Receipt(NamedTuple):
    digest: str
    cites: str | None  # digest of the one before


class Ledger:
    """Of the stream of one ExchangeEndpoint, whose log is called `origin`. One process writes it; any number may read."""

    def __init__(self, path: Path | str, origin: str = "") -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {TABLES}")
        self._origin = origin
        self._peaks, self._hashed = list[bytes](), 0  # the tree over the first entries, as far as it was asked for
        self.have = -1  # index up to which nothing is missing
        self._advance()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when it is left."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._advance()

    def _advance(self) -> None:
        while self.id_at(self.have + 1) is not None:
            self.have += 1

    # --- events

    def body(self, event_id: str) -> bytes | None:
        found: bytes | None = self._value("SELECT body FROM event WHERE id = ?", event_id)
        return found

    def id_at(self, place: int) -> str | None:
        found: str | None = self._value("SELECT id FROM place WHERE (origin, place) = (?, ?)", self._origin, place)
        return found

    def place_of(self, event_id: str) -> int | None:
        found: int | None = self._value("SELECT place FROM place WHERE (origin, id) = (?, ?)", self._origin, event_id)
        return found

    @property
    def last(self) -> int:
        """The highest index that is here, -1 without any."""
        found: int = self._value("SELECT coalesce(max(place), -1) FROM place WHERE origin = ?", self._origin)
        return found

    def keep(self, event_id: str, kind: str, body: bytes, received: int) -> None:
        self._db.execute("INSERT INTO event VALUES (?, ?, ?, ?)", (event_id, kind, body, received))

    def put(self, place: int, event_id: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO place VALUES (?, ?, ?)", (self._origin, place, event_id))

    def stands(self, uid: str, sequence: int, event_id: str) -> None:
        """The contract stands where its event of the highest sequence says: an older one that comes late changes nothing."""
        self._db.execute(STANDS, (uid, sequence, event_id))

    def newest(self, uid: str) -> tuple[int, bytes]:
        """Sequence and body of a contract's newest event, which is all that your own books need; 0 and nothing without any."""
        sql = "SELECT sequence, body FROM contract JOIN event USING (id) WHERE uid = ?"
        return self._db.execute(sql, (uid,)).fetchone() or (0, b"")

    def contracts(self) -> list[str]:
        """uids of all that we heard of."""
        return [uid for (uid,) in self._db.execute("SELECT uid FROM contract ORDER BY uid")]

    def count(self, uid: str, last: int) -> int:
        """How many of a contract's events up to number `last` are here."""
        sql = "SELECT count(*) FROM event WHERE id > ? AND id < ? AND CAST(substr(id, ?) AS INTEGER) <= ?"
        found: int = self._value(sql, f"{uid}/", f"{uid}0", len(uid) + 2, last)  # "0" follows "/"
        return found

    def events(self, kind: str = "%") -> list[tuple[bytes, int]]:
        """Bodies and when they came, contract by contract, each in its own order."""
        return self._db.execute(IN_ORDER, (kind,)).fetchall()

    def arrived(self, kind: str) -> list[tuple[bytes, int]]:
        """Bodies of one type and when they came, in that order."""
        return self._db.execute("SELECT body, received FROM event WHERE type = ? ORDER BY rowid", (kind,)).fetchall()

    # --- proofs

    def root(self, size: int) -> bytes:
        """RFC 9162 root of the first `size` entries, from their own bytes. It goes on from the last call: a heartbeat costs what is new."""
        if size < self._hashed:
            self._peaks, self._hashed = [], 0
        sql = "SELECT body FROM place JOIN event USING (id) WHERE origin = ? AND place >= ? AND place < ? ORDER BY place"
        for (body,) in self._db.execute(sql, (self._origin, self._hashed, size)):
            self._hashed, top = self._hashed + 1, leaf_hash(body)
            complete = self._hashed
            while complete % 2 == 0:
                top, complete = node_hash(self._peaks.pop(), top), complete // 2
            self._peaks.append(top)
        return join(self._peaks)

    def has_checkpoint(self, size: int) -> bool:
        return self._value("SELECT 1 FROM checkpoint WHERE (origin, size) = (?, ?)", self._origin, size) is not None

    @property
    def longest(self) -> int:
        """The size of the largest checkpoint that was found right."""
        found: int = self._value("SELECT coalesce(max(size), 0) FROM checkpoint WHERE origin = ?", self._origin)
        return found

    def keep_checkpoint(self, size: int, note: str) -> None:
        """The first note of each size, with our cosignature."""
        self._db.execute("INSERT OR IGNORE INTO checkpoint VALUES (?, ?, ?)", (self._origin, size, note))

    def receipt(self, uid: str, sequence: int) -> Receipt | None:
        found = self._db.execute("SELECT digest, cites FROM receipt WHERE (uid, sequence) = (?, ?)", (uid, sequence)).fetchone()
        return Receipt(*found) if found else None

    def keep_receipt(self, uid: str, sequence: int, digest: str, cites: str | None) -> None:
        self._db.execute("INSERT INTO receipt VALUES (?, ?, ?, ?)", (uid, sequence, digest, cites))

    # --- alarms

    def alarm(self, what: str, proof: bytes, now: int) -> None:
        """Something that a person must look at, with the bytes that prove it; the same thing is kept once, and counted."""
        self._db.execute("INSERT INTO alarm VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1", (what, proof, now))

    def alarms(self) -> list[str]:
        return [what for (what,) in self._db.execute("SELECT what FROM alarm ORDER BY first")]

    def close(self) -> None:
        self._db.close()

    def _value(self, sql: str, *values: Any) -> Any:
        found = self._db.execute(sql, values).fetchone()
        return found and found[0]
