"""A test of one ExchangeEndpoint: a signed message that says nothing, sent as every event is, and what its answer means in words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from laycan.events.attempt import Answer, Courier, GetSecret, Message
from laycan.events.retries import Verdict
from laycan.kube.clock import Clock, Dated
from laycan.ledger.keys import Signer
from laycan.resources.times import format_time

TYPE = "dev.laycan.ping"  # in no log, and in no catalogue: a receiver acknowledges it and forgets it

_WORDS = {  # HTTP status -> what is wrong
    401: "the receiver does not believe the signature: do both sides have the same key, and does it take `v1`?",
    403: "the receiver does not let us in: do both sides have the same key, does a firewall or a proxy refuse us?",
    404: "nobody listens at that path: correct the endpoint's url",
    405: "that path takes no POST: correct the endpoint's url",
    410: "the receiver wants nothing any more: the operator pauses such an endpoint until it is changed",
    413: "the receiver takes no body of this size; events have up to 64 kB",
    415: "the receiver does not take application/cloudevents+json",
    429: "the receiver asks for fewer messages: the operator slows down",
}


@dataclass(frozen=True, slots=True)
class Ping:
    """What became of it."""

    answer: Answer
    milliseconds: int  # until the answer was there, with the connection, without reading the Secret
    signatures: Sequence[str]  # names of the keys beside the endpoint's own
    clock: str  # why the two clocks do not agree, "" where they do

    @property
    def acknowledged(self) -> bool:
        return self.answer.verdict is Verdict.ACK

    def troubles(self) -> list[str]:
        """What is wrong, in words."""
        return [words for words in (*explain(self.answer), self.clock) if words]


async def ping(endpoint: str, spec: Mapping[str, Any], get_secret: GetSecret, signers: Sequence[Signer], source: str, now: int) -> Ping:
    """One attempt, by the code that sends events. `endpoint` is its key `<namespace>/<name>`, `now` in Unix seconds."""
    clock, fetched = Clock(1000, time.time), 0.0

    async def fetch(namespace: str, name: str, key: str) -> bytes:
        nonlocal fetched
        begun = time.monotonic()
        try:
            return await get_secret(namespace, name, key)
        finally:
            fetched += time.monotonic() - begun

    def heard(server: str, answer: Dated) -> None:
        clock.heard(f"exchange {server}", answer)

    message = Message(f"ping/{now}", body(f"ping/{now}", source, endpoint, now), "application/cloudevents+json")
    async with Courier(fetch, lambda: signers, lambda: now, heard=heard) as courier:
        begun = time.monotonic()
        answer = await courier.post(endpoint, spec, message)
        took = time.monotonic() - begun - fetched
    return Ping(answer, round(1000 * took), [signer.key_id for signer in signers], clock.trouble(f"exchange {endpoint}"))


def body(event_id: str, source: str, endpoint: str, now: int) -> bytes:
    event = {"specversion": "1.0", "id": event_id, "source": source, "subject": endpoint, "type": TYPE, "time": format_time(now)}
    return rfc8785.dumps({**event, "datacontenttype": "application/json", "data": {}})


def explain(answer: Answer) -> Iterator[str]:
    """What a person should do about it; nothing where it was acknowledged."""
    if answer.verdict is Verdict.ACK:
        return
    _, _, code = answer.detail.partition("HTTP ")
    if not code.isdigit():
        yield _unreached(answer.detail)
    elif int(code) in _WORDS:
        yield _WORDS[int(code)]
    elif 300 <= int(code) < 400:
        yield "the receiver is elsewhere: redirects are not followed, put the final address into the endpoint's url"
    elif int(code) >= 500:
        yield "the receiver, or a proxy before it, is out of order: the operator repeats events until it is well again"
    else:
        yield "the receiver refuses the message: its log says why; an event that is refused for an hour is parked"


def _unreached(detail: str) -> str:
    """There was no answer at all."""
    if detail.startswith("TimeoutError"):
        return "no answer within 15 s: is the receiver up, and does a firewall or NetworkPolicy let the operator out?"
    if "Certificate" in detail or "SSL" in detail:
        return "the receiver's certificate is not trusted here: it must be by a public authority, or one of the image's"
    if "Connect" in detail or "DNS" in detail:
        return "there is no connection: are name and port right, is the receiver up, and is the operator let out?"
    return ""  # the detail says it: an address that is forbidden, a Secret that is not there
