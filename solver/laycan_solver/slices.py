"""The bound's own cut of time: slices in which nothing begins, ends or changes, for good."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

from .timegrid import Ints


class Slices:
    """Slice i is [times[i], times[i + 1]); `starts` and `seconds` are per slice."""

    def __init__(self, boundaries: Iterable[int]) -> None:
        self.times: list[int] = sorted(set(boundaries))
        edges: Ints = np.array(self.times, dtype=np.int64)
        self.starts: Ints = edges[:-1]
        self.seconds: Ints = np.diff(edges)
        self.count = len(self.seconds)

    def index(self, time: int) -> int:
        """The slice that starts at `time`, or the number of slices; it must be a boundary."""
        i = bisect_left(self.times, time)
        assert self.times[i] == time, f"{time} is no boundary"
        return i
