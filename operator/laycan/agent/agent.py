"""The agent without its process: rounds of sampling, XIDs, and what the API server tells, all into one account.

The account is begun, or gone on with, once the API server has told which Node this is and what its GpuMeter says; a state file is as
good where the API server is away, and may be newer. Until then samples are taken and not counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laycan import __version__
from laycan.agent.account import Account, Moment
from laycan.agent.clock import ClockReading, kernel_synchronized, offset_milliseconds
from laycan.agent.findings import Key
from laycan.agent.processes import Processes, holder_of
from laycan.agent.publish import COLLECTION, Publisher
from laycan.agent.report import Author, meter, newest, restored
from laycan.agent.sample import NodeSample, NoLibraryError, NvmlError, StaleLibraryError, XidEvent
from laycan.agent.state import StateFile
from laycan.agent.status import Status
from laycan.agent.worker import HangingError, Worker
from laycan.kube.client import METADATA_ONLY, ApiError, Client
from laycan.resources.constants import HOLDER_LABEL
from laycan.resources.times import format_time

log = logging.getLogger(__name__)

Json = dict[str, Any]
_DRIVER_SECONDS = 60  # so often a node that never had a driver is asked for one
_HOLDER_SECONDS = 5.0  # what the API server may take to tell the holder before a round goes on without
_RETRY_SECONDS = 5.0
_EARLY = 1000  # XIDs kept that were heard before the first sample


@dataclass(frozen=True, slots=True)
class Options:
    """As on the command line."""

    node: str
    state: Path | None = None
    sample_seconds: int = 10
    report_seconds: int = 300
    exempt: tuple[str, ...] = ()


class Agent:
    """`sample` asks NVML (told whether all GPUs were there the last time), `moment` the kernel; `account` is None before that."""

    def __init__(
        self, options: Options, client: Client, sample: Callable[[bool], NodeSample], moment: Callable[[], Moment], processes: Processes
    ) -> None:
        self.account: Account | None = None
        self.status = Status(time.monotonic())
        self.worker = Worker("nvml")
        self.publisher = Publisher(client, options.node, options.report_seconds, self.look, self.meter, self.yield_to)
        self._options, self._client, self._sample, self._moment, self._processes = options, client, sample, moment, processes
        self._author = Author(options.node, __version__, options.report_seconds)
        self._state = StateFile(options.state)
        self._known = False  # what there was before us
        self._node_uid = self._holder = ""
        self._accused: frozenset[int] = frozenset()  # processes that are strangers by a holder asked for after they were seen
        self._early: deque[XidEvent] = deque(maxlen=_EARLY)
        self._open: set[Key] = set()  # findings that were logged
        self._said: dict[str, str] = {}  # about -> the latest words

    @property
    def period(self) -> int:
        """Seconds between two rounds."""
        return self._options.sample_seconds if self.account is not None or self.status.driver or not self._known else _DRIVER_SECONDS

    def meter(self) -> Json | None:
        """The newest report."""
        return None if self.account is None else meter(self.account, self._author, self.status.clock)

    def troubles(self) -> list[str]:
        """What the probe tells."""
        return self.status.troubles(time.monotonic(), self.worker.ended, self.period)

    async def learn(self) -> None:
        """Finds out what to go on with."""
        saved = self._state.load()
        while not self._known:
            try:
                await self.look()
                self._go_on([saved, await self._stored()])
            except ApiError as error:
                self._say("start", f"the API server does not tell what to go on with: {error}")
                if saved is not None:
                    self._go_on([saved])
                if not self._known:
                    await asyncio.sleep(_RETRY_SECONDS * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret

    def _go_on(self, told: list[Json | None]) -> None:
        self.account = newest(told, self._node_uid, self._moment().boot_id, self._options.sample_seconds)
        self._known = self.account is not None or self._node_uid != ""
        if self.account is not None:
            log.info("goes on from %s with %d GPUs", format_time(self.account.at), len(self.account.gpus))

    async def _stored(self) -> Json | None:
        try:
            return await self._client.get(f"{COLLECTION}/{self._options.node}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def look(self) -> None:
        """Asks the API server which Node this is, who holds it and what time it is. Raises ApiError."""
        found = (await self._client.get(f"/api/v1/nodes/{self._options.node}", accept=METADATA_ONLY))["metadata"]
        self._node_uid, self._holder = found["uid"], holder_of((found.get("labels") or {}).get(HOLDER_LABEL, ""))
        if self.account is not None and self.account.node_uid != self._node_uid:
            log.warning("the Node was made anew; the machine, and what is known of it, is the same")
            self.account.node_uid = self._node_uid
        if self._client.dated and (offset := offset_milliseconds(*self._client.dated)) is not None:
            self.status.clock = ClockReading(kernel_synchronized(), offset)

    def yield_to(self, stored: Json) -> None:
        """The API server refuses our report because of this one: if another agent wrote it, we go on from it."""
        try:
            other = restored(stored, self._options.sample_seconds)
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        mine = self.account
        if mine is not None and other.node_uid == mine.node_uid and (other.since != mine.since or other.at > mine.at):
            log.warning("another agent has written for this node: its account is gone on with, ours since %d is given up", mine.since)
            self.account = other

    async def round(self) -> None:
        """One sample, or the note that there was none. Raises StaleLibraryError: only a new process can go on."""
        begun = self.status.ticked = time.monotonic()
        complete = self.account is None or self.account.complete
        try:
            sample = await self.worker.call(lambda: self._sample(complete), max(1.0, 0.9 * self._options.sample_seconds))
        except StaleLibraryError:
            raise
        except NoLibraryError:
            self.status.driver = False
            self.status.samples["missed"] += 1
            self._say("samples", "NVML's library is not here: NVIDIA's container runtime is needed (agent.runtimeClassName in the chart)")
            return  # blind, which says nothing about the GPUs: nothing is found, and nothing proven either
        except (NvmlError, HangingError) as error:
            self._missed(error)
            return
        moment = self._moment()
        self.status.driver, self.status.sample_seconds = bool(sample.driver), time.monotonic() - begun
        self.status.samples["taken"] += 1
        self._say("samples", "" if sample.driver else "there is no driver")
        if self._known:
            self._take(sample, moment, await self._strangers(sample))

    def _take(self, sample: NodeSample, moment: Moment, strangers: dict[str, int]) -> None:
        if self.account is None:
            if not sample.driver or not self._node_uid:
                return
            self.account = Account.begin(self._node_uid, self._options.sample_seconds, moment.now)
        urgent = self.account.take(sample, moment, strangers)
        for event in self._early:
            urgent |= self.account.hear(*event)
        self._early.clear()
        self._changed(urgent)

    def _missed(self, error: NvmlError | HangingError) -> None:
        self.status.samples["missed"] += 1
        if isinstance(error, HangingError):
            self.status.hangs += self._said.get("samples") != "NVML hangs"
            self._say("samples", "NVML hangs")
        else:
            self._say("samples", f"NVML gives no sample: {error}")
        if self.account is not None:
            self._changed(self.account.miss(self._moment()))

    def hear(self, events: list[XidEvent]) -> None:
        """XIDs, as they come."""
        self.status.xids += len(events)
        urgent = False
        for event in events:
            if self.account is not None and event.uuid in self.account.gpus:
                urgent |= self.account.hear(*event)
            else:
                self._early.append(event)
        if self.account is not None:
            self._changed(urgent)

    async def _strangers(self, sample: NodeSample) -> dict[str, int]:
        """How many on each GPU. Nobody is called one by a holder that was asked for before he was seen."""
        strange = self._processes.strange(sample, self._holder)
        if frozenset().union(*strange.values()) - self._accused:
            try:
                await asyncio.wait_for(self.look(), _HOLDER_SECONDS)
                strange = self._processes.strange(sample, self._holder)
            except (ApiError, TimeoutError):
                strange = {uuid: pids & self._accused for uuid, pids in strange.items()}
        self._accused = frozenset().union(*strange.values())
        return {uuid: len(pids) for uuid, pids in strange.items()}

    def _changed(self, urgent: bool) -> None:
        """Keeps the account, tells what is new."""
        report = self.meter()
        if self.account is None or report is None:
            return
        self._state.save(report)
        if urgent:
            self.publisher.urge()
        now = set(self.account.findings.open)
        for gpu, signal, code in sorted(now - self._open):
            log.warning("%s: %s%s", gpu, signal.value, f" {code}" if code else "")
        for gpu, signal, code in sorted(self._open - now):
            log.info("%s: %s%s is over", gpu, signal.value, f" {code}" if code else "")
        self._open = set(now)

    def _say(self, about: str, trouble: str) -> None:
        """Once, and again when it changes."""
        if trouble != self._said.get(about, ""):
            log.log(logging.WARNING if trouble else logging.INFO, "%s", trouble or f"{about}: all is well again")
        self._said[about] = trouble
