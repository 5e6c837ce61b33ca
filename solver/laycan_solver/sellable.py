"""The sellable curve: the most that would be admitted Firm of a product for each start and length, at the stated probability.

Every point is admitted when it is asked; what fits only after others have been placed anew is not looked for. Where the target ends
it, the number of nodes comes from `headroom`, which is exact for whole nodes; admission has the last word, by bisection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from .asking import Asking, most_admitted
from .live import Live
from .model import Contract
from .promise import Risk

UNLIMITED = 1 << 30  # rehearsals
BUYER = "a buyer"  # holder of nobody's contracts: nodes that are handed over whole are not shared with others


class Limit(StrEnum):
    """What ends a point: the GPUs that are free throughout, or the target."""

    CAPACITY = "capacity"
    TARGET = "target"


@dataclass(frozen=True)
class Point:
    """In [start, end) `gpus` GPUs would be admitted, in lots of `lot_gpus`; `risk` at that, None where nothing would be."""

    start: int
    end: int
    lot_gpus: int
    gpus: int
    limit: Limit
    risk: Risk | None


@dataclass(frozen=True)
class Curve:
    """`points` in order of start, then of length. `target_ppm`: the probability that is kept in 30 days; None = by count."""

    product: str
    target_ppm: int | None
    points: tuple[Point, ...]


def curve(
    live: Live, product: str, starts: Iterable[int], lengths: Iterable[int], *, lot_gpus: int | None = None, target_ppm: int | None = None
) -> Curve:
    """The curve of a product for starts (Unix seconds; what is over by now is left out) and lengths (seconds).

    `lot_gpus`: None = whole nodes. `target_ppm`: instead of the product's own. ValueError where the product is unknown.
    """
    live = _at(live, product, target_ppm) if target_ppm is not None else live
    asking = Asking(live)
    windows = sorted({(s, s + n) for s in starts for n in lengths if s + n > live.now})
    lot = lot_gpus or node_gpus(live, product)
    seller = Seller(asking, product, lot)
    points: list[Point] = []
    for start, end in windows:
        shorter = points[-1] if points and points[-1].start == start else None
        points.append(seller.point(start, end, shorter))
    return Curve(product, live.demands.products[product].reliability.target_ppm, tuple(points))


def node_gpus(live: Live, product: str) -> int:
    """GPUs of a whole node of the product's grades; 1 where there is none."""
    return int(live.fleet.gpus[Asking(live).desk.demand(_contract(live, product, live.now, live.now + 1, 1, 1)).columns].max(initial=1))


def _at(live: Live, product: str, target_ppm: int) -> Live:
    """A copy of the plan in which the product has this target."""
    other = live.copy()
    products = other.demands.products
    if product in products:
        known = replace(products[product], reliability=replace(products[product].reliability, target_ppm=target_ppm))
        other.demands.products = products | {product: known}
        other.admission = replace(other.admission)  # judges by these
    return other


def _contract(live: Live, product: str, start: int, end: int, lots: int, lot_gpus: int) -> Contract:
    start = max(start, live.now)
    return Contract("sellable/point", "sellable", product, start, end, lots * lot_gpus, lot_gpus, holder=BUYER, accepted=False)


class Seller:
    """Points of one product and lot size."""

    def __init__(self, asking: Asking, product: str, lot_gpus: int) -> None:
        self.asking, self.live, self.product, self.lot = asking, asking.live, product, lot_gpus
        demand = asking.desk.demand(_contract(self.live, product, self.live.now, self.live.now + 1, 1, lot_gpus))
        self.last: dict[int, int] = {}  # length -> lots of the start before, which the next one is often like
        self.most = int((self.live.fleet.gpus[demand.columns] // lot_gpus).sum())

    def point(self, start: int, end: int, shorter: Point | None) -> Point:
        """The most for that window, which is no more than for a shorter one."""

        def part(lots: int) -> Contract:
            return _contract(self.live, self.product, start, end, lots, self.lot)

        fit = self.asking.desk.bindable(part(self.most)).lots if self.most else 0
        most = min(fit, shorter.gpus // self.lot) if shorter else fit
        guess = None if shorter else self.last.get(end - start)
        lots, risk = most_admitted(self.asking, part, most, UNLIMITED, guess)
        self.last[end - start] = lots
        ended = Limit.CAPACITY if lots == fit else shorter.limit if shorter and lots == most < fit else Limit.TARGET
        return Point(start, end, self.lot, lots * self.lot, ended, risk)
