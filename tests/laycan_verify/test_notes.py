"""Notes, checkpoints and cosignatures to the byte, as C2SP has them."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan_verify.dsse import verifies
from laycan_verify.notes import LOG, WITNESS, by, cosigned, cosigned_at, head, key_id, read_note, signature_line, signed
from tests.laycan_verify import writer

# A head of Go's checksum database, and the key that every copy of Go has built in (cmd/go: sum.golang.org). tlog-checkpoint.md shows the
# same one under the name example.com/behind-the-sofa.
GO_KEY = b64decode("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")[1:]
GO_NOTE = """go.sum database tree
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""
# The cosignature that tlog-cosignature.md shows.
COSIGNED = GO_NOTE + (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
SEED = bytes(range(32))


def test_a_head_of_a_public_log() -> None:
    """Go's checksum database: origin, size, root, key id 033de0ae, and its signature."""
    note = read_note(GO_NOTE)
    assert (note.origin, note.size, note.root.hex()[:8]) == ("go.sum database tree", 20_852_163, "0ac5186a")
    assert key_id("sum.golang.org", LOG, GO_KEY).hex() == "033de0ae"
    assert signed(note, "sum.golang.org", GO_KEY)
    assert head(note.origin, note.size, note.root) == note.text


def test_the_key_of_the_specification() -> None:
    """signed-note.md: example.com/foo+530d903a verifies its example."""
    public = b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")[1:]
    signature = b64decode("Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=")
    assert key_id("example.com/foo", LOG, public) == signature[:4] == bytes.fromhex("530d903a")
    assert verifies(public, signature[4:], b"This is an example message.\n")


def test_the_cosignature_of_the_specification() -> None:
    """tlog-cosignature.md: 4 bytes of key id, 8 of time (1679315147), 64 of signature, beside the log's own."""
    (_, own), (name, data) = read_note(COSIGNED).signatures
    assert (name, len(own), len(data), int.from_bytes(data[4:12])) == ("witness.example.com/w1", 68, 76, 1_679_315_147)
    assert signed(read_note(COSIGNED), "sum.golang.org", GO_KEY)


def test_what_a_witness_signs() -> None:
    """Two lines, then the checkpoint's text; written here and read here, and by the tests' own writer."""
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public, text = key.public_key().public_bytes_raw(), read_note(GO_NOTE).text
    assert cosigned(1_679_315_147, text) == b"cosignature/v1\ntime 1679315147\n" + text
    line = signature_line("w", WITNESS, public, (5).to_bytes(8) + key.sign(cosigned(5, text)))
    note = read_note(GO_NOTE + line + writer.WITNESS.note_line("witness", 4, text, 7))
    assert cosigned_at(note, "w", public) == 5
    assert cosigned_at(note, "witness", writer.WITNESS.public) == 7
    assert (cosigned_at(note, "witness", public), cosigned_at(note, "other", public)) == (None, None)


def test_of_several_times_the_earliest() -> None:
    """A witness that signed twice saw it when it signed first; one wrong signature spoils both."""
    key, text = writer.WITNESS, read_note(GO_NOTE).text
    lines = [key.note_line("w", 4, text, time) for time in (9, 8)]
    assert cosigned_at(read_note(GO_NOTE + "".join(lines)), "w", key.public) == 8
    wrong = key.note_line("w", 4, b"another", 7)
    assert cosigned_at(read_note(GO_NOTE + "".join(lines) + wrong), "w", key.public) is None
    assert len(by(read_note(GO_NOTE + "".join(lines) + wrong), WITNESS, "w", key.public)) == 3


@pytest.mark.parametrize("time", [253_402_300_800, 2**63, 2**64 - 1])
def test_times_that_nobody_can_write(time: int) -> None:
    """A cosignature of the year 10000 or later is wrong, though signed."""
    note = read_note(GO_NOTE + writer.WITNESS.note_line("w", 4, read_note(GO_NOTE).text, time))
    assert cosigned_at(note, "w", writer.WITNESS.public) is None


def test_a_log_key_is_no_witness() -> None:
    """One key used for both kinds has two key ids, and neither signature is the other."""
    key, text = writer.WITNESS, read_note(GO_NOTE).text
    note = read_note(GO_NOTE + key.note_line("w", 1, text))
    assert (signed(note, "w", key.public), cosigned_at(note, "w", key.public)) == (True, None)


LINES = GO_NOTE.split("\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        None,
        GO_NOTE.removesuffix("\n"),
        GO_NOTE + "\n",
        GO_NOTE.replace("\n", "\r\n"),
        "\n".join(LINES[:3]) + "\n\n",  # without a signature
        "\n".join(LINES[:3]) + "\n" + LINES[4] + "\n",  # without the empty line
        "\n".join([*LINES[:3], "extension", *LINES[3:]]),
        GO_NOTE.replace("20852163", "020852163"),
        GO_NOTE.replace("20852163", "+1"),
        GO_NOTE.replace("20852163", "²"),
        GO_NOTE.replace("20852163", "9" * 17),
        GO_NOTE.replace("q2I=", "q2J="),  # spare bits
        GO_NOTE.replace("q2I=", "q2I"),
        GO_NOTE.replace("go.sum database tree", ""),
        GO_NOTE.replace("go.sum", "go\x00sum"),
        GO_NOTE.replace("— sum", "- sum"),
        GO_NOTE.replace("sum.golang.org", "sum+golang.org"),
        GO_NOTE.replace("sum.golang.org", "sum\u00a0golang.org"),
        GO_NOTE.replace("sum.golang.org", ""),
        GO_NOTE.replace("AYQ8=", "AYQ9="),
        GO_NOTE + LINES[4] * 70,
        GO_NOTE + (LINES[4] + "\n") * 64,
    ],
)
def test_what_is_no_checkpoint(note: str) -> None:
    """Anything but three lines, an empty one and one to 64 signatures in their one spelling."""
    with pytest.raises(ValueError):
        read_note(note)


def test_sixteen_signatures_and_more() -> None:
    """C2SP: at least 16 must be accepted."""
    assert len(read_note(GO_NOTE + (LINES[4] + "\n") * 63).signatures) == 64
