"""Quotes: honest, proved where they can be, witnessed by legal plans, and without a trace in the book."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_solver.book import Book
from laycan_solver.check import check
from laycan_solver.model import Contract, Plan, Problem, Scope
from laycan_solver.planner import laid_out, plan, written
from laycan_solver.quote import Desk, Quote
from tests.laycan_solver import small
from tests.laycan_solver.instances import NOW, STEP, TINY, Shape, problem
from tests.laycan_solver.small import HOUR, binding, contract, node, outage

MIDDLE = Shape(nodes=16, contracts=24, load=0.9, steps=20, whole_nodes=0.2)
SEEDS = range(20)


def planned(p: Problem) -> tuple[Plan, Desk]:
    found = plan(p, 50)
    return found, Desk(*laid_out(p, found.bindings, {u.contract for u in found.undelivered if u.refused}))


def questions(p: Problem, seed: int, count: int = 6) -> list[Contract]:
    """Contracts like those of the problem, in other windows, of other sizes."""
    rng = random.Random(seed)
    some = rng.choices(p.contracts, k=count)
    asked = []
    for c in some:
        start = NOW + STEP * rng.randint(-1, 12) + rng.choice((0, 0, 1_800))
        end = max(start, NOW) + rng.randint(STEP // 2, 8 * STEP)
        gpus = c.lot_gpus * rng.randint(1, 8)
        new = replace(c, key="ask/x", contract_id="x", start=start, end=end, gpus=gpus, accepted=False, delivering=False)
        asked.append(replace(new, holder=rng.choice(("red", "new", c.holder))))
    return asked


def state(book: Book) -> bytes:
    """Everything that a later plan could depend on, to the byte and in order."""
    ledger = book.ledger
    arrays = [a.tobytes() for a in (ledger._cells, ledger._lazy, ledger._least, ledger.gpus, book.months.busy, ledger.grid.starts)]
    contents = (book.segments, book.on_node, sorted(book.demands), book.history, ledger.grid.times, book.mark(), book.version)
    return pickle.dumps((arrays, contents, [book.verdict(i) for i in sorted(book.demands)], [book.missing(i) for i in book.demands]))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_changes_by_asking(seed: int) -> None:
    """Whatever is asked, the book is afterwards as it was, in every byte of the ledger and in the order of everything."""
    p = problem(seed, MIDDLE)
    _, desk = planned(p)
    before = state(desk.book)
    for asked in questions(p, seed):
        desk.bindable(asked)
        desk.quote(asked)
        desk.largest(asked)
        desk.earliest(asked, NOW, 20 * STEP)
    assert state(desk.book) == before


def with_offer(p: Problem, found: Plan, asked: Contract, quote: Quote) -> tuple[Problem, Plan]:
    """The plan in which the quote is taken up, for as many lots as were granted."""
    taken = replace(asked, gpus=quote.replanned * asked.lot_gpus, accepted=True, due_from=0)
    changed = replace(p, contracts=(*p.contracts, taken))
    bindings = [*(set(found.bindings) - set(quote.released)), *quote.acquired, *quote.placement]
    return changed, written(changed, sorted(bindings), [u for u in found.undelivered if u.refused])


@pytest.mark.parametrize("seed", SEEDS)
def test_witness(seed: int) -> None:
    """The replanned lots with the bindings that change are a legal plan that serves all of them; nobody else is worse off."""
    p = problem(seed, MIDDLE)
    p = replace(p, contracts=tuple(c for c in p.contracts if c.start >= NOW), previous=())  # no binding begins before now
    found, desk = planned(p)
    for asked in questions(p, seed):
        quote = desk.quote(asked)
        assert quote.bindable <= quote.replanned <= quote.at_most <= quote.asked == asked.lots
        if not quote.replanned:
            continue
        changed, taken_up = with_offer(p, found, asked, quote)
        assert check(changed, taken_up) == []
        assert not any(u.contract == "ask/x" for u in taken_up.undelivered)
        assert taken_up.totals.owed_micros == found.totals.owed_micros
        assert taken_up.totals.interruption_micros <= found.totals.interruption_micros


@pytest.mark.parametrize("seed", range(8))
def test_earliest_start(seed: int) -> None:
    """No start before the one found, tried one by one, has room for all lots; and none that counting excludes has any."""
    p = problem(seed, MIDDLE)
    _, desk = planned(p)
    times = desk.book.ledger.grid.times
    for asked in questions(p, seed, 4):
        found = desk.earliest(asked, NOW + 600, 30 * STEP)
        length = asked.end - asked.start
        starts = sorted({NOW + 600, *(t for t in times if NOW + 600 <= t <= NOW + 600 + 30 * STEP)})
        fit = [t for t in starts if desk.bindable(replace(asked, start=t, end=t + length, due_from=0)).lots == asked.lots]
        if found.start is None or not desk.book.fleet.handed_over:
            assert found.start == (fit[0] if fit else None)
        assert found.not_before is not None or not fit
        if found.not_before is not None:
            assert all(t >= found.not_before for t in fit)
            assert found.start is None or found.start >= found.not_before


requests = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(1, 4)), max_size=24)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(0, 40), st.integers(1, 40))
def test_whole_nodes_anywhere_are_coloured(drawn: list[tuple[int, int, int]], start: int, length: int) -> None:
    """Of whole nodes in any place exactly what is not sold in the busiest hour can be had, and the quote proves it."""
    nodes, load, kept = 6, [0] * 100, []
    for i, (first, hours, wanted) in enumerate(drawn):
        if max(load[first : first + hours]) + wanted <= nodes:
            load[first : first + hours] = [n + wanted for n in load[first : first + hours]]
            kept.append(contract(f"c{i}", first, first + hours, 8 * wanted))
    _, desk = planned(small.problem([node(f"n{i}") for i in range(nodes)], kept))
    quote = desk.largest(contract("x", start, start + length))
    assert quote.replanned == quote.at_most == nodes - max(load[start : start + length])
    assert quote.proved


def test_what_runs_stays() -> None:
    """A node with a lot that runs is not counted as free, and nothing that runs is moved for a quote."""
    p = small.problem(
        [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1")],
        [contract("x", -5, 30)],
        previous=[binding("x", "a", -5, 30)],
    )
    _, desk = planned(p)
    pair = contract("pair", 2, 10, 16, scope=Scope.RACK, all_or_nothing=True)
    quote = desk.quote(pair)
    assert (quote.replanned, quote.at_most, quote.released) == (1, 1, ())


def test_a_domain_is_emptied() -> None:
    """For a contract that needs a rack, what has not begun leaves it, with the bindings that change as witness."""
    racks = [node(f"n{r}{i}", rack=f"r{r}") for r in range(2) for i in range(2)]
    previous = [binding("x", "n00", 5, 8), binding("y", "n10", 5, 8)]
    p = small.problem(racks, [contract("x", 5, 8), contract("y", 5, 8)], previous=previous)
    _, desk = planned(p)
    quote = desk.quote(contract("pair", 2, 10, 16, scope=Scope.RACK, all_or_nothing=True))
    assert (quote.bindable, quote.replanned, quote.proved) == (1, 2, True)
    assert len(quote.released) == len(quote.acquired) == 1


def test_windows_off_the_grid_and_behind_it() -> None:
    """An odd second, or a year after everything else, is as good as any; an outage behind the last contract counts."""
    p = small.problem([node("a"), node("b")], [contract("x", 0, 10)], outages=[outage("b", 500, 600)])
    _, desk = planned(p)
    odd = replace(contract("q", 0, 1, 16), start=NOW + 10 * HOUR - 1, end=NOW + 20 * HOUR + 7)
    assert desk.quote(odd).replanned == 1
    assert desk.quote(replace(odd, start=NOW + 10 * HOUR)).bindable == 2
    assert desk.quote(contract("far", 400, 501, 16)).at_most == 1
    assert desk.quote(contract("far", 400, 500, 16)).bindable == 2
    assert desk.earliest(contract("far", 0, 200, 16), NOW + 450 * HOUR, 400 * HOUR).start == NOW + 600 * HOUR


def test_questions_without_an_answer() -> None:
    """An unknown product and a window that has passed are refused with what to do about it."""
    _, desk = planned(problem(0, TINY))
    with pytest.raises(ValueError, match=r"productRef\.name"):
        desk.quote(contract("q", 0, 1, product="h900"))
    with pytest.raises(ValueError, match="ends later"):
        desk.quote(contract("q", -5, -1))
