"""A log's head as a signed note, and what its witnesses say of it: C2SP signed-note, tlog-checkpoint and tlog-cosignature, with Ed25519."""

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from laycan_verify.dsse import verifies
from laycan_verify.strict import FOREVER, octets, octets32

LOG, WITNESS = b"\x01", b"\x04"  # types of signatures
_NOTE = r"(([^\0-\x1f]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n)\n((?:— [^\s+]+ [A-Za-z0-9+/]{8,}={0,2}\n){1,64})"


class Checkpoint(NamedTuple):
    text: bytes  # what is signed
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]  # key's name, key id and signature


def head(origin: str, size: int, root: bytes) -> bytes:
    """The text of a checkpoint."""
    return f"{origin}\n{size}\n{b64encode(root).decode()}\n".encode()


def read_note(note: object) -> Checkpoint:
    """A checkpoint without extension lines; raises ValueError for all else."""
    if not isinstance(note, str) or not (found := re.fullmatch(_NOTE, note)):
        raise ValueError("must be a signed note of three lines: origin, size and root")
    text, origin, size, root, lines = found.groups()
    signatures = (line.split(" ") for line in lines.splitlines())
    return Checkpoint(text.encode(), origin, int(size), octets32(root), tuple((name, octets(data)) for _, name, data in signatures))


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def signature_line(name: str, kind: bytes, public: bytes, signature: bytes) -> str:
    return f"— {name} {b64encode(key_id(name, kind, public) + signature).decode()}\n"


def cosigned(seconds: int, text: bytes) -> bytes:
    """What a witness signs at that time, Unix seconds."""
    return b"cosignature/v1\ntime %d\n%s" % (seconds, text)


def by(checkpoint: Checkpoint, kind: bytes, name: str, public: bytes) -> list[bytes]:
    """The signatures of that type that say to be of that key."""
    mark = key_id(name, kind, public)
    return [data[4:] for signer, data in checkpoint.signatures if (signer, data[:4]) == (name, mark)]


def signed(checkpoint: Checkpoint, name: str, public: bytes) -> bool:
    """By the log."""
    found = by(checkpoint, LOG, name, public)
    return bool(found) and all(verifies(public, signature, checkpoint.text) for signature in found)


@lru_cache(4096)
def cosigned_at(checkpoint: Checkpoint, name: str, public: bytes) -> int | None:
    """The earliest time that the witness gives, Unix seconds; None where it has not signed, or a signature is wrong."""
    times = []
    for data in by(checkpoint, WITNESS, name, public):
        times.append(int.from_bytes(data[:8]))
        if times[-1] >= FOREVER or not verifies(public, data[8:], cosigned(times[-1], checkpoint.text)):
            return None
    return min(times, default=None)
