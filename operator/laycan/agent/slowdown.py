"""How much of each 300 seconds a GPU spent under hardware slowdown, from a counter of nanoseconds.

Stretches are aligned to the Unix clock, as settlement intervals are (contract.md 5.1). What a counter gained between two samples is
spread evenly over the time between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from laycan.resources.signals import SLOWDOWN_SECONDS

_PER_CENT_PPM = 10_000


class Stretch(NamedTuple):
    """[start, end) in Unix seconds, and the share of it under slowdown, whole per cent in millionths."""

    start: int
    end: int
    ppm: int


@dataclass(slots=True)
class Slowdown:
    """The stretch under way: since when it is watched, and how much of it was slow."""

    since: int
    nanoseconds: int = 0

    def add(self, start: int, end: int, nanoseconds: int) -> list[Stretch]:
        """Adds what the counter gained in [start, end]; the stretches that ended by then and were slow for a hundredth or more."""
        boundary = _boundary(self.since)
        if end < boundary:
            self.nanoseconds += nanoseconds
            return []
        last = end - end % SLOWDOWN_SECONDS
        upto_boundary, upto_last = (_part(nanoseconds, start, end, instant) for instant in (boundary, last))
        found = [_share(self.since, boundary, self.nanoseconds + upto_boundary, SLOWDOWN_SECONDS)]
        if last > boundary:  # nothing was sampled in between: it was all alike
            found.append(_share(boundary, last, upto_last - upto_boundary, last - boundary))
        self.since, self.nanoseconds = last, nanoseconds - upto_last
        return [stretch for stretch in found if stretch.ppm]


def _boundary(instant: int) -> int:
    return instant - instant % SLOWDOWN_SECONDS + SLOWDOWN_SECONDS


def _part(nanoseconds: int, start: int, end: int, instant: int) -> int:
    """How much of it came before the instant."""
    return nanoseconds * max(0, min(instant, end) - start) // (end - start) if end > start else nanoseconds


def _share(start: int, end: int, nanoseconds: int, seconds: int) -> Stretch:
    """Rounded up to whole per cent; 0 below one."""
    hundredth = seconds * 10_000_000
    per_cent = min(100, -(-nanoseconds // hundredth)) if nanoseconds >= hundredth else 0
    return Stretch(start, end, per_cent * _PER_CENT_PPM)
