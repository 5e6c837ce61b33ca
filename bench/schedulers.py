"""In which order a scheduler without foresight takes nodes: first fit, best fit, and two scores of kube-scheduler.

A rank gets columns over nodes (free GPUs, healthy GPUs, how many lots each could take) and the GPUs of a lot, and returns one node
index per lot that could be placed, the preferred first. `LeastAllocated` and `MostAllocated` score the share of a node in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]
Rank = Callable[[Ints, Ints, Ints, int], Ints]  # (free, healthy, units, lot GPUs) over nodes -> indices of lots' nodes, in order


def _fill(order: Ints, units: Ints) -> Ints:
    return np.repeat(order, units[order])


def first_fit(free: Ints, healthy: Ints, units: Ints, lot: int) -> Ints:
    """Node after node, each to the full."""
    return _fill(np.flatnonzero(units), units)


def best_fit(free: Ints, healthy: Ints, units: Ints, lot: int) -> Ints:
    """The fewest free GPUs first; a node once begun stays the best."""
    able = np.flatnonzero(units)
    return _fill(able[np.argsort(free[able], kind="stable")], units)


def most_allocated(free: Ints, healthy: Ints, units: Ints, lot: int) -> Ints:
    """The highest share of GPUs in use first."""
    able = np.flatnonzero(units)
    return _fill(able[np.argsort(_share(free, healthy)[able], kind="stable")[::-1]], units)


def least_allocated(free: Ints, healthy: Ints, units: Ints, lot: int) -> Ints:
    """The lowest share of GPUs in use first, counted again after every lot."""
    lots = _fill(np.flatnonzero(units), units)
    return lots[np.argsort(_share(free[lots] - lot * rank_among_equals(lots), healthy[lots]), kind="stable")]


def _share(free: Ints, healthy: Ints) -> Ints:
    return ((healthy - free) << 20) // np.maximum(healthy, 1)


def rank_among_equals(values: Ints) -> Ints:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    sorted_ = values[order]
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values)) - np.searchsorted(sorted_, sorted_)
    return ranks


SCHEDULERS: dict[str, Rank] = {
    "first fit": first_fit,
    "best fit": best_fit,
    "least allocated": least_allocated,
    "most allocated": most_allocated,
}
