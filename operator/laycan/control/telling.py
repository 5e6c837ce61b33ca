"""What the buyer and the exchange are told while a contract is delivered: one event for each flip, none for what only moves.

`HandedOver` is access as it is now, `Shortfall` what is out beyond grace, `AtRisk` what the plan leaves short, `Curtailed` what is
withdrawn by right. At the end of the window they stay as they are, but for AtRisk: there is no future left to be at risk.
"""

from __future__ import annotations

from typing import Any

from laycan.control import conditions as c
from laycan.control.curtailment import beyond_right
from laycan.control.decision import Decision
from laycan.control.draft import Draft
from laycan.control.punctuality import note_access
from laycan.delivery.metering.served import Due
from laycan.resources.times import format_time
from laycan_verify.classes import Class, Counters

_HAD = ("Interrupted", "Suspended")  # reasons for which a buyer has lost what he had


def tell_handover(draft: Draft, owed: Due, have: frozenset[int]) -> None:
    withdrawn = sum(n.gpus for n in draft.notices if n.start <= draft.now < n.end) // owed.lot_gpus
    missing = [lot for lot in range(owed.lots) if lot not in have]
    holds = len(missing) <= withdrawn
    note_access(draft, owed, holds)
    was, why = draft.conditions.true(c.HANDED_OVER), draft.conditions.reason(c.HANDED_OVER)
    message = f"{len(have)} of {owed.lots} lots"
    lots: dict[str, Any] = {"lots": missing, "gpus": len(missing) * owed.lot_gpus}
    if was and not holds:
        since = [g.start for g in (*draft.reading.gaps, *draft.unproven) if g.covers(draft.now)]
        lots["since"] = format_time(min(since, default=draft.now))
        draft.flip(c.HANDED_OVER, False, "Interrupted", message, event="delivery.interrupted", change=lots)
    elif holds and not was:
        _tell_access(draft, owed, message, why)
    else:
        draft.conditions.put(c.HANDED_OVER, holds, "Complete" if holds else ("Interrupted" if why in _HAD else "Incomplete"), message)


def _tell_access(draft: Draft, owed: Due, message: str, why: str) -> None:
    """The buyer has all lots (again): first of all, on the same grade, or on an equivalent one."""
    since = draft.conditions.since(c.HANDED_OVER)
    fresh = [b for b in draft.bounds if b.running(draft.now) and b.handed_over_at is not None and b.handed_over_at >= since]
    products = sorted({b.product for b in fresh})
    event = "delivery.started"
    if why in _HAD:
        event = "delivery.substituted" if any(p != owed.product for p in products) else "delivery.restored"
    change: dict[str, Any] = {"gpus": owed.gpus, "products": sorted({b.product for b in draft.bounds if b.running(draft.now)})}
    if why in _HAD:
        change |= {"lots": sorted(lot for b in fresh for lot in b.lots), "since": format_time(since)}
    draft.flip(c.HANDED_OVER, True, "Complete", message, event=event, change=change)


def tell_shortfall(draft: Draft, outlook: Counters, owed: Due, have: frozenset[int], cure_seconds: int) -> None:
    """Opened once an outage is beyond grace, cured when the last of them is over, and expired when one has lasted too long."""
    out = [o for o in outlook.outages if o.cls is Class.SHORTFALL and o.lot not in have]
    if not out:
        if draft.conditions.true(c.SHORTFALL):
            late = draft.conditions.reason(c.SHORTFALL) == "CureExpired"
            draft.flip(c.SHORTFALL, False, "CuredLate" if late else "Cured", "", event="shortfall.cured", change={"late": late})
        return
    onset = min(o.since for o in out)
    change = {
        "lots": sorted(o.lot for o in out),
        "gpus": len(out) * owed.lot_gpus,
        "since": format_time(onset),
        "cureUntil": format_time(onset + cure_seconds),
        "gpuSecondsSoFar": sum(o.seconds for o in out) * owed.lot_gpus,
    }
    message = f"{len(out)} of {owed.lots} lots out, the first since {format_time(onset)}"
    reason = draft.conditions.reason(c.SHORTFALL) if draft.conditions.true(c.SHORTFALL) else "Open"
    if not draft.flip(c.SHORTFALL, True, reason, message, event="shortfall.opened", change=change):
        return
    if reason == "Open" and draft.now >= onset + cure_seconds and draft.outbox.say("shortfall.cure_expired", change):
        draft.conditions.put(c.SHORTFALL, True, "CureExpired", message)


def tell_outlook(draft: Draft, decision: Decision | None, owed: Due) -> None:
    """AtRisk: the plan leaves some of the future undelivered. Curtailed: notice was given and has not lapsed."""
    if draft.now >= owed.end:
        if draft.conditions.true(c.AT_RISK):
            draft.flip(c.AT_RISK, False, "WindowOver", "", event="risk.cleared")
        return
    if decision is not None:
        short = beyond_right([u for u in decision.undelivered if not u.refused], draft.notices, draft.now)
        if short:
            first = min(short, key=lambda u: (u.start, u.end, -u.gpus))
            window = {"start": format_time(first.start), "end": format_time(first.end)}
            change = {"gpus": first.gpus, "window": window}
            draft.flip(c.AT_RISK, True, first.code.value, first.message, event="risk.raised", change=change)
        elif draft.conditions.true(c.AT_RISK):
            draft.flip(c.AT_RISK, False, "Planned", "", event="risk.cleared")
    notice = min((n for n in draft.notices if n.end > draft.now), key=lambda n: (n.start, n.end), default=None)
    if notice is not None:
        told = {"start": format_time(notice.start), "end": format_time(notice.end), "noticedAt": format_time(notice.noticed_at)}
        message = f"{notice.gpus} GPUs from {told['start']} to {told['end']}"
        draft.flip(c.CURTAILED, True, "Noticed", message, event="delivery.curtailed", change={"gpus": notice.gpus, **told})
    elif draft.conditions.true(c.CURTAILED):
        draft.flip(c.CURTAILED, False, "Ended", "", event="delivery.restored")
