"""Who goes short, and when, where there is not enough for all: what the bound's prices say before anything is placed.

In a slice of time that is oversold the linear programme serves who is owed more than the capacity is worth, and its dual says how much
that is. An Interruptible contract that is owed less stays away from the slice at first, or somebody who is owed more would have to.
Whoever meets a price at all comes after those who meet none or are Firm, and takes what they leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bound import PriceSearch, grid_of
from .certificate import MOST, Tariff, Windows
from .eligible import Demand
from .topology import Topology

Spans = list[tuple[int, int]]  # [start, end) in seconds, in order
NEARLY = 10_000  # prices are searched for to about one part in so many; who is owed just as much is rationed by what is left


def ration(topology: Topology, demands: Sequence[Demand]) -> dict[int, Spans]:
    """Interruptible contract that meets a price in its window -> when it is owed more than that, and worth serving first."""
    grid = grid_of(topology, demands)
    windows = {d.index: Windows(topology, grid).of(d) for d in demands}
    tariff = Tariff(topology, grid, PriceSearch(topology, grid, windows, None).prices(demands, total=True))
    found: dict[int, Spans] = {}
    for demand in demands if tariff.of else ():
        (cost, priced), window = tariff.cost(demand, total=True), windows[demand.index]
        if demand.contract.firm or priced[window.first] == priced[window.last]:
            continue
        rate = min(demand.lot_rate, MOST)
        worth = cost[window.first : window.last] < rate - rate // NEARLY
        edges = window.first + np.flatnonzero(np.diff(worth, prepend=False, append=False))
        found[demand.index] = [(grid.times[a], grid.times[b]) for a, b in edges.reshape(-1, 2).tolist()]
    return found
