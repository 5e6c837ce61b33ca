"""Strips, steps and spare nodes are what a count second by second gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laycan.desk.report.capacity import pools_of
from laycan.desk.report.charts import area, line
from laycan.desk.report.figures import hours, money, percent, position, window
from laycan.desk.report.scale import MOST_BINS, Scale, scale_of
from laycan.desk.report.strips import Span, shades, spread
from laycan_solver.ground import clearing
from laycan_solver.model import Plan, Problem, Product
from tests.laycan.desk.report.books import SEEDS, case
from tests.laycan_solver.small import NOW

SCALE = Scale(1_000, 900, 1_500, 50)
TIMES = st.integers(850, 1_600)
SPANS = st.lists(st.builds(lambda row, a, b, n: Span(row, min(a, b), max(a, b), n), st.integers(0, 2), TIMES, TIMES, st.integers(1, 9)))


@given(SPANS)
def test_spread_counts_every_second(spans: list[Span]) -> None:
    """The sum over seconds, bin by bin, of the amounts that are there."""
    found = spread(SCALE, 3, spans)
    for row in range(3):
        for i in range(SCALE.bins):
            inside = range(900 + 50 * i, 950 + 50 * i)
            assert found[row, i] == sum(
                s.amount * len(range(max(s.start, inside[0]), min(s.end, inside[-1] + 1))) for s in spans if s.row == row
            )


def test_shades_are_runs() -> None:
    """Anything at all is shade 1, the most and more is the last, and bins without anything are not drawn."""
    import numpy as np

    found = shades(np.array([0, 1, 1, 800, 900, 0, 400]), 800, "h")
    assert {s.name: s.path for s in found} == {"h1": "M1 0h2v8h-2z", "h8": "M3 0h2v8h-2z", "h4": "M6 0h1v8h-1z"}


def test_steps() -> None:
    """A path goes across and then up, and an area comes back to the foot."""
    assert line([1, 1, 2], 4) == "M0 75V75H2V50H3"
    assert area([1, 1, 2], 4, 5) == "M5 100V75H7V50H8V100z"
    assert area([], 4) == line([1], 0) == ""


def fewest(problem: Problem, plan: Plan, product: str, zone: str, start: int, end: int) -> int:
    """Whole nodes to spare in [start, end), counted at every instant at which something changes."""
    sold = next(p for p in problem.products if p.name == product)
    clear = {c.key: clearing(c) for c in problem.contracts}
    most = {n.grade: max(m.gpus for m in problem.nodes if m.grade == n.grade) for n in problem.nodes}
    nodes = [n for n in problem.nodes if n.grade in sold.grades and n.domains[0] == zone]
    nodes = [n for n in nodes if n.usable and not n.cordoned and n.gpus == most[n.grade]]
    busy = {n.name: [(b.start, b.end) for b in plan.bindings if b.node == n.name and commits(clear[b.contract], sold)] for n in nodes}
    for o in problem.outages:
        for name in o.nodes & busy.keys():
            busy[name].append((o.start, o.end))
    instants = {start, *(t for spans in busy.values() for span in spans for t in span if start <= t < end)}
    return min(sum(not any(a <= t < b for a, b in spans) for spans in busy.values()) for t in instants)


def commits(clear: tuple[int, int], sold: Product) -> bool:
    known = sold.reliability
    return clear[0] > known.cure_seconds or clear[1] < known.repair_seconds


def test_spare_nodes() -> None:
    """The fewest of each bin, as a count over all instants gives them."""
    seen = 0
    for seed in SEEDS:
        problem, plan = case(seed)
        scale = scale_of(problem, plan)
        for pool in pools_of(problem, plan, scale):
            for spares in pool.spares:
                for i, found in enumerate(spares.fewest[:40]):
                    start = scale.start + (spares.first_bin + i) * scale.bin_seconds
                    assert found == fewest(problem, plan, pool.product, spares.zone, max(start, problem.now), start + scale.bin_seconds)
                    seen += 1
                assert spares.least == min(spares.fewest)
    assert seen > 900


def test_scale() -> None:
    """Now lies on the axis, all that is due too, and there are not too many bins."""
    for seed in SEEDS:
        problem, plan = case(seed)
        scale = scale_of(problem, plan)
        assert scale.start <= problem.now < scale.end
        assert scale.end >= max(b.end for b in plan.bindings)
        assert 0 < scale.bins <= MOST_BINS + 2
        assert 1 < len(scale.ticks) <= 20
        assert scale.left(scale.start) == "0.0000%"
        assert scale.left(scale.end + 1) == "100.0000%"


def test_figures() -> None:
    """Rounded as they say, grouped, and short where nothing is lost."""
    assert money(1_411_524_482_500, "USD") == "1,411,524.48 USD"
    assert (money(5_000), money(4_999), money(-5_000), money(-4_999)) == ("0.01", "0.00", "-0.01", "0.00")
    assert (hours(3_600 * 1_234), hours(180), hours(179)) == ("1,234.0", "0.1", "0.0")
    assert (percent(9_999_999, 10_000_000), percent(1, 1), percent(1, 2), percent(1, 0)) == ("99.99 %", "100 %", "50 %", "-")
    assert (position(1, 3), position(5, 3), position(-1, 3)) == ("33.3333%", "100.0000%", "0.0000%")
    assert window(NOW, NOW + 86_400) == "2027-01-01 to 2027-01-02"
    assert window(NOW, NOW + 61) == "2027-01-01 00:00 to 2027-01-01 00:01:01"
    assert window(NOW + 60, 1 << 40) == "2027-01-01 00:01 to open"
