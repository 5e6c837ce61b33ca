"""How punctual a delivery is, in whole seconds, as the contract's status and every event about it say.

Late is the time from the start of the window until the buyer first had all that was due (what is curtailed by right is not due). An
interruption lasts from its onset, the last good sample, until he has all of it again; one that is never mended is an early stop. The
time of a hold by the exchange counts in none of them. At the end of the window the record is closed.
"""

from __future__ import annotations

from typing import Any

from laycan.control.draft import Draft
from laycan.delivery.metering.served import Due
from laycan.resources.times import format_time, parse_time


def note_access(draft: Draft, owed: Due, onset: int | None) -> None:
    """Inside the window, at each look: since when the buyer lacks something that is due now, None when he has all of it."""
    record: dict[str, Any] = dict(draft.fields.get("handover") or {})
    if onset is None and "lateSeconds" not in record:
        late = _first_had(draft, owed.start) - owed.start - record.get("heldSeconds", 0)
        record |= {"lateSeconds": max(0, late), "interruptions": 0}
    elif onset is None and "interruptedSince" in record:
        took = draft.now - parse_time(record.pop("interruptedSince"))
        record["rebindSeconds"] = took
        record["longestRebindSeconds"] = max(took, record.get("longestRebindSeconds", 0))
    elif onset is not None and "lateSeconds" in record:
        if "interruptedSince" in record:
            onset = min(onset, parse_time(record["interruptedSince"]))  # an onset may be set back, never forward
        else:
            record["interruptions"] = record.get("interruptions", 0) + 1
        record["interruptedSince"] = format_time(onset)
    if record:
        draft.fields["handover"] = record


def _first_had(draft: Draft, start: int) -> int:
    """When the buyer first had every lot that he has now: handed over, out neither in what is metered nor in what is not yet."""
    running = [bound for bound in draft.bounds if bound.running(draft.now)]
    first = max((max(bound.handed_over_at or draft.now, bound.start) for bound in running), default=draft.now)
    if (counters := draft.reading.counters) and any(outage.since <= first for outage in counters.outages):
        first = max(first, counters.until)
    lots = {(bound.node, lot) for bound in running for lot in bound.lots}
    gaps = (gap for gap in (*draft.reading.gaps, *draft.unproven) if any((gap.node, lot) in lots for lot in gap.lots))
    for gap in sorted(gaps, key=lambda gap: gap.start):
        if gap.start <= first and gap.end is not None:
            first = max(first, gap.end)
    return max(first, start)


def discount_hold(draft: Draft, owed: Due, since: int) -> None:
    """When a hold is lifted, or the window ends under it: an interruption that it found lasts longer by that much less."""
    record: dict[str, Any] = dict(draft.fields.get("handover") or {})
    held = min(draft.now, owed.end) - max(since, owed.start)
    if held <= 0 or "earlyStopSeconds" in record:
        return
    record["heldSeconds"] = record.get("heldSeconds", 0) + held
    if "interruptedSince" in record:
        record["interruptedSince"] = format_time(parse_time(record["interruptedSince"]) + held)
    draft.fields["handover"] = record


def close_record(draft: Draft, owed: Due) -> None:
    """At the end of the window, once."""
    if draft.instructed.suspended_since is not None:
        discount_hold(draft, owed, draft.instructed.suspended_since)
    record: dict[str, Any] = dict(draft.fields.get("handover") or {})
    if "earlyStopSeconds" in record:
        return
    record.setdefault("lateSeconds", owed.end - owed.start - record.get("heldSeconds", 0))
    since = record.pop("interruptedSince", None)
    record["earlyStopSeconds"] = max(0, owed.end - parse_time(since)) if since else 0
    draft.fields["handover"] = record
