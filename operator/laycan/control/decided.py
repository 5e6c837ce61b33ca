"""From a plan to decisions, contract by contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from laycan.control.decision import Decision, Offered, PlannedBinding, Reason
from laycan.control.questions import Solved
from laycan.control.quotes import allowance
from laycan.control.snapshot import Snapshot
from laycan.kube.world import World
from laycan.planning.holds import hold_key
from laycan_solver.model import Contract, Undelivered


def decisions_of(taken: Snapshot, solved: Solved, world: World, before: Mapping[str, Decision], now: int) -> dict[str, Decision]:
    """Of whom the plan is about, and of the quotes that it answers, which stand from `now` on. `before`: the last decisions, for what is
    not decided anew."""
    plan, touched = solved.plan, solved.contracts
    bindings: dict[str, list[PlannedBinding]] = defaultdict(list)
    levels = {node.name: node.level.value for node in taken.problem.nodes}
    for binding in plan.bindings:
        bindings[binding.contract].append(PlannedBinding.of(binding, levels[binding.node]))
    missing: dict[str, list[Undelivered]] = defaultdict(list)
    for undelivered in plan.undelivered:
        missing[undelivered.contract].append(undelivered)
    decisions = {}
    for contract in taken.problem.contracts:
        planned, key = contract.key, taken.holds.get(contract.key, contract.key)
        if key not in taken.versions or key in solved.offers or (touched is not None and planned not in touched):
            continue  # it only keeps a node for a promise that cannot be read, or is answered below
        if planned in taken.holds:
            decisions[key] = _hold(taken.versions[key][0], solved.plan.now, bindings[planned], before.get(key))
        else:
            decisions[key] = _decision(contract, taken, solved, bindings[key], missing[key], before.get(key))
    for quote in taken.quotes:
        if (view := world.contracts.get(quote.key)) is not None:
            until = now + allowance(view, world)[0]
            decisions[quote.key] = _answer(quote, taken, solved, until, bindings[hold_key(quote.key)])
    return decisions


def _decision(
    contract: Contract, taken: Snapshot, solved: Solved, bound: list[PlannedBinding], short: list[Undelivered], before: Decision | None
) -> Decision:
    now, uid = solved.plan.now, taken.versions[contract.key][0]
    refused = next((u for u in short if u.refused), None)
    if refused is not None:
        return Decision(False, now, _reason(refused, contract.product), uid=uid)
    reason = _reason(short[0], contract.product) if short else None
    known = before.risk if before is not None and before.uid == uid else None
    risk = solved.risks.get(contract.key) if solved.risks is not None else known
    return Decision(True, now, reason, tuple(bound), tuple(short), risk=risk, uid=uid)


def _hold(uid: str, now: int, bound: list[PlannedBinding], before: Decision | None) -> Decision:
    """A hold that lasts: where it lies now; its answer, if it is still to be written, stays."""
    offer = before.offer if before is not None and before.uid == uid else None
    return Decision(None, now, None, tuple(bound), offer=offer, uid=uid)


def _answer(quote: Contract, taken: Snapshot, solved: Solved, until: int, bound: list[PlannedBinding]) -> Decision:
    """`bound`: where the plan keeps its capacity; nothing where it does not."""
    answer = solved.offers[quote.key]
    offer = Offered(answer.promise, until, bool(bound), answer.risk, answer.alternatives)
    reason = _reason(answer.refusal, quote.product) if answer.refusal is not None else None
    return Decision(None, solved.plan.now, reason, tuple(bound), offer=offer, uid=taken.versions[quote.key][0])


def _reason(undelivered: Undelivered, pool: str) -> Reason:
    return Reason(str(undelivered.code), undelivered.message, pool, (undelivered.start, undelivered.end))
