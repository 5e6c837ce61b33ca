"""What Prometheus may read of planning: how long plans take, how far from proven they are, and whether something waits for one."""

from __future__ import annotations

import time
from collections.abc import Callable

from laycan.exposition import Exposition
from laycan_solver.model import Plan

THOROUGH, FOLLOWING = "thorough", "following"
_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60)


class PlanMetrics:
    """`begun` before an attempt, then one of the others; `take` now and then. `clock` tells seconds that only grow."""

    def __init__(self, exposition: Exposition, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None  # when something began to wait for a plan
        self._solve = exposition.histogram(
            "solve_seconds",
            "From the question to a plan that the checker found right, by kind: of everything, or of what has changed.",
            _BUCKETS,
            "kind",
        )
        self._cpu = exposition.total("solve_cpu_seconds", "Processor time of the planner's process for plans that were used.", "kind")
        for kind in (THOROUGH, FOLLOWING):
            self._solve.labels(kind)
            self._cpu.labels(kind)
        self._failed = exposition.total("plans_failed", "Plans that did not come about, or that the checker refused.")
        self._interrupted = exposition.total("plans_interrupted", "Thorough plans that were broken off for a quote, and made later.")
        self._waiting = exposition.gauge("plan_waiting_seconds", "For how long something has waited for a plan; 0: nothing does.")
        self._gap = exposition.gauge(
            "plan_gap_ratio",
            "What the latest thorough plan may owe more than is proven to be owed at least, as a share of what it could owe: Firm, or all.",
            "tier",
        )

    def begun(self) -> None:
        """Something is to be planned; it may have waited since an attempt that failed."""
        self._since = self._clock() if self._since is None else self._since

    def ended(self) -> None:
        """All that waited is planned."""
        self._since = None

    def made(self, plan: Plan, kind: str, seconds: float, cpu_seconds: float) -> None:
        """A plan that is used."""
        self._solve.labels(kind).observe(seconds)
        self._cpu.labels(kind).inc(cpu_seconds)
        if kind == THOROUGH:  # the other has a bound for its part only
            self._gap.labels("firm").set(plan.firm_gap_ppm / 1e6)
            self._gap.labels("total").set(plan.total_gap_ppm / 1e6)

    def failed(self) -> None:
        self._failed.inc()

    def interrupted(self) -> None:
        self._interrupted.inc()

    def take(self) -> None:
        """How long it has been."""
        self._waiting.set(0 if self._since is None else self._clock() - self._since)
