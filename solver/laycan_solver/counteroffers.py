"""Counter-offers in the window that was asked for: fewer GPUs, an equivalent grade, a wider domain, interruptible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from .alternatives import Alternative, Kind
from .asking import Asking, most_admitted
from .model import Contract, Scope
from .report import duration


def in_the_window(asking: Asking, asked: Contract) -> list[Alternative]:
    """All that would be accepted."""
    found = [fewer(asking, asked)]
    asking.left = 2 * TRIES
    for kind, contract, reason in (*_grades(asking, asked), *_domains(asked), *_interruptible(asking, asked)):
        found.append(alternative(asking, kind, reason, contract))
    return [a for a in found if a]


LOOKS = 12  # nodes that are tried to be cleared for it, by placing others anew
TRIES = 4  # rehearsals for one kind, where targets are in the way of what fits


def alternative(asking: Asking, kind: Kind, reason: str, *contracts: Contract, shift: int = 0) -> Alternative | None:
    """The alternative, if it would be accepted; what does not fit at once, or for which no rehearsal is left, is not looked into."""
    if asking.left <= 0 or not all(asking.promising(c) for c in contracts):
        return None
    asking.left -= 1
    tried = asking.would(*contracts)
    return Alternative(kind, contracts, reason, tried.risk, shift) if tried.risk else None


def fewer(asking: Asking, asked: Contract) -> Alternative | None:
    """The most lots that would be accepted: those that fit after others have been placed anew, or else beside the plan as it is."""

    def part(lots: int) -> Contract:
        return replace(asked, gpus=lots * asked.lot_gpus)

    room = asking.desk.bindable(asked).lots
    lots = asking.desk.quote(asked, _after(LOOKS)).replanned if room < asked.lots else 0
    risk = asking.would(part(lots)).risk if room < lots < asked.lots else None
    if risk is None:
        lots, risk = most_admitted(asking, part, min(room, asked.lots - 1), 2 * TRIES)
    reason = f"{lots * asked.lot_gpus} of {asked.gpus} GPUs, in the same window"
    return Alternative(Kind.FEWER, (part(lots),), reason, risk) if risk else None


def _after(looks: int) -> Callable[[], bool]:
    """A deadline that comes when it has been asked for so many times: by work and not by the clock, so answers stay the same."""
    left = iter(range(looks))
    return lambda: next(left, None) is None


def _grades(asking: Asking, asked: Contract) -> Iterator[tuple[Kind, Contract, str]]:
    """Products that the published table lets stand in for the one asked for, which is never a worse one; wholly or in part."""
    products = asking.live.demands.products
    equivalents = sorted((cost, name) for name, cost in products[asked.product].equivalents.items() if name in products)
    names = [name for _, name in equivalents]
    if names and not asked.substitution:
        yield Kind.GRADE, replace(asked, substitution=True), f"delivered in {asked.product} or its equivalents: {', '.join(names)}"
    for name in (n for n in names if asked.lot_gpus % products[n].lot_gpus == 0):
        yield Kind.GRADE, replace(asked, product=name), f"delivered in {name}, an equivalent of {asked.product}"


def _domains(asked: Contract) -> Iterator[tuple[Kind, Contract, str]]:
    """Wider domains one after the other, and without the spread."""
    if asked.spread_level is not Scope.ANY:
        free = replace(asked, spread_level=Scope.ANY, spread_domains=1)
        yield Kind.SCOPE, free, f"without the spread over {asked.spread_domains} domains of level {asked.spread_level.label}"
    for scope in sorted((s for s in Scope if s < asked.scope), reverse=True):
        where = "anywhere" if scope is Scope.ANY else f"in one {scope.label}"
        yield Kind.SCOPE, replace(asked, scope=scope), f"{where}, instead of in one {asked.scope.label}"


def _interruptible(asking: Asking, asked: Contract) -> Iterator[tuple[Kind, Contract, str]]:
    product = asking.live.demands.products[asked.product]
    if asked.firm and product.notice_seconds is not None:
        right = replace(asked, firm=False, notice_seconds=product.notice_seconds, curtailable_seconds=product.curtailable_seconds)
        told = f"notice of {product.notice_seconds} s, at most {duration(product.curtailable_seconds)} curtailed"
        yield Kind.INTERRUPTIBLE, right, f"Interruptible instead of Firm: {told}"
