"""Suspended by the exchange: a hold on the delivery, not on the commitment.

The buyer loses access, the lots stay bound and their nodes stay closed: nobody else gets them, and access comes back without a new
decision. What is not delivered meanwhile is the buyer's (BuyerCaused), from the moment the hold took effect to the moment it is lifted;
how long it takes him to get his pods running after that is not measured, and how long it takes to give him access is the operator's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from laycan.control import conditions as c
from laycan.control.draft import Draft
from laycan.delivery.metering.served import Bound, Due
from laycan.resources.times import format_time


def hold_back(bounds: Iterable[Bound], now: int) -> tuple[Bound, ...]:
    """The bindings from `now` on as if nobody had access yet; what was before stays as it was."""
    made: list[Bound] = []
    for bound in bounds:
        if bound.end <= now or bound.handed_over_at is None:
            made.append(bound)
            continue
        if bound.start < now:
            made.append(replace(bound, end=now))
        made.append(replace(bound, start=max(bound.start, now), handed_over_at=None, metered_since=None))
    return tuple(sorted(made, key=lambda b: (b.start, b.lots, b.node)))


def tell_hold(draft: Draft, owed: Due) -> None:
    """While it lasts the buyer has nothing, and that is no fault of the delivery: neither late nor an interruption of its record."""
    if draft.conditions.true(c.HANDED_OVER):
        lots = {"lots": list(range(owed.lots)), "gpus": owed.gpus, "since": format_time(draft.now)}
        draft.flip(c.HANDED_OVER, False, "Suspended", f"0 of {owed.lots} lots", event="delivery.interrupted", change=lots)
