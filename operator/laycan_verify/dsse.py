"""Signatures: Ed25519, over the pre-authentication encoding of DSSE."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def pae(kind: str, payload: bytes) -> bytes:
    """What a DSSE signature signs."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """`public` is the raw key, 32 bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
