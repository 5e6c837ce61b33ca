"""What each act does to a contract: who may do it in which phase, what stands against it, and its effect on the next status.

An act takes effect when its effective time has come and it is read, whichever is later: what was delivered until then was delivered.
`objection` judges and changes nothing; `apply` is asked only where nothing stands against the act, and gives False where the outbox
has no room for what must be told, in which case it has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson

from laycan.control import conditions as c
from laycan.control.draft import Draft
from laycan.control.hindsight import reclassified
from laycan.control.instructed import MOST_BYTES, Caused, lots_named
from laycan.control.lifecycle import COMMITTED, Phase
from laycan.control.objection import Objection, refuse
from laycan.control.punctuality import discount_hold
from laycan.control.suspension import hold_back
from laycan.delivery.metering.served import due
from laycan.kube.world import World
from laycan.resources.instruction import Act
from laycan.resources.times import format_time, parse_time

_LIVE = COMMITTED | {Phase.DELIVERED}
PHASES: Mapping[str, frozenset[Phase]] = {  # action -> phases in which it has an effect
    "Terminate": COMMITTED,
    "Suspend": COMMITTED,
    "Resume": _LIVE,
    "Dispute": _LIVE,
    "AcceptDelivery": frozenset({Phase.DELIVERED}),
    "AcceptBuyerCaused": _LIVE,
    "AcceptSubstitution": _LIVE,
    "ElectMakeGood": COMMITTED,
}


def objection(act: Act, draft: Draft, world: World) -> Objection | None:
    """Why the act has no effect on the contract as it is; None where it has one."""
    allowed = PHASES.get(act.action, frozenset())
    if draft.phase not in allowed:
        where = ", ".join(phase.value for phase in Phase if phase in allowed)
        return refuse("WrongPhase", f"the contract is {draft.phase.value}; {act.action} has an effect while it is {where or 'nothing yet'}")
    if draft.ending and draft.phase in COMMITTED and act.action != "AcceptBuyerCaused":
        ended = format_time(draft.now if draft.ended_at is None else draft.ended_at)
        return refuse("WrongPhase", f"the contract has ended at {ended}; {act.action} changes nothing any more")
    return _OBJECTIONS[act.action](act, draft, world) if act.action in _OBJECTIONS else None


def apply(act: Act, draft: Draft, world: World) -> bool:
    """Carries the act out on the draft; False: no room in the outbox, nothing happened."""
    return _EFFECTS[act.action](act, draft, world)


# --- what stands against an act


def _not_suspended(act: Act, draft: Draft, world: World) -> Objection | None:
    return None if draft.instructed.suspended else refuse("NotSuspended", "the contract is not suspended; there is nothing to resume")


def _suspended(act: Act, draft: Draft, world: World) -> Objection | None:
    since = draft.instructed.suspended_since
    if since is not None:
        return refuse("AlreadySuspended", f"the contract is suspended since {format_time(since)}")
    return _no_room(draft)


def _settled(act: Act, draft: Draft, world: World) -> Objection | None:
    said = draft.instructed.delivery
    return refuse(f"Already{said}", f"the delivery is {said.lower()} already") if said in (f"{act.action}d", "Accepted") else None


def _own_grade(act: Act, draft: Draft, world: World) -> Objection | None:
    sold = draft.contract.spec["terms"]["productRef"]["name"]
    named = act.substitution.product if act.substitution is not None else ""
    if named == sold:
        return refuse("NotSubstituted", f"spec.act.substitution.product: {sold} is what was sold; name the grade that is delivered instead")
    return None


def _elected(act: Act, draft: Draft, world: World) -> Objection | None:
    if draft.make_good.lots:
        return refuse("AlreadyElected", "make-good was elected already, for all that is short until the window's end")
    lots = due(draft.contract).lots
    if act.make_good is not None and (act.make_good.lots or 1) > lots:
        return refuse("Malformed", f"spec.act.makeGood.lots: is more than the contract has; name at most {lots}")
    return None


def _not_the_buyers(act: Act, draft: Draft, world: World) -> Objection | None:
    caused = _caused(act, draft)
    if isinstance(caused, Objection):
        return caused
    if (found := _no_room(draft)) is not None:
        return found
    opening = draft.books.opening
    if opening is not None and caused.start < opening.until:
        closed = format_time(opening.until)
        text = f"spec.act.buyerCaused.start: receipts are out up to {closed} and stand; name the time from then on, settle the rest"
        return refuse("ReceiptIssued", text)
    past = _until(caused, draft.reading.until)
    if past is not None and reclassified(draft, world, past) is None:
        text = f"spec.act.buyerCaused.start: {format_time(draft.reading.until)} and before is metered, and its readings are not kept"
        return refuse("AlreadyMetered", f"{text}; name the time from then on")
    return None


def _no_room(draft: Draft) -> Objection | None:
    """For one more stretch that is the buyer's; a hold becomes one when it is lifted. All of them stand in every event of the contract."""
    if len(orjson.dumps(draft.instructed.dump())) < MOST_BYTES:
        return None
    kept = len(draft.instructed.caused)
    return refuse(
        "TooMany", f"{kept} stretches that are the buyer's are not metered yet; name fewer and longer ones, or wait until they are"
    )


def _caused(act: Act, draft: Draft) -> Caused | Objection:
    """What the act says is the buyer's, inside the window."""
    owed, said = due(draft.contract), act.buyer_caused
    if said is None:
        return refuse("Malformed", "spec.act.buyerCaused: is missing")
    lots = lots_named(said.lots, owed.lots)
    if lots is None:
        text = f"spec.act.buyerCaused.lots: must name lots from 0 to {owed.lots - 1} in rising order, as 0-3,7"
        return refuse("Malformed", text)
    start, end = max(owed.start, parse_time(said.start)), min(owed.end, parse_time(said.end))
    if start >= end:
        window = f"{format_time(owed.start)} to {format_time(owed.end)}"
        return refuse("Malformed", f"spec.act.buyerCaused: lies outside the time that is owed, {window}")
    return Caused(lots, start, end)


def _until(caused: Caused, instant: int) -> Caused | None:
    """What of it lies before the instant."""
    return caused._replace(end=min(caused.end, instant)) if caused.start < instant else None


_OBJECTIONS: Mapping[str, Callable[[Act, Draft, World], Objection | None]] = {
    "Suspend": _suspended,
    "Resume": _not_suspended,
    "Dispute": _settled,
    "AcceptDelivery": _settled,
    "AcceptBuyerCaused": _not_the_buyers,
    "AcceptSubstitution": _own_grade,
    "ElectMakeGood": _elected,
}


# --- effects


def _terminate(act: Act, draft: Draft, world: World) -> bool:
    draft.ending = True  # as a deletion does, but the object stays
    return True


def _say(delivery: str) -> Callable[[Act, Draft, World], bool]:
    def say(act: Act, draft: Draft, world: World) -> bool:
        draft.instructed = replace(draft.instructed, delivery=delivery)
        return True

    return say


def _suspend(act: Act, draft: Draft, world: World) -> bool:
    since = format_time(draft.now)
    if not draft.flip(c.SUSPENDED, True, "Instructed", f"since {since}", event="contract.suspended", change={"since": since}):
        return False
    draft.instructed = replace(draft.instructed, suspended_since=draft.now)
    draft.bounds = hold_back(draft.bounds, draft.now)
    return True


def _resume(act: Act, draft: Draft, world: World) -> bool:
    since = draft.instructed.suspended_since
    if since is None or not draft.flip(c.SUSPENDED, False, "Resumed", "", event="contract.resumed", change={"since": format_time(since)}):
        return False
    owed = due(draft.contract)
    discount_hold(draft, owed, since)
    held = Caused(tuple(range(owed.lots)), max(since, owed.start, draft.reading.until), min(owed.end, draft.now))
    kept = (*draft.instructed.caused, held) if held.start < held.end else draft.instructed.caused
    draft.instructed = replace(draft.instructed, suspended_since=None, caused=kept)
    return True


def _accept_buyer_caused(act: Act, draft: Draft, world: World) -> bool:
    caused = _caused(act, draft)
    if isinstance(caused, Objection):
        return False
    past = _until(caused, draft.reading.until)
    if past is not None and (found := reclassified(draft, world, past)) is not None:
        counters, readings = found
        draft.reading = replace(draft.reading, counters=counters)
        draft.books = replace(draft.books, readings=readings)
    ahead = caused._replace(start=max(caused.start, draft.reading.until))
    if ahead.start < ahead.end:
        draft.instructed = replace(draft.instructed, caused=(*draft.instructed.caused, ahead))
    return True


def _elect(act: Act, draft: Draft, world: World) -> bool:
    elected = act.make_good.lots if act.make_good is not None else None
    draft.make_good = replace(draft.make_good, lots=elected or 1)
    return True


def _note(act: Act, draft: Draft, world: World) -> bool:
    """Terms ask for nobody's consent today: that it was given is all there is to it."""
    return True


_EFFECTS: Mapping[str, Callable[[Act, Draft, World], bool]] = {
    "Terminate": _terminate,
    "Suspend": _suspend,
    "Resume": _resume,
    "Dispute": _say("Disputed"),
    "AcceptDelivery": _say("Accepted"),
    "AcceptBuyerCaused": _accept_buyer_caused,
    "AcceptSubstitution": _note,
    "ElectMakeGood": _elect,
}
