"""Sends what stands in the contracts' outboxes to their exchanges: at least once, in order per contract, contracts side by side.

The sender owns no state worth keeping. What is to be sent stands in the API; an acknowledgement is handed to `on_ack`, and the next
status write takes the entry out. A restart in between sends an event again, with the same id and the same bytes. Only how often
something was tried lives in memory.

One contract has one event in flight. An event that the receiver refuses (a 4xx) is parked after an hour, with an alarm, and those
behind it go on; it stays in the outbox and is tried hourly. 410 pauses the endpoint until somebody changes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from laycan.events.addresses import ForbiddenAddressError, GuardedResolver, check_url
from laycan.events.retries import Attempts, Verdict, judge, retry_after
from laycan.events.signatures import headers, parse_keys
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World

log = logging.getLogger(__name__)

GetSecret = Callable[[str, str, str], Awaitable[bytes]]  # (namespace, name, key) -> value; raises LookupError
OnAck = Callable[[str, str], None]  # (contract key, event id)
KEY_SECONDS = 30.0  # how long a webhook key is remembered
PER_ENDPOINT = 8  # attempts at a time


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    detail: str
    asked: float = 0.0  # seconds, by Retry-After


@dataclass(slots=True)
class Counts:
    """Since the start."""

    acked: int = 0
    failed: int = 0


class Sender:
    """`run` until cancelled. `parked`, `paused` and `counts` tell how it goes."""

    def __init__(
        self,
        world: World,
        get_secret: GetSecret,
        on_ack: OnAck,
        clock: Callable[[], int],
        *,
        jitter: Callable[[float, float], float] = random.uniform,
        timeout_seconds: float = 15.0,
    ) -> None:
        self.counts = Counts()
        self.paused: dict[str, object] = {}  # endpoint key -> what it was when it said 410
        self._world, self._get_secret, self._on_ack, self._clock, self._jitter = world, get_secret, on_ack, clock, jitter
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._acked: dict[str, set[str]] = {}  # contract key -> ids that the receiver has and the outbox still shows
        self._attempts: dict[str, dict[str, Attempts]] = {}  # contract key -> event id -> failures
        self._tasks: dict[str, asyncio.Task[None]] = {}  # contract key -> its one attempt
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}  # endpoint key -> attempts at a time
        self._hold: dict[str, float] = {}  # endpoint key -> loop time before which it asked to be left alone
        self._keys: dict[tuple[str, str, str], tuple[float, tuple[bytes, ...]]] = {}
        self._versions: dict[str, object] = {}  # endpoint key -> what it was when last seen
        self._session: aiohttp.ClientSession | None = None

    @property
    def parked(self) -> list[str]:
        """Ids of the events that their receiver refuses."""
        return sorted(i for events in self._attempts.values() for i, attempts in events.items() if attempts.parked)

    async def run(self) -> None:
        """Sends until cancelled; what was in flight then is sent again by the next one."""
        connector = aiohttp.TCPConnector(resolver=GuardedResolver())
        async with aiohttp.ClientSession(connector=connector, timeout=self._timeout) as self._session:
            self._world.listeners.append(self._on_change)
            try:
                self._versions = {key: self._version(key) for key in self._world.endpoints}
                for key in list(self._world.contracts):
                    self._look(key)
                await asyncio.Event().wait()
            finally:
                self._world.listeners.remove(self._on_change)
                for timer in self._timers.values():
                    timer.cancel()
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _on_change(self, kind: str, key: str) -> None:
        if kind == "contracts":
            self._look(key)
        elif kind == "endpoints" and self._versions.get(key) != self._version(key):
            self._versions[key] = self._version(key)
            self._hold.pop(key, None)
            for contract in self._world.contracts.values():
                if contract.status.get("outbox") and self._endpoint(contract)[0] == key:
                    for attempts in self._attempts.get(contract.key, {}).values():
                        attempts.not_before = 0.0  # somebody has put it right: no need to wait
                    self._look(contract.key)

    def _look(self, key: str) -> None:
        """Starts the next attempt of a contract, or sets the clock for it, or finds nothing to do."""
        contract = self._world.contracts.get(key)
        outbox = contract.status.get("outbox") or () if contract else ()
        ids = {entry["id"] for entry in outbox}
        self._acked[key] = self._acked.get(key, set()) & ids
        self._attempts[key] = {i: a for i, a in self._attempts.get(key, {}).items() if i in ids}
        for table in (self._acked, self._attempts):
            if not table[key]:
                del table[key]
        if key in self._tasks or contract is None or not outbox or self._session is None:
            return
        endpoint_key, spec = self._endpoint(contract)
        if spec is None or self._is_paused(endpoint_key):
            return
        entry, wait = self._next(key, outbox, endpoint_key)
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        if entry is not None:
            self._tasks[key] = loop.create_task(self._attempt(contract, endpoint_key, spec, entry))
        elif wait is not None:
            self._timers[key] = loop.call_later(wait, self._look, key)

    def _is_paused(self, endpoint_key: str) -> bool:
        """Whether it said 410 and nobody has changed its spec or annotations since."""
        if endpoint_key in self.paused and self.paused[endpoint_key] != self._version(endpoint_key):
            del self.paused[endpoint_key]
        return endpoint_key in self.paused

    def _version(self, endpoint_key: str) -> object:
        endpoint = self._world.endpoints.get(endpoint_key) or {}
        return endpoint.get("spec"), (endpoint.get("metadata") or {}).get("annotations")

    def _endpoint(self, contract: ContractView) -> tuple[str, Mapping[str, Any] | None]:
        key = f"{contract.namespace}/{text_at(contract.spec, 'exchangeRef', 'name')}"
        endpoint = self._world.endpoints.get(key)
        return key, (endpoint.get("spec") if endpoint else None)

    def _next(self, key: str, outbox: Any, endpoint_key: str) -> tuple[Mapping[str, Any] | None, float | None]:
        """The entry whose turn it is; else the seconds until one's turn comes, None when all are acknowledged."""
        now = asyncio.get_running_loop().time()
        hold, wait = self._hold.get(endpoint_key, 0.0), None
        for entry in outbox:
            if entry["id"] in self._acked.get(key, ()):
                continue
            attempts = self._attempts.get(key, {}).get(entry["id"], Attempts())
            at = max(attempts.not_before, hold)
            if at <= now:
                return entry, None
            wait = min(wait, at - now) if wait is not None else at - now
            if not attempts.parked:
                break  # those behind it wait
        return None, wait

    async def _attempt(self, contract: ContractView, endpoint_key: str, spec: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        key, event_id = contract.key, entry["id"]
        try:
            async with self._slots.setdefault(endpoint_key, asyncio.Semaphore(PER_ENDPOINT)):
                answer = await self._post(contract.namespace, spec, event_id, entry["body"].encode())
            self._take(key, endpoint_key, event_id, answer)
        finally:
            del self._tasks[key]
        if answer.verdict is Verdict.ACK:
            self._on_ack(key, event_id)
        self._look(key)

    def _take(self, key: str, endpoint_key: str, event_id: str, answer: Answer) -> None:
        if answer.verdict is Verdict.ACK:
            self.counts.acked += 1
            self._acked.setdefault(key, set()).add(event_id)
            self._attempts.get(key, {}).pop(event_id, None)
            return
        self.counts.failed += 1
        if answer.verdict is Verdict.GONE:
            self.paused[endpoint_key] = self._version(endpoint_key)
            log.error("endpoint %s answered 410: it is paused until it is changed", endpoint_key)
            return
        now = asyncio.get_running_loop().time()
        attempts = self._attempts.setdefault(key, {}).setdefault(event_id, Attempts())
        was_parked = attempts.parked
        attempts.failed(answer.verdict, now, answer.asked, self._jitter)
        if answer.asked:
            self._hold[endpoint_key] = max(self._hold.get(endpoint_key, 0.0), now + answer.asked)
        if attempts.parked and not was_parked:
            log.error("event %s of %s is refused by %s (%s) and parked: those behind it go on", event_id, key, endpoint_key, answer.detail)
        elif attempts.failures in (1, 5):
            log.warning("event %s of %s did not reach %s (%s): it is tried again", event_id, key, endpoint_key, answer.detail)

    async def _post(self, namespace: str, spec: Mapping[str, Any], event_id: str, body: bytes) -> Answer:
        assert self._session is not None  # run() made it
        now = self._clock()
        try:
            check_url(spec["url"])
            keys = await self._webhook_keys(namespace, spec["secretRef"]["name"], spec["secretRef"]["key"])
            signed = {**headers(keys, event_id, now, body), "content-type": "application/cloudevents+json"}
            async with self._session.post(spec["url"], data=body, headers=signed, allow_redirects=False) as response:
                verdict = judge(response.status)
                if response.status in (401, 403):
                    self._keys.clear()  # perhaps the key was changed
                asked = retry_after(response.headers.get("retry-after"), now) if verdict is Verdict.RETRY else 0.0
                return Answer(verdict, f"HTTP {response.status}", asked)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Answer(Verdict.RETRY, _detail(error))
        except (ForbiddenAddressError, LookupError, ValueError) as error:
            return Answer(Verdict.RETRY, str(error))  # the endpoint or its Secret must be put right; nothing may overtake meanwhile
        except Exception as error:
            log.exception("event %s could not be sent", event_id)
            return Answer(Verdict.RETRY, _detail(error))

    async def _webhook_keys(self, namespace: str, name: str, key: str) -> tuple[bytes, ...]:
        now, known = asyncio.get_running_loop().time(), self._keys.get((namespace, name, key))
        if known is not None and now < known[0]:
            return known[1]
        keys = parse_keys(await self._get_secret(namespace, name, key))
        self._keys[namespace, name, key] = now + KEY_SECONDS, keys
        return keys


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
