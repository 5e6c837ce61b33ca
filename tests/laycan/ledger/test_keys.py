"""Signing keys out of Secrets: whole ones sign, and nothing else is taken for one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from laycan.ledger.keys import Signer, UnusableKeyError, signer_of

SEED = bytes(range(100, 132))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
PEM = KEY.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
LOCKED = KEY.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"x"))
PUBLIC = KEY.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
OTHER = ec.generate_private_key(ec.SECP256R1()).private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


@pytest.mark.parametrize("secret", [SEED, PEM, PEM.strip(), b"\n" + PEM], ids=["raw", "pem", "stripped", "newline"])
def test_both_forms(secret: bytes) -> None:
    """PEM and raw bytes of a key are the same signer."""
    signer: Signer = signer_of(secret)
    assert signer.public_key == KEY.public_key().public_bytes_raw()
    assert signer.key_id == signer_of(SEED).key_id == "ed25519-" + signer.key_id[8:]
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(b"said"), b"said")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(b"said"), b"not said")


def test_as_openssl_writes_it(tmp_path: Path) -> None:
    """The command of the docs makes a key that can sign, with the public key that openssl says."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem"], check=True, capture_output=True)
    said = subprocess.run(["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout", "-outform", "DER"], check=True, capture_output=True)
    assert signer_of((tmp_path / "key.pem").read_bytes()).public_key == said.stdout[-32:]


@pytest.mark.parametrize("whole", [SEED, PEM], ids=["raw", "pem"])
def test_half_written(whole: bytes) -> None:
    """Cut off at any byte it is no key, and the error does not show any of it."""
    for length in range(len(whole.rstrip())):
        with pytest.raises(UnusableKeyError) as caught:
            signer_of(whole[:length])
        assert "MC4CAQ" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (bytes(32), "all the same"),
        (b"0123456789abcdef0123456789abcdef", "text or all the same"),
        (SEED + b"\n", "the Secret holds 33 bytes; is it half written"),
        (LOCKED, "is encrypted or half written"),
        (PUBLIC, "is no private key"),
        (OTHER, "but none of Ed25519"),
    ],
)
def test_no_key(secret: bytes, says: str) -> None:
    """Zeros of a file that was made but not filled, text, other kinds: each refused for what it is."""
    with pytest.raises(UnusableKeyError, match=says):
        signer_of(secret)
