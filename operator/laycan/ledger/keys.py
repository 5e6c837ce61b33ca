"""Keys that sign. A `Signer` may be a key in memory or a service that never shows it."""

from __future__ import annotations

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
    """A key in memory."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.key_id = "ed25519-" + hashlib.sha256(self.public_key).hexdigest()[:16]  # follows the key, so it cannot be the wrong one

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def signer_of(secret: bytes) -> Ed25519Signer:
    """From a Secret's value: PEM (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it) or the raw 32 bytes.

    Raises UnusableKeyError for an empty, half-written, encrypted or other kind of key.
    """
    if not secret.strip():
        raise UnusableKeyError("the Secret holds no signing key: it is empty")
    if secret.lstrip().startswith(b"-----"):
        return Ed25519Signer(_from_pem(secret))
    if len(secret) != RAW_BYTES:
        raise UnusableKeyError(
            f"a signing key is PEM or {RAW_BYTES} raw bytes, and the Secret holds {len(secret)} bytes; is it half written?"
        )
    if secret.isascii() or len(set(secret)) == 1:  # by chance less often than once in 2^32 keys
        raise UnusableKeyError(f"the Secret holds {RAW_BYTES} bytes that are text or all the same, and no signing key")
    return Ed25519Signer(Ed25519PrivateKey.from_private_bytes(secret))


def _from_pem(text: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeyError(f"the Secret holds PEM that is no private key, is encrypted or half written: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKeyError(f"the Secret holds a private key, but none of Ed25519: {type(key).__name__}")
    return key
