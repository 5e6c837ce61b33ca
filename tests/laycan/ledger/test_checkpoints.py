"""Signed heads and cosignatures: made, kept, and read by an implementation of the C2SP notes that shares no code with ours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from laycan.ledger.checkpoints import CosignatureError, add_cosignatures, holds, sign_checkpoint
from laycan.ledger.keys import Ed25519Signer
from laycan.ledger.log import Entry
from laycan.ledger.sqlite import SqliteLog, create_log, open_log
from laycan_verify import notes

NOW = 1_800_000_000
SIGNER, NEXT, EXCHANGE, AUDITOR = (Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes([i] * 32)), "checkpoints") for i in range(1, 5))
WITNESSES = {"cme.example/w": EXCHANGE.public_key, "auditor.example": AUDITOR.public_key}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    made = create_log(tmp_path / "log.sqlite", "op.example/market/cme")
    yield made
    made.close()


def grow(log: SqliteLog, size: int) -> None:
    log.append([Entry(f"u/{i}", b"body %d" % i) for i in range(log.size, size)])


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """signed-note: SHA-256(key name || 0x0A || signature type || public key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def witness(note: str, name: str, signer: Ed25519Signer, at: int) -> str:
    """The line of a witness, as tlog-cosignature says: big-endian time, and a signature over header, time and the note's text."""
    text = note[: note.rindex("\n\n") + 1]
    signature = signer.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
    blob = key_id(name, 4, signer.public_key) + at.to_bytes(8, "big") + signature
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def check(note: str, origin: str, public: bytes) -> tuple[int, bytes]:
    """Size and root of a checkpoint that this key signed."""
    text, lines = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :].splitlines()
    for line in lines:
        dash, name, data = line.split(" ")
        blob = base64.b64decode(data, validate=True)
        if (dash, name, blob[:4]) == ("—", origin, key_id(origin, 1, public)):
            Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], text.encode())
            first, size, root, end = text.split("\n")
            assert (first, end, size) == (origin, "", str(int(size)))
            return int(size), base64.b64decode(root, validate=True)
    raise InvalidSignature("not signed by it")


class TestSigning:
    def test_anybody_can_check_it(self, log: SqliteLog) -> None:
        """Origin, size and root stand in it, signed under the origin's name; with another key it is not."""
        for size in (0, 1, 7, 64):
            grow(log, size)
            note = sign_checkpoint(log, SIGNER)
            assert check(note, log.origin, SIGNER.public_key) == (size, log.root())
            with pytest.raises(InvalidSignature):
                check(note, log.origin, NEXT.public_key)

    def test_the_same_log_makes_the_same_bytes(self, log: SqliteLog) -> None:
        """So a heartbeat without news is the same note; a new key adds its line to it."""
        grow(log, 3)
        note = sign_checkpoint(log, SIGNER)
        assert sign_checkpoint(log, SIGNER) == note
        both = sign_checkpoint(log, NEXT)
        assert both.startswith(note)
        assert {check(both, log.origin, signer.public_key) for signer in (SIGNER, NEXT)} == {(3, log.root())}

    def test_what_is_kept(self, log: SqliteLog) -> None:
        """The first, the latest and every cosigned one; none of an empty log."""
        sign_checkpoint(log, SIGNER)
        assert log.latest_checkpoint() is None
        for size in range(1, 9):
            grow(log, size)
            note = sign_checkpoint(log, SIGNER)
            if size in (4, 6):
                add_cosignatures(log, note, witness(note, "auditor.example", AUDITOR, NOW), WITNESSES, NOW)
        assert [size for (size,) in log._database.rows("SELECT size FROM checkpoint ORDER BY size")] == [1, 4, 6, 8]
        latest = log.latest_checkpoint()
        assert latest is not None
        assert (latest.size, latest.note, latest.cosigned) == (8, note, False)
        covering = [log.checkpoint_covering(index) for index in range(9)]
        assert [found and found.size for found in covering] == [4, 4, 4, 4, 6, 6, 8, 8, None]

    def test_without_witnesses_the_first_covers(self, log: SqliteLog) -> None:
        for size in (2, 5, 9):
            grow(log, size)
            sign_checkpoint(log, SIGNER)
        assert [found and found.size for found in map(log.checkpoint_covering, (0, 1, 2, 8))] == [2, 2, 9, 9]


class TestCosigning:
    def test_by_witnesses_one_after_the_other(self, log: SqliteLog) -> None:
        """Both stand under the checkpoint that was sent, also when the log went on meanwhile, and it can still be checked."""
        grow(log, 5)
        note = sign_checkpoint(log, SIGNER)
        grow(log, 7)
        sign_checkpoint(log, SIGNER)
        grow(log, 8)
        sign_checkpoint(log, SIGNER)
        lines = witness(note, "cme.example/w", EXCHANGE, NOW)
        assert add_cosignatures(log, note, lines, WITNESSES, NOW) == ["cme.example/w"]
        assert add_cosignatures(log, note, witness(note, "auditor.example", AUDITOR, NOW), WITNESSES, NOW) == ["auditor.example"]
        kept = log.checkpoint_covering(0)
        assert kept is not None
        assert kept.note == note + lines + witness(note, "auditor.example", AUDITOR, NOW)
        assert check(kept.note, log.origin, SIGNER.public_key) == (5, log.root(5))
        assert notes.signed(notes.read_note(kept.note), log.origin, SIGNER.public_key)
        assert [notes.cosigned_at(notes.read_note(kept.note), name, key) for name, key in WITNESSES.items()] == [NOW, NOW]

    def test_the_first_of_a_witness_counts(self, log: SqliteLog) -> None:
        """One that says the same a minute later adds nothing: what matters is since when it was seen."""
        grow(log, 5)
        note = sign_checkpoint(log, SIGNER)
        add_cosignatures(log, note, witness(note, "auditor.example", AUDITOR, NOW), WITNESSES, NOW)
        assert add_cosignatures(log, note, witness(note, "auditor.example", AUDITOR, NOW + 60), WITNESSES, NOW + 60) == []
        assert sign_checkpoint(log, SIGNER) == note + witness(note, "auditor.example", AUDITOR, NOW)

    def test_of_strangers(self, log: SqliteLog) -> None:
        """Unknown names, known names with another key, and the log's own line are left alone."""
        grow(log, 5)
        note = sign_checkpoint(log, SIGNER)
        lines = witness(note, "x.example", AUDITOR, NOW) + witness(note, "auditor.example", EXCHANGE, NOW) + note.split("\n\n")[1]
        assert add_cosignatures(log, note, lines, WITNESSES, NOW) == []
        assert add_cosignatures(log, note, "", WITNESSES, NOW) == []
        assert log.latest_checkpoint() == log.checkpoint_covering(0)

    @pytest.mark.parametrize("spoil", ["signature", "time", "future", "text", "form"])
    def test_wrong(self, log: SqliteLog, spoil: str) -> None:
        """One wrong line of a known witness and nothing of the answer is kept, good lines included."""
        grow(log, 5)
        note = sign_checkpoint(log, SIGNER)
        line = witness(
            note.replace("\n5\n", "\n6\n") if spoil == "text" else note, "auditor.example", AUDITOR, NOW + 301 * (spoil == "future")
        )
        if spoil in ("signature", "time"):
            blob = bytearray(base64.b64decode(line.split(" ")[2]))
            blob[-1 if spoil == "signature" else 11] ^= 1
            line = f"— auditor.example {base64.b64encode(blob).decode()}\n"
        good = witness(note, "cme.example/w", EXCHANGE, NOW)
        says = "no line with a signature" if spoil == "form" else "the cosignature of auditor.example over op.example/market/cme at 5"
        with pytest.raises(CosignatureError, match=says):
            add_cosignatures(log, note, good + (line[2:] if spoil == "form" else line), WITNESSES, NOW)
        assert sign_checkpoint(log, SIGNER) == note

    def test_of_another_log(self, log: SqliteLog, tmp_path: Path) -> None:
        """A checkpoint that this log never signed cannot be cosigned into it."""
        grow(log, 5)
        other = create_log(tmp_path / "other.sqlite", log.origin)
        other.append([Entry("other", b"other")])
        note = sign_checkpoint(other, SIGNER)
        other.close()
        with pytest.raises(CosignatureError, match=r"no checkpoint of op\.example/market/cme"):
            add_cosignatures(log, note, witness(note, "auditor.example", AUDITOR, NOW), WITNESSES, NOW)


class TestOlderCopy:
    def test_a_log_put_back_to_an_older_state_shows(self, log: SqliteLog, tmp_path: Path) -> None:
        """Against a checkpoint that somebody else has: the copy is shorter, and stays another log when it grows again."""
        grow(log, 5)
        log._database.rows("VACUUM INTO ?", str(tmp_path / "copy.sqlite"))
        grow(log, 9)
        note = sign_checkpoint(log, SIGNER)
        assert holds(log, note)
        copy = open_log(tmp_path / "copy.sqlite")
        assert copy.verify() == []
        assert not holds(copy, note)
        copy.append([Entry(f"v/{i}", b"other") for i in range(9)])
        assert not holds(copy, note)
        copy.close()
        with pytest.raises(ValueError, match="signed note"):
            holds(log, "no note")
