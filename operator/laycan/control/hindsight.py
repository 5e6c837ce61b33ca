"""What was metered already and is known better now: the counters since the last receipt are made anew from the readings at hand.

Only that time can be judged again: what a receipt says stands, and its readings have gone to the log. Whether the readings reach back
far enough is not assumed: they must give the counters as they are before they may give other ones.
"""

from __future__ import annotations

from laycan.control.accounting import terms_of
from laycan.control.draft import Draft
from laycan.control.instructed import Caused
from laycan.evidence.readings import Readings
from laycan.kube.world import World
from laycan_verify.classes import Counters


def reclassified(draft: Draft, world: World, caused: Caused) -> tuple[Counters, Readings] | None:
    """Counters and readings with this much of the past as the buyer's; None where the readings do not say all that was counted."""
    counters, books = draft.reading.counters, draft.books
    if counters is None:
        return None
    terms = terms_of(draft, world)
    opening = books.opening or Counters(terms.start)
    if _counted(books.readings.judged(terms, counters.until, opening).counters) != _counted(counters):
        return None
    readings = books.readings.extended(caused.stretches(), ())
    return readings.judged(terms, counters.until, opening).counters, readings


def _counted(counters: Counters) -> tuple[object, ...]:
    return counters.until, dict(counters.gpu_seconds), counters.outages, counters.grace_used, counters.estimated
