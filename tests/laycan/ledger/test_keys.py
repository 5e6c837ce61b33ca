"""A key comes out of a Secret whole or not at all, and its id follows from it."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from laycan.ledger.keys import UnusableKeyError, signer_of

RAW = bytes(range(100, 132))
KEY = Ed25519PrivateKey.from_private_bytes(RAW)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OTHER = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize("form", [PEM, b"\n" + PEM + b"\n", RAW, base64.b64encode(RAW), base64.b64encode(RAW) + b"\n"], ids=range(5))
def test_forms(form: bytes) -> None:
    """PEM, raw bytes and base64 are the same key, with or without white space around; it signs, and is named by its use and its digest."""
    signer = signer_of(form, "receipts")
    assert signer.public_key == KEY.public_key().public_bytes_raw()
    assert signer.key_id == "receipts-" + sha256(signer.public_key).hexdigest()[:8]
    KEY.public_key().verify(signer.sign(b"data"), b"data")


BROKEN = {
    "empty": b"",
    "only white space": b" \n",
    "half of the PEM": PEM[: len(PEM) // 2],
    "half of the bytes": RAW[:20],
    "half of the base64": base64.b64encode(RAW)[:20],
    "text of 32 letters": b"change-me-change-me-change-me-ok",
    "zeros": bytes(32),
    "zeros in base64": base64.b64encode(bytes(32)),
    "another kind": OTHER,
    "encrypted": LOCKED,
}


@pytest.mark.parametrize("form", BROKEN)
def test_broken(form: str) -> None:
    """What is no whole Ed25519 key is refused, and the words hold nothing of it."""
    with pytest.raises(UnusableKeyError) as error:
        signer_of(BROKEN[form], "receipts")
    for line in BROKEN[form].splitlines():
        assert len(line) < 8 or line.startswith(b"---") or line.decode(errors="replace") not in str(error.value)
