"""Announced bindings stay where they are as far as they still fit: the warm start, and the least change.

What runs comes before what is announced, Firm before Interruptible, the dearer first; each keeps the slices in which its node still
has the GPUs. What is left open by that is placed anew with everything else.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .book import Book
from .chain import runs
from .eligible import Demand
from .model import Binding
from .objective import Segment, missing_profile
from .timegrid import Ints


def keep_announced(book: Book) -> None:
    """Puts every announced binding of the book's contracts back, cut to where it fits."""
    announced = [(d, b) for d in book.demands.values() for b in d.announced]
    announced.sort(key=lambda x: (x[1].start > book.now, not x[0].contract.firm, -x[0].contract.rate, x[1]))
    for demand, binding in announced:
        _keep(book, demand, binding)
    for demand in book.demands.values():
        if demand.announced:
            _mend(book, demand)


def _keep(book: Book, demand: Demand, binding: Binding) -> None:
    fleet, grid = book.fleet, book.ledger.grid
    column = fleet.column[binding.node]
    if int(fleet.grade[column]) not in demand.options:
        return
    cordoned = fleet.nodes[column].cordoned
    if cordoned and (binding.start > book.now or column not in demand.rights):
        return
    first, last = grid.index(binding.start), grid.index(binding.end)
    lots = binding.gpus // demand.contract.lot_gpus
    if book.ledger.fits(demand, column, first, last, lots) and _lots_missing(book, demand, first, last).min() >= lots:
        book.put(demand.index, Segment(column, binding.start, binding.end, lots))
        return
    for _ in range(lots):
        fits = book.ledger.units(demand, first, last, np.array([column]))[:, 0] > 0
        fits &= _lots_missing(book, demand, first, last) > 0
        if not fits.any() or (cordoned and not fits[0]):
            return
        for start, end in runs(fits):
            book.put(demand.index, Segment(column, grid.times[first + start], grid.times[first + end], 1))
            if cordoned:
                break  # once it has left, it does not come back


def _lots_missing(book: Book, demand: Demand, first: int, last: int) -> Ints:
    missing = np.zeros(last - first, dtype=np.int64)
    starts = book.ledger.grid.starts
    for start, end, lots in missing_profile(demand, book.segments[demand.index]):
        a, b = np.searchsorted(starts, (start, end)) - first
        missing[max(0, a) : max(0, b)] = lots
    return missing


def _mend(book: Book, demand: Demand) -> None:
    """Takes back what breaks a rule that the bindings kept before: one domain, the spread, all or none."""
    segments = book.segments[demand.index]
    if demand.scoped:
        domain = book.fleet.domains[demand.contract.scope]
        weight: Counter[int] = Counter()
        for s in segments:
            weight[int(domain[s.column])] += s.lots * (s.end - s.start)
        if len(weight) > 1:
            best = min(weight, key=lambda d: (-weight[d], d))
            for s in [s for s in segments if domain[s.column] != best]:
                book.drop(demand.index, s)
    if demand.spread:
        _mend_spread(book, demand)
    if demand.together and missing_profile(demand, segments):
        book.clear(demand.index)
    if not book.verdict(demand.index).legal:
        for s in [s for s in segments if s.start > book.now]:
            book.drop(demand.index, s)
    if not book.verdict(demand.index).legal:
        book.clear(demand.index)


def _mend_spread(book: Book, demand: Demand) -> None:
    domain = book.fleet.domains[demand.contract.spread_level]
    taken: Counter[int] = Counter()
    for s in sorted(book.segments[demand.index], key=lambda s: (s.start, s)):
        within = int(domain[s.column])
        others = (o for o in book.segments[demand.index] if o != s and domain[o.column] == within)
        beside = sum(o.lots for o in others if o.start < s.end and s.start < o.end)
        if beside + s.lots > demand.per_domain and taken[within] + s.lots > demand.per_domain:
            book.drop(demand.index, s)
        else:
            taken[within] += s.lots
