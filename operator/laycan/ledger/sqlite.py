"""A log in one SQLite file. Plain synchronous code, to be run in one thread (a commit waits for the disk).

`create_log` and `open_log` are different verbs on purpose: where a log is lost, opening it fails, and nobody takes an empty one for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from laycan.ledger import tree
from laycan.ledger.audit import check_ends, findings, unpacked
from laycan.ledger.database import Database
from laycan.ledger.log import Checkpoint, ContentConflictError, DamagedError, Entry, LedgerError, Logged
from laycan.ledger.tree import StoredTree
from laycan_verify import merkle

_VERSION = 1  # of the tables, in the file's user_version
_TABLES = (
    "CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), origin TEXT NOT NULL, cursor INTEGER NOT NULL) STRICT",
    "CREATE TABLE entry (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL) STRICT",
    "CREATE TABLE node (position INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT",  # as in tree.py
    "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY CHECK (size > 0), note TEXT NOT NULL, cosigned INTEGER NOT NULL) STRICT",
    "CREATE INDEX replaceable ON checkpoint (size) WHERE NOT cosigned",  # few, among one a minute for years
    "CREATE TABLE parked (place INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT",
    "CREATE TABLE reading (root BLOB PRIMARY KEY, lines BLOB NOT NULL) STRICT",  # zlib of the readings, a line each
    f"PRAGMA user_version = {_VERSION}",
)


def path_of(root: Path, namespace: str, endpoint: str) -> Path:
    """The file of an ExchangeEndpoint's log; "" and "" for contracts without an exchange."""
    return root / namespace / f"{endpoint or 'local'}.sqlite"


def create_log(path: Path, origin: str, first: Sequence[Entry] = ()) -> SqliteLog:
    """A new log with its first entries, or none at all. Raises LedgerError where there is one, ValueError for no name of a note."""
    if not origin or any(c.isspace() or c == "+" or c < " " for c in origin):
        raise ValueError(f"{origin!r} cannot name a log: it must hold no space and no plus")
    database = Database(path, mode="rwc")
    with _closed_on_error(database):
        if database.one("PRAGMA user_version"):
            raise LedgerError(f"{path} holds a log already; open it")
        with database.transaction():
            for statement in _TABLES:
                database.rows(statement)
            database.rows("INSERT INTO log VALUES (1, ?, -1)", origin)
            log = SqliteLog(database)
            log._add(first)
        return log


def open_log(path: Path, *, read_only: bool = False) -> SqliteLog:
    """The log that is there. Raises LedgerError where there is none, InUseError for a second writer, DamagedError."""
    if not path.is_file():
        raise LedgerError(f"there is no log at {path}: one that is lost is followed by a new one with another origin")
    database = Database(path, mode="ro" if read_only else "rw")
    with _closed_on_error(database):
        version = database.one("PRAGMA user_version")
        if version != _VERSION:
            raise LedgerError(f"{path} holds no log of version {_VERSION}" + (f" but one of version {version}" if version else ""))
        with database.transaction(write=False):
            log = SqliteLog(database)
            check_ends(database, log._tree)
        return log


@contextmanager
def _closed_on_error(database: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.close()
        raise


class SqliteLog:
    """See `Log`. Made by `create_log` and `open_log`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tree = StoredTree(self._nodes)
        self.origin: str = database.one("SELECT origin FROM log")

    @property
    def size(self) -> int:
        found: int = self._database.one("SELECT coalesce(max(place) + 1, 0) FROM entry")
        return found

    def append(self, entries: Sequence[Entry]) -> dict[str, int]:
        with self._database.transaction():
            indices, conflicts = self._add(entries)
        if conflicts:
            raise ContentConflictError(self.origin, conflicts, indices)
        return indices

    def _add(self, entries: Sequence[Entry]) -> tuple[dict[str, int], list[str]]:
        indices, conflicts = dict[str, int](), list[str]()
        size = self.size
        peaks = self._tree.peaks(size)
        for entry in entries:
            known = self._database.rows("SELECT place, body FROM entry WHERE id = ?", entry.id)
            if not known:
                made = tree.grow(size, peaks, entry.body)
                self._database.rows("INSERT INTO entry VALUES (?, ?, ?)", size, entry.id, entry.body)
                for position, stored in enumerate(made, tree.positions_before(size)):
                    self._database.rows("INSERT INTO node VALUES (?, ?)", position, stored)
                indices[entry.id], size = size, size + 1
            elif known[0][1] == entry.body:
                indices[entry.id] = known[0][0]
            else:
                conflicts.append(entry.id)
        return indices, conflicts

    def entries(self, after: int, limit: int) -> list[Logged]:
        after = max(-1, min(after, self.size))  # a receiver may name any number
        found = self._database.rows("SELECT place, id, body FROM entry WHERE place > ? ORDER BY place LIMIT ?", after, limit)
        return [Logged(*row) for row in found]

    def entries_of(self, prefix: str) -> list[Logged]:
        beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # SQLite compares text by its bytes
        found = self._database.rows("SELECT place, id, body FROM entry WHERE id >= ? AND id < ? ORDER BY place", prefix, beyond)
        return [Logged(*row) for row in found]

    def index_of(self, entry_id: str) -> int | None:
        found: int | None = self._database.one("SELECT place FROM entry WHERE id = ?", entry_id)
        return found

    def root(self, size: int | None = None) -> bytes:
        return self._tree.root(self._within(size))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        size = self._within(size)
        if not 0 <= index < size:
            raise ValueError(f"there is no entry {index} among the first {size} of {self.origin}")
        return self._tree.hashes(tree.inclusion(index, size))

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        new = self._within(new)
        if not 0 <= old <= new:
            raise ValueError(f"{self.origin} never had {old} entries before it had {new}")
        return self._tree.hashes(tree.consistency(old, new))

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._within(checkpoint.size)
        with self._database.transaction():
            self._database.rows(
                "INSERT INTO checkpoint VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET note = excluded.note, cosigned = excluded.cosigned",
                checkpoint.size, checkpoint.note, checkpoint.cosigned,
            )  # fmt: skip
            ends = "SELECT min(size) FROM checkpoint UNION SELECT max(size) FROM checkpoint"
            self._database.rows(f"DELETE FROM checkpoint WHERE NOT cosigned AND size NOT IN ({ends})")  # noqa: S608 - no value in it

    def latest_checkpoint(self) -> Checkpoint | None:
        return self._checkpoint("TRUE ORDER BY size DESC")

    def checkpoint_covering(self, index: int) -> Checkpoint | None:
        return self._checkpoint("size > ? AND cosigned ORDER BY size", index) or self._checkpoint("size > ? ORDER BY size", index)

    def _checkpoint(self, which: str, *values: int) -> Checkpoint | None:
        found = self._database.rows(f"SELECT size, note, cosigned FROM checkpoint WHERE {which} LIMIT 1", *values)  # noqa: S608
        return Checkpoint(found[0][0], found[0][1], bool(found[0][2])) if found else None

    @property
    def cursor(self) -> int:
        found: int = self._database.one("SELECT cursor FROM log")
        return found

    def move_cursor(self, index: int) -> None:
        if not -1 <= index < self.size:
            raise ValueError(f"there is no entry {index} in {self.origin}")
        with self._database.transaction():
            self._database.rows("UPDATE log SET cursor = ?", index)

    def park(self, index: int, reason: str | None) -> None:
        with self._database.transaction():
            self._database.rows("DELETE FROM parked WHERE place = ?", index)
            if reason is not None:
                self._database.rows("INSERT INTO parked VALUES (?, ?)", index, reason)

    def parked(self) -> dict[int, str]:
        return dict(self._database.rows("SELECT place, reason FROM parked ORDER BY place"))

    def keep_readings(self, *readings: Sequence[bytes]) -> list[bytes]:
        made = [(merkle.root(lines), zlib.compress(b"".join(line + b"\n" for line in lines))) for lines in readings]
        with self._database.transaction():
            for root, lines in made:
                self._database.rows("INSERT OR REPLACE INTO reading VALUES (?, ?)", root, lines)
        return [root for root, _ in made]

    def readings(self, root: bytes) -> list[bytes] | None:
        found = self._database.one("SELECT lines FROM reading WHERE root = ?", root)
        return None if found is None else unpacked(found)

    def verify(self) -> list[str]:
        with self._database.transaction(write=False):
            return findings(self._database, self._tree)

    def close(self) -> None:
        self._database.close()

    def _within(self, size: int | None) -> int:
        found = self.size
        if size is not None and not 0 <= size <= found:
            raise ValueError(f"{self.origin} has {found} entries, and {size} is asked for")
        return found if size is None else size

    def _nodes(self, positions: Sequence[int]) -> dict[int, bytes]:
        marks = ", ".join("?" * len(positions))
        found = dict(self._database.rows(f"SELECT position, hash FROM node WHERE position IN ({marks})", *positions))  # noqa: S608
        if [len(stored) for stored in found.values() if isinstance(stored, bytes)] != [32] * len(positions):
            raise DamagedError(f"{self._database.path}: hashes of the tree are missing")
        return found
