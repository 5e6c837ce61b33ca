"""Which instruction of a contract is next, and what stands in the way of the others.

The acts on a contract form one chain: each cites the digest of the one that was applied before it, and the contract's status holds the
last one's. So nothing is applied twice, and nothing out of order; and which acts were applied follows from the head alone, back
through the instructions that are still there, because a digest cites exactly one act. Of several that cite the same one, the first that
may be applied is; the others are out of the chain.

The same judgement decides what is carried out (`carry_out`, with the contract's next status) and what an instruction's own status says
(`verdicts`). What was Rejected in writing stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from laycan.control.draft import Draft
from laycan.control.effects import apply, objection
from laycan.control.envelopes import signature_objection, signs, trusted_keys
from laycan.control.lifecycle import UNDECIDED
from laycan.control.objection import Objection, refuse, wait
from laycan.kube.instruction_views import FINAL, InstructionView
from laycan.kube.world import World
from laycan.resources.times import format_time

PATIENCE_SECONDS = 60  # an instruction may come before the one that it cites

_RANK = {"Applied": 0, "Rejected": 2}

DUE = wait("Due", "it is carried out with the contract's next status")


class Verdict(NamedTuple):
    phase: str  # Pending | Applied | Rejected
    reason: Objection | None = None


def of_contract(key: str, world: World) -> list[InstructionView]:
    """The instructions that name a contract, oldest first."""
    found = (world.instructions[each] for each in world.instructions_on.get(key, ()))
    return sorted(found, key=lambda view: (view.created, view.name))


def carry_out(draft: Draft, world: World) -> None:
    """Applies what is due, one after the other."""
    views = of_contract(draft.contract.key, world)
    for _ in views if any(view.phase not in FINAL for view in views) else ():
        applied = chain(views, draft.instructed.head)
        open_ones = (view for view in views if view.phase not in FINAL and view.digest and view.digest not in applied)
        ready = [view for view in open_ones if _in_the_way(view, draft, world, views, applied) is None]
        first = min(ready, key=lambda view: view.effective, default=None)
        if first is None or first.act is None or not apply(first.act, draft, world):
            return
        signed = draft.instructed.signed or signs(draft.contract, world)
        draft.instructed = replace(draft.instructed, head=first.digest, signed=signed)


def verdicts(draft: Draft, world: World) -> dict[str, Verdict]:
    """What has become of each instruction that names the draft's contract, by key."""
    views = of_contract(draft.contract.key, world)
    applied = chain(views, draft.instructed.head)
    bearers: dict[str, str] = {}  # digest -> the one of its instructions that counts: what was answered once is not taken back
    for view in sorted(views, key=lambda view: _RANK.get(view.phase, 1)):
        bearers.setdefault(view.digest, view.key)
    return {view.key: _verdict(view, draft, world, views, applied, bearers) for view in views}


def chain(views: Sequence[InstructionView], head: str) -> frozenset[str]:
    """Digests of what was applied, as far back as the instructions are still there."""
    previous, applied = {view.digest: view.previous for view in views if view.digest}, set[str]()
    while head and head not in applied:
        applied.add(head)
        head = previous.get(head, "")
    return frozenset(applied)


def _verdict(
    view: InstructionView, draft: Draft, world: World, views: Sequence[InstructionView], applied: frozenset[str], bearers: Mapping[str, str]
) -> Verdict:
    if view.fault:
        return Verdict("Rejected", refuse("Malformed", view.fault))
    said = view.status.get("reason") or {}
    if view.digest in applied and said.get("code") != "Replayed":  # whatever else was written of it meanwhile
        if bearers[view.digest] == view.key:
            return Verdict("Applied")
        return Verdict("Rejected", refuse("Replayed", f"instruction {bearers[view.digest]} says the same, and was applied"))
    if view.phase in FINAL:
        return Verdict(view.phase, refuse(str(said.get("code")), str(said.get("message"))) if view.phase == "Rejected" else None)
    found = _in_the_way(view, draft, world, views, applied) or DUE
    return Verdict("Rejected" if found.final else "Pending", found)


def _in_the_way(
    view: InstructionView, draft: Draft, world: World, views: Sequence[InstructionView], applied: frozenset[str]
) -> Objection | None:
    """None for an instruction that is to be applied now."""
    act = view.act
    if act is None:
        return refuse("Malformed", view.fault)
    contract_id = (draft.contract.spec.get("terms") or {}).get("contractId")
    if act.contract_id != contract_id:
        return refuse("WrongContract", f"spec.act.contractId: is {act.contract_id}, but {draft.contract.name} is contract {contract_id}")
    if view.effective < draft.contract.created:
        born = format_time(draft.contract.created)
        return refuse("Replayed", f"spec.act.effectiveTime: is before {born}, when this ComputeContract was created")
    keys = trusted_keys(draft.contract, world)
    if isinstance(keys, Objection):
        return keys
    if (found := signature_objection(view, keys, draft.instructed.signed)) is not None:
        return found
    if draft.phase in UNDECIDED:
        return wait("NotAccepted", f"the contract is {draft.phase.value or 'new'}; instructions wait until it is accepted")
    if (found := _out_of_chain(view, draft, views, applied)) is not None:
        return found
    if draft.now < view.effective:
        return wait("NotYetEffective", f"it takes effect at {act.effective_time}")
    return objection(act, draft, world)


def _out_of_chain(view: InstructionView, draft: Draft, views: Sequence[InstructionView], applied: frozenset[str]) -> Objection | None:
    head = draft.instructed.head
    if view.previous == head:
        return None
    stands = f"cites {view.previous or 'no act before it'}, and the last one applied is {head or 'none'}"
    known = not view.previous or view.previous in applied
    comes = any(other.digest == view.previous and other.phase not in FINAL for other in views)
    if not known and (comes or draft.now < view.created + PATIENCE_SECONDS):
        return wait("AwaitsPrevious", f"spec.act.previousDigest: {stands}; it waits for the one that it cites")
    return refuse("OutOfChain", f"spec.act.previousDigest: {stands}; sign another one that cites that")
