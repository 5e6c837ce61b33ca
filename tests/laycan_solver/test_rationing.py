"""Where not everything fits: who waits, by the bound's prices, and how many lots share the instants at which they change nodes."""

from __future__ import annotations

from laycan_solver.blocks import fill
from laycan_solver.book import Book
from laycan_solver.check import check
from laycan_solver.construct import turns
from laycan_solver.cover import cover
from laycan_solver.eligible import Demand, Demands, Fleet
from laycan_solver.model import Problem
from laycan_solver.objective import Segment
from laycan_solver.planner import laid_out, plan
from laycan_solver.rationing import ration
from laycan_solver.topology import Topology
from tests.laycan_solver.small import HOUR, NOW, contract, node, problem


def demands_of(p: Problem) -> tuple[Fleet, list[Demand]]:
    fleet = Fleet(p)
    demands = Demands(p, fleet)
    return fleet, [d for i in range(len(p.contracts)) if (d := demands.demand(i))]


def span(start: int, end: int) -> tuple[int, int]:
    return NOW + start * HOUR, NOW + end * HOUR


def crowded(**more: bool) -> Problem:
    """One node; `long` is owed half of what `peak` is, which asks for the node in the middle."""
    long = contract("long", 0, 100, firm=False, price_micros=500_000, **more)
    return problem([node("a")], [long, contract("peak", 40, 60), contract("after", 100, 110, firm=False)])


def test_who_is_owed_less_than_the_price_waits() -> None:
    """The cheap contract is worth serving before and after the dear one; who meets no price is not rationed."""
    fleet, demands = demands_of(crowded())
    assert ration(Topology(fleet, NOW), demands) == {0: [span(0, 40), span(60, 100)]}


def test_nobody_is_rationed_where_everything_fits() -> None:
    """Two nodes hold all of it, so that nothing has a price."""
    p = crowded()
    fleet, demands = demands_of(problem([node("a"), node("b")], list(p.contracts)))
    assert ration(Topology(fleet, NOW), demands) == {}


def test_firm_is_never_rationed() -> None:
    """Of Firm contracts that do not fit together, none is told to wait: tiers come before prices."""
    fleet, demands = demands_of(crowded(all_or_nothing=True))
    assert set(ration(Topology(fleet, NOW), demands)) == {0}
    firm = [contract("x", 0, 10, price_micros=2_000_000), contract("y", 0, 10)]
    fleet, demands = demands_of(problem([node("a")], firm))
    assert ration(Topology(fleet, NOW), demands) == {}


def test_who_waits_comes_last_unless_it_comes_whole() -> None:
    """In parts it takes what others leave; whole, nothing would be left for it, and it keeps its place in order of starts."""
    for whole, first in ((False, 1), (True, 0)):
        fleet, demands = demands_of(crowded(all_or_nothing=whole))
        order = turns(demands, fleet, ration(Topology(fleet, NOW), demands))
        assert order[0][0] == first
        assert [t for t in order if t[0] == 0] == [(0, *span(0, 40)), (0, *span(60, 100))]


def test_the_plan_of_an_oversold_fleet_owes_what_the_bound_says() -> None:
    """The cheap contract pauses for the dear one and no longer."""
    p = crowded()
    found = plan(p)
    assert check(p, found) == []
    assert (found.totals.firm_owed_micros, found.total_gap_ppm) == (0, 0)
    assert [(u.contract, u.start, u.end) for u in found.undelivered] == [("desk/long", *span(40, 60))]


def opened(p: Problem, *served: Segment) -> Book:
    """A book of the first contract, of which this is served; others fill what they ask for in order."""
    book, _ = laid_out(p, (), set())
    for index in sorted(book.demands)[1:]:
        demand = book.demands[index]
        column = int(demand.contract.key[-1])
        book.put(index, [Segment(column, demand.start, demand.end, demand.lots)])
    if served:
        book.put(0, list(served))
    return book


def test_blocks_share_their_instants() -> None:
    """Four lots that must all leave their nodes half-way do so at one instant."""
    nodes = [node(f"n{i}") for i in range(8)]
    before = [contract(f"late{i}", 50, 100) for i in range(4)]
    after = [contract(f"early{i}", 0, 50) for i in range(4, 8)]
    book = opened(problem(nodes, [contract("many", 0, 100, gpus=32, lot_gpus=8), *before, *after]))
    fill(book, 0)
    assert book.missing(0) == []
    assert book.verdict(0).instants == (NOW + 50 * HOUR,)


def test_a_way_ends_before_others_arrive_where_it_may_not_be_cut() -> None:
    """One lot of two arrives at hour 60; the other may come before it, if it leaves in time to be no change of nodes."""
    two = contract("two", 0, 100, gpus=16, lot_gpus=8, forced_moves_only=True)
    others = [contract("late0", 60, 100), contract("early1", 0, 60), contract("one2", 0, 59), contract("other2", 59, 100)]
    book = opened(problem([node("n0"), node("n1"), node("n2")], [two, *others]), Segment(1, NOW + 60 * HOUR, NOW + 100 * HOUR, 1))
    cover(book, 0)
    assert book.verdict(0).legal
    assert Segment(0, *span(0, 59), 1) in book.segments[0]
