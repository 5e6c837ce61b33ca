"""A small REST client of the Kubernetes API: JSON in, JSON out, on the caller's event loop.

What may be sent twice without harm is retried: reads always; writes only when the server said that it did not look at them
(429, 503) or was never reached. A write whose answer was lost raises `ApiError` with status 0: the caller must read before it
decides anything.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson

from laycan.kube.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Params = Mapping[str, str]
Json = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"  # what to accept where an object's metadata is enough
_FIELD_MANAGER = {"fieldManager": "laycan", "fieldValidation": "Strict"}
_ATTEMPTS = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0  # seconds; a restarted API server answers 429 for half a minute while its caches fill


class ApiError(Exception):
    """The API server refused (`status` is its HTTP code), or its answer never came (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


def pause_before(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait before the next attempt: doubling, jittered, never less than the server asked for."""
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt)
    return max(retry_after or 0.0, pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret


class Client:
    """Use as an async context manager. Paths are absolute, e.g. "/api/v1/nodes/n1"."""

    def __init__(
        self,
        credentials: Credentials,
        timeout_seconds: float = 30.0,
        connections: int = 64,
        as_user: str = "",
        as_groups: Sequence[str] = (),
    ) -> None:
        """`as_user` and `as_groups` impersonate somebody else, which needs the right to."""
        self._credentials = credentials
        self._impersonated = [*([("Impersonate-User", as_user)] if as_user else ()), *(("Impersonate-Group", group) for group in as_groups)]
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=5.0)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        # of the latest answer: Unix seconds when it was asked for and when it came, and the `Date` that the server gave it
        self.dated: tuple[float, float, str] | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._credentials.tls or False)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Params | None = None, accept: str = JSON) -> Json:
        return await self._call("GET", path, params, accept=accept)

    async def create(self, path: str, body: Mapping[str, Any], params: Params | None = None, attempts: int = _ATTEMPTS) -> Json:
        """`attempts` 1 for an eviction: there 429 is the answer of a PodDisruptionBudget, not of a busy server."""
        return await self._call("POST", path, {**_FIELD_MANAGER, **(params or {})}, body, attempts=attempts)

    async def patch_merge(self, path: str, body: Mapping[str, Any], params: Params | None = None) -> Json:
        return await self._call("PATCH", path, {**_FIELD_MANAGER, **(params or {})}, body, MERGE_PATCH)

    async def patch_json(self, path: str, ops: list[Json], params: Params | None = None) -> Json:
        return await self._call("PATCH", path, {**_FIELD_MANAGER, **(params or {})}, ops, JSON_PATCH)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None, params: Params | None = None) -> Json:
        return await self._call("DELETE", path, params, body)

    @asynccontextmanager
    async def stream(self, path: str, params: Params, silence_seconds: float) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a watch as it comes; fails when nothing comes for so long. Raises ApiError."""
        timeout = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=silence_seconds)
        try:
            async with self._open("GET", path, params, timeout=timeout) as response:
                if response.status >= 400:
                    raise _refusal(response, await response.read())
                yield response.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error

    def _open(
        self,
        verb: str,
        path: str,
        params: Params | None,
        timeout: aiohttp.ClientTimeout,
        body: Any = None,
        content: str = JSON,
        accept: str = JSON,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("the client is not open; use `async with Client(...)`")
        headers = [("Accept", accept), *self._impersonated]
        if token := self._credentials.authorization():
            headers.append(("Authorization", token))
        if body is not None:
            headers.append(("Content-Type", content))
        data = None if body is None else orjson.dumps(body)
        return self._session.request(
            verb, self._credentials.server + path, params=params, data=data, headers=headers, timeout=timeout, allow_redirects=False
        )

    async def _call(
        self,
        verb: str,
        path: str,
        params: Params | None,
        body: Any = None,
        content: str = JSON,
        attempts: int = _ATTEMPTS,
        accept: str = JSON,
    ) -> Json:
        for attempt in range(attempts):
            try:
                return await self._once(verb, path, params, body, content, accept)
            except ApiError as error:
                if attempt == attempts - 1 or not _may_repeat(verb, error):
                    raise
                await asyncio.sleep(pause_before(attempt, error.retry_after))
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, verb: str, path: str, params: Params | None, body: Any, content: str, accept: str) -> Json:
        sent = time.time()
        try:
            async with self._open(verb, path, params, self._timeout, body, content, accept) as response:
                self.dated = sent, time.time(), response.headers.get("Date", "")
                raw = await response.read()
                if response.status >= 300:
                    raise _refusal(response, raw)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ApiError(0, "NotConnected", f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "AnswerLost", f"{verb} {path}: {type(error).__name__}: {error}") from error
        try:
            answer: Json = orjson.loads(raw) if raw else {}
        except orjson.JSONDecodeError as error:  # something between us and the server that is no API server
            raise ApiError(0, "AnswerLost", f"{verb} {path}: the answer is no JSON: {error}") from error
        return answer


def _may_repeat(verb: str, error: ApiError) -> bool:
    if error.status in (429, 503) or error.reason == "NotConnected":
        return True
    return verb == "GET" and (error.status == 0 or error.status >= 500)


def _refusal(response: aiohttp.ClientResponse, raw: bytes) -> ApiError:
    try:
        status = orjson.loads(raw)
        reason, message = str(status.get("reason", "")), _shortened(str(status.get("message", "")))
    except (orjson.JSONDecodeError, AttributeError):
        reason, message = response.reason or "", raw[:300].decode(errors="replace")
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, reason, message, float(after) if after.isdigit() else None)


def _shortened(message: str) -> str:
    """A refused object is repeated in the message; what is wrong with it comes at the end."""
    return message if len(message) <= 1000 else f"{message[:200]} … {message[-700:]}"
