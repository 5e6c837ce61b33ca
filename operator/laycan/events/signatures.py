"""Signatures of the Standard Webhooks specification over `id.timestamp.body`: `v1a`, Ed25519, and `v1`, HMAC-SHA256.

The timestamp is that of the attempt, so that a receiver that refuses old messages still takes a late retry; the id is the event's
and never changes. A Secret may hold several keys, separated by white space: each signs, so a receiver can change from one to the
other at leisure. `v1` is always there, because stock verifiers know no other; `v1a` proves to a third party who sent it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from laycan.ledger.keys import Signer

PREFIX = "whsec_"


def parse_keys(secret: bytes) -> tuple[bytes, ...]:
    """The keys of a Secret's value, each base64 with or without `whsec_`; raises ValueError when there is none or one is broken."""
    keys = []
    for word in secret.decode("ascii", "replace").split():
        text = word.removeprefix(PREFIX)
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError as error:
            raise ValueError(f"a webhook key is not base64: {error}; it has the form {PREFIX}<base64>") from None
        if not key:
            raise ValueError("a webhook key is empty")
        keys.append(key)
    if not keys:
        raise ValueError("the Secret holds no webhook key")
    return tuple(keys)


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` for one key; `timestamp` in Unix seconds."""
    return "v1," + base64.b64encode(hmac.new(key, content(message_id, timestamp, body), hashlib.sha256).digest()).decode()


def sign_publicly(signer: Signer, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1a,<base64>`: whoever has the public key can check it."""
    return "v1a," + base64.b64encode(signer.sign(content(message_id, timestamp, body))).decode()


def content(message_id: str, timestamp: int, body: bytes) -> bytes:
    """What is signed."""
    return f"{message_id}.{timestamp}.".encode() + body


def headers(keys: Sequence[bytes], signers: Sequence[Signer], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of one attempt."""
    signatures = [sign_publicly(signer, message_id, timestamp, body) for signer in signers]
    signatures += [sign(key, message_id, timestamp, body) for key in keys]
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(signatures)}
