"""Takes all figures that Prometheus may read, now and then: none of it is on the way of a decision or a write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from laycan.control.exchanges import Exchanges
from laycan.control.metrics import Metrics
from laycan.control.office_metrics import Watched, free_ratio
from laycan.control.planner import Planner
from laycan.control.reconcile import Reconcile
from laycan.delivery.drift import DriftWatch
from laycan.delivery.protocol import Delivery
from laycan.settings import Settings

log = logging.getLogger(__name__)

PERIOD_SECONDS = 5.0  # how old a count may be that Prometheus reads
REST = 50  # figures of capacity take a fiftieth of the time at most: they cost 0.15 s for 12,500 nodes


@dataclass(slots=True)
class Measure:
    metrics: Metrics
    settings: Settings
    clock: Callable[[], int]
    watches: Sequence[Watched]
    planner: Planner
    delivery: Delivery
    exchanges: Exchanges
    reconcile: Reconcile
    drift: DriftWatch
    _capacity_at: float = 0.0  # when its figures are taken again, monotonic seconds

    async def run(self) -> None:
        """Never returns. A figure that cannot be taken ends nobody's delivery: `laycan_measured_timestamp_seconds` tells their age."""
        while True:
            try:
                self._take()
                self.metrics.office.take_space(await asyncio.to_thread(free_ratio, self.settings.ledger_path))
                self.metrics.office.complete(time.time())
            except Exception:
                log.exception("not all figures could be taken")
            await asyncio.sleep(PERIOD_SECONDS)

    def _take(self) -> None:
        metrics, planner, world, begun, now = self.metrics, self.planner, self.planner.world, time.monotonic(), self.clock()
        metrics.office.take_watches(self.watches, begun)
        metrics.office.take(world, self.settings, planner.writer, self.reconcile, self.drift)
        metrics.plans.take()
        metrics.take(world, self.delivery, self.settings, now)
        metrics.take_events(self.exchanges)
        if begun >= self._capacity_at:
            verdict = self.delivery.situation.verdict
            down = verdict.withheld.keys() | verdict.spared
            metrics.capacity.take(world, planner.specs, planner.writer.decisions, self.delivery, now, down)
            self._capacity_at = begun + REST * (time.monotonic() - begun)
