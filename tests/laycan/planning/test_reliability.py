"""What is expected of nodes: the published rate at first, the cluster's own in the long run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from laycan.planning.reliability import DAY, MOST_FAILURES_PPM, MOST_REPAIR_SECONDS, Measured, significant
from laycan_solver.model import Reliability


def test_nothing_measured_is_what_the_planner_assumes() -> None:
    """Before anything is counted the rate and the repair time are the defaults of the planner's model."""
    known = Reliability()
    assert (Measured().failures_ppm, Measured().mean_repair_seconds) == (known.failures_ppm, known.repair_seconds)


@pytest.mark.parametrize(
    ("node_days", "failures", "ppm"),
    [
        (1_000, 0, 3_300),  # 6.5 / 2,000 = 3,250: half up
        (1_000, 7, 6_800),  # 13.5 / 2,000 = 6,750
        (110_592, 419, 3_800),  # Llama 3: 2,048 nodes for 54 days
        (10**7, 0, 1),
        (10**9, 0, 1),
        (0, 3, 9_500),
        (12, 60, 66_000),
    ],
)
def test_rate(node_days: int, failures: int, ppm: int) -> None:
    """(6.5 + failures) / (1,000 + node-days), in two significant digits and never nought."""
    assert Measured(node_days * DAY, failures).failures_ppm == ppm


@pytest.mark.parametrize(
    ("repairs", "seconds", "mean"), [(0, 0, 86_400), (1, 3_600, 45_000), (3, 3 * 7_200, 27_000), (9, 10**7, 1_010_000)]
)
def test_repair(repairs: int, seconds: int, mean: int) -> None:
    """(one day + what repairs took) / (1 + repairs), in three significant digits."""
    assert Measured(repairs=repairs, repair_seconds=seconds).mean_repair_seconds == mean


def test_no_cluster_is_worse() -> None:
    """Counts that somebody wrote: figures stay such that a fleet of 20,000 nodes x rate x repair is a 64-bit number."""
    worst = Measured(0, 2**62, 0, 2**62)
    assert (worst.failures_ppm, worst.mean_repair_seconds) == (MOST_FAILURES_PPM, MOST_REPAIR_SECONDS)
    assert 20_000 * MOST_FAILURES_PPM * MOST_REPAIR_SECONDS < 2**63


def test_a_day_more_changes_nothing() -> None:
    """A fleet that goes on without a failure changes its rate a few times in a year, so that plans can be kept."""
    rates = [Measured(200 * DAY * day, day // 5).failures_ppm for day in range(365)]
    assert sum(a != b for a, b in itertools.pairwise(rates)) < 120
    assert rates[-1] == 1_100


@pytest.mark.parametrize(
    "status", [None, "x", {}, {"reliability": None}, {"reliability": {"failures": "9", "repairs": True, "nodeSeconds": -5}}]
)
def test_what_cannot_be_read_was_not_measured(status: Any) -> None:
    """A status that is absent, or of another form, counts as none."""
    assert Measured.of(status) == Measured()


def test_status() -> None:
    """The counts of the status, one by one."""
    counts = {"since": "2027-01-01T00:00:00Z", "nodeSeconds": 86_400, "failures": 2, "repairs": 1, "repairSeconds": 600}
    assert Measured.of({"reliability": counts}) == Measured(86_400, 2, 1, 600)


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(6_449, 1, 6_400), (6_450, 1, 6_500), (9_949, 1, 9_900), (9_950, 1, 10_000), (994, 10, 99), (995, 10, 100), (1, 3, 1), (15, 10, 2)],
)
def test_significant_digits(numerator: int, denominator: int, rounded: int) -> None:
    """Half up, with a carry, and integers below the digits."""
    assert significant(numerator, denominator, 2) == rounded
