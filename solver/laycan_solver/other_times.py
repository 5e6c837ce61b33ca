"""Counter-offers at other times: later, from the day another contract ends, earlier, or in parts one after the other.

Starts that are tried are instants of the plan: where something ends, or where what is in the way begins. Of many the first that would
do is found by doubling and bisection, which is exact where more becomes free with every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from .alternatives import Alternative, Kind
from .asking import Asking
from .counteroffers import TRIES, alternative
from .model import Contract
from .report import duration, stamp
from .timegrid import due

WITHIN = 365 * 86_400  # seconds after the start asked for in which another begins
PARTS = 3  # of a split
Tell = Callable[[int], Alternative | None]


def at_other_times(asking: Asking, asked: Contract, fewer: Contract | None) -> list[Alternative]:
    """All that would be accepted; `fewer` is what can be had in the window itself."""
    start, _ = due(asked, asking.now)
    ending = Ending(asking, asked, start)
    found = [*later(asking, asked, ending), earlier(asking, asked), in_turns(asking, asked)]
    if fewer:
        found.append(rest_later(asking, asked, fewer, [a for a in found if a and a.kind is Kind.LATER]))
    return [a for a in found if a]


class Ending:
    """Contracts, of grades that were asked for, that end after the start asked for: at which instants, and who."""

    def __init__(self, asking: Asking, asked: Contract, start: int) -> None:
        book = asking.book
        wanted, pause = set(asking.desk.demand(asked).options), book.turnaround if book.fleet.handed_over else 0
        self.who: dict[int, tuple[int, str]] = {}  # instant -> GPUs and key of the largest that ends, its turnaround included
        self.pause = pause
        for demand in book.demands.values():
            if demand.end > start and not wanted.isdisjoint(demand.options) and not demand.contract.reserve:
                one = (demand.contract.gpus, demand.contract.key)
                for time in {demand.end, demand.end + pause}:
                    self.who[time] = max(one, self.who.get(time, one))
        self.times = sorted(self.who)


def moved(asked: Contract, start: int, length: int) -> Contract:
    """The contract in the window of that length from `start` on."""
    return replace(asked, start=start, end=start + length, due_from=0)


def first_of(asking: Asking, times: Sequence[int], tell: Tell) -> Alternative | None:
    """The first of these instants at which an alternative is told, by doubling and bisection; the best one when it ran out of tries."""
    asking.left = TRIES
    good, bad, step = len(times), -1, 1
    found: Alternative | None = None
    while found is None and bad < len(times) - 1:
        good = min(bad + step, len(times) - 1)
        found = tell(times[good])
        if found is None:
            bad, step = good, 2 * step
    while found and good - bad > 1:
        middle = (bad + good) // 2
        if better := tell(times[middle]):
            good, found = middle, better
        else:
            bad = middle
    return found


def later(asking: Asking, asked: Contract, ending: Ending) -> Iterator[Alternative]:
    """The same for as long, later: as soon as it goes, and from the day another contract ends."""
    start, end = due(asked, asking.now)
    length = end - start

    def tell(time: int) -> Alternative | None:
        reason = f"starts {duration(time - start)} later, at {stamp(time)}"
        if who := ending.who.get(time):
            reason = f"{reason}, when {who[1]} ends"
        return alternative(asking, Kind.LATER, f"{reason}; for as long", moved(asked, time, length), shift=time - start)

    first = asking.desk.earliest(asked, start, WITHIN).start
    if first is None:
        return
    others = [t for t in ending.times if first < t <= start + WITHIN]
    found = first_of(asking, others if first == start else [first, *others], tell)
    if found:
        yield found
        if found.start not in ending.who and (at_an_end := first_of(asking, [t for t in others if t > found.start], tell)):
            yield at_an_end


def earlier(asking: Asking, asked: Contract) -> Alternative | None:
    """The same for as long, as little earlier as can be: it ends where something in its way begins."""
    start, end = due(asked, asking.now)
    length = end - start
    ends = [t for t in asking.book.ledger.grid.between(asking.now + length, end) if t - length < start]

    def tell(time: int) -> Alternative | None:
        reason = f"starts {duration(start - time)} earlier, at {stamp(time)}; for as long"
        return alternative(asking, Kind.EARLIER, reason, moved(asked, time, length), shift=start - time)

    return first_of(asking, [t - length for t in reversed(ends)], tell)


def rest_later(asking: Asking, asked: Contract, fewer: Contract, later: Sequence[Alternative]) -> Alternative | None:
    """What can be had in the window, and the other lots for as long as soon as they can be."""
    start, end = due(asked, asking.now)
    if not later:
        return None
    asking.left = 1
    rest = replace(moved(asked, later[0].start, end - start), gpus=asked.gpus - fewer.gpus)
    reason = f"{fewer.gpus} GPUs in the window asked for and {rest.gpus} for as long from {stamp(rest.start)} on"
    return alternative(asking, Kind.SPLIT, reason, fewer, rest, shift=rest.start - start)


def in_turns(asking: Asking, asked: Contract) -> Alternative | None:
    """All lots in up to three parts of the time, one after the other, all over within twice the length."""
    start, end = due(asked, asking.now)
    length = end - start
    least, latest = -(-length // PARTS), end + length
    parts: list[Contract] = []
    time, left = start, length
    while left > 0 and len(parts) < PARTS:
        piece = min(least, left)
        begin = asking.desk.earliest(moved(asked, time, piece), time, latest - piece - time).start if time + piece <= latest else None
        if begin is None:
            return None
        until = _longest(asking, asked, begin, piece, left)
        parts.append(moved(asked, begin, until - begin))
        time, left = until, left - (until - begin)
    if left > 0 or len(parts) == 1:
        return None
    asking.left = 1
    times = ", ".join(f"{stamp(c.start)} to {stamp(c.end)}" for c in parts)
    return alternative(asking, Kind.SPLIT, f"in {len(parts)} parts: {times}", *parts, shift=parts[-1].end - end)


def _longest(asking: Asking, asked: Contract, begin: int, least: int, most: int) -> int:
    """Until when, from `begin` on, all lots fit: a boundary of the plan, or as long as is asked for."""
    ends = [*asking.book.ledger.grid.between(begin + least, begin + most), begin + most]
    good, bad = begin + least, len(ends)
    low = -1
    while bad - low > 1:
        middle = (low + bad) // 2
        if asking.fits(moved(asked, begin, ends[middle] - begin)):
            good, low = ends[middle], middle
        else:
            bad = middle
    return good
