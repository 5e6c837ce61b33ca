"""Counting: what it excludes no plan grants, by CP-SAT; and it follows the book."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from laycan_solver.counting import Counting, kept
from laycan_solver.model import Contract, Problem, Scope
from laycan_solver.planner import laid_out, plan
from laycan_solver.quote import Desk
from tests.laycan_solver import small
from tests.laycan_solver.exact import Exact
from tests.laycan_solver.instances import NOW, STEP, TINY, Shape, problem
from tests.laycan_solver.sliced import Sliced
from tests.laycan_solver.small import binding, contract, node, outage, product


def desk_of(p: Problem) -> Desk:
    found = plan(p, 50)
    return Desk(*laid_out(p, found.bindings, {u.contract for u in found.undelivered if u.refused}))


def grants(p: Problem, desk: Desk, asked: Contract) -> bool:
    """Is there a plan that serves the contract whole and uncut, and everyone whole and uncut who is so now?"""
    keep = {d.contract.key for d in desk.book.demands.values() if kept(desk.book, d)}
    free = tuple(replace(g, equivalents=dict.fromkeys(g.equivalents, 0)) for g in p.products)
    contracts = (*(c for c in p.contracts if c.key in keep), replace(asked, accepted=True))
    previous = tuple(b for b in p.previous if b.contract in keep)
    exact = Exact(Sliced(replace(p, products=free, contracts=contracts, previous=previous)))
    found = exact.solve(exact.total)
    return found.least == 0


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_grants_more(seed: int) -> None:
    """One lot more than the bound cannot be had together with what accepted contracts must keep, whatever is planned anew."""
    p = problem(seed, replace(TINY, load=0.8))
    desk = desk_of(p)
    rng = random.Random(seed)
    c = rng.choice(p.contracts)
    start = NOW + STEP * rng.randint(0, 5)
    asked = replace(c, key="ask/x", start=start, end=start + STEP * rng.randint(1, 4), accepted=False, firm=True, spread_level=Scope.ANY)
    asked = replace(asked, spread_domains=1, notice_seconds=None, curtailable_seconds=0, gpus=c.lot_gpus * 20)
    most = desk.at_most(asked).lots
    assert not grants(p, desk, replace(asked, gpus=c.lot_gpus * (most + 1)))


@pytest.mark.parametrize("seed", range(12))
def test_follows_the_book(seed: int) -> None:
    """After contracts have come, gone and moved it says the same as one that counts from scratch."""
    p = problem(seed, Shape(nodes=16, contracts=24, load=0.9, steps=20))
    book = desk_of(p).book
    counting, rng = Counting(book), random.Random(seed)
    for _ in range(8):
        index = rng.choice(sorted(book.demands))
        mark = book.mark()
        book.clear(index)
        if rng.random() < 0.5:
            counting.refresh()
            book.roll_back(mark)
        elif rng.random() < 0.5:
            book.close(index)
        fresh = Counting(book)
        for demand in list(book.demands.values())[:6]:
            options, lot = demand.options, demand.contract.lot_gpus
            now, then = counting.most(options, lot, demand.start, demand.end), fresh.most(options, lot, demand.start, demand.end)
            assert now == then
            columns = demand.columns
            free = counting.free_of_fixed(demand.start, demand.end, columns)
            assert np.array_equal(free, fresh.free_of_fixed(demand.start, demand.end, columns))


def test_scarcest_slice() -> None:
    """The bound says when the least is left, and how much of the pool that is."""
    p = small.problem([node("a"), node("b"), node("c")], [contract("x", 0, 10), contract("y", 4, 8, 4)])
    most = desk_of(p).at_most(contract("q", 2, 20, 24))
    assert (most.lots, most.have) == (1, 12)
    assert (most.start, most.end) == (NOW + 4 * small.HOUR, NOW + 8 * small.HOUR)


def test_substitutes_are_one_pool() -> None:
    """A contract that may be delivered in a dearer grade does not hold its own grade against others; one that may not does."""
    grades = [product(equivalents={"h200": 5}), product("h200", "H200")]
    nodes = [node("a"), node("b", grade="H200")]
    for substitution, lots in ((True, 1), (False, 0)):
        p = small.problem(nodes, [contract("x", 1, 10, substitution=substitution)], products=grades)
        assert desk_of(p).at_most(contract("q", 2, 5)).lots == lots


def test_fractions_count_in_blocks() -> None:
    """Two lots of 5 GPUs leave no node of two for a third, although 6 GPUs are free."""
    p = small.problem([node("a"), node("b")], [contract("x", 1, 10, 10, lot_gpus=5)])
    assert desk_of(p).at_most(contract("q", 2, 5, 5, lot_gpus=5)).lots == 0


def test_what_runs_is_fixed() -> None:
    """Two nodes each with a lot of 4 GPUs that runs have no room for one of 8, although 8 GPUs are free; later they have."""
    previous = [binding("x", "a", -1, 10, 4), binding("y", "b", -1, 10, 4)]
    p = small.problem([node("a"), node("b")], [contract("x", -1, 10, 4), contract("y", -1, 10, 4)], previous=previous)
    desk = desk_of(p)
    assert desk.at_most(contract("q", 2, 20)).lots == 0
    assert desk.at_most(contract("q", 10, 20, 16)).lots == 2
    late = desk.earliest(contract("q", 2, 20), NOW, 100 * small.HOUR)
    assert late.start == late.not_before == NOW + 10 * small.HOUR


def test_cordons_and_outages() -> None:
    """Nothing new begins on a cordoned node, and nothing at all on one in an outage."""
    p = small.problem([node("a", cordoned=True), node("b"), node("c")], [], outages=[outage("c", 5, 6)])
    desk = desk_of(p)
    assert desk.at_most(contract("q", 0, 5, 24)).lots == 2
    assert desk.at_most(contract("q", 0, 6, 24)).lots == 1


def test_one_domain() -> None:
    """A contract that needs a rack gets no more lots than the best rack has beside what runs there."""
    nodes = [node(f"n{r}{i}", rack=f"r{r}") for r in range(2) for i in range(3)]
    previous = [binding("x", "n00", -1, 10), binding("y", "n10", -1, 10), binding("y", "n11", -1, 10)]
    p = small.problem(nodes, [contract("x", -1, 10), contract("y", -1, 10, 16)], previous=previous)
    assert desk_of(p).at_most(contract("q", 2, 5, 24, scope=Scope.RACK, all_or_nothing=True)).lots == 2
