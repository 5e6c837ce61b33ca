"""The head of a log, signed, and what witnesses add to it: C2SP tlog-checkpoint and tlog-cosignature.

A log signs the same head with the same bytes, so a checkpoint that was made twice is one. What a witness sent is looked at as if a
stranger had sent it, and kept only where its signature is right and of a key that the exchange is trusted by.
"""

from __future__ import annotations

from collections.abc import Mapping

from laycan.ledger.keys import Signer
from laycan.ledger.log import Checkpoint, Log
from laycan_verify.dsse import verifies
from laycan_verify.notes import LOG, WITNESS, by, cosigned, head, read_note, signature_line

AHEAD_SECONDS = 300  # a witness whose clock is ahead by more is not believed


class NoCosignatureError(ValueError):
    """What was sent is none that counts; the message says why."""


def checkpoint(log: Log, signer: Signer) -> str:
    """The note over the log as it is now, with the log's own signature; kept, unless the log is empty. Raises LedgerError."""
    text = head(log.origin, log.size, log.root())
    line = signature_line(log.origin, LOG, signer.public_key, signer.sign(text))
    note = f"{text.decode()}\n{line}"
    latest = log.latest_checkpoint()
    known = latest is not None and latest.size == log.size and (latest.cosigned or latest.note == note)
    if log.size and not known:
        log.keep_checkpoint(Checkpoint(log.size, note, False))
    return note


def cosign(log: Log, note: str, line: str, witnesses: Mapping[str, bytes], now: int) -> bool:
    """Keeps a witness's signature of a checkpoint of ours; False where the log has one of this witness already.

    `line` is the signature line of the note, `witnesses` the trusted keys, raw, by the name that a line gives them, `now` in Unix seconds.
    Raises NoCosignatureError for everything that is no signature by one of them, and LedgerError.
    """
    text, _, _ = note.partition("\n\n")
    try:
        found = read_note(f"{text}\n\n{line.strip()}\n")
    except ValueError:
        raise NoCosignatureError("it is no signature line of a note") from None
    name = found.signatures[0][0]
    public = witnesses.get(name)
    data = by(found, WITNESS, name, public) if public is not None and len(found.signatures) == 1 else []
    if public is None or not data:
        raise NoCosignatureError(f"{name!r} is no trusted key, or another key has that name")
    at = int.from_bytes(data[0][:8])
    if at > now + AHEAD_SECONDS or not verifies(public, data[0][8:], cosigned(at, found.text)):
        raise NoCosignatureError(f"the signature of {name!r} is forged, of another checkpoint, or of a time to come")
    if not found.size:
        return False
    kept = log.checkpoint_covering(found.size - 1)
    same = kept is not None and kept.cosigned and kept.size == found.size
    base = kept.note if kept is not None and same else note
    if by(read_note(base), WITNESS, name, public):
        return False  # the first one counts
    log.keep_checkpoint(Checkpoint(found.size, f"{base}{line.strip()}\n", True))
    return True
