"""Announced bindings stay where they are as far as they still fit: the warm start, and the least change.

What runs comes before what is announced, Firm before Interruptible, the dearer first; each keeps the slices in which its node still
has the GPUs. What is left open by that is placed anew with everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .book import Book
from .eligible import Demand
from .model import Binding
from .objective import Segment
from .timegrid import Flags


def keep_announced(book: Book, demands: Sequence[Demand]) -> None:
    """Puts every announced binding of these contracts of the book back, cut to where it fits."""
    groups: dict[tuple[bool, bool, int, int, int, int], list[Binding]] = {}  # what a contract has in one window
    for demand in demands:
        for b in demand.announced:
            key = (b.start > book.now, not demand.contract.firm, -demand.contract.rate, demand.index, b.start, b.end)
            groups.setdefault(key, []).append(b)
    for key in sorted(groups):
        demand = book.demands[key[3]]
        if not _keep_all(book, demand, groups[key]):
            for binding in sorted(groups[key]):
                _keep(book, demand, binding)
    for demand in demands:
        if demand.announced:
            mend(book, demand)


def keep_on(book: Book, column: int, indices: Sequence[int]) -> None:
    """The same for what some contracts have announced on one node."""
    node = book.fleet.nodes[column].name
    if not book.fleet.gpus[column]:
        return
    announced = [(book.demands[i], b) for i in indices for b in book.demands[i].announced if b.node == node]
    for demand, binding in sorted(announced, key=lambda x: (x[1].start > book.now, not x[0].contract.firm, -x[0].contract.rate, x[1])):
        _keep(book, demand, binding)


def _keep_all(book: Book, demand: Demand, bindings: Sequence[Binding]) -> bool:
    """Keeps all of them as they are, if all fit; they share a window."""
    fleet, lot = book.fleet, demand.contract.lot_gpus
    columns = [fleet.column[b.node] for b in bindings]
    start, end = bindings[0].start, bindings[0].end
    if len(set(columns)) < len(columns) or any(int(g) not in demand.options for g in fleet.grade[columns]):
        return False
    if not fleet.open[columns].all() or (fleet.handed_over and any(book.barred(demand, c, start, end) for c in columns)):
        return False
    gpus = np.array([b.gpus // lot * lot for b in bindings])
    if (book.ledger.free(start, end, np.array(columns)) < gpus).any() or _missing(book, demand, start, end) * lot < gpus.sum():
        return False
    book.put(demand.index, [Segment(c, start, end, b.gpus // lot) for c, b in zip(columns, bindings, strict=True)])
    return True


def _missing(book: Book, demand: Demand, start: int, end: int) -> int:
    """Lots that are missing throughout [start, end)."""
    if not book.segments[demand.index]:
        return demand.lots
    gaps = [(a, b, n) for a, b, n in book.missing(demand.index) if a < end and start < b]
    covered = sum(min(b, end) - max(a, start) for a, b, _ in gaps)
    return min(n for _, _, n in gaps) if gaps and covered == end - start else 0


def _keep(book: Book, demand: Demand, binding: Binding) -> None:
    fleet = book.fleet
    column = fleet.column[binding.node]
    if int(fleet.grade[column]) not in demand.options:
        return
    cordoned = fleet.nodes[column].cordoned
    if cordoned and (binding.start > book.now or column not in demand.rights):
        return
    start, end = binding.start, binding.end
    if any(a <= start and end <= b for a, b in fleet.outages[column]):
        return  # the node is out throughout
    lots = binding.gpus // demand.contract.lot_gpus
    if book.fits(demand, column, start, end, lots) and _missing(book, demand, start, end) >= lots:
        book.put(demand.index, [Segment(column, start, end, lots)])
        return
    for _ in range(lots):
        fits = _where_it_fits(book, demand, column, start, end)
        if not fits or (cordoned and fits[0][0] != start):
            return
        for a, b in fits[:1] if cordoned else fits:  # once it has left a cordoned node, it does not come back
            book.put(demand.index, [Segment(column, a, b, 1)])


def _where_it_fits(book: Book, demand: Demand, column: int, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of [start, end) in which a lot is missing and the node has room for it."""
    grid = book.ledger.grid
    times = [*grid.between(start, end), end]
    gaps = book.missing(demand.index)
    fits = np.array(
        [any(g[0] <= a and b <= g[1] for g in gaps) and book.fits(demand, column, a, b, 1) for a, b in pairwise(times)],
        dtype=bool,
    )
    return [(times[first], times[last]) for first, last in runs(fits)]


def runs(flags: Flags) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def mend(book: Book, demand: Demand) -> None:
    """Takes back what breaks a rule that the bindings kept before: one domain, the spread, all or none."""
    segments = book.segments[demand.index]
    if demand.scoped:
        domain = book.fleet.domains[demand.contract.scope]
        weight: Counter[int] = Counter()
        for s in segments:
            weight[int(domain[s.column])] += s.lots * (s.end - s.start)
        if len(weight) > 1:
            best = min(weight, key=lambda d: (-weight[d], d))
            book.drop(demand.index, [s for s in segments if domain[s.column] != best])
    if demand.spread:
        _mend_spread(book, demand)
    if demand.together and any(lots < demand.lots for _, _, lots in book.missing(demand.index)):
        book.clear(demand.index)
    if not book.verdict(demand.index).legal:
        book.drop(demand.index, [s for s in segments if s.start > book.now])
    if not book.verdict(demand.index).legal:
        book.clear(demand.index)


def _mend_spread(book: Book, demand: Demand) -> None:
    domain = book.fleet.domains[demand.contract.spread_level]
    by_domain: dict[int, list[Segment]] = {}
    for s in sorted(book.segments[demand.index], key=lambda s: (s.start, s)):
        by_domain.setdefault(int(domain[s.column]), []).append(s)
    for inside in by_domain.values():
        kept: list[Segment] = []
        for s in inside:
            beside = sum(o.lots for o in kept if o.start < s.end and s.start < o.end)
            if beside + s.lots > demand.per_domain:
                book.drop(demand.index, [s])
            else:
                kept.append(s)
