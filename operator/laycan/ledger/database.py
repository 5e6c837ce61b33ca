"""One SQLite file with one writer: opened, locked, made durable, and with its errors in our words.

The file is in WAL mode with `synchronous=FULL`: a commit that returned is on the disk. A half-written one is not there after a crash,
as SQLite reads the WAL up to its last whole commit. A copy of the file alone may lack what stands in the WAL: back it up with
`VACUUM INTO`, not with `cp`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
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
                    self._connection.execute("PRAGMA page_size=8192")  # of a new file: events of 2 kB fill it better than 4096
                    self._connection.execute("PRAGMA journal_mode=WAL")
                    self._connection.execute("PRAGMA synchronous=FULL")
        except LedgerError:
            self._unlock()
            raise

    def each(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Row by row, for what does not fit into memory."""
        with self._plainly():
            yield from self._connection.execute(sql, values)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return list(self.each(sql, *values))

    def one(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, None without rows."""
        found = self.rows(sql, *values)
        return found[0][0] if found else None

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[None]:
        """All or nothing, and on the disk when it is left without an error. What is read inside is of one moment."""
        with self._plainly():
            self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield
                if write:
                    self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # some errors, such as a full disk, end it
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()
        self._unlock()

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            if name in _FULL:
                why = f"the disk is full, a limit is reached, or the disk fails ({name})"
                raise DiskFullError(f"{self.path} cannot grow, nothing was written: {why}") from error
            kind = DamagedError if name.startswith(_DAMAGED) else LedgerError
            raise kind(f"{self.path}: {error} ({name})") from error
        except UnicodeDecodeError as error:  # of a damaged text, or of SQLite's own words about one
            raise DamagedError(f"{self.path} holds text that is none") from error

    def _unlock(self) -> None:
        """Not by closing alone: a child that was forked meanwhile has a copy until it starts its program."""
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
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
