"""Where a plan leaves something to be wished: the slices in which prices are looked for.

Segments are laid out as arrays once, because nearly all contracts are served in full, and that is seen from sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from .certificate import Window
from .eligible import Demand
from .fleet import Fleet
from .objective import Segment
from .slices import Slices
from .timegrid import Flags, Ints


class Served:
    """What a plan serves. `segments`: by index of the contract."""

    def __init__(self, fleet: Fleet, grid: Slices, demands: Sequence[Demand], segments: Mapping[int, Sequence[Segment]]) -> None:
        self.grid = grid
        own = [segments.get(d.index, ()) for d in demands]
        sizes = [len(rows) for rows in own]
        flat = chain.from_iterable(chain.from_iterable(own))
        column, start, self.end, self.lots = np.fromiter(flat, dtype=np.int64, count=4 * sum(sizes)).reshape(-1, 4).T.copy()
        self.start: Ints = np.maximum(start, np.repeat([d.start for d in demands], sizes).astype(np.int64))
        self.grade = fleet.grade[column]
        edges = np.cumsum([0, *sizes]).tolist()
        self.rows = {d.index: slice(a, b) for d, a, b in zip(demands, edges, edges[1:], strict=False)}
        lot_seconds = self.lots * (self.end - self.start)
        self.until = {g: np.append(0, np.where(self.grade == g, lot_seconds, 0).cumsum()).tolist() for g in range(len(fleet.grades))}

    def short(self, demands: Iterable[Demand], windows: Mapping[int, Window], total: bool) -> Flags:
        """The slices in which not all lots in reach are served, or (total) some are at a cost."""
        short = np.zeros(self.grid.count, dtype=bool)
        for d in demands:
            rows, grades = self.rows[d.index], [g for g, option in d.options.items() if not (total and option.cost)]
            if sum(self.until[g][rows.stop] - self.until[g][rows.start] for g in grades) < d.lots * (d.end - d.start):
                window = windows[d.index]
                reach = d.lots if window.reach is None else window.reach
                short[window.first : window.last] |= self._lots(rows, grades)[window.first : window.last] < reach
        return short

    def _lots(self, rows: slice, grades: Sequence[int]) -> Ints:
        """Per slice: lots served in these grades."""
        inside = np.flatnonzero(np.isin(self.grade[rows], grades)) + rows.start
        lots = np.zeros(self.grid.count + 1, dtype=np.int64)
        np.add.at(lots, np.searchsorted(self.grid.starts, self.start[inside]), self.lots[inside])
        np.subtract.at(lots, np.searchsorted(self.grid.starts, self.end[inside]), self.lots[inside])
        return lots.cumsum()
