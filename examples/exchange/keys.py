"""Who may speak for the operator: the HMAC secrets that we share with it, and its public keys by the trust file."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from laycan_verify.dsse import verifies
from laycan_verify.forms import TRUST
from laycan_verify.strict import need, octets, octets32, parse, read
from laycan_verify.trust import Trust, signer, valid

SECONDS = 300  # how old, or how far ahead, the timestamp of an attempt may be
ROTATION = {"use": ".+", "oldKeyId": ".+", "newKeyId": ".+", "newPublicKey": octets32, "signature": octets, ...: ...}


class ForgedError(Exception):
    """Nobody whom we trust has sent this, or not now."""


class Keys:
    """`secrets`: HMAC keys, any of which may sign. `trust_file`: as `laycan keys` prints it.

    Whatever we have keys for must be signed: with both, by both. Only the operator can make a `v1a`; a `v1` we could have made ourselves,
    so it proves nothing to anybody else.
    """

    def __init__(self, secrets: Sequence[bytes] = (), trust_file: bytes | None = None) -> None:
        if not secrets and trust_file is None:
            raise ValueError("a receiver without keys would believe anybody")
        self.secrets = tuple(secrets)
        trusted = Trust.of(read(TRUST, parse(trust_file, "the trust file"), "the trust file"), None) if trust_file else None
        self.operator = trusted.operator if trusted else ""
        self._keys = [*trusted.keys] if trusted else []

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        """The webhook-id of a request that the operator signed just now; raises ForgedError for any other.

        As in the Standard Webhooks specification: signed is `id.timestamp.body`, byte for byte. Verify before you parse, and never what
        was parsed and written again.
        """
        message_id, sent, signatures = (headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
        if not message_id or not re.fullmatch("[0-9]{1,12}", sent):
            raise ForgedError("webhook-id or webhook-timestamp is missing")
        if abs(now - int(sent)) > SECONDS:
            raise ForgedError(f"webhook-timestamp is {abs(now - int(sent)):.0f} s from our clock: an old message, or a clock is wrong")
        signed = f"{message_id}.{sent}.".encode() + body
        given = [(kind, _bytes(value)) for kind, _, value in (word.partition(",") for word in signatures.split())]
        public = [key["publicKey"] for key in self.valid("webhooks", now)]
        if self.operator and not any(kind == "v1a" and verifies(key, value, signed) for kind, value in given for key in public):
            raise ForgedError("no signature v1a by a key that is trusted for webhooks")
        made = [hmac.digest(secret, signed, "sha256") for secret in self.secrets]
        if made and not any(kind == "v1" and hmac.compare_digest(value, ours) for kind, value in given for ours in made):
            raise ForgedError("no signature v1 by a secret of ours")
        return message_id

    def valid(self, use: str, now: float) -> list[Mapping[str, Any]]:
        """The operator's keys for `use` that are valid now, as in the trust file; `publicKey` is its 32 bytes."""
        return [key for key in self._keys if key["use"] == use and valid(key, int(now))]

    def signer_of(self, envelope: Mapping[str, Any], now: float, name: str) -> str:
        """keyId of the key that signed a receipt; raises RefusedError where none did that is valid now."""
        return str(signer(envelope, self.valid("receipts", now), "receipts", name)["keyId"])

    def learn(self, data: Mapping[str, Any], now: float) -> None:
        """Takes a key that the one before it announces (`key.rotated`); raises RefusedError where that one has not signed it."""
        said = read(ROTATION, data, "the event: data")
        old = [key["publicKey"] for key in self.valid(said["use"], now) if key["keyId"] == said["oldKeyId"]]
        signed = any(verifies(key, said["signature"], said["newPublicKey"]) for key in old)
        need(signed, f"key {said['newKeyId']!r} is not announced by the key {said['oldKeyId']!r}")
        self._keys.append({"use": said["use"], "keyId": said["newKeyId"], "publicKey": said["newPublicKey"]})


def secrets_of(text: str) -> list[bytes]:
    """The keys of a file: one `whsec_<base64>`, or several with white space between while one takes over from the other."""
    return [base64.b64decode(word.removeprefix("whsec_"), validate=True) for word in text.split()]


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return b""
