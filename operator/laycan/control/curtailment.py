"""Notice to Interruptible contracts: what may be withdrawn by right, and from when.

The planner leaves an Interruptible contract's lots unserved where supply is short. That is curtailment by right only after notice:
a stretch that is planned to be undelivered is noticed at once and counts as curtailed from `noticeSeconds` later. A notice is
withdrawn for the future as soon as the plan serves the stretch again; what has passed stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from laycan.delivery.metering.meter import Notice
from laycan.resources.times import format_time, parse_time
from laycan_solver.model import Undelivered


def parse_notices(status: Mapping[str, Any]) -> tuple[Notice, ...]:
    raw = status.get("curtailments") or ()
    return tuple(Notice(n["gpus"], parse_time(n["start"]), parse_time(n["end"]), parse_time(n["noticedAt"])) for n in raw)


def dump_notices(notices: Sequence[Notice]) -> list[dict[str, Any]]:
    return [
        {"gpus": n.gpus, "start": format_time(n.start), "end": format_time(n.end), "noticedAt": format_time(n.noticed_at)} for n in notices
    ]


def give_notice(notices: Sequence[Notice], undelivered: Sequence[Undelivered], notice_seconds: int, now: int) -> tuple[Notice, ...]:
    """The notices after a new plan: past ones, and for the future those that the plan needs."""
    given = [Notice(n.gpus, n.start, min(n.end, now), n.noticed_at) for n in notices if n.start < now]
    for short in undelivered:
        lo = max(short.start, now)
        cuts = sorted({lo, short.end, *(t for n in notices for t in (n.start, n.end) if lo < t < short.end)})
        for a, b in pairwise(cuts):
            known = min((n.noticed_at for n in notices if n.start <= a and b <= n.end and n.gpus >= short.gpus), default=None)
            start = a if known is not None else max(a, now + notice_seconds)
            if start < b:
                given.append(Notice(short.gpus, start, b, now if known is None else known))
    return _joined(given)


def beyond_right(undelivered: Sequence[Undelivered], notices: Sequence[Notice], now: int) -> tuple[Undelivered, ...]:
    """What is planned to be short from now on and not wholly under notice."""
    return tuple(
        u
        for u in undelivered
        if u.end > now and not any(n.start <= max(u.start, now) and u.end <= n.end and n.gpus >= u.gpus for n in notices)
    )


def _joined(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    joined: list[Notice] = []
    for n in sorted(notices, key=lambda n: (n.gpus, n.noticed_at, n.start, n.end)):
        last = joined[-1] if joined else None
        if last and (last.gpus, last.noticed_at, last.end) == (n.gpus, n.noticed_at, n.start):
            joined[-1] = Notice(n.gpus, last.start, n.end, n.noticed_at)
        elif n.start < n.end:
            joined.append(n)
    return tuple(sorted(joined, key=lambda n: (n.start, n.end, n.noticed_at, n.gpus)))
