"""Which hours and pools are short, read off the prices of a plan's certificate.

Where a block of capacity has a price, one more of it would lower what is owed by about that price: the certificate is a list of what
is worth buying, and of what refusals and shortfalls are for want of.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from .certificate import MOST, Tariff, exact_dot
from .eligible import Demand
from .model import Problem

PER_GPU_HOUR = 1_000_000  # units of a price per second and GPU in a micro per hour


class Shortage(NamedTuple):
    """For [start, end) blocks of `gpus` GPUs inside single nodes of a grade are short.

    `micros` is what a GPU of one more block would be worth per hour on average, `most_micros` in the dearest second.
    """

    start: int
    end: int
    grade: str
    gpus: int
    micros: int
    most_micros: int
    products: tuple[str, ...]  # sold from this grade


class Margins:
    """What a GPU-hour that a contract wants is worth to the others: the same prices, looked up for one gap at a time."""

    def __init__(self, prices: Tariff) -> None:
        self.prices = prices

    def micros(self, demand: Demand, start: int, end: int) -> int:
        """Per GPU-hour of the cheapest grade at each instant of [start, end), on average; with what a substitute costs. 0: not short.

        The window must be within what is due of the contract.
        """
        grid = self.prices.grid
        first, last = bisect_right(grid.times, start) - 1, bisect_left(grid.times, end)
        seconds = np.diff([start, *grid.times[first + 1 : last], end])
        cost = self.prices.cost(demand, total=True)[0][first:last]
        unit = PER_GPU_HOUR * demand.contract.lot_gpus * (end - start)
        return (2 * exact_dot(np.where(cost < MOST, cost, 0), seconds) + unit) // (2 * unit)


class _Price(NamedTuple):
    k: int
    start: int
    end: int
    price: int


def shortages(problem: Problem, certificate: Mapping[str, object], family: str = "total") -> list[Shortage]:
    """What `Plan.certificate` proves to be short, sorted by start; touching windows are one.

    `family`: "total" for all that is owed, "firm" for Firm contracts alone. Raises ValueError for what is no certificate.
    """
    rows: dict[str, list[_Price]] = defaultdict(list)  # grade -> prices
    given = certificate.get(family, [])
    if not isinstance(given, list | tuple):
        raise ValueError(f"{family} of the certificate is not a list; pass Plan.certificate")
    for start, end, k, grade, price in given:
        rows[grade].append(_Price(k, start, end, price))
    sold = {grade: tuple(sorted(p.name for p in problem.products if grade in p.grades)) for grade in rows}
    return sorted(Shortage(*window, sold[grade]) for grade, prices in rows.items() for window in _windows(grade, prices))


def _windows(grade: str, prices: Iterable[_Price]) -> Iterable[tuple[int, int, str, int, int, int]]:
    """Per size of block: where it has a price of its own, and what it costs with all that it takes of smaller ones."""
    prices = sorted(prices)
    for k in sorted({p.k for p in prices}):
        changes, own = Counter[int](), Counter[int]()
        for p in prices:
            changes[p.start] += k // p.k * p.price
            changes[p.end] -= k // p.k * p.price
            if p.k == k:
                own[p.start] += 1
                own[p.end] -= 1
        times = sorted(changes)
        short = accumulate(own[t] for t in times)
        cost = accumulate(changes[t] for t in times)
        pieces = [(a, b, c) for (a, b), s, c in zip(pairwise(times), short, cost, strict=False) if s]
        for run in _touching(pieces):
            start, end, unit = run[0][0], run[-1][1], PER_GPU_HOUR * k
            mean = unit * (end - start)
            micros = (2 * sum((b - a) * c for a, b, c in run) + mean) // (2 * mean)
            yield start, end, grade, k, micros, (2 * max(c for *_, c in run) + unit) // (2 * unit)


def _touching(pieces: Iterable[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    runs: list[list[tuple[int, int, int]]] = []
    for piece in pieces:
        if runs and runs[-1][-1][1] == piece[0]:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs
