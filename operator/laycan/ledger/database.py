"""One SQLite file with one writer: opened, locked, made durable, and with its errors in our words.

The file is in WAL mode with `synchronous=FULL`: a commit that returned is on the disk. A half-written one is not there after a crash,
as SQLite reads the WAL up to its last whole commit. A copy of the file alone may lack what stands in the WAL: back it up with
`VACUUM INTO`, not with `cp`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from laycan.ledger.log import DamagedError, DiskFullError, InUseError, LedgerError

# What SQLite says when a file cannot grow: no space (also for the shared memory beside the WAL), or a quota or limit of the file's size.
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_BUSY_SECONDS = 5.0  # a reader that opens the file just after a crash reads the WAL under a lock of its own


class Database:
    """To be used in the thread that made it: `sqlite3` blocks, and refuses to be called from another thread."""

    def __init__(self, path: Path, *, mode: str) -> None:
        """`mode`: `ro` to read, `rw` to write what exists, `rwc` to make what does not. Raises InUseError, LedgerError."""
        self.path = path
        self._lock = None if mode == "ro" else _locked(path)
        try:
            with self._plainly():
                uri = f"{path.resolve().as_uri()}?mode={mode}"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
                if self._lock is not None:
                    self._connection.execute("PRAGMA journal_mode=WAL")
                    self._connection.execute("PRAGMA synchronous=FULL")
        except LedgerError:
            self._unlock()
            raise

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._plainly():
            return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Row by row, for what does not fit into memory."""
        with self._plainly():
            yield from self._connection.execute(sql)

    def one(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, None without rows."""
        found = self.rows(sql, *values)
        return found[0][0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when it is left without an error. Raises LedgerError where the file is only read."""
        if self._lock is None:
            raise LedgerError(f"{self.path} is open for reading only")
        with self._plainly():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # an error; some, such as a full disk, SQLite itself ends with the transaction
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever the writer does meanwhile."""
        inside = self._connection.in_transaction
        with self._plainly():
            self._connection.execute("SELECT 1" if inside else "BEGIN")
            try:
                yield
            finally:
                if not inside:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()
        self._unlock()

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name in _FULL:
                raise DiskFullError(
                    f"{self.path} cannot grow, nothing was written: the disk is full or a limit is reached ({name})"
                ) from error
            kind = DamagedError if name.split("_EXTENDED")[0].startswith(tuple(_DAMAGED)) else LedgerError
            raise kind(f"{self.path}: {error} ({name or type(error).__name__})") from error
        except UnicodeDecodeError as error:  # of a damaged text, or of SQLite's own words about one
            raise DamagedError(f"{self.path} holds text that is none") from error

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


def _locked(path: Path) -> int:
    """A lock on a file beside it: SQLite's own locks come and go with each transaction."""
    _make_folder(path.parent)
    found = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(found)
        raise InUseError(f"{path} is being written by another process; a log has one writer, any number may read it") from None
    return found


def _make_folder(folder: Path) -> None:
    """With its parents, and so that it is there after a power cut."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        parent = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
