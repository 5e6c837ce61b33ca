"""The meter: from bindings, gaps and notices to the samples and events of `classify`.

It trails by a lag: a fault that is noticed late (a dead node turns NotReady some 40 s after its last heartbeat) still lies ahead of
it, and its onset can be set back to the last heartbeat. What it has read it never reads again (what turns out later still,
control/hindsight.py takes back); all it needs to go on stands in the contract's status, so a restart loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from laycan.delivery.metering.reading import Gap, Reading
from laycan.delivery.metering.served import Bound
from laycan_verify.classes import Class, Counters, Stretch, Terms
from laycan_verify.classify import classify


@dataclass(frozen=True, slots=True)
class Notice:
    """Notice given to an Interruptible contract: up to `gpus` GPUs may be withdrawn by right in [start, end)."""

    gpus: int
    start: int
    end: int
    noticed_at: int


def samples(bounds: Iterable[Bound], gaps: Iterable[Gap], lo: int, hi: int) -> list[Stretch]:
    """Delivery in [lo, hi): handed over and in no gap is proven; in nothing but gaps that may be estimated, it is estimated."""
    found: list[Stretch] = []
    holes: dict[tuple[str, int, bool], list[tuple[int, int]]] = {}
    for gap in gaps:
        for lot in gap.lots:
            holes.setdefault((gap.node, lot, gap.estimable), []).append((gap.start, hi if gap.end is None else gap.end))
    for bound in bounds:
        if bound.handed_over_at is None:
            continue
        start, end = max(bound.start, bound.handed_over_at, lo), min(bound.end, hi)
        for lot in bound.lots:
            lost, missed = holes.get((bound.node, lot, False), []), holes.get((bound.node, lot, True), [])
            found += [Stretch(lot, a, b) for a, b in _outside([*lost, *missed], start, end)]
            found += [Stretch(lot, a, b, estimated=True) for z in missed for a, b in _outside(lost, max(start, z[0]), min(end, z[1]))]
    return found


def _outside(holes: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What is left of [start, end) without the holes."""
    at = start
    for first, last in sorted(holes):
        if at < min(first, end):
            yield at, min(first, end)
        at = max(at, last)
    if at < end:
        yield at, end


def curtailed(proven: Sequence[Stretch], notices: Sequence[Notice], terms: Terms, lo: int, hi: int, budget: int) -> list[Stretch]:
    """Lots not delivered under notice in [lo, hi), lowest numbers first, until `budget` lot-seconds are used."""
    edges = [t for s in proven for t in (s.start, s.end)] + [t for n in notices for t in (n.start, n.end)]
    cuts = sorted({lo, hi, *(min(hi, max(lo, t)) for t in edges)})
    withdrawn: list[Stretch] = []
    for a, b in pairwise(cuts):
        allowed = sum(n.gpus for n in notices if n.start <= a and b <= n.end) // terms.lot_gpus
        if not allowed or budget <= 0:
            continue
        served = {s.lot for s in proven if s.start <= a and b <= s.end and not s.estimated}
        lots = [lot for lot in range(terms.lots) if lot not in served][:allowed]
        if lots:
            b = min(b, a + budget // len(lots))
            withdrawn += [Stretch(lot, a, b, Class.CURTAILED) for lot in lots if a < b]
            budget -= (b - a) * len(lots)
    return withdrawn


@dataclass(frozen=True, slots=True)
class Account:
    """What the counters of a contract are made of, at one instant."""

    terms: Terms
    bounds: tuple[Bound, ...]
    reading: Reading
    unproven: tuple[Gap, ...] = ()  # by the nodes' agents
    notices: tuple[Notice, ...] = ()
    curtailable_lot_seconds: int = 0  # of the whole contract
    buyers: tuple[Stretch, ...] = ()  # BuyerCaused, by instruction

    def read(self, until: int) -> Counters:
        """Counters up to `until`; never less than what was read before."""
        return self.take(until)[0]

    def take(self, until: int) -> tuple[Counters, list[Stretch]]:
        """The counters, and the stretches from which they follow."""
        opening = self.reading.counters or Counters(self.terms.start)
        lo, hi = opening.until, max(opening.until, min(until, self.terms.end))
        proven = samples(self.bounds, (*self.reading.gaps, *self.unproven), lo, hi)
        events = [replace(s, start=max(s.start, lo), end=min(s.end, hi)) for s in self.buyers if max(s.start, lo) < min(s.end, hi)]
        if self.notices:
            used = opening.gpu_seconds.get(Class.CURTAILED, 0) // self.terms.lot_gpus
            events += curtailed(proven, self.notices, self.terms, lo, hi, self.curtailable_lot_seconds - used)
        return classify(proven, self.terms, events, hi, opening), [*proven, *events]

    def why(self, until: int) -> Iterator[tuple[int, int, int, str]]:
        """(lot, start, end, cause) of what is known to be undelivered since the last reading."""
        lo = self.reading.until or self.terms.start
        for gap in (*self.reading.gaps, *self.unproven):
            start, end = max(gap.start, lo), min(until if gap.end is None else gap.end, until, self.terms.end)
            if gap.cause and start < end:
                yield from ((lot, start, end, gap.cause) for lot in gap.lots)
