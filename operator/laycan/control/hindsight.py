"""What was metered already and is known better now: the counters since the last receipt are made anew from the readings at hand.

Two things are known late: that the time of an outage was the buyer's, and that a node had fallen silent (`take_back`), where the news of
it took longer than the meter trails: a node controller that was stalled or changed its leader, an API server that was slow.

Only that time can be judged again: what a receipt says stands, and its readings have gone to the log. Whether the readings reach back
far enough is not assumed: they must give the counters as they are before they may give other ones.
"""

from __future__ import annotations

from dataclasses import replace

from laycan.control.accounting import terms_of
from laycan.control.draft import Draft
from laycan.control.instructed import Caused
from laycan.delivery.metering.gaps import overlooked
from laycan.evidence.readings import Cause, Readings
from laycan.kube.world import World
from laycan_verify.classes import Counters


def reclassified(draft: Draft, world: World, caused: Caused) -> tuple[Counters, Readings] | None:
    """Counters and readings with this much of the past as the buyer's; None where the readings do not say all that was counted."""
    return _judged_anew(draft, world, draft.books.readings.extended(caused.stretches(), ()))


def take_back(draft: Draft, world: World) -> None:
    """What was read as delivered after the last heartbeat of a node that is lost, as far as the readings reach back."""
    counters, books = draft.reading.counters, draft.books
    if counters is None or not books.readings.stretches:
        return
    since = books.opening.until if books.opening else 0
    lost = overlooked(world, draft.bounds, counters.until)
    holes = [Cause(lot, max(gap.start, since), gap.end or 0, gap.cause) for gap in lost for lot in gap.lots]
    readings = books.readings.without([hole for hole in holes if hole.start < hole.end])
    if readings is not books.readings and (found := _judged_anew(draft, world, readings)) is not None:
        draft.reading = replace(draft.reading, counters=found[0])
        draft.books = replace(books, readings=found[1])
        draft.restated = True


def _judged_anew(draft: Draft, world: World, readings: Readings) -> tuple[Counters, Readings] | None:
    counters, books = draft.reading.counters, draft.books
    if counters is None:
        return None
    terms = terms_of(draft, world)
    opening = books.opening or Counters(terms.start)
    if _counted(books.readings.judged(terms, counters.until, opening).counters) != _counted(counters):
        return None
    return readings.judged(terms, counters.until, opening).counters, readings


def _counted(counters: Counters) -> tuple[object, ...]:
    return counters.until, dict(counters.gpu_seconds), counters.outages, counters.grace_used, counters.estimated
