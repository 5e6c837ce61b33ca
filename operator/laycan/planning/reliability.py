"""How often nodes of a product fail and how long they are away: what is published, brought up to date by what was counted here.

Failures come at a constant rate, so that a Gamma distribution is conjugate. The prior, 6.5 failures in 1,000 node-days, is the rate of
Meta's RSC-1 (A100; Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters", HPCA 2025); Llama 3's
cluster had 419 unplanned interruptions in 54 days of 2,048 H100 nodes, 3.8 in 1,000 (Llama Team, "The Llama 3 Herd of Models", 2024).
So a cluster has to run for 1,000 node-days until its own history weighs as much. A repair takes a day, by a prior that weighs one
repair. No cluster is worse than `MOST_FAILURES_PPM` and `MOST_REPAIR_SECONDS`, whatever its status says. Results are rounded to two and
three significant digits, because a product that changes makes every plan be made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY = 86_400
PRIOR_FAILURES_PPM = 6_500_000  # 6.5 failures, in millionths
PRIOR_SECONDS = 1_000 * DAY  # of one node
PRIOR_REPAIR_SECONDS = DAY  # of one repair
PPM = 10**6
MOST_FAILURES_PPM = 10 * PPM  # a node-day
MOST_REPAIR_SECONDS = 10**7  # four months


@dataclass(frozen=True, slots=True)
class Measured:
    """What the operator counted of a product's nodes: see `status.reliability` of ComputeProduct."""

    node_seconds: int = 0  # that GPU nodes were watched, summed
    failures: int = 0
    repairs: int = 0  # of nodes that came back
    repair_seconds: int = 0  # that these took, summed

    @classmethod
    def of(cls, status: Any) -> Measured:
        """From a product's status; what is absent, no count or below nought has not been measured."""
        told = status.get("reliability") if isinstance(status, Mapping) else None
        names = ("nodeSeconds", "failures", "repairs", "repairSeconds")
        return cls(*(_count(told.get(name)) if isinstance(told, Mapping) else 0 for name in names))

    @property
    def failures_ppm(self) -> int:
        """Expected failures per node-day, millionths: the mean of the posterior."""
        return min(significant(DAY * (PRIOR_FAILURES_PPM + PPM * self.failures), PRIOR_SECONDS + self.node_seconds, 2), MOST_FAILURES_PPM)

    @property
    def mean_repair_seconds(self) -> int:
        """Expected time until a node that has failed is back."""
        return min(significant(PRIOR_REPAIR_SECONDS + self.repair_seconds, 1 + self.repairs, 3), MOST_REPAIR_SECONDS)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def significant(numerator: int, denominator: int, digits: int) -> int:
    """The quotient of two positive integers as an integer of so many significant digits, rounded half up, at least 1."""
    unit = 1
    while numerator >= denominator * unit * 10**digits:
        unit *= 10
    step = denominator * unit
    return max(1, (2 * numerator + step) // (2 * step) * unit)
