"""Webhook signatures, judged by the public `standardwebhooks` library and by `cryptography`."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from laycan.events.signatures import headers, parse_keys, sign
from tests.laycan.events.house import key

KEY = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(b"another key of 24 bytes!").decode()
BODY = '{"data":"ä","id":"u-1/7"}'.encode()


def signed(secret: str, *, at: int | None = None, body: bytes = BODY) -> dict[str, str]:
    return dict(headers(parse_keys(secret.encode()), [], "u-1/7", int(time.time()) if at is None else at, body))


def test_verified_by_the_public_library() -> None:
    assert Webhook(KEY).verify(BODY, signed(KEY)) == {"data": "ä", "id": "u-1/7"}


@pytest.mark.parametrize("spoil", ["body", "key", "id", "old"])
def test_refused_by_the_public_library(spoil: str) -> None:
    """Another body, key or id, or a timestamp six minutes old, does not verify."""
    given = signed(OTHER if spoil == "key" else KEY, at=int(time.time()) - 360 if spoil == "old" else None)
    if spoil == "id":
        given["webhook-id"] = "u-1/8"
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(BODY + b" " if spoil == "body" else BODY, given)


def test_two_keys_while_one_replaces_the_other() -> None:
    """A Secret with two keys signs with both: receivers with either key verify."""
    given = signed(f"{OTHER}\n{KEY}\n")
    for either in (KEY, OTHER):
        Webhook(either).verify(BODY, given)


@pytest.mark.parametrize("count", [1, 2])
def test_beside_public_signatures(count: int) -> None:
    """`v1a` alone would fail the public library; with `v1` behind it, it passes. The public key alone checks `v1a`."""
    signers = [key(n, "webhooks") for n in range(1, count + 1)]
    given = dict(headers(parse_keys(KEY.encode()), signers, "u-1/7", int(time.time()), BODY))
    assert Webhook(KEY).verify(BODY, given)
    *public, stock = given["webhook-signature"].split(" ")
    assert stock.startswith("v1,")
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(BODY, {**given, "webhook-signature": " ".join(public)})
    signed = f"u-1/7.{given['webhook-timestamp']}.".encode() + BODY
    for signer, each in zip(signers, public, strict=True):
        kind, signature = each.split(",")
        assert kind == "v1a"
        verifier = Ed25519PublicKey.from_public_bytes(signer.public_key)
        verifier.verify(base64.b64decode(signature), signed)
        with pytest.raises(InvalidSignature):
            verifier.verify(base64.b64decode(signature), signed.replace(b"u-1/7", b"u-1/8"))


def test_prefix_and_padding_are_optional() -> None:
    """`whsec_` and `=` may be missing, as in the library's own keys."""
    bare = KEY.removeprefix("whsec_").rstrip("=")
    assert parse_keys(bare.encode()) == parse_keys(KEY.encode()) == (bytes(range(24)),)


@pytest.mark.parametrize("secret", [b"", b"  \n", b"whsec_", b"whsec_n*t", b"\xff\xfe"])
def test_no_key(secret: bytes) -> None:
    """Nothing is ever signed with an empty or broken key."""
    with pytest.raises(ValueError, match="key"):
        parse_keys(secret)


def test_fixed_vector() -> None:
    """The signed text is id.timestamp.body: a vector computed with openssl."""
    assert sign(b"secret", "msg_1", 1_700_000_000, b"{}") == "v1,A5oIrJxXPB/PkULSoVu0e4khvPiqpF9vljmhkSKg0FI="
