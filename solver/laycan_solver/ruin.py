"""Ruin and recreate: some contracts around a short one are taken off the fleet and placed again in another order.

Ejection chains follow what is cheapest to move; this shakes what they leave. Who is taken off and in which order they return is
drawn from a generator seeded by the trial, so that the same problem and effort give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from .book import Book
from .certificate import unavoidable
from .construct import settle, stake
from .eligible import Demand
from .repair import worst_first

MOST_RUINED = 12  # contracts taken off at once
MOST_NODES = 64  # around which they are looked for


def ruin(book: Book, trials: int, patience: int, late: Callable[[], bool]) -> int:
    """Shakes short contracts in turn, `trials` times or until `patience` in vain per contract that misses lots; returns those made."""
    floor = unavoidable(book.topology, book.demands.values())
    made = idle = 0
    short = worst_first(book, floor)
    while made < trials and idle < patience * _missing(book, short, floor) and not late():
        index = short[made % len(short)]
        made += 1
        idle += 1
        if _shake(book, index, Random(made)):  # noqa: S311 - no secret
            idle, short = 0, worst_first(book, floor)
    return made


def _missing(book: Book, short: Sequence[int], floor: dict[int, int]) -> int:
    """How many of these miss lots: who is only interrupted has little to win."""
    return sum(book.verdict(i).owed > floor[i] for i in short)


def _shake(book: Book, index: int, rng: Random) -> bool:
    """One trial; True if the objective fell. An arrangement as good as the old one is kept, too: from there others are near."""
    demand = book.demands[index]
    around = _around(book, demand, rng)
    ruined = rng.sample(around, min(len(around), rng.randint(1, MOST_RUINED)))
    mark = book.mark()
    touched = {index, *ruined}
    before = book.tiers(touched)
    for i in touched:
        _take_off(book, i, rng.random() < 0.2)
    for i in _order(book, sorted(touched), index, rng):
        settle(book, i, cuts=True)
    after = book.tiers(touched)
    if after <= before and all(book.verdict(i).legal for i in touched):
        return after < before
    book.roll_back(mark)
    return False


def _around(book: Book, demand: Demand, rng: Random) -> list[int]:
    """Contracts that have something, while `demand` is due, on some of the nodes that could serve it."""
    columns: list[int] = demand.columns.tolist()
    some = rng.sample(columns, min(len(columns), MOST_NODES))
    found = {index for column in some for index, s in book.on_node[column] if s.start < demand.end and demand.start < s.end}
    return sorted(found - {demand.index})


def _take_off(book: Book, index: int, running: bool) -> None:
    """Drops the contract's segments; those that run stay, unless `running`, and those on cordoned nodes always do."""
    demand = book.demands[index]
    for s in list(book.segments[index]):
        stays = s.start <= book.now and s.column in demand.running and not (running and demand.moves_per_month)
        if demand.together or not (stays or s.column in demand.rights):
            book.drop(index, [s])


def _order(book: Book, indices: Sequence[int], first: int, rng: Random) -> list[int]:
    """Dearest first, but shaken; often the short one before all others."""
    lead = rng.random() < 0.5

    def key(i: int) -> tuple[object, ...]:
        d = book.demands[i]
        return (not (lead and i == first), not d.contract.firm, -stake(d) * rng.randint(1, 8), i)

    return sorted(indices, key=key)
