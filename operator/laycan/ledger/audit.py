"""Does the file still say what was written? In full when asked; of the ends, where a lost piece shows, at each opening.

A log that was put back whole to an older state contradicts nothing in itself: that shows only against a checkpoint that somebody
else holds (`checkpoints.holds`).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator

from laycan.ledger.database import Database
from laycan.ledger.log import DamagedError, LedgerError
from laycan.ledger.tree import StoredTree, mismatches, positions_before
from laycan_verify import merkle


def check_ends(database: Database, tree: StoredTree) -> None:
    """Raises DamagedError when entries, tree and latest checkpoint do not end together."""
    entries = database.one("SELECT coalesce(max(place) + 1, 0) FROM entry")
    hashes = database.one("SELECT coalesce(max(position) + 1, 0) FROM node")
    if hashes != positions_before(entries):
        raise DamagedError(f"{database.path} holds {entries} entries and {hashes} hashes of a tree, which do not fit together")
    for size, note in database.rows("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"):
        if size > entries:
            raise DamagedError(f"{database.path} holds {entries} entries and a checkpoint of {size}: entries are lost")
        if not _is_about(tree, size, note):
            raise DamagedError(f"{database.path} is not the log of which it holds a checkpoint of {size} entries")


def findings(database: Database, tree: StoredTree) -> list[str]:
    """One sentence for each thing that is not as it was written."""
    found: list[str] = []
    for look in (_pages(database), _entries(database), _checkpoints(database, tree), _readings(database)):
        try:
            found.extend(look)
        except LedgerError as error:
            found.append(str(error))
        except TypeError as error:  # a value of a type that its column cannot hold, which `_pages` names
            found.append(f"{database.path} cannot be read to its end: {error}")
    return found


def _pages(database: Database) -> Iterator[str]:
    """Pages against each other, tables against their indexes, values against the types of their columns."""
    return (f"the file: {line}" for (line,) in database.each("PRAGMA integrity_check") if line != "ok")


def _entries(database: Database) -> Iterator[str]:
    ((entries, first, last),) = database.rows("SELECT count(*), min(place), max(place) FROM entry")
    hashes = database.one("SELECT count(*) FROM node")
    if entries and (first, last) != (0, entries - 1):
        yield f"{entries} entries have the indices {first} to {last}: some are missing"
    elif hashes != positions_before(entries):
        yield f"{entries} entries have {hashes} hashes in the tree and should have {positions_before(entries)}"
    else:
        leaves = (body for _, body in database.each("SELECT id, body FROM entry ORDER BY place"))
        stored = (found for (found,) in database.each("SELECT hash FROM node ORDER BY position"))
        for level, index in mismatches(leaves, stored):
            if level:
                yield f"the hash over entries {index << level} to {(index + 1 << level) - 1} is not that of the two below it"
            else:
                name = database.one("SELECT id FROM entry WHERE place = ?", index)
                yield f"entry {index} ({name}): its body is not the one whose hash is in the tree"


def _checkpoints(database: Database, tree: StoredTree) -> Iterator[str]:
    for size, note in database.each("SELECT size, note FROM checkpoint ORDER BY size"):
        if not _is_about(tree, size, note):
            yield f"the checkpoint of {size} entries has another root than the log"


def _readings(database: Database) -> Iterator[str]:
    for root, lines in database.each("SELECT root, lines FROM reading"):
        try:
            sound = merkle.root(unpacked(lines)) == root
        except DamagedError:
            sound = False
        if not sound:
            yield f"the readings with the root {root.hex()} have another root"


def unpacked(lines: bytes) -> list[bytes]:
    """Readings as they were given to be kept."""
    try:
        return zlib.decompress(lines).split(b"\n")[:-1]
    except zlib.error as error:
        raise DamagedError(f"readings cannot be unpacked: {error}") from None


def _is_about(tree: StoredTree, size: int, note: object) -> bool:
    return f"{note}".split("\n")[1:3] == [f"{size}", base64.b64encode(tree.root(size)).decode()]
