"""What a kept plan can follow. Anything else changes so much that the problem is planned anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .model import (
    Contract,
    ContractChanged,
    ContractGone,
    Event,
    Node,
    NodeChanged,
    NodeGone,
    Outage,
    OutageChanged,
    OutageGone,
    TimePassed,
)

if TYPE_CHECKING:
    from .live import Live


class TooMuchError(Exception):
    """An event that changes more than a kept plan can follow: the problem is to be planned anew."""


def require_possible(live: Live, events: Sequence[Event]) -> None:
    """Raises TooMuchError where the plan cannot follow these events."""
    named = [_name(event) for event in events]
    if len(set(named)) < len(named):
        raise TooMuchError("several events about one thing")
    for event in events:
        _require(live, event)


def _name(event: Event) -> tuple[str, str]:
    """What the event is about."""
    match event:
        case NodeChanged(Node(name=name)) | NodeGone(name):
            return "node", name
        case ContractChanged(Contract(key=name)) | ContractGone(name):
            return "contract", name
        case OutageChanged(Outage(name=name)) | OutageGone(name):
            return "outage", name
        case TimePassed():
            return "time", ""


def _require(live: Live, event: Event) -> None:
    match event:
        case NodeChanged(node):
            old = live.nodes.get(node.name)
            if old is None or (old.grade, old.domains, old.level) != (node.grade, node.domains, node.level):
                raise TooMuchError(f"node {node.name} is new or of another kind")
            if node.gpus > int(live.fleet.gpus.max(initial=0)):
                raise TooMuchError(f"node {node.name} has more GPUs than any had")
        case TimePassed(now):
            if not live.now <= now < live.book.ledger.grid.times[-1]:
                raise TooMuchError("the clock leaves the plan")
        case ContractChanged(contract):
            known = live.contract_of(contract.key)
            if known is not None and (contract.key in live.announced.refused or _asked(known) != _asked(contract)):
                raise TooMuchError(f"contract {contract.key} asks for something else")
            if contract.reserve or contract.product not in live.demands.products:
                raise TooMuchError(f"contract {contract.key} is a reserve or of an unknown product")


def _asked(contract: Contract) -> Contract:
    """The contract without what does not say what is to be delivered."""
    return replace(
        contract, accepted=True, delivering=False, admission_order=("", "", ""), curtailable_seconds=0, notice_seconds=None, price_micros=0,
        multiple_ppm=0, priority=0, firm=True, unwritten=False, judged=False, for_firm=False,
    )  # fmt: skip
