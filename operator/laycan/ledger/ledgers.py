"""All logs of this operator: each opened when it is first asked for, all used in one thread.

A commit waits for the disk, and SQLite wants to be used by the thread that opened the file. So whoever needs a log hands in what is to
be done with it and awaits the outcome; what is handed in is done whole, one after the other. A log that failed is opened anew the next
time, and what is wrong with it stands in `troubles` until it works again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from laycan.ledger.database import Database
from laycan.ledger.log import ContentConflictError, DamagedError, DiskFullError, Entry, GoneError, LedgerError, Log
from laycan.ledger.sqlite import SqliteLog, create_log, open_log, path_of

log = logging.getLogger(__name__)

T = TypeVar("T")


class Place(NamedTuple):
    """Whose log: that of an ExchangeEndpoint, or `LOCAL`."""

    namespace: str
    endpoint: str

    @classmethod
    def of(cls, key: str) -> Place:
        """By the key of an ExchangeEndpoint, `<namespace>/<name>`."""
        return cls(*key.split("/", 1))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.endpoint}" if self.endpoint else "local"


LOCAL = Place("", "")  # of contracts without an exchange


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a log begins that is not there, and what must be in one that is."""

    origin: str
    first: Sequence[Entry] = ()  # where a log was lost, they say so
    known_origin: str = ""  # of the log as others know it, "" where nobody does
    known_size: int = 0


class Ledgers:
    """`use` from the event loop; `close` at the end, when nobody uses them any more."""

    def __init__(self, root: Path, beginning: Callable[[Place], Beginning]) -> None:
        """`beginning` is asked, in the event loop, before a log is opened."""
        self.troubles: dict[Place, LedgerError] = {}  # why a log cannot be used now
        self.sizes: dict[Place, int] = {}  # entries of each log that was used
        self._root, self._beginning = root, beginning
        self._pool = ThreadPoolExecutor(1, "ledger")
        self._logs: dict[Place, SqliteLog] = {}  # only in that thread, but for asking whether one is open
        self._opened: dict[Place, tuple[str, int]] = {}  # origin of each that was opened, and the inode of its file

    def has(self, place: Place) -> bool:
        """Whether there is such a log."""
        return place in self._logs or path_of(self._root, *place).is_file()

    async def use(self, place: Place, work: Callable[[Log], T], *, writes: bool = False) -> T:
        """What `work` returns for the log. Raises what it raises, LedgerError where the log cannot be opened, and GoneError.

        Work that has begun is done to its end, also when whoever awaits it is cancelled. Where the disk is full, a log can still be
        read: only work that `writes` shows that there is room again.
        """
        beginning = None if place in self._logs else self._beginning(place)
        try:
            done, size = await asyncio.get_running_loop().run_in_executor(self._pool, self._do, place, beginning, work)
        except ContentConflictError:
            raise
        except LedgerError as error:
            if str(self.troubles.get(place)) != str(error):
                log.error("ALARM the log of %s cannot be used: %s", place, error)
            self.troubles[place] = error
            raise
        if place in self.troubles and (writes or not isinstance(self.troubles[place], DiskFullError)):
            del self.troubles[place]
            log.warning("the log of %s can be used again", place)
        self.sizes[place] = size
        return done

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown(wait=False)

    def _do(self, place: Place, beginning: Beginning | None, work: Callable[[Log], T]) -> tuple[T, int]:
        path = path_of(self._root, *place)
        before, inode = self._opened.get(place, ("", 0))
        try:
            if place in self._logs and path.stat().st_ino != inode:  # what it says now would be lost with the open file
                raise LedgerError(f"{path} is another file than the one that was opened")
            if place not in self._logs:
                if beginning is None:  # it failed between the question and its turn
                    raise LedgerError(f"the log of {place} is to be opened anew")
                opened = self._logs[place] = _open(path, beginning, before, self.sizes.get(place, 0))
                self._opened[place] = opened.origin, path.stat().st_ino
            return work(self._logs[place]), self._logs[place].size
        except ContentConflictError:
            raise
        except LedgerError as error:
            if not isinstance(error, DiskFullError):
                self._drop(place)
            raise
        except OSError as error:  # of the folder or the lock beside the file
            self._drop(place)
            raise LedgerError(f"{path}: {error}") from error

    def _drop(self, place: Place) -> None:
        """A volume that went and came back needs the file opened anew."""
        if (found := self._logs.pop(place, None)) is not None:
            with suppress(Exception):
                found.close()

    def _close(self) -> None:
        for place in list(self._logs):
            self._drop(place)


def _open(path: Path, beginning: Beginning, before: str, size_before: int) -> SqliteLog:
    """`before` and `size_before`: what it was when this process had it open, "" and 0 where it had not."""
    if before and not _begun(path):
        raise GoneError(f"the log {before} is gone from {path}, where it was a moment ago")
    if not _begun(path):
        made = create_log(path, beginning.origin, beginning.first)
        log.log(logging.ERROR if beginning.first else logging.INFO, "the log %s begins at %s", made.origin, path)
        return made
    found = open_log(path)
    told = size_before if before else beginning.known_size if found.origin == beginning.known_origin else 0
    size = found.size
    if before in ("", found.origin) and size >= told:
        return found
    found.close()
    if before not in ("", found.origin):
        raise GoneError(f"{path} holds the log {found.origin}, and a moment ago held {before}")
    raise DamagedError(
        f"{path} holds {size} entries, and {told} were told of: it was put back to an older state. "
        "Put the newer one back; or move it away, and a new log begins that says so"
    )


def _begun(path: Path) -> bool:
    """Whether there is a log: whoever was killed while he made one may leave a file without any table."""
    if not path.is_file():
        return False
    found = Database(path, mode="rw")
    try:
        return bool(found.one("PRAGMA user_version"))
    finally:
        found.close()
