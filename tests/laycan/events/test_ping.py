"""A ping goes the way of events, stands in no log, and every answer is explained."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from laycan.events.attempt import Answer
from laycan.events.cloudevents import NAMES
from laycan.events.ping import TYPE, Ping, explain, ping
from laycan.events.retries import judge
from tests.laycan.events.exchange import SECRET, Exchange, answer
from tests.laycan.events.test_evidence_keys import raw_key, whole

KEYS = whole(webhooks_next_key=raw_key(9))


def spec(url: str) -> dict[str, Any]:
    return {"url": url, "secretRef": {"name": "gcx", "key": "hmac"}}


async def secret(namespace: str, name: str, key: str) -> bytes:
    if namespace != "desk":
        raise LookupError(f"Secret {namespace}/{name} cannot be read: no right to")
    return SECRET.encode()


def sent(exchange: Exchange, *, url: str = "", endpoint: str = "desk/gcx") -> Ping:
    async def run() -> Ping:
        async with exchange.open():
            return await ping(endpoint, spec(url or exchange.url), secret, KEYS.webhook_signers, "urn:laycan:8a1c", int(time.time()))

    return asyncio.run(run())


def test_acknowledged() -> None:
    """The receiver believes it by `v1`, and by `v1a` with either key of a rotation; it is no event of the catalogue."""
    exchange = Exchange()
    found = sent(exchange)
    assert (found.acknowledged, found.troubles()) == (True, [])
    assert found.signatures == [signer.key_id for signer in KEYS.webhook_signers]
    (arrival,) = exchange.arrivals
    low = {name.lower(): value for name, value in arrival.headers.items()}
    assert "laycan-log-index" not in low
    Webhook(SECRET).verify(arrival.body, low)
    said = json.loads(arrival.body)
    assert (said["type"], said["id"], said["subject"]) == (TYPE, arrival.id, "desk/gcx")
    assert TYPE.removeprefix("dev.laycan.") not in NAMES
    signatures = [word.removeprefix("v1a,") for word in low["webhook-signature"].split() if word.startswith("v1a,")]
    assert len(signatures) == 2
    for signer, signature in zip(KEYS.webhook_signers, signatures, strict=True):
        content = f"{arrival.id}.{low['webhook-timestamp']}.".encode() + arrival.body
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(base64.b64decode(signature), content)


@pytest.mark.parametrize("status", [301, 308, 400, 401, 403, 404, 405, 410, 413, 415, 422, 429, 500, 502, 503])
def test_every_refusal_is_explained(status: int) -> None:
    """Whatever the receiver answers, one sentence says what to do."""
    found = sent(Exchange(faults=[answer(status)]))
    assert not found.acknowledged
    assert found.answer.detail == f"HTTP {status}"
    (words,) = found.troubles()
    assert len(words) > 20


@pytest.mark.parametrize(
    ("url", "endpoint", "detail", "words"),
    [
        ("http://127.0.0.1:9/", "desk/gcx", "Connect", "there is no connection"),
        ("http://exchange.example/", "desk/gcx", "use https", ""),
        ("https://169.254.169.254/", "desk/gcx", "no webhook may go to", ""),
        ("", "other/gcx", "no right to", ""),
    ],
    ids=["nobody listens", "http", "metadata", "no Secret"],
)
def test_no_answer(url: str, endpoint: str, detail: str, words: str) -> None:
    """Where there is no answer the detail says why, or a sentence does."""
    found = sent(Exchange(), url=url, endpoint=endpoint)
    assert not found.acknowledged
    assert detail in found.answer.detail
    assert words in " ".join(found.troubles())


def test_clocks() -> None:
    """A receiver whose clock is off is told beside its acknowledgement: it would keep receipts waiting."""
    found = sent(Exchange(faults=[answer(200, Date="Fri, 15 Jan 2027 08:00:00 GMT")]))
    assert found.acknowledged
    (words,) = found.troubles()
    assert "exchange desk/gcx's by" in words


def test_words_for_all() -> None:
    """No status is without words, no acknowledgement has any."""
    for status in range(200, 600):
        found = list(explain(Answer(judge(status), f"HTTP {status}")))
        assert bool(found) == (status >= 300)
    assert next(explain(Answer(judge(500), "TimeoutError"))).startswith("no answer")
