"""What a contract's status should be now: a pure function of what is written, observed, decided and said.

`next_status` is called for a contract whenever something about it may have changed, and after a restart for all; it gives the
complete new status, or None when what is written is right. Called on its own result at the same instant it gives None. Where the
outbox is full, phase moves and flips that must be told wait; bindings and quantities never wait.

The order in it is the order of the life: received, wound up or decided, bound, handed over, metered, moved on, told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from laycan.control import conditions as c
from laycan.control.decision import Decision
from laycan.control.draft import Draft, reason_json
from laycan.control.envelopes import signs
from laycan.control.finalizer import leaves
from laycan.control.instructions import carry_out
from laycan.control.lifecycle import COMMITTED, UNDECIDED, Phase, Step
from laycan.control.maintenance import tell_outages
from laycan.control.offering import tell_offer
from laycan.control.progress import complete, deliver, end_early
from laycan.control.receipts import Seal
from laycan.control.wakes import dispute_seconds, next_wake
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.digest import health_policy_digest, product_digest, terms_digest
from laycan.resources.times import parse_time
from laycan.resources.verdict import resolved
from laycan.settings import Settings

__all__ = ["next_status", "next_wake"]


def next_status(
    contract: ContractView,
    world: World,
    decision: Decision | None,
    taken: frozenset[str],
    settings: Settings,
    source: str,
    epoch: int,
    now: int,
    seal: Seal | None = None,
) -> dict[str, Any] | None:
    """The complete status to write, None when nothing is to be written.

    `taken` holds ids of events that the log has, `source` is the CloudEvents source, `epoch` the leader's, `now` in Unix
    seconds; `seal` signs the receipts, without it there are none. Raises ValueError for a decision that cannot be written (more lots
    at once than the contract has).
    """
    draft = Draft.open(contract, source, taken, now, hurried=contract.deleting and leaves(contract, world))
    if decision is not None and decision.uid not in ("", contract.uid):
        decision = None
    if draft.phase is Phase.NEW:
        draft.step(Step.APPEAR)
    if not contract.deleting and draft.phase in UNDECIDED:
        tell_offer(draft, decision, world)
        _decide(draft, world, decision)
    carry_out(draft, world)
    if draft.ending and draft.phase in COMMITTED:
        end_early(draft, world, settings, seal)
    if draft.phase in COMMITTED:
        tell_outages(draft, world)
        deliver(draft, world, decision, settings, seal)
    if draft.phase is Phase.DELIVERED:
        carry_out(draft, world)  # what has an effect from this moment on
    if draft.phase is Phase.DELIVERED and complete(draft, world, seal):
        _settle(draft, world)
    _summarise(draft, decision)
    return draft.close(epoch, settings.meter_seconds)


def _decide(draft: Draft, world: World, decision: Decision | None) -> None:
    if decision is None or decision.accepted is None:
        return
    if not decision.accepted:
        if decision.reason is None:
            raise ValueError("a refusal needs a reason")
        if draft.step(Step.REJECT, {"reason": reason_json(decision.reason)}):
            draft.set_reason(decision.reason)
        return
    terms = draft.contract.spec["terms"]
    name = terms["productRef"]["name"]
    product = (world.products.get(name) or {}).get("spec") or {}
    pins = {"termsDigest": terms_digest(terms), "productDigest": product_digest(name, product)}
    if draft.step(Step.ACCEPT):
        draft.fields |= {**pins, "healthPolicyDigest": health_policy_digest(product), "healthPolicy": resolved(product.get("health"))}
        draft.instructed = replace(draft.instructed, signed=signs(draft.contract, world))


def _settle(draft: Draft, world: World) -> None:
    """Delivery is final when the exchange accepts it, or without its objection when the endpoint's time for disputes has lapsed."""
    if draft.instructed.delivery == "Accepted":
        draft.step(Step.SETTLE)
        return
    since = parse_time(draft.fields["phaseSince"]) if "phaseSince" in draft.fields else draft.now
    if draft.contract.deleting or draft.instructed.delivery == "Disputed" or draft.instructed.suspended:
        return
    endpoint = world.endpoints.get(draft.contract.exchange)
    if endpoint is not None and draft.now >= since + dispute_seconds(endpoint):
        draft.step(Step.SETTLE)


_DONE = {Phase.REJECTED: "Rejected", Phase.CANCELLED: "Cancelled", Phase.TERMINATED: "Terminated", Phase.EXPIRED: "Expired"}


def _summarise(draft: Draft, decision: Decision | None) -> None:
    """The conditions that tools wait for; they tell nobody anything new, so no event carries them."""
    phase, put = draft.phase, draft.conditions.put
    answered = phase is Phase.QUOTED and draft.contract.is_quote
    undecided = phase in UNDECIDED and not answered
    wait = decision.reason if decision and undecided and decision.accepted is None else None
    if undecided:
        put(c.READY, False, "Undecided", "")
    elif phase is Phase.EXPIRED and draft.contract.is_quote:
        put(c.READY, True, "Expired", "it was answered")
    elif phase in _DONE:
        reason = draft.fields.get("reason") or {}
        put(c.READY, False, reason.get("code", _DONE[phase]), reason.get("message", ""))
    else:
        put(c.READY, True, phase.value, "")
    put(c.RECONCILING, undecided, wait.code if wait else ("Deciding" if undecided else "Decided"), wait.message if wait else "")
    rejected = phase is Phase.REJECTED
    put(c.STALLED, rejected, "Rejected" if rejected else "NotStalled", "a person must change the contract or the fleet" if rejected else "")
