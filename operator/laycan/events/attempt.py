"""One attempt to tell an exchange something: a signed POST, and what its answer means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from laycan.events.addresses import ForbiddenAddressError, GuardedResolver, check_url, guarded_socket
from laycan.events.retries import Verdict, judge, retry_after
from laycan.events.signatures import headers, parse_keys
from laycan.ledger.keys import Signer

log = logging.getLogger(__name__)

GetSecret = Callable[[str, str, str], Awaitable[bytes]]  # (namespace, name, key) -> value; raises LookupError
Dated = tuple[float, float, str]  # an answer: Unix seconds of ours when it was asked for and when it came, and its `Date`
KEY_SECONDS = 30.0  # how long a webhook key is remembered
REPLY_BYTES = 65_536  # of an answer's body; a longer one is not read


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told. `id` and `body` never change between attempts."""

    id: str
    body: bytes
    content_type: str
    more: Mapping[str, str] = field(default_factory=dict)  # further headers


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    detail: str  # "HTTP 503", or what went wrong before there was an answer
    asked: float = 0.0  # seconds, by Retry-After
    reply: Mapping[str, Any] = field(default_factory=dict)  # the JSON object in the body of a 2xx or 4xx
    status: int = 0  # of HTTP, 0 without an answer


class Courier:
    """Use as an async context manager. One serves all endpoints; it holds no state but connections and webhook keys."""

    def __init__(
        self,
        get_secret: GetSecret,
        signers: Callable[[], Sequence[Signer]],
        clock: Callable[[], int],
        *,
        heard: Callable[[str, Dated], None] = lambda endpoint, answer: None,
        timeout_seconds: float = 15.0,
    ) -> None:
        """`signers` sign beside the endpoint's own key; `heard` is told of each answer, for what it says about the clocks."""
        self._get_secret, self._signers, self._clock, self._heard = get_secret, signers, clock, heard
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._keys: dict[tuple[str, str, str], tuple[float, tuple[bytes, ...]]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # as many connections as endpoints need: receivers that hang must not keep others from theirs
        connector = aiohttp.TCPConnector(limit=0, resolver=GuardedResolver(), socket_factory=guarded_socket)
        plain = {"accept-encoding": "identity"}
        self._session = aiohttp.ClientSession(
            connector=connector, headers=plain, auto_decompress=False, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, endpoint: str, spec: Mapping[str, Any], message: Message) -> Answer:
        """One attempt. `endpoint` is the key of the ExchangeEndpoint, `<namespace>/<name>`. Never raises but when it is cancelled."""
        try:
            check_url(spec["url"])
            reference = spec["secretRef"]
            keys = await self._webhook_keys(endpoint.partition("/")[0], reference["name"], reference["key"])
            now = self._clock()
            signed = headers(keys, self._signers(), message.id, now, message.body)
            return await self._send(endpoint, spec["url"], {**signed, **message.more, "content-type": message.content_type}, message.body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Answer(Verdict.RETRY, _detail(error))
        except (ForbiddenAddressError, LookupError, ValueError) as error:
            return Answer(Verdict.RETRY, str(error))  # the endpoint or its Secret must be put right; nothing may overtake meanwhile
        except Exception as error:
            log.exception("%s could not be sent", message.id)
            return Answer(Verdict.RETRY, _detail(error))

    async def _send(self, endpoint: str, url: str, sent: Mapping[str, str], body: bytes) -> Answer:
        assert self._session is not None, "use it as a context manager"
        begun = time.time()
        async with self._session.post(url, data=body, headers=sent, allow_redirects=False) as response:
            if "Date" in response.headers:
                self._heard(endpoint, (begun, time.time(), response.headers["Date"]))
            verdict = judge(response.status)
            if response.status in (401, 403):
                self._keys.clear()  # perhaps the key was changed
            asked = retry_after(response.headers.get("retry-after"), self._clock()) if verdict is Verdict.RETRY else 0.0
            reply = await _reply(response) if verdict is Verdict.ACK or 400 <= response.status < 500 else {}
            return Answer(verdict, f"HTTP {response.status}", asked, reply, response.status)

    async def _webhook_keys(self, namespace: str, name: str, key: str) -> tuple[bytes, ...]:
        now, known = asyncio.get_running_loop().time(), self._keys.get((namespace, name, key))
        if known is not None and now < known[0]:
            return known[1]
        keys = parse_keys(await self._get_secret(namespace, name, key))
        self._keys[namespace, name, key] = now + KEY_SECONDS, keys
        return keys


async def _reply(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    """The object in the body; whatever else is there, or goes wrong on the way, is nothing: the status was the acknowledgement."""
    raw = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        while len(raw) <= REPLY_BYTES and (part := await response.content.read(REPLY_BYTES)):
            raw += part
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(raw) if len(raw) <= REPLY_BYTES else None
        return found if isinstance(found, dict) else {}
    return {}


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
