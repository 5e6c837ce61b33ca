"""Rules between fields: the CEL rules of the CRDs once more, and what CEL cannot say within its cost budget.

Each function takes well-typed models and yields (field, text) for what contradicts itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from laycan.resources.instruction import PAYLOADS, Act
from laycan.resources.outage import OutageSpec
from laycan.resources.terms import LEVELS, Block, Delivery, Terms
from laycan.resources.times import parse_time

LONGEST_SECONDS = 26_352 * 3600  # three years of 366 days
MOST_LOTS = 8_192  # 65,536 GPUs on nodes of eight: what is known of each stands in the contract's status
Found = Iterator[tuple[str, str]]


def terms_faults(terms: Terms) -> list[tuple[str, str]]:
    """Everything in the terms that contradicts itself; fields are relative to `spec.terms`."""
    delivery = terms.delivery
    found = [*_window(delivery), *_lots(delivery)]
    if delivery.spread:
        found += _spread(delivery, delivery.spread.level)
    if delivery.profile:
        found += _profile(delivery, delivery.profile)
    return [*((f"delivery.{field}", text) for field, text in found), *_firmness(terms), *_tolerance(terms), *_parties(terms)]


def _window(delivery: Delivery) -> Found:
    start, end = parse_time(delivery.start), parse_time(delivery.end)
    if end <= start:
        yield "end", f"is not later than start ({delivery.start}); the window is [start, end)"
    if end - start > LONGEST_SECONDS:
        yield "end", f"is {(end - start) // 3600} hours after start; a window has at most {LONGEST_SECONDS // 3600}: sell several contracts"


def _lots(delivery: Delivery) -> Found:
    if delivery.gpus % delivery.lot_gpus:
        yield "gpus", f"is {delivery.gpus}, no multiple of lotGpus ({delivery.lot_gpus}); only whole lots are delivered"
    if (lots := delivery.gpus // delivery.lot_gpus) > MOST_LOTS:
        yield "lotGpus", f"makes {lots} lots, and a contract has at most {MOST_LOTS}; make lots larger, or sell several contracts"


def _spread(delivery: Delivery, level: str) -> Found:
    scope = delivery.scope or "Any"
    if LEVELS.index(level) <= LEVELS.index(scope):
        inside = LEVELS[LEVELS.index(scope) + 1 :]
        mend = f"use {' or '.join(inside)}" if inside else "leave out spread"
        yield "spread.level", f"is {level}, which does not lie strictly inside scope {scope}; {mend}"


def _profile(delivery: Delivery, profile: Iterable[Block]) -> Found:
    blocks = [(parse_time(b.start), parse_time(b.end), b.gpus) for b in profile]
    start, end = parse_time(delivery.start), parse_time(delivery.end)
    found = False
    for i, (first, last, gpus) in enumerate(blocks):
        if not (start <= first < last <= end):
            found = True
            yield f"profile[{i}]", "does not lie inside the window with start before end"
        if gpus > delivery.gpus or gpus % delivery.lot_gpus:
            found = True
            yield f"profile[{i}].gpus", f"is {gpus}; it must be a multiple of lotGpus ({delivery.lot_gpus}) up to delivery.gpus"
    if found:
        return
    if any(later[0] < earlier[1] for earlier, later in pairwise(blocks)):
        yield "profile", "blocks must be in order and not overlap"
    elif not _flat(blocks, delivery):
        yield "profile", "shaped delivery is not offered yet: sell one contract per block, without profile"


def _flat(blocks: list[tuple[int, int, int]], delivery: Delivery) -> bool:
    """Whether the blocks say no more than `gpus` from start to end."""
    whole = blocks[0][0] == parse_time(delivery.start) and blocks[-1][1] == parse_time(delivery.end)
    return whole and all(a[1] == b[0] for a, b in pairwise(blocks)) and all(gpus == delivery.gpus for *_, gpus in blocks)


def _firmness(terms: Terms) -> Found:
    if terms.firmness and terms.firmness.class_ == "Firm" and terms.firmness.interruption:
        yield "firmness.interruption", "a Firm contract has no interruption terms; remove them or use class Interruptible"


def _tolerance(terms: Terms) -> Found:
    if terms.tolerance and terms.tolerance.cure_seconds < terms.tolerance.grace_seconds:
        yield "tolerance.cureSeconds", f"is less than graceSeconds ({terms.tolerance.grace_seconds}); raise it"


def _parties(terms: Terms) -> Found:
    if terms.parties and terms.parties.buyer == terms.parties.seller:
        yield "parties", "buyer and seller are the same account of the same entity"
    if terms.replaces == terms.contract_id:
        yield "replaces", "a contract cannot replace itself; name the contractId that it amends"


def outage_faults(outage: OutageSpec) -> list[tuple[str, str]]:
    """Everything in an outage that contradicts itself; fields are relative to `spec`."""
    found = []
    if (outage.nodes is None) == (outage.node_selector is None):
        found.append(("nodes", "give either nodes or nodeSelector"))
    if outage.type == "Planned" and outage.end is None:
        found.append(("end", "is missing; a Planned outage has an end"))
    if outage.type == "Retirement" and outage.end is not None:
        found.append(("end", "a Retirement has no end; remove it"))
    if outage.end is not None and parse_time(outage.end) <= parse_time(outage.start):
        found.append(("end", f"is not later than start ({outage.start})"))
    return found


def act_faults(act: Act) -> list[tuple[str, str]]:
    """Everything in an act that contradicts itself; fields are relative to `spec.act`."""
    given = act.model_dump(by_alias=True, exclude_none=True)
    found = [(field, f"is missing; {action} needs it") for field, action in PAYLOADS.items() if action == act.action and field not in given]
    found += [(field, f"belongs to {action}; remove it") for field, action in PAYLOADS.items() if action != act.action and field in given]
    caused = act.buyer_caused
    if caused is not None and parse_time(caused.end) <= parse_time(caused.start):
        found.append(("buyerCaused.end", f"is not later than start ({caused.start})"))
    return found
