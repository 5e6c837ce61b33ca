"""The sellable curve: every point is admitted, one lot more is not, and longer is never more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan_solver.asking import Asking
from laycan_solver.live import Live
from laycan_solver.model import Contract, Problem, Reliability
from laycan_solver.planner import Planner
from laycan_solver.sellable import BUYER, Curve, Limit, Point, curve
from tests.laycan_solver.instances import NOW, STEP, problem
from tests.laycan_solver.small import HOUR, contract, node, product
from tests.laycan_solver.small import problem as small
from tests.laycan_solver.test_quote import MIDDLE, state

STARTS = [NOW - STEP, NOW, NOW + 2 * STEP, NOW + 7 * STEP + 1]
LENGTHS = [STEP, 3 * STEP, 9 * STEP]
DAY = 24


def with_target(p: Problem, ppm: int | None) -> Problem:
    return replace(p, products=tuple(replace(q, reliability=Reliability(target_ppm=ppm)) for q in p.products))


def kept(p: Problem) -> Live:
    return Planner(p, effort=50).kept()


def asked(found: Curve, point: Point, more: int = 0) -> Contract:
    start = max(point.start, NOW)
    gpus = point.gpus + more * point.lot_gpus
    return Contract("x", "x", found.product, start, point.end, gpus, point.lot_gpus, holder=BUYER, accepted=False)


@pytest.mark.parametrize("lot", [None, 1, 4])
@pytest.mark.parametrize("ppm", [None, 100, 20_000])
@pytest.mark.parametrize("seed", range(4))
def test_every_point(seed: int, ppm: int | None, lot: int | None) -> None:
    """Every point is admitted; one lot more does not fit, or is refused, or would not even be had for a shorter time."""
    live = kept(with_target(problem(seed, MIDDLE), ppm))
    before = state(live.book)
    asking = Asking(live)
    for name in sorted(live.demands.products):
        found = curve(live, name, STARTS, LENGTHS, lot_gpus=lot)
        assert found.target_ppm == ppm
        assert [(p.start, p.end) for p in found.points] == sorted({(s, s + n) for s in STARTS for n in LENGTHS if s + n > NOW})
        for shorter, point in zip((None, *found.points), found.points, strict=False):
            same = shorter is not None and shorter.start == point.start
            assert not (shorter and same) or point.gpus <= shorter.gpus
            assert (point.risk is None) == (point.gpus == 0)
            if point.gpus:
                assert asking.would(asked(found, point)).risk == point.risk
            more = asked(found, point, 1)
            if point.limit is Limit.CAPACITY:
                assert not asking.fits(more)
            elif not (shorter and same and shorter.gpus == point.gpus):
                assert asking.would(more).refusal is not None
    assert state(live.book) == before


def base(sold: int, ppm: int | None = 100) -> Live:
    """64 nodes in racks of 4, of which so many are sold for 30 days from 4 January."""
    fleet = [node(f"n{i:02}", rack=f"r{i // 4}") for i in range(64)]
    contracts = [contract("sold", 3 * DAY, 33 * DAY, 8 * sold)] if sold else []
    return kept(small(fleet, contracts, products=[product(reliability=Reliability(target_ppm=ppm))]))


def test_the_numbers_of_reserve_md() -> None:
    """Of 64 nodes 58 are to be sold at 100 ppm and 60 not even at 1 %; beside 57 that is one more; 30 days from another day are free."""
    live, start = base(57), NOW + 3 * DAY * HOUR
    one = curve(live, "h100", [start], [30 * DAY * HOUR]).points[0]
    assert (one.gpus, one.limit) == (8, Limit.TARGET)
    assert one.risk is not None
    assert one.risk.ppm == 63
    assert curve(live, "h100", [start + 30 * DAY * HOUR], [30 * DAY * HOUR]).points[0].gpus == 8 * 58
    assert curve(base(0), "h100", [start], [30 * DAY * HOUR]).points[0].gpus == 8 * 58


def test_another_probability() -> None:
    """At 1 % 59 of 64 nodes go, without a target all of them, whatever the product's own target is; nothing changes by asking."""
    live, start = base(57), NOW + 3 * DAY * HOUR
    before = state(live.book)
    at_one_per_cent = curve(live, "h100", [start], [30 * DAY * HOUR], target_ppm=10_000)
    assert (at_one_per_cent.target_ppm, at_one_per_cent.points[0].gpus) == (10_000, 16)
    assert state(live.book) == before
    assert live.demands.products["h100"].reliability.target_ppm == 100
    by_count = curve(base(57, None), "h100", [start], [30 * DAY * HOUR])
    assert (by_count.points[0].gpus, by_count.points[0].limit) == (56, Limit.CAPACITY)


def test_unknown_product() -> None:
    """A product that is not given is refused with what to do about it."""
    with pytest.raises(ValueError, match=r"productRef\.name"):
        curve(base(0), "h900", [NOW], [HOUR])
