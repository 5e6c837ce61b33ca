"""What Prometheus reads of planning, of the real planner in its process and of planners that fail."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prometheus_client.parser import text_string_to_metric_families

from laycan.control.plan_metrics import PlanMetrics
from laycan.control.planner import Planner
from laycan.exposition import Exposition
from tests.laycan.control.planning import planning
from tests.laycan.control.town import contract, world

BAD = "tests.laycan.control.planners"


def read(exposition: Exposition) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(exposition.text().decode())
    samples = [sample for family in families for sample in family.samples if not sample.name.endswith("_bucket")]
    return {(sample.name.removeprefix("laycan_"), ",".join(sample.labels.values())): sample.value for sample in samples}


async def loop(office: Planner, until: tuple[str, str], exposition: Exposition) -> dict[tuple[str, str], float]:
    """Runs the planner's own loop until this figure is above 0."""
    running = asyncio.create_task(office.run())
    async with asyncio.timeout(60):
        while read(exposition)[until] == 0:
            office.metrics.take()
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return read(exposition)


def test_plans_by_kind() -> None:
    """The first is thorough and has a gap; what follows a change is counted apart. Both cost time."""
    made, exposition = world([contract("a")]), Exposition()

    async def test(office: Planner) -> None:
        office.metrics = PlanMetrics(exposition)
        await office.step()
        made.put("contracts", "desk/b", contract("b"))
        await office.step()
        found = read(exposition)
        assert (found["solve_seconds_count", "thorough"], found["solve_seconds_count", "following"]) == (1, 1)
        assert min(found["solve_seconds_sum", "thorough"], found["solve_cpu_seconds_total", "thorough"]) > 0
        assert (found["plan_gap_ratio", "firm"], found["plan_gap_ratio", "total"], found["plans_failed_total", ""]) == (0, 0, 0)

    planning(made, test)


def test_nothing_waits_after_a_plan() -> None:
    """The loop says when it begins, and when all is planned."""
    made, exposition = world([contract("a")]), Exposition()

    async def test(office: Planner) -> None:
        office.metrics = PlanMetrics(exposition)
        await loop(office, ("solve_seconds_count", "thorough"), exposition)
        office.metrics.take()
        assert read(exposition)["plan_waiting_seconds", ""] == 0

    planning(made, test)


def test_a_plan_that_fails_leaves_something_waiting() -> None:
    """It is counted, and what it was for still waits."""
    made, exposition = world([contract("a")]), Exposition()

    async def test(office: Planner) -> None:
        office.metrics = PlanMetrics(exposition)
        found = await loop(office, ("plans_failed_total", ""), exposition)
        assert found["solve_seconds_count", "thorough"] == 0
        office.metrics.take()
        assert read(exposition)["plan_waiting_seconds", ""] > 0

    planning(made, test, planner=f"{BAD}:raises")


def test_waiting_is_counted_from_the_first_attempt() -> None:
    """A second attempt does not begin anew; a plan ends it."""
    exposition, now = Exposition(), [100.0]
    metrics = PlanMetrics(exposition, lambda: now[0])
    metrics.begun()
    now[0] = 130.0
    metrics.interrupted()
    metrics.begun()
    metrics.take()
    found = read(exposition)
    assert (found["plan_waiting_seconds", ""], found["plans_interrupted_total", ""]) == (30, 1)
    metrics.ended()
    metrics.take()
    assert read(exposition)["plan_waiting_seconds", ""] == 0
