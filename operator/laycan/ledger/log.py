"""What a log can do, whatever it is kept in: an append-only list of entries with a Merkle tree over them, and what belongs to it.

An entry is an event's body, exactly as it is sent; its *index* is the exchange's stream sequence. What `append` returned is durable.
Beside the entries a log keeps what must outlive a restart: signed checkpoints, how far the sender is, and the readings that receipts
cite. It keeps no key and knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """`id` says which event it is: one id, one body, for ever. `body` is the leaf of the tree."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry with its place in the log, from 0."""

    index: int
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed note that was kept: what it says of the first `size` entries, with all its signatures."""

    size: int
    note: str
    cosigned: bool


class LedgerError(Exception):
    """The log cannot do it; the message names the log and says what to do."""


class ContentConflictError(LedgerError):
    """Ids that the log holds with another body. All else of the batch is appended: `indices` says where."""

    def __init__(self, origin: str, ids: Sequence[str], indices: Mapping[str, int]) -> None:
        super().__init__(f"{origin} holds other bytes under the id {', '.join(ids)}; what was said cannot be changed")
        self.ids, self.indices = tuple(ids), dict(indices)


class DiskFullError(LedgerError):
    """Nothing of it was written; it can be tried again once there is room."""


class InUseError(LedgerError):
    """Another one writes this log."""


class DamagedError(LedgerError):
    """What is kept contradicts itself, or cannot be read."""


class GoneError(Exception):
    """A log that this process has used is not there any more, or is another: what it knows of it is void, so it has to begin anew."""


class Log(Protocol):
    """One log. Sizes count entries; `size` where it is left out is that of the log as it is now.

    Asking for a size, index or range beyond the log raises ValueError; what fails below raises a LedgerError.
    """

    @property
    def origin(self) -> str: ...

    @property
    def size(self) -> int: ...

    def append(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Id -> index of each, in one transaction; what is there already keeps its index. Raises ContentConflictError, DiskFullError."""

    def entries(self, after: int, limit: int) -> list[Logged]:
        """At most `limit` entries that follow index `after` (-1: from the start)."""

    def entries_of(self, prefix: str) -> list[Logged]:
        """All entries whose id begins with `prefix`, such as `<contract uid>/`, in the log's order."""

    def index_of(self, entry_id: str) -> int | None: ...

    def root(self, size: int | None = None) -> bytes: ...

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that entry `index` is in the tree of `size` entries."""

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the tree of `new` entries begins with that of `old`."""

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keeps it as the one of its size. Of those without cosignature only the first and the latest stay."""

    def latest_checkpoint(self) -> Checkpoint | None: ...

    def checkpoint_covering(self, index: int) -> Checkpoint | None:
        """The first cosigned one with entry `index` in it, without any the first one with it."""

    @property
    def cursor(self) -> int:
        """Index of the last entry that the receiver has, with all before it but the parked ones; -1 without any."""

    def move_cursor(self, index: int) -> None: ...

    def park(self, index: int, reason: str | None) -> None:
        """Notes why the receiver refuses this entry; None once it has it."""

    def parked(self) -> dict[int, str]:
        """Index -> why its receiver refuses it."""

    def keep_readings(self, *readings: Sequence[bytes]) -> list[bytes]:
        """Keeps the readings of some receipts, each in its RFC 8785 bytes, in one transaction; returns their roots, to find them by."""

    def readings(self, root: bytes) -> list[bytes] | None: ...

    def verify(self) -> list[str]:
        """Recomputes everything; one sentence for each thing that is not as it was written."""

    def close(self) -> None: ...


def origin_of(operator: str, namespace: str, endpoint: str, life: int = 1) -> str:
    """The name of a log; "" and "" for contracts without an exchange. One that replaces a lost log has a `life` of 2, then 3, …"""
    return "/".join(part for part in (operator, namespace, endpoint or "local", str(life) if life > 1 else "") if part)
