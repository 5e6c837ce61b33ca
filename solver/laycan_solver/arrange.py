"""The first arrangement: what must come whole first, then everything else in order of starts, then what is left by chains.

Contracts that come all or none, or inside one domain, are placed while the fleet is empty but for what runs; where that is in the
way it is moved, which costs an interruption and not a contract. What asks for nothing of the kind can be pieced together from what
remains, nearly without loss. Substitutes come last: one taken early would push out who has no other grade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from .blocks import fill
from .book import Book
from .construct import settle, settle_between, turns, value_order
from .eligible import Demand
from .objective import NOTHING
from .outbid import outbid
from .rationing import ration
from .repair import trial

CONTRACTS_PER_TRIAL = 10  # so many are arranged in the time of one trial of repair
PLACES = 3  # places that are cleared for what must come whole before it has to wait for repair


def arrange(book: Book, demands: Sequence[Demand], late: Callable[[], bool]) -> None:
    """Serves every contract as far as one pass goes, whole ones with the help of moves."""
    rationed = ration(book.topology, demands)
    book.oversold = bool(rationed)
    for index, start, end in turns(demands, book.fleet, rationed):
        if index in rationed:
            settle_between(book, index, start, end)
            continue
        settle(book, index, cuts=False, own=True)
        if book.demands[index].together and not book.segments[index] and not late():
            any(trial(book, index, variant) for variant in range(PLACES))
    if rationed:
        _spill(book, late)
    cover_all(book, list(book.demands), late)
    outbid(book, late)


def _spill(book: Book, late: Callable[[], bool]) -> None:
    """Where the contract's own grade is oversold: what is short goes elsewhere uncut, then in blocks of time, before chains are tried."""
    for serve in (partial(settle, cuts=False), fill):
        for index in dearest_first(book, book.demands):
            if late():
                return
            serve(book, index)


def arrange_by_value(book: Book, demands: Sequence[Demand]) -> None:
    """The same for a fleet that has not enough: who comes first is served whatever it leaves to the others."""
    for index in value_order(demands):
        settle(book, index, cuts=True)


def cover_all(book: Book, order: Iterable[int], late: Callable[[], bool]) -> None:
    """Chains for what is short, the dearest first, in the contract's own grade, then in substitutes."""
    order = list(order)
    for own in (True, False):
        for index in dearest_first(book, order):
            if late():
                return
            settle(book, index, cuts=True, own=own)


def dearest_first(book: Book, indices: Iterable[int]) -> list[int]:
    """Those that are short: first what comes whole, then Firm, then by what a lot is owed."""

    def key(i: int) -> tuple[object, ...]:
        demand = book.demands[i]
        return (not demand.together, not demand.contract.firm, -demand.lot_rate)

    return sorted((i for i in indices if book.verdict(i).wanting), key=key)


def best_arrangement(book: Book, demands: Sequence[Demand], effort: int, late: Callable[[], bool]) -> None:
    """The better of the two, if the first leaves anything short and there is effort enough for a second."""
    mark, every = book.mark(), list(book.demands)
    arrange(book, demands, late)
    first = book.tiers(every)
    if first <= NOTHING or len(demands) > effort * CONTRACTS_PER_TRIAL or late():
        return
    kept = {i: list(book.segments[i]) for i in every}
    book.roll_back(mark)
    arrange_by_value(book, demands)
    if book.tiers(every) < first:
        return
    book.roll_back(mark)
    other = [i for i in every if book.segments[i] != kept[i]]
    for index in other:
        book.clear(index)
    for index in other:
        book.put(index, kept[index])
