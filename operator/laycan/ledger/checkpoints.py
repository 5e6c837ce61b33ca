"""A log's signed heads (C2SP tlog-checkpoint), and the cosignatures of those who checked that one follows from the other.

The first checkpoint is kept, the latest, and every cosigned one: together they say by when each entry was there at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping

from laycan.ledger.keys import Signer
from laycan.ledger.log import Checkpoint, Log
from laycan_verify.dsse import verifies
from laycan_verify.notes import LOG, WITNESS, by, cosigned, head, read_note, signature_line

AHEAD_SECONDS = 300  # that a witness's clock may be before ours


class CosignatureError(ValueError):
    """It is not what a witness signs, or not its signature; the message names the witness."""


def sign_checkpoint(log: Log, signer: Signer) -> str:
    """The log as it is now, as a signed note, kept unless the log is empty. The same log and key make the same bytes."""
    size, kept = log.size, log.latest_checkpoint()
    text = head(log.origin, size, log.root(size))
    note = kept.note if kept and kept.size == size else text.decode() + "\n"
    line = signature_line(log.origin, LOG, signer.public_key, signer.sign(text))
    if line not in note:
        note += line
        if size:
            log.keep_checkpoint(Checkpoint(size, note, kept is not None and kept.size == size and kept.cosigned))
    return note


def holds(log: Log, note: str) -> bool:
    """Is the log the one that this checkpoint is about, and no older copy of it? Raises ValueError for what is no checkpoint."""
    found = read_note(note)
    return found.origin == log.origin and found.size <= log.size and found.root == log.root(found.size)


def add_cosignatures(log: Log, note: str, lines: str, witnesses: Mapping[str, bytes], now: int) -> list[str]:
    """Takes what the receiver of a checkpoint answered; names the witnesses that are new to it.

    `witnesses`: name -> raw public key. Lines of others are left alone; of a witness the first cosignature counts, as it says by when
    the entries were there. `now`: Unix seconds. Raises CosignatureError, and keeps nothing, when one of theirs is wrong.
    """
    checkpoint = read_note(note)
    if not holds(log, note):
        raise CosignatureError(f"{checkpoint.origin} of {checkpoint.size} entries is no checkpoint of {log.origin}")
    kept = log.checkpoint_covering(checkpoint.size - 1)
    note = kept.note if kept and kept.size == checkpoint.size else note
    added = []
    for line in filter(None, lines.split("\n")):
        try:
            answer = read_note(f"{checkpoint.text.decode()}\n{line}\n")
        except ValueError:
            raise CosignatureError(f"{line[:200]!r} is no line with a signature") from None
        name = answer.signatures[0][0]
        for found in by(answer, WITNESS, name, witnesses.get(name, b"")):
            at = int.from_bytes(found[:8])
            if at > now + AHEAD_SECONDS or not verifies(witnesses[name], found[8:], cosigned(at, checkpoint.text)):
                what = f"{log.origin} at {checkpoint.size} entries"
                raise CosignatureError(f"the cosignature of {name} over {what} is wrong, or of a time to come")
            if not by(read_note(note), WITNESS, name, witnesses[name]):
                note += line + "\n"
                added.append(name)
    if added:
        log.keep_checkpoint(Checkpoint(checkpoint.size, note, cosigned=True))
    return added
