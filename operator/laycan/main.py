"""The operator's process: kopf gives it life, signals, a login and the small kinds; the office does the work.

kopf is not asked to watch contracts or nodes: it costs fifteen times a plain watch per event, writes to objects of its own accord,
and does not tell of deletions that it missed (`control.reconcile` lists the small kinds for that reason). Its peering is switched
off, because equal peers all pause; who leads is settled by `control.leader`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import kopf

from laycan.control.leader import Identity
from laycan.control.metrics import CONTENT_TYPE
from laycan.control.office import Office
from laycan.control.reconcile import SMALL_KINDS
from laycan.kube.credentials import Credentials, load_credentials
from laycan.kube.reflector import object_key
from laycan.kube.steady import SteadyClock
from laycan.ports import serving
from laycan.resources.constants import GROUP, PLURALS, VERSION
from laycan.settings import Settings

log = logging.getLogger(__name__)

_EXIT_SECONDS = 20.0  # a shutdown that takes longer is ended by force; the chart's grace period is 30 s


class Shell:
    """One office in one kopf operator. `failure` is what ended it, None after an orderly stop."""

    def __init__(self, credentials: Credentials, settings: Settings, clock: Callable[[], int], port: int, metrics_port: int) -> None:
        identity = Identity(os.environ.get("POD_NAME", ""), uuid.uuid4().hex[:12])
        self.office = Office(credentials, settings, identity, clock)
        self.failure: BaseException | None = None
        self.stop = asyncio.Event()
        self._credentials = credentials
        self._ports, self._served = (port, metrics_port), AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    async def startup(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        (port, metrics_port), office = self._ports, self.office
        probes = {"/healthz": office.troubles, "/readyz": office.not_ready}
        await self._served.enter_async_context(serving(port, probes, metrics_port, office.metrics.text, CONTENT_TYPE))
        self._task = asyncio.create_task(self.office.run(), name="office")
        self._task.add_done_callback(self._ended)

    async def cleanup(self, **_: Any) -> None:
        """Ends the office before kopf ends the loop: the lease is handed back."""
        await self._served.aclose()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def login(self, **_: Any) -> kopf.ConnectionInfo:
        known = self._credentials
        scheme, _space, token = known.authorization().partition(" ")
        return kopf.ConnectionInfo(
            server=known.server,
            ca_path=known.ca_file,
            insecure=known.insecure,
            scheme=scheme or None,
            token=token or None,
            certificate_path=known.certificate_file,
            private_key_path=known.key_file,
        )

    async def small_kind(self, body: Mapping[str, Any], type: str | None, **_: Any) -> None:
        raw = dict(body)
        table = SMALL_KINDS[raw["kind"]]
        if type == "DELETED":
            self.office.world.drop(table, object_key(raw))
        else:
            self.office.world.put(table, object_key(raw), raw)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = task.exception() or RuntimeError("the office ended by itself")
            log.critical("the operator ends: %s", self.failure, exc_info=self.failure)
            force = threading.Timer(_EXIT_SECONDS, os._exit, [1])
            force.daemon = True
            force.start()
            self.stop.set()

    def registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(self.startup)  # else kopf would try for ever, without probes
        kopf.on.cleanup(registry=registry)(self.cleanup)
        kopf.on.login(registry=registry)(self.login)
        for kind in SMALL_KINDS:
            kopf.on.event(GROUP, VERSION, PLURALS[kind], registry=registry)(self.small_kind)
        return registry


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf as a shell: it posts, scans, peers and writes nothing, and outlives an API server that is away for a day.

    Did it give up, the kubelet would start the process anew, at last only every five minutes: so late it would lead again.
    """
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.initial_streaming = True
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 120
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = [0.1, 0.2, 0.5, 1, 1, 2, 2, *[3] * 28_800]
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.execution.max_workers = 2
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS


def run(
    settings: Settings,
    kubeconfig: Path | None,
    port: int,
    *,
    json_logs: bool,
    metrics_port: int = 0,
    clock: Callable[[], int] | None = None,
) -> int:
    """Runs until a signal (0) or a failure (1); a lost leadership is a failure. Without `metrics_port` no metrics are served.

    `clock`: Unix seconds, by which all is decided and told; without one, this machine's.
    """
    kopf.configure(log_format=kopf.LogFormat.JSON if json_logs else kopf.LogFormat.FULL)
    for noisy in ("kopf.objects", "aiohttp.access"):  # a line for every event
        logging.getLogger(noisy).setLevel(logging.WARNING)

    async def live() -> Shell:
        shell = Shell(load_credentials(kubeconfig), settings, clock or SteadyClock(), port, metrics_port)
        await kopf.operator(registry=shell.registry(), standalone=True, clusterwide=True, stop_flag=shell.stop)
        return shell

    return 0 if asyncio.run(live()).failure is None else 1
