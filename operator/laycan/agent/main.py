"""The agent's process: one thread asks NVML, another waits for XIDs, everything else is one loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from laycan.agent import logs
from laycan.agent.account import Moment
from laycan.agent.agent import Agent, Options
from laycan.agent.metrics import CONTENT_TYPE, Metrics
from laycan.agent.nvml import Nvml
from laycan.agent.processes import Processes
from laycan.agent.sample import StaleLibraryError, XidEvent
from laycan.agent.session import Session
from laycan.kube.client import Client
from laycan.kube.credentials import CredentialsError, load_credentials, pod_credentials
from laycan.ports import serving

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LAST_SECONDS = 10.0  # for the last sample, and for the last report; the chart's grace period is 30 s
_CONNECTIONS = 2


def moment() -> Moment:
    """Now, as the kernel tells it; time that the machine slept counts as uptime."""
    return Moment(int(time.time()), int(time.clock_gettime(time.CLOCK_BOOTTIME)), BOOT_ID.read_text().strip())


def run(options: Options, kubeconfig: Path | None, port: int, metrics_port: int, *, json_logs: bool) -> int:
    """Runs until a signal (0) or a failure (1): credentials, or a library that only a new process can load anew."""
    logs.configure(json_logs)
    try:
        credentials = (None if kubeconfig else pod_credentials()) or load_credentials(kubeconfig)
    except CredentialsError as error:
        log.critical("%s", error)
        return 1

    async def live() -> int:
        async with Client(credentials, connections=_CONNECTIONS) as client:
            return await _live(options, client, port, metrics_port)

    return asyncio.run(live())


async def _live(options: Options, client: Client, port: int, metrics_port: int) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    session = Session(Nvml())
    processes = Processes(options.exempt)
    agent = Agent(options, client, session.sample, moment, processes)
    metrics = Metrics(agent.status, agent.publisher, processes, lambda: agent.account, time.time)

    def heard(events: list[XidEvent]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(agent.hear, events)

    threading.Thread(target=session.listen, args=(heard,), name="xids", daemon=True).start()
    async with serving(port, {"/healthz": agent.troubles}, metrics_port, metrics.text, CONTENT_TYPE):
        failure = await _until(stop, agent.learn(), rounds(agent), agent.publisher.run())
        if isinstance(failure, StaleLibraryError):
            log.critical("the driver was changed, and only a new process can ask it: %s", failure)
        elif failure is not None:
            log.critical("the agent ends: %s", failure, exc_info=failure)
        await last_words(agent, sample=failure is None)
    return 0 if failure is None else 1


async def rounds(agent: Agent) -> None:
    """Samples, evenly spaced; those that a slow one is in the way of are left out."""
    due = time.monotonic()
    while True:
        await agent.round()
        due = max(due + agent.period, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


async def last_words(agent: Agent, sample: bool) -> None:
    """A last sample and report, so that as little as possible is missed until the next agent comes."""
    with suppress(TimeoutError, StaleLibraryError):
        if sample:
            await asyncio.wait_for(agent.round(), _LAST_SECONDS)
    with suppress(TimeoutError):
        await asyncio.wait_for(agent.publisher.write(), _LAST_SECONDS)


async def _until(stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> BaseException | None:
    """Until told to stop (None), or until any of the work fails. Work that ends is done."""
    tasks = {asyncio.ensure_future(each) for each in work}
    stopped = asyncio.ensure_future(stop.wait())
    pending: set[asyncio.Future[Any]] = {*tasks, stopped}
    failure: BaseException | None = None
    while not stopped.done() and failure is None:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        failure = next((error for task in done if (error := task.exception()) is not None), None)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return failure
