"""From the log of one exchange to its receiver: at least once, in order per contract, contracts side by side.

What is owed stands in the log, and how far the receiver is, too: the cursor, written at most once a second, and the parked entries.
Whoever is killed in between sends something again, with the same id and the same bytes. How often something was tried lives in memory.

410 pauses the channel until somebody changes the endpoint, over a restart too: the endpoint's status remembers it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from laycan.events.attempt import Answer, Courier, Message
from laycan.events.health import Health
from laycan.events.retries import Verdict
from laycan.events.stream import Jitter, Job, Mark, Stream
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError, Log, Logged

log = logging.getLogger(__name__)

PER_ENDPOINT = 8  # attempts at a time
PAGE = 256  # entries read at a time
SAVE_SECONDS = 1.0
AGAIN_SECONDS = 5.0  # a log that cannot be used is asked again


@dataclass(slots=True)
class Counts:
    """Since the start."""

    acked: int = 0
    failed: int = 0
    rewinds: int = 0


class Channel:
    """`run` until cancelled; `grown` when the log has more, `changed` when the endpoint is another."""

    def __init__(
        self,
        endpoint: str,
        spec: Mapping[str, Any],
        ledgers: Ledgers,
        courier: Courier,
        clock: Callable[[], int],
        jitter: Jitter,
        *,
        paused: bool = False,
    ) -> None:
        """`endpoint` is the key of the ExchangeEndpoint, `clock` gives Unix seconds."""
        self.endpoint, self.spec, self.place = endpoint, spec, Place.of(endpoint)
        self.stream: Stream | None = None  # None: its log was not read yet
        self.origin = ""  # of its log
        self.paused = paused
        self.health, self.counts = Health(), Counts()
        self.ledgers, self.courier = ledgers, courier
        self._clock, self._jitter = clock, jitter
        self.opened, self._woken = asyncio.Event(), asyncio.Event()
        self._notes: list[Callable[[Log], None]] = []  # what is to be written of parked entries, before the cursor
        self._saved, self._saved_at = -1, float("-inf")
        self._more = True  # the log may hold entries that were not read
        self._read_at = 0.0

    @property
    def pending(self) -> int:
        """Entries that the receiver does not have."""
        return self.stream.pending(self.ledgers.sizes.get(self.place, 0)) if self.stream else 0

    def grown(self) -> None:
        self._more = True
        self._woken.set()

    def changed(self, spec: Mapping[str, Any]) -> None:
        """Somebody has put it right, or elsewhere: nobody waits, and nothing is paused."""
        if self.paused:
            self.health.forget()
        self.spec, self.paused = spec, False
        if self.stream is not None:
            self.stream.hold = 0.0
            self.stream.hurry()
        self._woken.set()

    async def run(self) -> None:
        try:
            self.stream = await self._open()
            self.opened.set()
            async with asyncio.TaskGroup() as attempts:
                while True:
                    self._woken.clear()
                    await self._read(self.stream)
                    self._start(self.stream, attempts)
                    await self._save(self.stream)
                    await self._sleep(self.stream)
        finally:
            if self.stream is not None:
                self._saved_at = float("-inf")
                await self._save(self.stream)

    # --- the log

    async def _open(self) -> Stream:
        while True:
            try:
                self.origin, cursor, parked = await self.ledgers.use(self.place, _state)
            except LedgerError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._saved = cursor
                return Stream(cursor, parked)

    async def _read(self, stream: Stream) -> None:
        now = asyncio.get_running_loop().time()
        if not self._more or stream.room < PAGE or now < self._read_at:
            return
        after, self._more = stream.read, False
        try:
            found = await self.ledgers.use(self.place, lambda log: log.entries(after, PAGE))
        except LedgerError:
            self._more, self._read_at = True, now + AGAIN_SECONDS
            return
        if stream.read != after:  # it was rewound meanwhile
            self._more = True
            return
        stream.add(found)
        self._more = self._more or len(found) == PAGE

    async def _save(self, stream: Stream) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._saved_at + SAVE_SECONDS or (stream.cursor == self._saved and not self._notes):
            return
        self._saved_at = now
        notes, cursor = tuple(self._notes), stream.cursor
        try:
            await self.ledgers.use(self.place, partial(_write, notes=notes, cursor=cursor), writes=True)
        except LedgerError:
            return  # the alarm was raised; what is not written is sent again after a restart
        self._saved = cursor
        del self._notes[: len(notes)]

    async def _sleep(self, stream: Stream) -> None:
        now = asyncio.get_running_loop().time()
        times = [] if self.paused or stream.in_flight >= PER_ENDPOINT else [stream.wait(now)]
        if self._more and stream.room >= PAGE:
            times.append(max(0.0, self._read_at - now))
        if stream.cursor != self._saved or self._notes:
            times.append(max(0.0, self._saved_at + SAVE_SECONDS - now))
        try:
            async with asyncio.timeout(min((t for t in times if t is not None), default=None)):
                await self._woken.wait()
        except TimeoutError:
            pass

    # --- the receiver

    def _start(self, stream: Stream, attempts: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        while not self.paused and stream.in_flight < PER_ENDPOINT and (job := stream.next(now)) is not None:
            attempts.create_task(self._attempt(stream, job))

    async def _attempt(self, stream: Stream, job: Job) -> None:
        try:
            entry = job.entry
            if entry is None:
                (entry,) = await self.ledgers.use(self.place, lambda log: log.entries(job.index - 1, 1))
            answer = await self.post(message(entry))
        except LedgerError as error:
            answer = Answer(Verdict.RETRY, str(error))
        except BaseException:
            stream.dropped(job)
            raise
        finally:
            self._woken.set()
        self._take(stream, job, answer)

    async def post(self, sent: Message) -> Answer:
        """One attempt. That an address is gone counts where it is the endpoint's still."""
        spec = self.spec
        answer = await self.courier.post(self.endpoint, spec, sent)
        former = answer.verdict is Verdict.GONE and self.spec is not spec
        return replace(answer, verdict=Verdict.RETRY) if former else answer

    def _take(self, stream: Stream, job: Job, answer: Answer) -> None:
        if answer.verdict is not Verdict.ACK:
            self._failed(stream, job, answer)
            return
        self.counts.acked += 1
        if stream.acked(job):
            self._notes.append(lambda log: log.park(job.index, None))
        self.health.acked_at = self._clock()
        self.heard(answer, job.mark)

    def _failed(self, stream: Stream, job: Job, answer: Answer) -> None:
        self.counts.failed += 1
        now = asyncio.get_running_loop().time()
        if job.entry is not None or answer.verdict is not Verdict.REFUSED:  # that a parked one is refused is no news
            self.unheard(answer)
        if answer.verdict is Verdict.GONE:
            stream.dropped(job)
            return
        attempts, name = stream.failed(job, answer.verdict, now, answer.asked, self._jitter), job.entry.id if job.entry else ""
        if attempts is not None and attempts.parked:
            self._notes.append(lambda log: log.park(job.index, answer.detail))
            log.error("ALARM event %s is refused by %s (%s) and parked: those behind it go on", name, self.endpoint, answer.detail)
        elif attempts is not None and attempts.failures in (1, 5):
            log.warning("event %s did not reach %s (%s): it is tried again", name, self.endpoint, answer.detail)

    def heard(self, answer: Answer, mark: Mark) -> None:
        """Something that was sent at `mark` was acknowledged."""
        now, have = asyncio.get_running_loop().time(), answer.reply.get("have")
        if self.stream is None or self.paused:  # what was in flight beside a 410 says nothing against it
            return
        if self.health.acked(now):
            self.stream.hurry()
        if isinstance(have, int) and not isinstance(have, bool) and self.stream.rewind(have, mark, now):
            self.counts.rewinds += 1
            self._more = True
            log.warning("%s has the log up to %d only: what follows is sent again", self.endpoint, have)
        self._woken.set()

    def unheard(self, answer: Answer) -> None:
        """Something was not acknowledged."""
        if self.paused:
            return
        self.health.failed(asyncio.get_running_loop().time(), answer.verdict, answer.detail)
        if answer.verdict is Verdict.GONE:
            self.paused = True
            log.error("ALARM endpoint %s answered 410: it is paused until it is changed", self.endpoint)


def message(entry: Logged) -> Message:
    return Message(entry.id, entry.body, "application/cloudevents+json", {"laycan-log-index": str(entry.index)})


def _state(log: Log) -> tuple[str, int, dict[int, str]]:
    """Origin and cursor, and the ids of the parked entries."""
    parked = (entry for index in log.parked() for entry in log.entries(index - 1, 1))
    return log.origin, log.cursor, {entry.index: entry.id for entry in parked}


def _write(log: Log, *, notes: tuple[Callable[[Log], None], ...], cursor: int) -> None:
    for note in notes:
        note(log)
    log.move_cursor(cursor)
