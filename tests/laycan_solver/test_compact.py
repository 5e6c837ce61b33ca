"""Free months: what compaction wins, and what it leaves alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from laycan_solver.book import Book
from laycan_solver.check import check
from laycan_solver.compact import compact, may_move
from laycan_solver.model import Binding, Problem, Scope
from laycan_solver.objective import Segment
from laycan_solver.planner import laid_out, never, plan, written
from laycan_solver.report import bindings_of
from tests.laycan_solver import instances
from tests.laycan_solver.small import binding, contract, node, problem

DAY = 24  # hours
ENOUGH = 10_000  # placements
SPARSE = instances.Shape(nodes=24, contracts=60, load=0.4, steps=400)


def book_of(p: Problem, *bindings: Binding) -> Book:
    return laid_out(p, bindings, set())[0]


def free_months(book: Book) -> int:
    """Node-months that nothing touches."""
    return int((book.months.busy == 0).sum())


def where(book: Book) -> dict[str, str]:
    """contract -> node."""
    return {book.demands[i].contract.contract_id: book.fleet.nodes[s.column].name for i, own in book.segments.items() for s in own}


def test_one_month_on_one_node() -> None:
    """Two contracts that follow each other within a month come to lie on one node."""
    p = problem([node("n0"), node("n1")], [contract("a", 2 * DAY, 10 * DAY), contract("b", 12 * DAY, 20 * DAY)])
    book = book_of(p, binding("a", "n0", 2 * DAY, 10 * DAY), binding("b", "n1", 12 * DAY, 20 * DAY))
    before = free_months(book)
    assert compact(book, ENOUGH, never) == 1
    assert free_months(book) == before + 1
    assert len(set(where(book).values())) == 1


def crossed(**more: Any) -> tuple[Problem, list[Binding]]:
    """`a` runs on n0 into January, `c` follows there in February, while `b` takes n1 up in January: neither fits where the other is."""
    windows = {"a": (-DAY, 10 * DAY), "b": (15 * DAY, 64 * DAY), "c": (41 * DAY, 79 * DAY)}
    on = {"a": "n0", "b": "n1", "c": "n0"}
    bindings = [binding(k, on[k], *windows[k]) for k in windows]
    contracts = [contract(k, *windows[k], **(more if k == "b" else {})) for k in windows]
    return problem([node("n0", rack="r0"), node("n1", rack="r1")], contracts, previous=(bindings[0],)), bindings


def test_exchange_where_neither_fits() -> None:
    """What no single placement wins, an exchange of two nodes does."""
    p, bindings = crossed()
    book = book_of(p, *bindings)
    assert compact(book, ENOUGH, never) == 1
    assert where(book) == {"a": "n0", "b": "n0", "c": "n1"}


def test_what_is_announced_stays() -> None:
    """A month is no reason to change what has been announced."""
    p, bindings = crossed()
    told = problem(list(p.nodes), list(p.contracts), previous=tuple(bindings[:2]))
    book = book_of(told, *bindings)
    assert compact(book, ENOUGH, never) == 0
    assert where(book) == {"a": "n0", "b": "n1", "c": "n0"}


def test_scope_holds() -> None:
    """A lot does not leave the rack in which the rest of its contract lies."""
    p, bindings = crossed(gpus=16, scope=Scope.RACK)
    nodes = [*p.nodes, node("n2", rack="r1")]
    wide = problem(nodes, list(p.contracts), previous=p.previous)
    book = book_of(wide, *bindings, binding("b", "n2", 15 * DAY, 64 * DAY))
    compact(book, ENOUGH, never)
    assert {book.fleet.nodes[s.column].domains[2] for s in book.segments[1]} == {"r1"}


def test_no_tries_no_change() -> None:
    """The budget is kept."""
    p, bindings = crossed()
    book = book_of(p, *bindings)
    assert compact(book, 0, never) == 0
    assert where(book) == {"a": "n0", "b": "n1", "c": "n0"}


def scattered(p: Problem, rng: random.Random) -> Book:
    """A legal plan without regard to months: what may lie anywhere lies on random nodes."""
    found = plan(p, 0)
    book = laid_out(p, found.bindings, {u.contract for u in found.undelivered if u.refused})[0]
    for index, demand in book.demands.items():
        if may_move(book, index) and not demand.scoped and not demand.spread:
            mark, lots = book.mark(), sum(s.lots for s in book.segments[index])
            book.clear(index)
            units = np.concatenate([book.room(demand, demand.start, demand.end, span) for _, span in demand.pool.own])
            columns = np.concatenate([np.arange(span.start, span.stop) for _, span in demand.pool.own])
            able = columns[units > 0].tolist()
            if len(able) < lots:
                book.roll_back(mark)
            else:
                book.put(index, [Segment(c, demand.start, demand.end, 1) for c in rng.sample(able, lots)])
    return book


@pytest.mark.parametrize("seed", range(12))
def test_nothing_else_is_worse(seed: int) -> None:
    """Months are won, no tier rises, the count is right and the plan stays legal: outages, holders, spreads and dead GPUs included."""
    p = instances.problem(seed, SPARSE)
    book = scattered(p, random.Random(seed))
    tiers, months = book.tiers(book.demands), free_months(book)
    won = compact(book, ENOUGH, never)
    assert free_months(book) == months + won
    assert book.tiers(book.demands) <= tiers
    assert check(p, written(p, sorted(b for d in book.demands.values() for b in bindings_of(book, d)), ())) == []


def test_most_plans_can_be_compacted() -> None:
    """The test above is not one of plans in which nothing could be won."""
    won = [compact(scattered(instances.problem(seed, SPARSE), random.Random(seed)), ENOUGH, never) for seed in range(6)]
    assert sum(n > 0 for n in won) > 3
