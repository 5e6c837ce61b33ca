"""What open quotes hold: capacity that is kept for whoever takes the quote up, and gives way to everything that was promised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from laycan.planning.manifests import OVER, PROMISED, ReadContract
from laycan.resources.times import parse_time
from laycan_solver.model import Contract

TAKEN = frozenset({*PROMISED, *OVER} - {"Rejected", "Expired"})  # phases of a contract that was promised once


def hold_key(key: str) -> str:
    """What the operator plans the hold of this quote as: the quote itself may be made a contract, which is another one."""
    return f"{key}#hold"


def holds(contract: ReadContract, now: int) -> bool:
    """Whether it is a quote whose offer is held at this instant; `validUntil` is the last second."""
    offer = contract.status.get("offer")
    if contract.spec.intent != "Quote" or contract.phase != "Quoted" or contract.leaving or not isinstance(offer, dict):
        return False
    try:
        return offer.get("held") is True and now <= parse_time(str(offer.get("validUntil")))
    except ValueError:
        return False


def taken_up(quote: ReadContract, contracts: Iterable[ReadContract]) -> bool:
    """Whether a contract of its namespace that was promised names it in `quoteRef`."""
    space, _, name = quote.key.partition("/")
    return any(
        c.spec.quote_ref is not None and c.spec.quote_ref.name == name and c.key.startswith(f"{space}/") and c.phase in TAKEN
        for c in contracts
    )


def as_asked(contract: Contract, uid: str) -> Contract:
    """A quote as the contract that it asks for; who is to have it may not be known yet, and then shares a node with nobody."""
    return replace(contract, holder=contract.holder or f"quote.{uid}")  # no namespace has such a name


def as_hold(contract: Contract, uid: str, *, accepted: bool) -> Contract:
    """What is planned for a quote: worth a micro, so that all that was promised comes first. Of a Firm one the target is kept."""
    return replace(
        as_asked(contract, uid),
        key=hold_key(contract.key),
        firm=False,
        hold=True,
        for_firm=contract.firm,
        notice_seconds=None,  # an Interruptible one neither: what is curtailed by right would be given to who comes later
        curtailable_seconds=0,
        price_micros=1,
        multiple_ppm=1_000_000,
        accepted=accepted,
    )
