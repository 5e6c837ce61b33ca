"""How punctual a delivery is, in whole seconds, as the contract's status and every event about it say.

Late is the time from the start of the window until the buyer first had all that was due (what is curtailed by right is not due). An
interruption lasts from its onset, the last good sample, until he has all of it again; one that is never mended is an early stop. At
the end of the window the record is closed.
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
        got = [max(bound.handed_over_at or draft.now, bound.start) for bound in draft.bounds if bound.running(draft.now)]
        got += [gap.end for gap in draft.reading.gaps if gap.end is not None]  # had before the start, and out when it came
        record |= {"lateSeconds": max(0, max(got, default=draft.now) - owed.start), "interruptions": 0}
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


def close_record(draft: Draft, owed: Due) -> None:
    """At the end of the window, once."""
    record: dict[str, Any] = dict(draft.fields.get("handover") or {})
    if "earlyStopSeconds" in record:
        return
    record.setdefault("lateSeconds", owed.end - owed.start)
    since = record.pop("interruptedSince", None)
    record["earlyStopSeconds"] = max(0, owed.end - parse_time(since)) if since else 0
    draft.fields["handover"] = record
