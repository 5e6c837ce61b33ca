"""Stretches without samples, and what speaks for the GPUs having been there all the same (contract.md 5.7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MISSED_KEPT = 64


class Missed(NamedTuple):
    """As in the GpuMeter; times are Unix seconds."""

    start: int
    end: int
    same_boot: bool
    uptime_seconds: int
    least_watts: int
    most_watts: int


@dataclass(frozen=True, slots=True)
class Power:
    """Mean power of each GPU over a stretch, as energy and time; a GPU of which nothing is known used none."""

    millijoules: int
    seconds: int

    @property
    def least_watts(self) -> int:
        return self.millijoules // (1000 * self.seconds) if self.seconds else 0

    @property
    def most_watts(self) -> int:
        return -(-self.millijoules // (1000 * self.seconds)) if self.seconds else 0


def missed(start: int, end: int, same_boot: bool, uptime_seconds: int, powers: Iterable[Power]) -> Missed:
    """Rounded against us: the least power down, the most up."""
    known = list(powers)
    least = min((power.least_watts for power in known), default=0)
    most = max((power.most_watts for power in known), default=0)
    return Missed(start, end, same_boot, max(0, uptime_seconds), least, most)


def too_long(start: int, end: int, sample_seconds: int) -> bool:
    """Whether samples were missed between two of them: more than two and a half periods lie between."""
    return 2 * (end - start) > 5 * sample_seconds
