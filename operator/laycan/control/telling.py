"""What the buyer and the exchange are told while a contract is delivered: one event for each flip, none for what only moves.

`HandedOver` is access as it is now, `Shortfall` what is out beyond grace, `AtRisk` what may be short (`outlook`), `Curtailed` what is
withdrawn by right, `Degraded` what is delivered though something is wrong with it. At the end of the window they stay as they are, but
for AtRisk: there is no future left to be at risk.
"""

from __future__ import annotations

from typing import Any

from laycan.control import conditions as c
from laycan.control.decision import Decision
from laycan.control.draft import Draft
from laycan.control.outlook import tell_risk
from laycan.control.punctuality import note_access
from laycan.delivery.faults.fitness import degraded, unfit_for
from laycan.delivery.metering.served import Due
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings
from laycan_verify.classes import Class, Counters

_HAD = ("Interrupted", "Suspended")  # reasons for which a buyer has lost what he had


def tell_handover(draft: Draft, world: World, owed: Due, have: frozenset[int], outlook: Counters, settings: Settings) -> None:
    withdrawn = sum(n.gpus for n in draft.notices if n.start <= draft.now < n.end) // owed.lot_gpus
    missing = [lot for lot in range(owed.lots) if lot not in have]
    holds = len(missing) <= withdrawn
    onset = min((outage.since for outage in outlook.outages if outage.lot in missing), default=draft.now)
    lost = max((outage.seconds for outage in outlook.outages if outage.lot in missing), default=0)
    note_access(draft, owed, None if holds else draft.now - lost)
    was, why = draft.conditions.true(c.HANDED_OVER), draft.conditions.reason(c.HANDED_OVER)
    cause = "" if holds else _cause(draft, world, frozenset(missing), settings) if was else _known_cause(draft)
    message = f"{len(have)} of {owed.lots} lots" + (f": {cause}" if cause else "")
    lots: dict[str, Any] = {"lots": missing, "gpus": len(missing) * owed.lot_gpus}
    if was and not holds:
        lots |= {"since": format_time(onset)} | ({"cause": cause} if cause else {})
        draft.flip(c.HANDED_OVER, False, "Interrupted", message, event="delivery.interrupted", change=lots)
    elif holds and not was:
        _tell_access(draft, owed, len(have) * owed.lot_gpus, message, why)
    else:
        draft.conditions.put(c.HANDED_OVER, holds, "Complete" if holds else ("Interrupted" if why in _HAD else "Incomplete"), message)


def _known_cause(draft: Draft) -> str:
    """As it was told when the interruption began: by the time that it ends, what was found may be over."""
    interrupted = draft.conditions.reason(c.HANDED_OVER) == "Interrupted"
    return draft.conditions.message(c.HANDED_OVER).partition(": ")[2] if interrupted else ""


def _cause(draft: Draft, world: World, missing: frozenset[int], settings: Settings) -> str:
    """What the agents found on the nodes, or cards, from which lots were lost: Xid79, Missing, …; "" where they know nothing."""
    reasons = set()
    for bound in draft.bounds:
        if bound.handed_over_at is not None and bound.start <= draft.now and not missing.isdisjoint(bound.lots):
            unfit = unfit_for(world, bound.node, draft.contract, settings, draft.now)
            reasons.update([why.reason for gpu, why in unfit.items() if not bound.exact or gpu in bound.devices][:1])
    return ", ".join(sorted(reasons))


def tell_degraded(draft: Draft, world: World, owed: Due, have: frozenset[int], settings: Settings) -> None:
    """Lots that the buyer has on GPUs that are Degraded for a reason that the contract's policy accepts.

    Which of a whole node's lots runs on such a GPU nobody can tell, so all of them are named.
    """
    found = {
        (bound.node, spell.gpu, lot): spell
        for bound in draft.bounds
        if bound.running(draft.now) and bound.handed_over_at is not None and not have.isdisjoint(bound.lots)
        for spell in degraded(world, bound.node, draft.contract, settings, draft.now)
        if not bound.exact or spell.gpu in bound.devices
        for lot in have.intersection(bound.lots)
    }
    if not found:
        if draft.conditions.true(c.DEGRADED):
            draft.flip(c.DEGRADED, False, "Recovered", "", event="delivery.recovered")
        return
    gpus, reasons = len({(node, gpu) for node, gpu, _ in found}), sorted({spell.reason for spell in found.values()})
    since = format_time(min(draft.now, *(spell.start for spell in found.values())))
    change = {"lots": sorted({lot for _, _, lot in found}), "gpus": gpus, "reasons": reasons, "since": since}
    message = f"{gpus} of {owed.gpus} GPUs: {', '.join(reasons)}"
    draft.flip(c.DEGRADED, True, reasons[0], message, event="delivery.degraded", change=change)


def _tell_access(draft: Draft, owed: Due, gpus: int, message: str, why: str) -> None:
    """The buyer has all that is due (again), `gpus`: first of all, on the same grade, or on an equivalent one."""
    since = draft.conditions.since(c.HANDED_OVER)
    fresh = [b for b in draft.bounds if b.running(draft.now) and b.handed_over_at is not None and b.handed_over_at >= since]
    products = sorted({b.product for b in fresh})
    event = "delivery.started"
    if why in _HAD:
        event = "delivery.substituted" if any(p != owed.product for p in products) else "delivery.restored"
    change: dict[str, Any] = {"gpus": gpus, "products": sorted({b.product for b in draft.bounds if b.running(draft.now)})}
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
    cure_until = draft.now + cure_seconds - max(o.seconds for o in out)  # what is the buyer's of an outage is none of its cure
    change = {
        "lots": sorted(o.lot for o in out),
        "gpus": len(out) * owed.lot_gpus,
        "since": format_time(onset),
        "cureUntil": format_time(cure_until),
        "gpuSecondsSoFar": sum(o.seconds for o in out) * owed.lot_gpus,
    }
    message = f"{len(out)} of {owed.lots} lots out, the first since {format_time(onset)}"
    reason = draft.conditions.reason(c.SHORTFALL) if draft.conditions.true(c.SHORTFALL) else "Open"
    if not draft.flip(c.SHORTFALL, True, reason, message, event="shortfall.opened", change=change):
        return
    if reason == "Open" and draft.now >= cure_until and draft.outbox.say("shortfall.cure_expired", change):
        draft.conditions.put(c.SHORTFALL, True, "CureExpired", message)


def tell_outlook(draft: Draft, world: World, decision: Decision | None, owed: Due) -> None:
    """AtRisk, see `outlook`. Curtailed: notice was given and has not lapsed."""
    if draft.now >= owed.end:
        if draft.conditions.true(c.AT_RISK):
            draft.flip(c.AT_RISK, False, "WindowOver", "", event="risk.cleared")
        return
    if decision is not None:
        tell_risk(draft, world, decision, owed)
    notice = min((n for n in draft.notices if n.end > draft.now), key=lambda n: (n.start, n.end), default=None)
    if notice is not None:
        told = {"start": format_time(notice.start), "end": format_time(notice.end), "noticedAt": format_time(notice.noticed_at)}
        message = f"{notice.gpus} GPUs from {told['start']} to {told['end']}"
        draft.flip(c.CURTAILED, True, "Noticed", message, event="delivery.curtailed", change={"gpus": notice.gpus, **told})
    elif draft.conditions.true(c.CURTAILED):
        draft.flip(c.CURTAILED, False, "Ended", "", event="delivery.restored")
