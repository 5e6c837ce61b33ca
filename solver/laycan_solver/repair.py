"""Repair: ejection chains. To serve a short contract, others are taken off the nodes it wants and placed anew.

A trial picks, for one short contract, the nodes that are cheapest to clear for its window, ejects what lies there, serves the contract
and then the ejected ones wherever there is room. What needs most of a domain takes a `route`, and what that ejects may eject others
in turn. A trial stands only if the objective falls, else the journal undoes it. The budget is
counted in trials, never in seconds, so that the same problem gives the same plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random

from .blocks import fill
from .book import Book
from .certificate import unavoidable
from .clearing import Clearing, Window, choose, clearings_of, stages_of, windows_of
from .construct import DomainSizes, settle, value_order
from .eligible import Demand
from .lanes import runs
from .objective import NOTHING, Segment, Tiers, minus, plus
from .route import Stay, route

VARIANTS = 4  # places tried for a short contract before it is left for a later pass
NESTED = 4  # contracts, of those that a route has ejected, that may eject others in turn


def repair(book: Book, effort: int, late: Callable[[], bool]) -> int:
    """Lowers what contracts are owed as far as `effort` trials go; returns the trials made."""
    short = [i for i in book.demands if book.verdict(i).due]
    if not short or effort <= 0:
        return 0
    floor = unavoidable(book.topology, book.demands.values())
    trials = variant = idle = 0
    while trials < effort and idle < VARIANTS and not late():
        progress = False
        for index in worst_first(book, floor):
            if trials >= effort or late():
                break
            trials += 1
            progress |= trial(book, index, variant)
        idle = 0 if progress else idle + 1
        variant = 0 if progress else variant + 1
    return trials


def worst_first(book: Book, floor: dict[int, int]) -> list[int]:
    """Short contracts, Firm first, by what could still be saved."""
    excess = {i: book.verdict(i).due - floor[i] for i in book.demands}
    return sorted((i for i, n in excess.items() if n > 0), key=lambda i: (not book.demands[i].contract.firm, -excess[i], i))


def trial(book: Book, index: int, variant: int) -> bool:
    """One ejection chain for one contract; True if the objective fell."""
    demand = book.demands[index]
    return (bulky(book, demand) and by_route(book, demand, variant)) or by_clearing(book, demand, variant)


def by_clearing(book: Book, demand: Demand, variant: int, seen: dict[Window, list[Clearing]] | None = None) -> bool:
    """The nodes that are cheapest to clear for a window. `seen` keeps what was looked at from one variant to the next."""
    seen = {} if seen is None else seen

    def chosen_in(window: Window) -> list[Clearing]:
        if window not in seen:
            seen[window] = clearings_of(book, demand, window)
        return choose(book, demand, window, seen[window], variant)

    if demand.together:
        chosen = [c for w in stages_of(book, demand) for c in chosen_in(w)]
        return bool(chosen) and attempt(book, demand, chosen)
    for window in windows_of(book, demand)[: 1 + variant]:
        chosen = chosen_in(window)
        if chosen and attempt(book, demand, chosen):
            return True
    return False


def attempt(book: Book, demand: Demand, chosen: Sequence[Clearing]) -> bool:
    """Ejects, serves the contract, serves the ejected; undone unless the objective falls."""
    mark = book.mark()
    touched = {demand.index, *(index for c in chosen for index, _ in c.ejected)}
    once = {i: book.verdict(i).tiers for i in touched}
    before = expected = book.tiers(touched)  # expected: where those still to be served end as they were
    eject(book, chosen)
    if demand.together:
        book.clear(demand.index)
    for index in (demand.index, *value_order(book.demands[i] for i in sorted(touched - {demand.index}))):
        _serve(book, index)
        expected = plus(expected, minus(book.verdict(index).tiers, once[index]))
        if expected >= before:
            break
    if book.tiers(touched) < before and all(book.verdict(i).legal for i in touched):
        return True
    book.roll_back(mark)
    return False


def _serve(book: Book, index: int) -> None:
    """In the contract's own grade first, or uncut and in blocks of time first where that is oversold anyway."""
    settle(book, index, cuts=not book.oversold, own=True)
    if book.oversold and book.verdict(index).wanting:
        settle(book, index, cuts=False)
        fill(book, index)
    if book.verdict(index).wanting:
        settle(book, index, cuts=True)


def bulky(book: Book, demand: Demand) -> bool:
    """It comes whole and takes most of a domain, wherever inside."""
    return demand.together and demand.scoped and not demand.spread and 2 * demand.contract.gpus > DomainSizes(book.fleet).largest(demand)


def by_route(book: Book, demand: Demand, variant: int) -> bool:
    """One trial for a contract that needs most of a domain; what it ejects may eject others in turn. True if the objective fell."""
    rng = Random(demand.index * VARIANTS + variant) if variant else None  # noqa: S311 - no secret
    return stands(book, lambda: _take_route(book, demand, rng, NESTED))


def stands(book: Book, change: Callable[[], None]) -> bool:
    """Changes something; undone unless the objective falls and all that was touched is legal."""
    mark, (cost, legal) = book.mark(), cost_of(book, change)
    good = legal and cost < NOTHING
    if not good:
        book.roll_back(mark)
    return good


def cost_of(book: Book, change: Callable[[], object]) -> tuple[Tiers, bool]:
    """What a change costs all that it touches, and whether it leaves all of that legal."""
    book.watched = {}
    change()
    found = book.change(), all(book.verdict(i).legal for i in book.watched)
    book.watched = None
    return found


def _take_route(book: Book, demand: Demand, rng: Random | None, nested: int) -> None:
    """Serves the contract on its route, and then what was there; the first `nested` of these that are worse off than before try on."""
    stays = route(book, demand, rng)
    ejected = {index for stay in stays for c in stay.chosen for index, _ in c.ejected} - {demand.index}
    was = {i: book.verdict(i).due for i in ejected}
    if stays:
        _stay(book, demand, stays)
    _serve(book, demand.index)
    for index in value_order(book.demands[i] for i in sorted(ejected)):
        _serve(book, index)
        if nested and book.verdict(index).due > was[index]:
            nested -= 1
            _try_on(book, book.demands[index], rng)


def _try_on(book: Book, demand: Demand, rng: Random | None) -> None:
    """A trial inside a trial: undone unless all in all it costs less."""
    mark, before = book.mark(), book.change()
    if bulky(book, demand):
        _take_route(book, demand, rng, 0)
    else:
        instants = book.verdict(demand.index).instants
        if cut := [s for s in book.segments[demand.index] if s.start > book.now and (s.start in instants or s.end in instants)]:
            book.drop(demand.index, cut)
        by_clearing(book, demand, 0)
    if book.change() >= before:
        book.roll_back(mark)


def _stay(book: Book, demand: Demand, stays: Sequence[Stay]) -> None:
    """Ejects what is on the nodes of the stays, and serves the contract there and nowhere else."""
    book.clear(demand.index)
    for stay in stays:
        eject(book, stay.chosen)
    for start, end, chosen in stays:
        left, lots = demand.lots, Counter[int]()
        for c in chosen:
            lots[c.column] += min(left, c.lots)
            left -= min(left, c.lots)
        if all(book.fits(demand, column, start, end, n) for column, n in lots.items()):
            book.put(demand.index, [Segment(column, start, end, n) for column, n in lots.items()])


def eject(book: Book, chosen: Iterable[Clearing]) -> None:
    """Takes the segments off their nodes; a contract that comes whole loses all of its own."""
    for index, segment in (e for c in chosen for e in c.ejected):
        if segment in book.segments[index]:
            book.drop(index, [segment])
        if book.demands[index].together:
            book.clear(index)


def make_room(book: Book, index: int, effort: int, late: Callable[[], bool]) -> bool:
    """Serves a candidate whole by placing others anew, none of which may be owed or interrupted more; True if that went."""
    demand = book.demands[index]
    window = Window(demand.start, demand.end, demand.lots)
    clearings = [c for c in clearings_of(book, demand, window) if not any(runs(book, i, s) for i, s in c.ejected)]
    tried: list[list[Clearing]] = []
    for variant in range(min(effort, 2 * VARIANTS)):
        chosen = choose(book, demand, window, clearings, variant)
        if late() or not chosen or sum(c.lots for c in chosen) < demand.lots:
            return False
        if chosen not in tried and _make_room_at(book, demand, chosen):
            return True
        tried.append(chosen)
    return False


def _make_room_at(book: Book, demand: Demand, chosen: Sequence[Clearing]) -> bool:
    mark = book.mark()
    ejected = {index for c in chosen for index, _ in c.ejected}
    before = {i: (book.verdict(i).due, len(book.verdict(i).instants), served(book, i)) for i in ejected}
    book.clear(demand.index)
    eject(book, chosen)
    settle(book, demand.index, cuts=False)
    if complete(book, demand) and not book.verdict(demand.index).due and not book.verdict(demand.index).instants:
        for index in value_order(book.demands[i] for i in sorted(ejected)):
            settle(book, index, cuts=True)
            verdict, (due, instants, lot_seconds) = book.verdict(index), before[index]
            free = not book.demands[index].contract.rate  # nothing is owed for it, whatever happens to it
            dropped = served(book, index) < lot_seconds and not gives_way(book.demands[index])
            if verdict.due > due or not verdict.legal or dropped or (free and len(verdict.instants) > instants):
                break
        else:
            return True
    book.roll_back(mark)
    return False


def gives_way(demand: Demand) -> bool:
    """An accepted contract that may be curtailed by right, once that is written; a candidate is not curtailed for another one."""
    contract = demand.contract
    right = not contract.firm and contract.notice_seconds is not None and contract.curtailable_seconds > 0
    return right and contract.accepted and not (contract.unwritten or contract.reserve)


def served(book: Book, index: int) -> int:
    """Lot-seconds."""
    return sum(s.lots * (s.end - s.start) for s in book.segments[index])


def complete(book: Book, demand: Demand) -> bool:
    """All lots are served through the whole due window."""
    return served(book, demand.index) == demand.lots * (demand.end - demand.start)
