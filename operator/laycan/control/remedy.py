"""The remedy for what was short: told as owed when it is cured, made good after the window where the buyer elected it.

After the window the contract stays Delivering until all is made good or the time for it is over. Each stretch is counted once, when it is
over and the meter may read it; what was missed in it is planned again.
"""

from __future__ import annotations

from dataclasses import replace

from laycan.control.decision import Decision
from laycan.control.draft import Draft
from laycan.control.makegood import PERIOD_SECONDS, extended, extension
from laycan.control.rebind import rebind
from laycan.delivery.metering.gaps import readable_until
from laycan.delivery.metering.meter import samples
from laycan.delivery.metering.proof import readable
from laycan.delivery.metering.served import Due
from laycan.kube.world import World
from laycan.settings import Settings
from laycan_verify.classes import Class, Counters


def tell_owed(draft: Draft, counters: Counters) -> None:
    """What is short so far, once no outage is open; when it is more than was told, that is told."""
    short, good = counters.gpu_seconds.get(Class.SHORTFALL, 0), draft.make_good
    if short > good.owed and not draft.outbox.say("makegood.owed", {"gpuSeconds": short, "addedGpuSeconds": short - good.owed}):
        return
    draft.make_good = replace(good, owed=short)


def extend(draft: Draft, world: World, decision: Decision, owed: Due) -> None:
    """After the window: binds what the plan found for making good. A plan from before its end knew nothing of that."""
    if draft.make_good.open and decision.planned_at >= owed.end:
        ahead = [planned for planned in decision.bindings if planned.start >= owed.end]
        draft.bounds = rebind(draft.bounds, ahead, owed.lots, owed.lot_gpus, draft.now)


def made_good(draft: Draft, world: World, owed: Due, settings: Settings) -> bool:
    """After the window is metered: whether nothing is left to be made good. Counts what is over."""
    if draft.reading.counters is not None:
        tell_owed(draft, draft.reading.counters)
    _count(draft, world, owed, settings)
    good = draft.make_good
    if not good.lots or not good.owed:
        return True
    late = draft.now >= owed.end + PERIOD_SECONDS and not extended(draft.bounds, owed)
    if good.open and not late:
        return False
    over = max(0, good.delivered - good.owed)
    change = {"gpuSeconds": good.delivered, "owedGpuSeconds": good.owed, "overDeliveredGpuSeconds": over}
    return draft.outbox.say("makegood.delivered", change)


def _count(draft: Draft, world: World, owed: Due, settings: Settings) -> None:
    bounds = extended(draft.bounds, owed)
    found = extension(draft.make_good, (bound.start for bound in bounds), owed, draft.now) if bounds else None
    if found is None:
        return
    end = max(found.end, *(bound.end for bound in bounds))
    until = min(end, readable_until(world, draft.reading.gaps, draft.now, settings.meter_lag_seconds))
    if readable(world, bounds, owed.end, until, draft.now, settings.estimate_wait_seconds) < end:
        return
    proven = samples(bounds, (*draft.reading.gaps, *draft.unproven), owed.end, end)
    gained = sum(s.end - s.start for s in proven if not s.estimated) * owed.lot_gpus
    draft.make_good = replace(draft.make_good, delivered=draft.make_good.delivered + gained)
    draft.bounds = tuple(bound for bound in draft.bounds if bound not in bounds)
    draft.reading = replace(draft.reading, gaps=())
