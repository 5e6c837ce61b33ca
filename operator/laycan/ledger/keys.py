"""Keys that sign. A `Signer` may be a key in memory or a service that never shows it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

RAW_BYTES = 32  # of an Ed25519 seed, and of a public key


class UnusableKeyError(ValueError):
    """The Secret holds no key that could sign; the message says what it holds instead, and never any of it."""


class Signer(Protocol):
    """Ed25519. `key_id` is the trust file's keyId, `public_key` its raw 32 bytes."""

    @property
    def key_id(self) -> str: ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, data: bytes) -> bytes: ...


class Ed25519Signer:
    """A key in memory, for one use: `receipts`, `checkpoints` or `webhooks`."""

    def __init__(self, key: Ed25519PrivateKey, use: str) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.key_id = key_id(use, self.public_key)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def key_id(use: str, public_key: bytes) -> str:
    """`<use>-<8 hex digits>`: it follows the key, so it cannot be the wrong one's."""
    return f"{use}-{hashlib.sha256(public_key).hexdigest()[:8]}"


def signer_of(secret: bytes, use: str) -> Ed25519Signer:
    """From a Secret's value: PEM (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it), or the raw 32 bytes, also in base64.

    Raises UnusableKeyError for an empty, half-written, encrypted or other kind of key.
    """
    text = secret.strip()
    if not text:
        raise UnusableKeyError("it is empty")
    if text.startswith(b"-----"):
        return Ed25519Signer(_from_pem(text), use)
    raw = secret if len(secret) == RAW_BYTES else _from_base64(text)
    if len(raw) != RAW_BYTES:
        raise UnusableKeyError(f"it is neither PEM nor {RAW_BYTES} raw bytes, also not in base64; is it half written?")
    if raw.isascii() or len(set(raw)) == 1:  # by chance less often than once in 2^32 keys
        raise UnusableKeyError(f"its {RAW_BYTES} bytes are text or all the same, which no random key is")
    return Ed25519Signer(Ed25519PrivateKey.from_private_bytes(raw), use)


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _from_pem(text: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeyError(f"it is PEM, but of no private key, encrypted, or half written: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKeyError(f"it is a private key, but none of Ed25519: {type(key).__name__}")
    return key
