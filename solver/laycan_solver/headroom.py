"""Headroom: how many more nodes could be committed in a window before a target is missed, without placing anything.

Exact for the figure of a contract of whole nodes that lie anywhere: whichever nodes it takes, so many fewer are spare. For those
who are there already it is on the safe side, because it looks at months in which they may not lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .backings import Backings
from .eligible import Demand
from .ground import Stand
from .objective import MONTH
from .promise import PPM, Risks
from .spares import Backing


@dataclass(frozen=True)
class Window:
    """What stands behind a contract of [start, end), from a month before it to a month after it, in one of its pools."""

    backing: Backing
    start: int
    end: int

    def taken(self, nodes: int) -> Backing:
        """The same with so many nodes of it committed in the window."""
        b = self.backing
        more = np.where((b.times[:-1] >= self.start) & (b.times[:-1] < self.end), nodes, 0)
        return Backing(b.times, b.failing, b.down, np.maximum(b.spare - more, 0), b.committed + more)


class Headroom:
    """Of a book as it is, for contracts of the product and grades of `demand`, and windows that end by `until`; later ones pass."""

    def __init__(self, risks: Risks, demand: Demand, until: int) -> None:
        products, now = risks.demands.products, risks.book.now
        known = products[demand.contract.product].reliability
        lots = risks.refresh()
        pools = lots.pools(frozenset(demand.options))
        grades = {risks.book.fleet.grades[g] for pool in pools for g in pool}
        targets = [p.reliability.target_ppm for p in products.values() if p.grades & grades]
        self.low, self.high = now, until + MONTH
        self.target = known.target_ppm and known.target_ppm * PPM  # of the contract itself
        self.lowest = min((t * PPM for t in targets if t is not None), default=None)  # of all whom it may harm
        backings = Backings(risks.ground, lots, self.low, self.high)
        self._backings = [backings[Stand(pool, known.cure_seconds, known.repair_seconds)] for pool in pools]

    def windows(self, start: int, end: int) -> list[Window]:
        """One for each pool; none where the window is later than what is known."""
        if end + MONTH > self.high:
            return []
        low, high = max(self.low, start - MONTH), min(self.high, end + MONTH)
        found = []
        for backing in self._backings:
            b = backing.cut(np.array([low, start, end, high]))
            rows = b.rows(low, high)
            times = b.times[rows.start : rows.stop + 1]
            found.append(Window(Backing(times, b.failing[rows], b.down[rows], b.spare[rows], b.committed[rows]), start, end))
        return found

    def keeps_target(self, windows: list[Window], nodes: int) -> bool:
        """The contract's own figure would be below its target, with so many nodes."""
        return self.target is None or all(w.taken(nodes).worst(w.start, w.end) < self.target for w in windows)

    def harms_nobody(self, windows: list[Window], nodes: int) -> bool:
        """Surely nobody else's figure would reach a target; False = it may."""
        if self.lowest is None:
            return True
        after = [w.taken(nodes) for w in windows]
        return all(b.worst(int(b.times[0]), int(b.times[-1])) < self.lowest for b in after)


def last_true(most: int, holds: Callable[[int], bool]) -> int:
    """The greatest number from 0 to `most` for which it holds, which it does below, too; 0 is not asked."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
