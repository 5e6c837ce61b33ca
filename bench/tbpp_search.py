"""Temporal bin packing from above: construct in start order, then empty one bin after another by ejections.

A packing with k bins is sought from one with k + 1: the items of the bin that is easiest to empty become homeless, and one at a time
is put where it fits best, or where the cheapest items give way to it. An item pays more the more often it was found homeless, so that
the search does not circle; where nothing gives way for less, the packing is shaken by random legal moves. The scheme is the ejection
pool of Nagata and Bräysy (2009) for the number of vehicles; bins take the place of routes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.tbpp_bound import Instance, Ints

NOWHERE = -1
SHAKES = 12  # random moves after nothing gave way
PAIR_BINS = 6  # bins in which pairs of items are tried, those with the least excess


def construct(instance: Instance, order: Ints, *, fullest: bool) -> Ints:
    """Bin of every item: each goes, in the given order, to the fullest bin that holds it, or to the first one."""
    loads = np.zeros((instance.items, instance.cliques), dtype=np.int16)
    bins, used = np.full(instance.items, NOWHERE, dtype=np.int64), 0
    for i in order.tolist():
        a, b, size = instance.first[i], instance.last[i], instance.size[i]
        peak = loads[: used + 1, a:b].max(axis=1)
        holds = np.flatnonzero(peak + size <= instance.capacity)
        j = int(holds[np.argmax(peak[holds])] if fullest else holds[0])
        used = max(used, j + 1)
        loads[j, a:b] += size
        bins[i] = j
    return bins


def orders(instance: Instance) -> list[Ints]:
    """Start orders, ties by size, by length and by both: for intervals of one size the first already is optimal."""
    length = instance.end - instance.start
    keys = ((-instance.size,), (-length,), (-instance.size * length,), (-length, -instance.size))
    return [np.lexsort((*key, instance.start)) for key in keys]


@dataclass
class Packing:
    """A packing of some items into a fixed number of bins; `loads` is (bins, cliques)."""

    instance: Instance
    bins: Ints  # item -> bin, or NOWHERE
    loads: Ints

    @classmethod
    def of(cls, instance: Instance, bins: Ints) -> Packing:
        loads = np.zeros((int(bins.max()) + 1, instance.cliques), dtype=np.int16)
        for i, j in enumerate(bins.tolist()):
            loads[j, instance.first[i] : instance.last[i]] += instance.size[i]
        return cls(instance, bins.copy(), loads)

    def put(self, i: int, j: int) -> None:
        self.loads[j, self.instance.first[i] : self.instance.last[i]] += self.instance.size[i]
        self.bins[i] = j

    def take(self, i: int) -> None:
        self.loads[self.bins[i], self.instance.first[i] : self.instance.last[i]] -= self.instance.size[i]
        self.bins[i] = NOWHERE

    def dissolve(self, j: int) -> list[int]:
        """Removes one bin; its items are homeless."""
        homeless = np.flatnonzero(self.bins == j)
        self.loads = np.delete(self.loads, j, axis=0)
        self.bins[homeless] = NOWHERE
        self.bins[self.bins > j] -= 1
        return [int(i) for i in homeless]


class Search:
    """Looks for a packing into fewer bins until `late`."""

    def __init__(self, instance: Instance, seed: int, late: Callable[[], bool]) -> None:
        self.instance, self.late = instance, late
        self.rng = np.random.default_rng(seed)
        self.price = np.ones(instance.items, dtype=np.int64)
        self.steps = 0

    def fewer(self, bins: Ints) -> Ints | None:
        """A packing with one bin less, or None when time is up."""
        packing = Packing.of(self.instance, bins)
        area = self.instance.size * (self.instance.last - self.instance.first)
        homeless = packing.dissolve(int(np.argmin(np.bincount(bins, weights=area))))
        homeless.sort(key=lambda i: int(area[i]))
        while homeless:
            if self.late():
                return None
            self.steps += 1
            i = homeless.pop()
            homeless += self._place(packing, i, homeless)
        return packing.bins

    def _place(self, packing: Packing, i: int, homeless: list[int]) -> list[int]:
        """Puts an item in; returns who is homeless for it, maybe itself."""
        instance = self.instance
        window = packing.loads[:, instance.first[i] : instance.last[i]]
        excess = window.max(axis=1) + instance.size[i] - instance.capacity
        holds = np.flatnonzero(excess <= 0)
        if len(holds):
            packing.put(i, int(holds[np.argmax(excess[holds])]))
            return []
        self.price[i] += 1
        ejected = self._cheapest(packing, i, window, excess)
        if not ejected:
            self._shake(packing)
            homeless.insert(int(self.rng.integers(len(homeless) + 1)), i)
            return []
        j = int(packing.bins[ejected[0]])
        for e in ejected:
            packing.take(e)
        packing.put(i, j)
        return ejected

    def _cheapest(self, packing: Packing, i: int, window: Ints, excess: Ints) -> list[int]:
        """One or two items of one bin without which item i fits there, together cheaper than it."""
        instance = self.instance
        over = window > instance.capacity - instance.size[i]
        first = instance.first[i] + over.argmax(axis=1)
        last = instance.first[i] + over.shape[1] - over[:, ::-1].argmax(axis=1)
        home = packing.bins
        alone = (instance.first <= first[home]) & (instance.last >= last[home]) & (instance.size >= excess[home]) & (home >= 0)
        candidates = np.flatnonzero(alone)
        best: list[int] = []
        least = int(self.price[i])
        if len(candidates):
            j = int(candidates[np.argmin(self.price[candidates] + self.rng.random(len(candidates)))])
            if self.price[j] < least:
                best, least = [j], int(self.price[j])
        if least <= 2:
            return best
        limit = instance.capacity - int(instance.size[i])
        near = np.argpartition(excess + self.rng.random(len(excess)), min(PAIR_BINS, len(excess) - 1))[:PAIR_BINS]
        for j in near.tolist():
            inside = np.flatnonzero((home == j) & (instance.first < last[j]) & (instance.last > first[j]))
            for together in combinations(inside.tolist(), 2):
                price = int(self.price[list(together)].sum())
                if price < least and self._fits_without(packing, i, j, together, limit):
                    best, least = list(together), price
        return best

    def _fits_without(self, packing: Packing, i: int, j: int, ejected: tuple[int, ...], limit: int) -> bool:
        instance = self.instance
        row = packing.loads[j].copy()
        for e in ejected:
            row[instance.first[e] : instance.last[e]] -= instance.size[e]
        return bool(row[instance.first[i] : instance.last[i]].max() <= limit)

    def _shake(self, packing: Packing) -> None:
        """A few random items move to random bins that hold them."""
        instance = self.instance
        for i in self.rng.integers(0, instance.items, SHAKES).tolist():
            if packing.bins[i] == NOWHERE:
                continue
            peak = packing.loads[:, instance.first[i] : instance.last[i]].max(axis=1)
            holds = np.flatnonzero(peak + instance.size[i] <= instance.capacity)
            if len(holds):
                packing.take(i)
                packing.put(i, int(self.rng.choice(holds)))


def pack(instance: Instance, target: int, seconds: float, seed: int = 0) -> Ints:
    """The best packing found: it stops at `target` bins, which is a proven least number, or after `seconds` of CPU time."""
    end = time.process_time() + seconds
    best = min((construct(instance, order, fullest=True) for order in orders(instance)), key=lambda bins: int(bins.max()))
    search = Search(instance, seed, lambda: time.process_time() > end)
    while best.max() + 1 > target:
        fewer = search.fewer(best)
        if fewer is None:
            break
        best = fewer
    return best
