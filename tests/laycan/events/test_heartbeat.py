"""Checkpoints once a minute, signed so that others can check them, and what an exchange may answer: its cosignature, or a forged one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from laycan.events.heartbeat import witnesses
from laycan.ledger.sqlite import open_log, path_of
from laycan_verify.merkle import root
from laycan_verify.notes import LOG, WITNESS, by, cosigned, cosigned_at, read_note, signature_line, signed
from tests.laycan.events.clockwork import LeapingDatetime, leap, unix
from tests.laycan.events.exchange import SECRET, Arrival, Exchange, answer
from tests.laycan.events.house import GCX, House, key, run, until

LOG_KEY, WEBHOOK_KEY, EXCHANGE_KEY, STRANGER = key(1), key(2, "webhooks"), key(3), key(4)
NAME = "gcx.example/witness"


@pytest.fixture(autouse=True)
def _receiver_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", LeapingDatetime)


def trusted(**more: str) -> dict[str, Any]:
    public = base64.b64encode(EXCHANGE_KEY.public_key).decode()
    return {"trustedKeys": [{"keyId": NAME, "algorithm": "Ed25519", "publicKey": public, **more}]}


def cosignature(note: str, signer: Any = EXCHANGE_KEY, name: str = NAME, at: int | None = None) -> str:
    """As a witness makes it, with nothing of the operator's code."""
    text, seconds = read_note(note).text, unix() if at is None else at
    signature = seconds.to_bytes(8, "big") + signer.sign(cosigned(seconds, text))
    return signature_line(name, WITNESS, EXCHANGE_KEY.public_key, signature)


def kept(folder: Path) -> str:
    log = open_log(path_of(folder, *GCX))
    found = log.latest_checkpoint()
    log.close()
    return found.note if found else ""


def house(exchange: Exchange, folder: Path, **more: Any) -> House:
    made = House(exchange, folder, signers=[WEBHOOK_KEY], checkpoints=LOG_KEY, **more)
    made.point(exchange.url, **trusted())
    return made


def test_both_signatures_verify_independently(tmp_path: Path) -> None:
    """`v1a` with `cryptography` and the public key, `v1` with the public library and the shared one; of events and of heartbeats."""

    async def test(exchange: Exchange) -> None:
        made = house(exchange, tmp_path)
        made.say("c", 2)
        async with made.running():
            await made.all_sent()
            await until(lambda: bool(exchange.checkpoints))

    exchange = run(test)
    public = Ed25519PublicKey.from_public_bytes(WEBHOOK_KEY.public_key)
    assert len(exchange.arrivals) == 3
    for arrival in exchange.arrivals:
        first, second = arrival.headers["webhook-signature"].split(" ")
        assert (first[:4], second[:3]) == ("v1a,", "v1,")
        content = f"{arrival.headers['webhook-id']}.{arrival.headers['webhook-timestamp']}.".encode() + arrival.body
        public.verify(base64.b64decode(first[4:]), content)
        with pytest.raises(InvalidSignature):
            public.verify(base64.b64decode(first[4:]), content + b" ")
        Webhook(SECRET).verify(arrival.body, {**arrival.headers, "webhook-signature": second})
        Webhook(SECRET).verify(arrival.body, arrival.headers)


def test_once_a_minute(tmp_path: Path) -> None:
    """Each is a fresh message with the log's head at that time; an auditor with the log's public key and the entries checks it."""

    async def test(exchange: Exchange) -> None:
        made = house(exchange, tmp_path)
        async with made.running():
            await until(lambda: len(exchange.checkpoints) == 1)
            made.say("c", 3)
            await made.all_sent()
            await asyncio.sleep(600)

    exchange = run(test, leap)
    beats = exchange.checkpoints
    assert 10 <= len(beats) <= 12
    assert all(58 <= b.at - a.at <= 62 for a, b in pairwise(beats))
    assert len({arrival.id for arrival in beats}) == len(beats)
    leaves = [event.body for event in exchange.events]
    for arrival, size in zip(beats, [0, *[3] * 20], strict=False):
        body = json.loads(arrival.body)
        found = read_note(body["checkpoint"])
        assert (found.origin, found.size, found.root) == ("op/desk/gcx", size, root(leaves[:size])) == (body["origin"], size, found.root)
        assert signed(found, "op/desk/gcx", LOG_KEY.public_key)
        stamp = arrival.headers["webhook-timestamp"]
        assert abs(int(arrival.id.removeprefix(f"checkpoint/op/desk/gcx/{size}/")) - int(stamp)) <= 1
        assert arrival.headers["content-type"] == "application/json"
        assert "laycan-log-index" not in arrival.headers


def test_without_keys_there_are_none(tmp_path: Path) -> None:
    """Webhooks are signed by HMAC only; once there are keys, heartbeats come and both signatures."""

    async def test(exchange: Exchange) -> None:
        made = House(exchange, tmp_path)
        made.say("c", 1)
        async with made.running():
            await made.all_sent()
            await asyncio.sleep(300)
            assert len(exchange.arrivals) == 1
            made.checkpoints, made.signers = LOG_KEY, [WEBHOOK_KEY, STRANGER]
            made.say("c", 1)
            await made.all_sent()
            await until(lambda: bool(exchange.checkpoints))

    exchange = run(test, leap)
    assert [[each.split(",")[0] for each in a.headers["webhook-signature"].split(" ")] for a in exchange.events] == [
        ["v1"],
        ["v1a", "v1a", "v1"],
    ]


def test_a_cosignature_is_kept(tmp_path: Path) -> None:
    """A verifier who trusts the exchange's key finds in the log when the exchange had seen it; the first time counts."""
    begun = [0]

    async def test(exchange: Exchange) -> None:
        def say(arrival: Arrival) -> dict[str, Any] | None:
            return {"cosignature": cosignature(json.loads(arrival.body)["checkpoint"])} if arrival.index < 0 else None

        exchange.says = say
        made = house(exchange, tmp_path)
        made.say("c", 3)
        begun[0] = unix()
        async with made.running():
            await made.all_sent()
            await asyncio.sleep(600)
            assert made.sender.hearts["desk/gcx"].cosigned == 1, "of one head one"
            made.say("c", 1)
            await made.all_sent()
            await asyncio.sleep(61)
            assert made.sender.hearts["desk/gcx"].cosigned == 2

    run(test, leap)
    log = open_log(path_of(tmp_path, *GCX))
    first, latest = log.checkpoint_covering(0), log.latest_checkpoint()
    assert first is not None
    assert latest is not None
    assert (first.size, first.cosigned, latest.size, latest.cosigned) == (3, True, 4, True)
    at = cosigned_at(read_note(first.note), NAME, EXCHANGE_KEY.public_key)
    assert at is not None
    assert begun[0] - 2 <= at <= begun[0] + 62
    assert log.verify() == []
    log.close()


FORGED: dict[str, Callable[[str], object]] = {
    "by another key": lambda note: cosignature(note, STRANGER),
    "of another head": lambda note: cosignature(note.replace("\n3\n", "\n2\n")),
    "of a time to come": lambda note: cosignature(note, at=unix() + 1000),
    "under the log's name": lambda note: cosignature(note, name="op/desk/gcx"),
    "under an unknown name": lambda note: cosignature(note, name="somebody"),
    "no line": lambda note: "I saw it",
    "two lines of which one is none": lambda note: cosignature(note) + "I saw it",
    "the log's own line": lambda note: note.split("\n\n")[1],
    "empty": lambda note: "",
    "no text": lambda note: 7,
    "a list": lambda note: [cosignature(note)],
}


@pytest.mark.parametrize("forgery", list(FORGED))
def test_a_forged_cosignature_is_not_kept(forgery: str, tmp_path: Path) -> None:
    """Nothing of it gets into the log, and events and heartbeats go on."""

    async def test(exchange: Exchange) -> None:
        def say(arrival: Arrival) -> dict[str, Any] | None:
            return {"cosignature": FORGED[forgery](json.loads(arrival.body)["checkpoint"])} if arrival.index < 0 else None

        exchange.says = say
        made = house(exchange, tmp_path)
        made.say("c", 3)
        async with made.running():
            await made.all_sent()
            await asyncio.sleep(130)
            assert made.sender.hearts["desk/gcx"].cosigned == 0

    exchange = run(test, leap)
    assert len(exchange.checkpoints) >= 3
    note = read_note(kept(tmp_path))
    assert len(note.signatures) == len(by(note, LOG, "op/desk/gcx", LOG_KEY.public_key)) == 1


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({}, True),
        ({"validFrom": "2020-01-01T00:00:00Z", "revokedAt": "2100-01-01T00:00:00Z"}, True),
        ({"validFrom": "2100-01-01T00:00:00Z"}, False),
        ({"revokedAt": "2020-01-01T00:00:00Z"}, False),
        ({"publicKey": "short"}, False),
        ({"keyId": None}, True),
    ],
)
def test_whose_signature_counts(more: dict[str, Any], counts: bool) -> None:
    """A key counts from its first day until it is revoked; what cannot be read is left out."""
    spec = trusted(**more)
    assert bool(witnesses(spec, 1_800_000_000)) is counts
    assert witnesses({"trustedKeys": [7, {}, *spec["trustedKeys"]]}, 1_800_000_000).keys() == witnesses(spec, 1_800_000_000).keys()


def test_a_receiver_that_knows_events_only(tmp_path: Path) -> None:
    """It answers heartbeats with 400: it is reachable all the same, and nothing is parked."""

    async def test(exchange: Exchange) -> None:
        async def choosy(request: Any, handler: Any) -> Any:
            exchange.faults.append(choosy)
            if request.content_type == "application/json":
                return await answer(400)(request, handler)
            return await handler(request)

        exchange.faults = [choosy]
        made = house(exchange, tmp_path)
        made.say("c", 2)
        async with made.running():
            await made.all_sent()
            await asyncio.sleep(4000)
            assert made.channel.health.reachable
            assert made.sender.parked == []

    run(test, leap)


@pytest.mark.parametrize("status", [409, 422])
def test_a_receiver_that_contradicts(status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One alarm with its words, every refusal counted, told at once and until it accepts again; events go on, and it is reachable."""
    flips: list[str] = []

    async def test(exchange: Exchange) -> None:
        async def contradict(request: Any, handler: Any) -> Any:
            exchange.faults.append(contradict)
            if request.content_type == "application/json":
                return web.json_response({"error": "there are two histories"}, status=status)
            return await handler(request)

        made = house(exchange, tmp_path)
        async with made.running():
            await until(lambda: len(exchange.checkpoints) == 2)
            assert (made.sender.refused, made.channel.health.contradiction) == (0, "")
            made.channel.health.flipped = lambda: flips.append(made.channel.health.contradiction)
            exchange.faults = [contradict]
            made.say("c", 3)
            await made.all_sent()
            await asyncio.sleep(600)
            words = f"the checkpoint of 3 entries is refused (HTTP {status}): 'there are two histories'"
            assert (flips, made.channel.health.reachable) == ([words], True)
            assert 9 <= made.sender.refused <= 11
            exchange.faults = []
            await until(lambda: flips == [words, ""])
            count = made.sender.refused
            await asyncio.sleep(600)
            assert made.sender.refused == count

    run(test, leap)
    alarms = [record.message for record in caplog.records if "ALARM" in record.message]
    assert len(alarms) == 1
    assert "desk/gcx does not have the log that we have" in alarms[0]


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b'{"error": [7]}', b"x" * 70_000])
def test_a_contradiction_without_words(body: bytes, tmp_path: Path) -> None:
    """Whatever else stands in the answer, the refusal counts."""

    async def test(exchange: Exchange) -> None:
        async def contradict(request: Any, handler: Any) -> Any:
            return web.Response(status=409, body=body)

        exchange.faults = [contradict]
        made = house(exchange, tmp_path)
        async with made.running():
            await until(lambda: made.sender.refused == 1)
            assert made.channel.health.contradiction.startswith("the checkpoint of 0 entries is refused (HTTP 409): '")

    run(test, leap)


def test_silence_shows(tmp_path: Path) -> None:
    """An exchange that is away for heartbeats only, because nothing happens, is found unreachable and then reachable again."""
    seen: list[bool | None] = []

    async def test(exchange: Exchange) -> None:
        made = house(exchange, tmp_path)
        async with made.running():
            await until(lambda: made.channel.health.reachable is True)
            made.channel.health.flipped = lambda: seen.append(made.channel.health.reachable)
            exchange.faults = [answer(502)] * 3
            await until(lambda: seen == [False, True])
            exchange.faults = [answer(410)]
            await until(lambda: made.channel.paused)
            count = len(exchange.arrivals)
            await asyncio.sleep(600)
            assert len(exchange.arrivals) == count, "nothing more is sent"
            made.point(exchange.url, {"again": "yes"}, **trusted())
            await until(lambda: seen == [False, True, False, True])

    run(test, leap)
