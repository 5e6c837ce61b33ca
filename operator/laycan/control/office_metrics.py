"""What Prometheus may read of the operator's own work: who leads, how old what it sees is, what it could not write."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from laycan import __version__
from laycan.control.reconcile import Reconcile
from laycan.control.writer import Writer
from laycan.delivery.drift import DriftWatch
from laycan.delivery.faults.failures import pauses_all
from laycan.exposition import Exposition, Tally
from laycan.kube.world import World
from laycan.settings import Settings

OUTCOMES = ("written", "conflict", "failed")


class Watched(Protocol):
    """A reflector: what it watches, and when it last heard of it (monotonic seconds)."""

    @property
    def kind(self) -> str: ...

    @property
    def last_event(self) -> float: ...


class OfficeMetrics:
    """`leads` once; the others now and then."""

    def __init__(self, exposition: Exposition) -> None:
        gauge, total = exposition.gauge, exposition.total
        self._leader = gauge("leader", "1 while this process holds the lease, and writes.")
        self._build = gauge("build_info", "1; the label says which release runs.", "version")
        self._build.labels(__version__).set(1)
        self._measured = gauge("measured_timestamp_seconds", "When all these figures were last taken; 0 before the first time.")
        self._watch = gauge("watch_age_seconds", "Since the API server last said something of this kind; bookmarks count.", "kind")
        self._reconcile = gauge("reconcile_age_seconds", "Since desired and observed state were last compared in full.")
        self._doubles = Tally(total("double_bookings", "Nodes that were found bound to two holders. More than 0 is a fault of Laycan."))
        writes = total("contract_writes", "Writes of contracts, by what came of them; a conflict is tried again at once.", "outcome")
        self._writes = {outcome: Tally(writes.labels(outcome)) for outcome in OUTCOMES}
        self._failing = gauge("contracts_failing", "Contracts that could not be written, or read, at the latest attempt.")
        self._drifted = gauge("policies_changed", "Admission policies of the chart that are gone or that somebody else has changed.")
        self._paused = gauge("paused", "1 while everything is paused: by settings.pauseAll, or on NodeFence/cluster.")
        self._enforcing = gauge("enforcing", "1 in mode Enforce, 0 in Observe.")
        self._free = gauge("ledger_free_ratio", "Share of the log's volume that is free; NaN until it was looked at.")
        self._free.set(math.nan)

    def leads(self, leads: bool) -> None:
        self._leader.set(leads)

    def take_watches(self, watches: Iterable[Watched], now: float) -> None:
        """`now`: monotonic seconds, as the watches tell them."""
        for watch in watches:
            self._watch.labels(watch.kind).set(max(0.0, now - watch.last_event))

    def take(self, world: World, settings: Settings, writer: Writer, reconcile: Reconcile, drift: DriftWatch) -> None:
        """Counts what is there now."""
        self._reconcile.set(time.monotonic() - reconcile.compared)
        self._doubles.reach(reconcile.double_bookings)
        for outcome, tally in self._writes.items():
            tally.reach(writer.requests.outcomes[outcome])
        self._failing.set(writer.failing)
        self._drifted.set(len(drift.drifts))
        self._paused.set(pauses_all(world, settings))
        self._enforcing.set(settings.mode == "Enforce")

    def take_space(self, ratio: float | None) -> None:
        """None: it could not be found out, and the last figure stands."""
        if ratio is not None:
            self._free.set(ratio)

    def complete(self, now: float) -> None:
        """All was taken; Unix seconds."""
        self._measured.set(now)


def free_ratio(folder: Path) -> float | None:
    """Of the volume that the folder lies on; it may block where the volume hangs."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free / usage.total if usage.total else None
