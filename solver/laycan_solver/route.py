"""A route: in which domain a contract that needs most of one is served when, and what has to leave for it.

Such a contract rarely finds one domain for all of its window: in one something runs that may not be interrupted for another month,
another is promised from then on. So the domain is chosen slice by slice, by dynamic programming: a second served is worth the
contract's rate, less what the occupants of the nodes that are cheapest to clear are worth in it; a change of domains costs an interruption.
What is worth what is an estimate, in floats: it proposes a trial, which exact tiers judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .book import Book
from .clearing import MOST_DOMAINS, Clearing, Window, clear_nodes, enough
from .eligible import Demand
from .objective import Segment
from .place import Room, domain_room
from .timegrid import Flags, Ints

Worths = NDArray[np.float64]  # per second, in units

EASY = 1 / 16  # of what a contract is worth is at risk when it can be served in pieces anywhere, and there is room for them
FIRM = 4  # times as much where a later tier asks for the place
NEVER = 1e30  # units


class Stay(NamedTuple):
    """All lots of a contract on some nodes of one domain for [start, end), and what has to leave these."""

    start: int
    end: int
    chosen: list[Clearing]


def route(book: Book, demand: Demand, rng: Random | None = None) -> list[Stay]:
    """The stays that seem to bring most, in time order: in its own grade if that serves all of the window, else in any.

    With `rng`, what each occupant is worth is shaken.
    """
    stays = _stays(book, demand, rng, own=True)
    if len(demand.pool.own) < len(demand.pool.spans) and sum(s.end - s.start for s in stays) < demand.end - demand.start:
        return _stays(book, demand, rng, own=False)
    return stays


def _stays(book: Book, demand: Demand, rng: Random | None, own: bool) -> list[Stay]:
    columns, place = _candidates(book, demand, own)
    if not len(columns):
        return []
    survey = Survey(book, demand, columns, rng)
    places = np.unique(place)
    gains = np.array([survey.gain(place == p) for p in places]) * np.diff(survey.times)
    found = []
    for first, last, p in _best_path(gains, float(demand.move_seconds * demand.lot_rate * demand.lots)):
        window = Window(int(survey.times[first]), int(survey.times[last]), demand.lots)
        clearings = clear_nodes(book, demand, window, columns[place == places[p]].tolist())
        chosen, lots = enough(book, demand, sorted(clearings, key=lambda c: (c.weight // c.lots, c.column)), demand.lots)
        if lots == demand.lots:
            found.append(Stay(window.start, window.end, chosen))
    return found


def _candidates(book: Book, demand: Demand, own: bool) -> tuple[Ints, Ints]:
    """The nodes of the domains that could hold all lots, of those had soonest and with most room, and a number per domain and grade."""
    fleet, columns = book.fleet, demand.columns[demand.costs == 0] if own else demand.columns
    units, domain = fleet.gpus[columns] // demand.contract.lot_gpus, fleet.domains[demand.contract.scope][columns]
    have = domain_room(book, demand, Room(columns, units, units), {})
    able = np.flatnonzero(have >= demand.lots)
    slack = np.bincount(domain, book.ledger.slack(demand.start, demand.end, columns), len(have))
    soonest = _had_from(domain, units, np.maximum(book.pinned.until(demand)[columns], demand.start), demand.lots, len(have))
    inside = np.isin(domain, able[np.lexsort((able, -slack[able], soonest[able]))][:MOST_DOMAINS])
    return columns[inside], (domain * len(fleet.grades) + fleet.grade[columns])[inside]


def _had_from(domain: Ints, units: Ints, until: Ints, lots: int, domains: int) -> Ints:
    """Per domain: the first second from which Firm lots no longer hold more of it than can be spared."""
    order = np.lexsort((until, domain))
    total = units[order].cumsum()
    first = np.searchsorted(domain[order], np.arange(domains))
    before = np.append(0, total)[first]
    at = np.searchsorted(total, before + lots)
    found: Ints = until[order][np.minimum(at, len(order) - 1)]
    return found


class Survey:
    """What lies on nodes while a contract is due, as arrays [slice, node]; a slice ends where anything begins or ends on one of them."""

    def __init__(self, book: Book, demand: Demand, columns: Ints, rng: Random | None) -> None:
        self.book, self.demand, self.columns = book, demand, columns
        self.times = self._times()
        shape = len(self.times) - 1, len(columns)
        self.lots: Ints = np.repeat(book.fleet.gpus[columns][None] // demand.contract.lot_gpus, shape[0], axis=0)  # that a node holds
        self.hard, self.easy = np.zeros(shape), np.zeros(shape)  # worth of what topology ties, and of the rest
        self.gpus: Ints = np.zeros(shape, dtype=np.int64)  # of the rest
        shaken: dict[int, float] = {}
        for at, column in enumerate(columns.tolist()):
            for start, end in book.fleet.outages[column]:
                self.lots[self._rows(start, end), at] = 0
            for index, s in book.on_node[column]:
                if index != demand.index and s.start < demand.end and demand.start < s.end:
                    factor = shaken.setdefault(index, rng.random() * 2) if rng else 1.0
                    self._add(at, book.demands[index], s, factor)
        self._free: dict[int, Ints] = {}

    def _times(self) -> Ints:
        start, end, times = self.demand.start, self.demand.end, set[int]()
        for column in self.columns.tolist():
            times.update(t for _, s in self.book.on_node[column] for t in (s.start, s.end))
            times.update(t for span in self.book.fleet.outages[column] for t in span)
        return np.array([start, *sorted(t for t in times if start < t < end), end], dtype=np.int64)

    def _rows(self, start: int, end: int) -> slice:
        return slice(*np.searchsorted(self.times, (start, end)).tolist())

    def _add(self, at: int, other: Demand, s: Segment, factor: float) -> None:
        rows, worth = self._rows(s.start, s.end), _worth(self.book, self.demand, other, s) * factor
        if other.scoped or other.together:
            self.hard[rows, at] += worth
        else:
            self.easy[rows, at] += worth
            self.gpus[rows, at] += s.lots * other.contract.lot_gpus

    def gain(self, inside: Flags) -> Worths:
        """[slice]: what a second there brings, on the nodes that are cheapest to clear; never where outages leave too few.

        Nodes of one grade are `inside`. What is easy to place again is so only as far as its GPUs are free elsewhere in that grade.
        """
        demand, grade = self.demand, int(self.book.fleet.grade[self.columns[inside]][0])
        risk = np.where(self.lots > 0, self.hard + self.easy, np.inf)[:, inside]
        order = np.flatnonzero(inside)[np.argsort(risk, axis=1, kind="stable")]
        rows = np.arange(len(order))[:, None]
        lots, hard, easy, gpus = self.lots[rows, order], self.hard[rows, order], self.easy[rows, order], self.gpus[rows, order]
        until = lots.cumsum(axis=1)
        needed = (until - lots < demand.lots) & (lots > 0)
        gone = (gpus * needed).sum(axis=1)
        scarce = np.clip((gone - self._elsewhere(grade, inside)) / np.maximum(gone, 1), 0, 1)
        worth = float((demand.lot_rate - demand.options[grade].cost * 1_000_000 * demand.contract.lot_gpus) * demand.lots)
        gain = worth - (hard * needed).sum(axis=1) - (easy * needed).sum(axis=1) * (EASY + scarce)
        return np.where(until[:, -1] >= demand.lots, gain, -NEVER)

    def _elsewhere(self, grade: int, inside: Flags) -> Ints:
        """[slice]: GPUs of a grade that are free for lots of the contract's size, but for these nodes."""
        span, lot = self.book.fleet.span[grade], self.demand.contract.lot_gpus
        if grade not in self._free:
            ledger = self.book.ledger
            free = np.array([ledger.free(t, t + 1, span) for t in self.times[:-1].tolist()], dtype=np.int64)
            self._free[grade] = free // lot * lot * self.book.fleet.open[span]
        free = self._free[grade]
        found: Ints = free.sum(axis=1) - free[:, self.columns[inside] - span.start].sum(axis=1)
        return found


def _worth(book: Book, demand: Demand, other: Demand, s: Segment) -> float:
    """What is at risk per second when a segment has to leave for the contract."""
    contract, worth = other.contract, float(other.lot_rate * s.lots)
    if contract.reserve:
        return 0.0
    if other.together:
        worth *= min(1.0, 2 * contract.gpus / demand.contract.gpus)
    if s.start <= book.now and other.running.get(s.column):
        instants = book.verdict(other.index).instants
        cut = s.end in instants or book.now in instants  # anyway: then another lot of it moves for nothing
        if contract.firm and not demand.contract.firm and not cut:
            return NEVER
        price = 0 if cut else other.move_seconds * contract.rate * contract.gpus
        worth = worth / 4 + price / (s.end - s.start)
    if contract.firm is demand.contract.firm:
        return worth
    return worth * FIRM if contract.firm else worth / 64


def _best_path(gains: Worths, price: float) -> Iterator[tuple[int, int, int]]:
    """(first slice, end slice, place) of the stays that bring most; `gains`: [place, slice]; a change without a pause costs `price`."""
    places, slices = gains.shape
    came = np.empty((slices, places + 1), dtype=np.int64)  # from which place; the last one is a pause
    best = np.append(np.full(places, -np.inf), 0.0)
    stay = np.arange(places + 1)
    for i in range(slices):
        top = int(best[:-1].argmax())
        source, other = (places, best[-1]) if best[-1] >= best[top] - price else (top, best[top] - price)
        came[i] = np.where(best >= other, stay, source)
        came[i, -1] = places if best[-1] >= best[top] else top
        best = np.append(np.maximum(best[:-1], other) + gains[:, i], max(best[-1], best[top]))
    path = [int(best.argmax()) if best[:-1].max() > best[-1] else places]
    for i in range(slices - 1, 0, -1):
        path.append(int(came[i, path[-1]]))
    path.reverse()
    for place, rows in groupby(range(slices), key=path.__getitem__):
        first, *rest = rows
        if place < places:
            yield first, (rest or [first])[-1] + 1, place
