"""What a quote's status says: the offer, and when it is over."""

from __future__ import annotations

from typing import Any

from laycan.control.decision import Decision, Offered
from laycan.control.draft import Draft, reason_json
from laycan.control.lifecycle import Phase, Step
from laycan.control.quotes import is_awaited, naming_one, taken_up
from laycan.kube.sound import mapping
from laycan.kube.world import World
from laycan.planning.problem import SCOPES
from laycan.resources.times import format_time, parse_time
from laycan_solver.alternatives import Alternative

_SCOPE = {scope: name for name, scope in SCOPES.items()}


def offer_json(offer: Offered) -> dict[str, Any]:
    """`status.offer`."""
    raw: dict[str, Any] = {"promise": offer.promise.value, "validUntil": format_time(offer.valid_until), "held": offer.held}
    if offer.risk is not None:
        raw |= {"shortfallProbabilityPpm": min(offer.risk.ppm, 1_000_000), "spareNodes": offer.risk.spare_nodes}
        raw["largestDomainNodes"] = offer.risk.largest_domain
    if offer.alternatives:
        raw["alternatives"] = [_alternative_json(each) for each in offer.alternatives]
    return raw


def _alternative_json(each: Alternative) -> dict[str, Any]:
    raw: dict[str, Any] = {"start": format_time(each.start), "end": format_time(each.end), "gpus": each.gpus, "product": each.product}
    raw |= {"class": "Firm" if each.firm else "Interruptible", "reason": each.reason[:1024]}
    if each.scope is not None:
        raw["scope"] = _SCOPE[each.scope]
    if each.parts:
        raw["parts"] = [{"start": format_time(start), "end": format_time(end), "gpus": gpus} for start, end, gpus in each.parts]
    return raw


def tell_offer(draft: Draft, decision: Decision | None, world: World) -> None:
    """Received -> Quoted -> Expired, for a quote that was not made Firm."""
    if draft.phase is Phase.RECEIVED and decision is not None and decision.offer is not None:
        told: dict[str, Any] = {"offer": offer_json(decision.offer)}
        told |= {"reason": reason_json(decision.reason)} if decision.reason is not None else {}
        if draft.step(Step.QUOTE, told):
            draft.fields["offer"] = told["offer"]
            draft.set_reason(decision.reason)
    if draft.phase is Phase.QUOTED and draft.contract.is_quote:
        _expire(draft, world)


def _expire(draft: Draft, world: World) -> None:
    """The quote is over when its hold was taken up, or its time has passed and nobody who came before that is still to take it up."""
    offer = mapping(draft.fields.get("offer"))
    until = parse_time(offer["validUntil"]) if offer else 0  # what cannot be read any more holds nothing
    named_by = naming_one(world, draft.contract) if offer.get("held") else []
    if taken_up(draft.contract, named_by):
        draft.step(Step.EXPIRE, {"cause": "TakenUp"})
    elif draft.now > until and not is_awaited(draft.contract, until, named_by):
        draft.step(Step.EXPIRE, {"cause": "Lapsed"})
