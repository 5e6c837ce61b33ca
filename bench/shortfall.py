"""Do the spare nodes suffice? A pool of nodes that fail and are repaired, simulated run by run, to check what the planner promises.

Every node fails at a constant rate while it is up, and is away for an exponential or a fixed time. A run falls short when a node fails
and more are down than the plan has spares for at that instant; or, which the formula does not count, when a slice begins with fewer
spares than nodes are still down. A pool may have parts with spares of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]
Flags = NDArray[np.bool_]

DAY = 86_400
SETTLING = 8  # mean repairs before the window, after which the number of nodes that are down is in equilibrium
MANY = 4_000  # runs that are simulated at once


@dataclass(frozen=True)
class Part:
    """The first `nodes` nodes of a pool, and the spares among them per slice."""

    nodes: int
    spares: Ints


@dataclass(frozen=True)
class Pool:
    """Slices [times[i], times[i + 1]) in seconds; `nodes` are there in each, the last ones being those that are not always."""

    times: Ints
    nodes: Ints
    parts: Sequence[Part]
    failures_ppm: int  # per node-day
    repair_seconds: int


@dataclass(frozen=True)
class Outcome:
    """Runs in which some failure found no spare; and these with those in which a slice began short."""

    runs: int
    unmet: int
    short: int

    def within(self, low_ppb: int, high_ppb: int, deviations: float) -> bool:
        """So many standard deviations off, the frequency of `unmet` still lies between the two."""
        share = self.unmet / self.runs
        error = deviations * (share * (1 - share) / self.runs) ** 0.5
        return bool(low_ppb / 1e9 < share - error and share + error < high_ppb / 1e9)


def simulate(pool: Pool, runs: int, seed: int, *, fixed: bool = False) -> Outcome:
    """Seeded runs of the window; `fixed`: every repair takes the mean."""
    rng = np.random.default_rng(seed)
    unmet = short = done = 0
    while done < runs:
        some = min(MANY, runs - done)
        found, began = _runs(pool, some, rng, fixed)
        unmet, short, done = unmet + int(found.sum()), short + int((found | began).sum()), done + some
    return Outcome(runs, unmet, short)


def _runs(pool: Pool, runs: int, rng: np.random.Generator, fixed: bool) -> tuple[Flags, Flags]:
    """Per run: some failure found no spare; some slice began with too few."""
    most, first, last = int(pool.nodes.max()), float(pool.times[0]), float(pool.times[-1])
    begin = first - SETTLING * pool.repair_seconds
    counts = rng.poisson(most * pool.failures_ppm / 1e6 / DAY * (last - begin), runs)
    shape = runs, max(1, int(counts.max()))
    at = np.where(np.arange(shape[1]) < counts[:, None], rng.uniform(begin, last, shape), np.inf)
    at.sort(axis=1)
    node = rng.integers(0, most, shape)
    repairs = np.full(shape, float(pool.repair_seconds)) if fixed else rng.exponential(pool.repair_seconds, shape)
    until, happened = at + repairs, np.zeros(shape, dtype=bool)
    unmet = np.zeros(runs, dtype=bool)
    for i in range(shape[1]):
        now = at[:, i]
        down = happened[:, :i] & (until[:, :i] > now[:, None])
        happened[:, i] = np.isfinite(now) & ~(down & (node[:, :i] == node[:, i, None])).any(axis=1)  # what is down fails no more
        row = np.clip(np.searchsorted(pool.times, now, side="right") - 1, 0, len(pool.nodes) - 1)
        there = pool.nodes[row]
        counted = happened[:, i] & (now >= first) & (node[:, i] < there)
        for part in pool.parts:
            others = (down & (node[:, :i] < np.minimum(there, part.nodes)[:, None])).sum(axis=1)
            unmet |= counted & (node[:, i] < part.nodes) & (others >= part.spares[row])
    began = np.zeros(runs, dtype=bool)
    for i, time in enumerate(pool.times[:-1].tolist()):
        down = happened & (at < time) & (until > time)
        for part in pool.parts:
            began |= (down & (node < min(part.nodes, int(pool.nodes[i])))).sum(axis=1) > part.spares[i]
    return unmet, began
