"""An exchange that can fail: the kit of examples/exchange behind a list of faults, each of which takes one request."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

from examples.exchange.keys import Keys, secrets_of
from examples.exchange.ledger import Ledger
from examples.exchange.receiver import Receiver, Witness
from laycan.events.ping import TYPE as PING
from laycan.events.schema import check
from tests.laycan.events.clockwork import unix

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

Fault = Callable[[web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Arrival:
    """A request as it came in, whatever became of it. `at` in the event loop's seconds."""

    at: float
    id: str
    body: bytes
    headers: dict[str, str]

    @property
    def index(self) -> int:
        """Its place in the log; -1 of a checkpoint."""
        return int(self.headers.get("laycan-log-index", -1))


@dataclass(slots=True)
class Heard:
    """What the kit took and answered. `events` holds each event once, in the order of arrival."""

    events: list[dict[str, Any]] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)  # by HTTP status
    last: dict[str, int] = field(default_factory=dict)  # contract uid -> highest sequence
    duplicates: int = 0
    gaps: int = 0  # a number was left out
    disorder: int = 0  # a number came after a higher one

    @property
    def requests(self) -> int:
        return self.answers.total()

    @property
    def altered(self) -> int:
        """Contradictions: other bytes under an id, another entry at a place, another history."""
        return self.answers[409]

    @property
    def bad_signatures(self) -> int:
        return self.answers[401]

    def take(self, event: dict[str, Any]) -> None:
        if any(event["id"] == known["id"] for known in self.events):
            self.duplicates += 1
            return
        self.events.append(event)
        if "sequence" in event:
            contract, number = event["id"].rpartition("/")[0], int(event["sequence"])
            before = self.last.get(contract, 0)
            self.gaps += number > before + 1
            self.disorder += number <= before
            self.last[contract] = max(before, number)


@dataclass
class Exchange:
    """The kit behind a list of faults: each takes one request, then requests pass.

    With a `trust_file` and an `origin` it wants evidence too, and cosigns with `witness`. Every body that it takes is also read by a stock
    library, and its HMAC verified by another; where it is `published`, it must have the form of docs/schemas.
    """

    trust_file: bytes | None = None
    origin: str = ""
    witness: Witness | None = None
    published: bool = False
    clock: Callable[[], float] = unix  # Unix seconds
    hold: float = 0.0  # real seconds that the kit waits for what is on its way; in a thread, so not in a test whose loop has its own time
    now: float = 0.0  # when the latest request was judged: another library, asked in the same breath, has to see the same time
    ledger: Heard = field(default_factory=Heard)
    faults: list[Fault] = field(default_factory=list)
    says: Callable[[Arrival], dict[str, Any] | None] = lambda arrival: None  # what an answer says besides what the kit does
    arrivals: list[Arrival] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # what other libraries did not make of a body what the kit did
    busy: int = 0
    most_busy: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self.store = Ledger(":memory:", self.origin)
        self.kit = Receiver(self.store, Keys(secrets_of(SECRET), self.trust_file), self.origin, self.witness, self.hold)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body, headers = await request.read(), {name.lower(): value for name, value in request.headers.items()}
        now = self.clock()
        work = partial(self.kit.receive, headers, body, now)
        status, reply = await asyncio.to_thread(work) if self.hold else work()
        self.now = now
        self.ledger.answers[status] += 1
        if status == 200 and not headers["webhook-id"].startswith("checkpoint/"):
            self._ask_others(headers, body)
            self.ledger.take(json.loads(body))
        return web.json_response(reply, status=status)

    def _ask_others(self, headers: dict[str, str], body: bytes) -> None:
        event = json.loads(body)
        try:
            assert Webhook(SECRET).verify(body, headers) == event
            assert from_http_event(HTTPMessage({"content-type": headers["content-type"]}, body)).get_id() == headers["webhook-id"]
            if self.published and event["type"] != PING:  # which is in no catalogue
                check(event)
        except Exception as error:
            self.wrong.append(f"{headers['webhook-id']}: {error!r}")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        app = web.Application(client_max_size=1 << 17, middlewares=[self._middleware])
        app.router.add_post("/{path:.*}", self._receive)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        try:
            yield self
        finally:
            await runner.cleanup()
            self.store.close()
            assert self.wrong == []

    @property
    def events(self) -> list[Arrival]:
        """What arrived but checkpoints."""
        return [arrival for arrival in self.arrivals if arrival.index >= 0]

    @property
    def checkpoints(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.index < 0]

    @property
    def _middleware(self) -> Any:
        @web.middleware
        async def faulty(request: web.Request, handler: Any) -> web.StreamResponse:
            body = await request.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            arrival = Arrival(asyncio.get_running_loop().time(), request.headers["webhook-id"], body, headers)
            self.arrivals.append(arrival)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            try:
                answer: web.StreamResponse = await (self.faults.pop(0)(request, handler) if self.faults else handler(request))
            finally:
                self.busy -= 1
            said = self.says(arrival) if answer.status == 200 else None
            return answer if said is None else web.json_response(said)

        return faulty


@contextmanager
def serving(exchange: Exchange) -> Iterator[Exchange]:
    """The exchange on a loop and a thread of its own."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with exchange.open():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield exchange
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def answer(status: int, **headers: str) -> Fault:
    async def fault(request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return fault


async def hang(request: web.Request, handler: Any) -> web.StreamResponse:
    """Neither takes the event nor answers."""
    await asyncio.sleep(30)
    return web.Response()


async def lose_reply(request: web.Request, handler: Any) -> web.StreamResponse:
    """Takes the event, then the connection breaks before the answer."""
    await handler(request)
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def break_body(request: web.Request, handler: Any) -> web.StreamResponse:
    """Takes the event and says so, then the connection breaks in the middle of the answer's body."""
    await handler(request)
    response = web.StreamResponse(headers={"content-length": "1000"})
    await response.prepare(request)
    await response.write(b'{"have"')
    assert request.transport is not None
    request.transport.close()
    return response


async def slow(request: web.Request, handler: Any) -> web.StreamResponse:
    await asyncio.sleep(0.05)
    return await handler(request)  # type: ignore[no-any-return]
