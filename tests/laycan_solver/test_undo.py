"""What a trial changed and took back is as it was: every array, every list, every verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from laycan_solver.arrange import arrange
from laycan_solver.book import Book
from laycan_solver.keep import keep_announced
from laycan_solver.planner import laid_out, never, plan
from laycan_solver.polish import polish
from laycan_solver.repair import repair, trial
from laycan_solver.reserves import hold
from laycan_solver.ruin import ruin
from tests.laycan_solver.instances import Shape, problem

CROWD = Shape(nodes=14, contracts=45, load=1.3, whole_nodes=0.2)
SEEDS = range(8)


def state(book: Book) -> tuple[object, ...]:
    """Arrays by their bytes, lists as multisets: their order says nothing."""
    ledger = book.ledger
    arrays = (ledger._cells, ledger._lazy, ledger._least, ledger.grid.starts)
    return (
        [(a.dtype.str, a.shape, a.tobytes()) for a in arrays],
        [Counter(rows) for rows in book.on_node],
        {i: Counter(rows) for i, rows in book.segments.items()},
        {i: book.verdict(i) for i in book.demands},
        {i: book.missing(i) for i in book.demands},
        {name: value.tobytes() for name, value in vars(book.months).items() if hasattr(value, "tobytes")},
    )


def unplanned(seed: int) -> Book:
    """A book of open contracts in which nothing is served."""
    p = problem(seed, CROWD)
    return laid_out(replace(p, contracts=tuple(replace(c, reserve=i % 9 == 8) for i, c in enumerate(p.contracts))), (), set())[0]


def test_ejection_trials() -> None:
    """Rolled back, a trial leaves no trace, whether it had stood or had failed half-way; both happen."""
    outcomes: Counter[bool] = Counter()
    for seed in SEEDS:
        p = problem(seed, CROWD)
        book, _ = laid_out(p, plan(p, 0).bindings, set())
        before = state(book)
        for index in [i for i in book.demands if book.verdict(i).due]:
            for variant in range(4):
                mark = book.mark()
                stood = trial(book, index, variant)
                assert stood or state(book) == before, f"seed {seed}: a failed trial for {index} left something"
                assert not stood or state(book) != before
                book.roll_back(mark)
                assert state(book) == before, f"seed {seed}: the trial for {index} was not undone"
                outcomes[stood] += 1
    assert outcomes[True] > 0
    assert outcomes[False] > 0


def _arrange(book: Book) -> None:
    arrange(book, [d for d in book.demands.values() if not d.contract.reserve], never)


def _hold(book: Book) -> None:
    hold(book, [d for d in book.demands.values() if d.contract.reserve], 10, never)


STEPS: dict[str, Callable[[Book], object]] = {
    "keep": lambda book: keep_announced(book, list(book.demands.values())),
    "arrange": _arrange,
    "repair": partial(repair, effort=30, late=never),
    "polish": partial(polish, tries=50, late=never),
    "ruin": lambda book: ruin(book, 30, 30, never),
    "reserves": _hold,
}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_step_of_the_search(seed: int) -> None:
    """Steps are undone one by one, in any depth: each mark leads back to the state that it was set in."""
    book = unplanned(seed)
    marks = []
    for step in STEPS.values():
        marks.append((book.mark(), state(book)))
        step(book)
    assert state(book) != marks[0][1]
    for mark, before in reversed(marks):
        book.roll_back(mark)
        assert state(book) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_single_changes(seed: int) -> None:
    """The same for segments that are dropped and put back at random, in parts and several at once."""
    p = problem(seed, CROWD)
    book, _ = laid_out(p, plan(p, 0).bindings, set())
    rng, before, mark = Random(seed), state(book), book.mark()
    for _ in range(40):
        index = rng.choice([i for i, rows in book.segments.items() if rows])
        rows = rng.sample(book.segments[index], rng.randint(1, len(book.segments[index])))
        book.drop(index, rows)
        if rng.random() < 0.5:
            book.put(index, rng.sample(rows, rng.randint(1, len(rows))))
    assert state(book) != before
    book.roll_back(mark)
    assert state(book) == before
