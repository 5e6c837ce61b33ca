"""Temporal bin packing from below: what is packed at one instant is an ordinary bin packing problem.

Only maximal cliques matter: the instants after which, of the events that follow, an end comes before a start. For each, the linear
relaxation over packing patterns (Gilmore and Gomory 1961) is solved by column generation. Its dual prices per size, rounded to
integers, are a dual feasible function: with M the dearest content of one bin, found exactly by a knapsack recursion, every bin holds
at most M, so that ceil(price of what is present / M) bins are needed, at this instant and at every other. No float is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]

UNIT = 1 << 20  # of the integer prices


@dataclass(frozen=True)
class Instance:
    """Items [start, end) with a size, to be packed into the fewest bins; windows are also given in maximal cliques, [first, last)."""

    name: str
    capacity: int
    start: Ints
    end: Ints
    size: Ints

    @property
    def items(self) -> int:
        return len(self.size)

    @cached_property
    def instants(self) -> Ints:
        starts, ends = np.unique(self.start), np.sort(self.end)
        following = np.append(starts[1:], np.iinfo(np.int64).max)
        next_end = ends[np.minimum(np.searchsorted(ends, starts, "right"), len(ends) - 1)]
        return starts[(next_end > starts) & (next_end <= following)]

    @property
    def cliques(self) -> int:
        return len(self.instants)

    @cached_property
    def first(self) -> Ints:
        return np.searchsorted(self.instants, self.start)

    @cached_property
    def last(self) -> Ints:
        return np.searchsorted(self.instants, self.end)

    @cached_property
    def sizes(self) -> Ints:
        return np.unique(self.size)

    @cached_property
    def present(self) -> Ints:
        """(cliques, sizes): how many items of each size."""
        steps = np.zeros((self.cliques + 1, len(self.sizes)), dtype=np.int64)
        kind = np.searchsorted(self.sizes, self.size)
        np.add.at(steps, (self.first, kind), 1)
        np.add.at(steps, (self.last, kind), -1)
        return steps.cumsum(axis=0)[:-1]


def read(path: Path) -> Instance:
    """Line 1: number of items and capacity; then index, start, end, size. Raises ValueError for anything else."""
    rows = [[int(field) for field in line.split()] for line in path.read_text().splitlines() if line.strip()]
    items = np.array(rows[1:], dtype=np.int64)
    if len(items) != rows[0][0] or items.shape[1] < 4 or (items[:, 1] >= items[:, 2]).any():
        raise ValueError(f"{path}: {len(items)} items of {rows[0][0]}, or an item without length")
    return Instance(path.stem, rows[0][1], items[:, 1], items[:, 2], items[:, 3])


def dearest(capacity: int, sizes: Ints, prices: Ints, copies: Ints | None = None) -> tuple[int, Ints]:
    """(price, count per size) of the dearest content of one bin; at most `copies` of a size."""
    best = np.zeros(capacity + 1, dtype=np.int64)
    taken = np.zeros((capacity + 1, len(sizes)), dtype=np.int64)
    for kind, (size, price) in enumerate(zip(sizes.tolist(), prices.tolist(), strict=True)):
        for _ in range(min(capacity // size, int(copies[kind]) if copies is not None else capacity)):
            better = best[:-size] + price > best[size:]
            if not better.any():
                break
            moved = taken[:-size][better]
            moved[:, kind] += 1
            best[size:][better] = best[:-size][better] + price
            taken[size:][better] = moved
    return int(best[-1]), taken[-1]


def prices_of(instance: Instance, counts: Ints) -> tuple[Ints, int]:
    """(integer price per size, dearest bin) from the pattern relaxation of one clique."""
    from ortools.linear_solver import pywraplp

    kinds = np.flatnonzero(counts)
    sizes = instance.sizes[kinds]
    solver = pywraplp.Solver.CreateSolver("GLOP")
    dual = [solver.NumVar(0, 1, "") for _ in kinds]
    for k, n in enumerate((instance.capacity // sizes).tolist()):
        solver.Add(n * dual[k] <= 1)
    solver.Maximize(sum(int(n) * dual[k] for k, n in enumerate(counts[kinds])))
    while True:
        solver.Solve()
        prices = np.array([round(v.solution_value() * UNIT) for v in dual], dtype=np.int64)
        most, pattern = dearest(instance.capacity, sizes, prices)
        if most <= UNIT + len(kinds):
            break
        solver.Add(sum(int(n) * dual[k] for k, n in enumerate(pattern) if n) <= 1)
    full = np.zeros(len(instance.sizes), dtype=np.int64)
    full[kinds] = prices
    return full, most


def clique_bound(instance: Instance, most_solved: int = 200) -> int:
    """Bins that some instant needs. Cliques are solved in the order of the bound that the prices found so far give them."""
    bounds = -(-instance.present @ instance.sizes // instance.capacity)
    solved = np.zeros(instance.cliques, dtype=bool)
    value = (instance.present @ instance.sizes) / instance.capacity
    for _ in range(min(most_solved, instance.cliques)):
        clique = int(np.where(solved, -1.0, value).argmax())
        solved[clique] = True
        prices, most = prices_of(instance, instance.present[clique])
        paid = instance.present @ prices
        bounds = np.maximum(bounds, -(-paid // most))
        value = np.maximum(value, paid / most)
    return int(bounds.max())
