"""A committed contract on its way through its window: bound, handed over, metered.

Two readings of the meter are made. The one that is written trails by the settings' lag; the other reaches up to now and is only the
outlook from which Shortfall is told, so that nobody waits a minute for bad news that is known.
"""

from __future__ import annotations

from dataclasses import replace

from laycan.control import conditions as c
from laycan.control.accounting import terms_of
from laycan.control.curtailment import give_notice
from laycan.control.decision import Decision, Reason
from laycan.control.draft import Draft
from laycan.control.hindsight import take_back
from laycan.control.lifecycle import Phase, Step
from laycan.control.punctuality import close_record
from laycan.control.rebind import cut, rebind
from laycan.control.receipts import Seal, issue
from laycan.control.remedy import extend, made_good, tell_owed
from laycan.control.suspension import tell_hold
from laycan.control.telling import tell_degraded, tell_handover, tell_outlook, tell_shortfall
from laycan.control.tolerance import interruption, tolerance
from laycan.delivery.devices.exact import choose
from laycan.delivery.faults.fitness import policy_of, unfit_for
from laycan.delivery.lead import lead_seconds
from laycan.delivery.metering.gaps import find_gaps, possessed, readable_until
from laycan.delivery.metering.meter import Account
from laycan.delivery.metering.proof import lots_without, metered, readable, unproven
from laycan.delivery.metering.served import Bound, Due, due
from laycan.delivery.metering.sharing import Sharing, asked_for
from laycan.evidence.readings import Cause
from laycan.kube.world import World
from laycan.settings import Settings
from laycan_verify.classes import Counters


def end_early(draft: Draft, world: World, settings: Settings, seal: Seal | None) -> None:
    """Deletion or termination: before the start, or after it. Bindings are cut at once; the end waits for the agents' last samples."""
    owed = due(draft.contract)
    if draft.ended_at is None:
        _find_gaps(draft, world, owed)
        draft.ended_at = draft.now
        draft.bounds = tuple(metered(world, bound) for bound in cut(draft.bounds, draft.now))
    _find_gaps(draft, world, owed)
    _ask_agents(draft, world, owed)
    if draft.phase is Phase.ACCEPTED and draft.ended_at <= owed.start:
        draft.step(Step.CANCEL)
        return
    account, wait = _account(draft, world, owed), settings.estimate_wait_seconds
    until = readable(world, draft.bounds, max(draft.reading.until, account.terms.start), account.terms.end, draft.now, wait)
    _advance(draft, account, max(until, account.terms.start), seal)
    if until < account.terms.end:
        return
    draft.metered = True
    if issue(draft, world, owed, account.terms, seal) or draft.outbox.hurried:
        draft.step(Step.TERMINATE)


def deliver(draft: Draft, world: World, decision: Decision | None, settings: Settings, seal: Seal | None) -> None:
    """Everything about a committed contract but its winding up."""
    if draft.ended_at is not None:
        return  # its end waits for room in the outbox
    owed = due(draft.contract)
    if decision is not None:
        (_bind if draft.now < owed.end else extend)(draft, world, decision, owed)
    draft.bounds = choose(world, draft.contract.key, draft.bounds, settings, draft.now)
    have = _take_over(draft, world, owed, settings)
    started = draft.now >= owed.start
    if started:
        _find_gaps(draft, world, owed)
    if draft.phase is Phase.ACCEPTED and started and (have or draft.now > owed.start):
        draft.step(Step.START)
    account = _account(draft, world, owed)
    if not started:
        draft.conditions.put(c.HANDED_OVER, False, "NotStarted", "")
    elif draft.now < owed.end:
        _tell(draft, world, account, owed, have, settings)
    else:
        close_record(draft, owed)
    tell_outlook(draft, world, decision, owed)
    if started:
        _read_meter(draft, world, account, settings, seal)
        issue(draft, world, owed, account.terms, seal)
    if draft.phase is Phase.DELIVERING and draft.reading.until >= owed.end and made_good(draft, world, owed, settings):
        draft.step(Step.END)


def _tell(draft: Draft, world: World, account: Account, owed: Due, have: frozenset[int], settings: Settings) -> None:
    """In the window: what the buyer has, what is short, and what is owed for it once it is cured."""
    if draft.instructed.suspended:
        tell_hold(draft, owed)
        return
    outlook = account.read(draft.now)
    tell_handover(draft, world, owed, have, outlook, settings)
    tell_degraded(draft, world, owed, have, settings)
    tell_shortfall(draft, outlook, owed, have, tolerance(draft.contract, world).cure_seconds)
    if not draft.conditions.true(c.SHORTFALL):
        tell_owed(draft, outlook)


def complete(draft: Draft, world: World, seal: Seal | None) -> bool:
    """After the window: issues what receipts are left; whether the last one is out."""
    return issue(draft, world, due(draft.contract), terms_of(draft, world), seal)


def _bind(draft: Draft, world: World, decision: Decision, owed: Due) -> None:
    draft.bounds = rebind(draft.bounds, decision.bindings, owed.lots, owed.lot_gpus, draft.now)
    right = interruption(draft.contract, world)
    short = [u for u in decision.undelivered if u.end > draft.now and not u.refused]
    if right is not None:
        draft.notices = give_notice(draft.notices, short, right[0], draft.now)
    first = min(short, key=lambda u: (u.start, u.end, -u.gpus), default=None)
    reason = decision.reason
    if reason is None and first is not None:
        reason = Reason(first.code.value, first.message, owed.product, (first.start, first.end))
    draft.set_reason(reason)


def _take_over(draft: Draft, world: World, owed: Due, settings: Settings) -> frozenset[int]:
    """Notes who has got access, and returns the lots that the buyer has now. Access may begin in the lead before the start.

    While the contract is suspended nobody gets any, whatever fence and label say.
    """
    if draft.instructed.suspended:
        draft.bounds = tuple(metered(world, bound) for bound in draft.bounds)
        _ask_agents(draft, world, owed)
        return frozenset()
    have: set[int] = set()
    bounds: list[Bound] = []
    sharing = Sharing(world, draft.bounds, draft.contract.key)
    for bound in draft.bounds:
        near = bound.start - lead_seconds(bound.product, world.products, world.fence, settings) <= draft.now < bound.end
        lots = _in_hand(draft, world, bound, sharing, owed, settings) if near else ()
        if bound.handed_over_at is None and len(lots) == len(bound.lots) and near:
            bound = replace(bound, handed_over_at=draft.now)
        elif bound.handed_over_at is not None and draft.now < bound.start and not lots:
            bound = replace(bound, handed_over_at=None)
        bounds.append(metered(world, bound))
        if bound.running(draft.now) and bound.handed_over_at is not None:
            have.update(lots)
    draft.bounds = tuple(bounds)
    _ask_agents(draft, world, owed)
    return frozenset(have - {lot for gap in draft.unproven for lot in gap.lots if gap.covers(draft.now)})


def _in_hand(draft: Draft, world: World, bound: Bound, sharing: Sharing, owed: Due, settings: Settings) -> tuple[int, ...]:
    """The lots of a binding that the buyer can use now: they are his, and their GPUs are fit by all that is known."""
    lots = possessed(world, bound, owed.holder, owed.lot_gpus, draft.contract.key, draft.now, sharing)
    unfit = unfit_for(world, bound.node, draft.contract, settings, draft.now).keys() if lots else ()
    lost = lots_without(world.meters[bound.node], bound, unfit, owed.lot_gpus, sharing.ahead(bound, draft.now)) if unfit else ()
    return tuple(lot for lot in lots if lot not in lost)


def _ask_agents(draft: Draft, world: World, owed: Due) -> None:
    """What the nodes' agents leave unproven, this second included."""
    policy, sharing = policy_of(world, draft.contract), Sharing(world, draft.bounds, draft.contract.key)
    draft.unproven = tuple(
        gap for bound in draft.bounds for gap in unproven(world, bound, policy, owed.lot_gpus, sharing, draft.reading.until, draft.now)
    )


def _find_gaps(draft: Draft, world: World, owed: Due) -> None:
    closing = draft.ended_at is None and draft.now >= owed.end and "earlyStopSeconds" not in draft.fields.get("handover", ())
    gaps = find_gaps(world, draft.bounds, draft.reading, owed.holder, owed.lot_gpus, draft.contract.key, draft.now, closing=closing)
    draft.reading = replace(draft.reading, gaps=gaps)
    take_back(draft, world)


def _account(draft: Draft, world: World, owed: Due) -> Account:
    terms, right = terms_of(draft, world), interruption(draft.contract, world)
    buyers = draft.instructed.buyers(owed.lots, terms.end)
    return Account(terms, draft.bounds, draft.reading, draft.unproven, draft.notices, right[1] * owed.lots if right else 0, buyers)


def _advance(draft: Draft, account: Account, until: int, seal: Seal | None) -> Counters:
    """Moves the reading on to `until`, and keeps what receipts need of it where there are any."""
    counters, stretches = account.take(until)
    if seal is not None:
        causes = [Cause(*each) for each in account.why(counters.until)]
        draft.books = replace(draft.books, readings=draft.books.readings.extended(stretches, causes), begun=True)
    draft.reading = replace(draft.reading, counters=counters)
    draft.instructed = draft.instructed.metered(counters.until)
    return counters


def _read_meter(draft: Draft, world: World, account: Account, settings: Settings, seal: Seal | None) -> None:
    """Moves the written reading on and forgets the history that it has passed, and the receipts with it."""
    until = readable_until(world, draft.reading.gaps, draft.now, settings.meter_lag_seconds)
    read = max(draft.reading.until, account.terms.start)
    until = readable(world, draft.bounds, read, min(until, account.terms.end), draft.now, settings.estimate_wait_seconds)
    counters = _advance(draft, account, max(until, account.terms.start), seal)
    gaps = tuple(g for g in draft.reading.gaps if g.end is None or g.end > counters.until)
    draft.reading = replace(draft.reading, gaps=gaps)
    opening = draft.books.opening
    passed = counters.until if seal is None else opening.until if opening else account.terms.start
    draft.bounds = tuple(b for b in draft.bounds if b.end > passed or asked_for(world, b, draft.contract.key))
    draft.notices = tuple(n for n in draft.notices if n.end > counters.until)
    if counters.until == account.terms.end:
        draft.metered = True
