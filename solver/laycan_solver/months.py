"""Sellable capacity: nodes that nothing touches for a whole calendar month (UTC).

That is what the next buyer asks for most: whole nodes by the month. The plan breaks as few free node-months as it can without
owing more; the count is in no tier of the objective, it decides among places that are otherwise as good.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from copy import copy
from datetime import UTC, datetime

import numpy as np

from .fleet import Fleet
from .ledger import Cells
from .timegrid import Ints

AHEAD = 12  # months that count


def month_starts(now: int, months: int) -> list[int]:
    """First seconds of the first `months` + 1 whole calendar months from `now` on."""
    try:
        first = datetime.fromtimestamp(now, UTC)
        year, month = first.year, first.month
        if int(datetime(year, month, 1, tzinfo=UTC).timestamp()) < now:
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return [int(datetime(year + (month - 1 + i) // 12, (month - 1 + i) % 12 + 1, 1, tzinfo=UTC).timestamp()) for i in range(months + 1)]
    except (ValueError, OverflowError, OSError):
        return []  # no calendar there


class Months:
    """busy[month, column]: segments that touch the node in the month; more than 0 from the start where it is not to sell anyway.

    That is where it has fewer GPUs than others of its grade, is cordoned, or has an outage in the month.
    """

    def __init__(self, now: int, fleet: Fleet) -> None:
        self.starts = month_starts(now, AHEAD)
        self.busy = np.zeros((max(0, len(self.starts) - 1), len(fleet.nodes)), dtype=np.int16)
        for span in fleet.span.values():
            gpus = fleet.gpus[span] * fleet.open[span]
            self.busy[:, span.start + np.flatnonzero(gpus < gpus.max(initial=0))] = 1
        for column, outages in enumerate(fleet.outages):
            for start, end in outages:
                self.count(np.array([column]), start, end, 1)
        self._whole = (self.busy == 0).T @ (1 << np.arange(len(self.busy), dtype=np.int64))

    def copy(self) -> Months:
        other = copy(self)
        other.busy, other._whole = self.busy.copy(), self._whole.copy()
        return other

    def _touched(self, start: int, end: int) -> tuple[int, int]:
        first = max(0, bisect_right(self.starts, start) - 1)
        return first, min(bisect_left(self.starts, end), len(self.busy))

    def touched(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """[first, last) of the months that windows touch."""
        first = np.maximum(np.searchsorted(self.starts, start, side="right") - 1, 0)
        return first, np.maximum(np.minimum(np.searchsorted(self.starts, end), len(self.busy)), first)

    def filled(self, start: Ints, end: Ints) -> Ints:
        """Months that windows fill from the first second to the last."""
        full: Ints = np.searchsorted(self.starts, end, side="right") - 1 - np.searchsorted(self.starts, start)
        return np.maximum(full, 0)

    def mask(self, start: int, end: int) -> int:
        """A bit for every month that [start, end) touches."""
        first, last = self._touched(start, end)
        return (1 << last) - (1 << first) if first < last else 0

    def whole(self) -> list[int]:
        """Per node: a bit for every month in which it is to sell, if nothing touches it."""
        masks: list[int] = self._whole.tolist()
        return masks

    def count(self, columns: Ints, start: int, end: int, sign: int) -> None:
        """Segments of [start, end) come to (1) or leave (-1) these distinct nodes."""
        first, last = self._touched(start, end)
        if first < last:
            self.busy[first:last, columns] += sign

    def broken(self, columns: slice | Ints, start: int, end: int) -> Cells:
        """Per node: months free until now that a segment of [start, end) would touch."""
        first, last = self._touched(start, end)
        free: Cells = self.busy[first:last, columns] == 0
        broken: Cells = free.view(np.int8).sum(axis=0, dtype=np.int8)
        return broken
