"""Offers: full only if admission accepts, alternatives that would themselves be accepted, and no trace in the plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from laycan_solver.alternatives import MOST, Alternative, Kind
from laycan_solver.asking import candidate
from laycan_solver.check import check
from laycan_solver.model import Contract, ContractChanged, Event, Node, Problem, Product, Reliability, TimePassed
from laycan_solver.offers import Promise, answer
from laycan_solver.planner import Planner
from tests.draws import seeds
from tests.laycan_solver.instances import STEP, problem
from tests.laycan_solver.test_quote import MIDDLE, questions, state

SEEDS = range(20)


def kept(p: Problem) -> Planner:
    planner = Planner(p, effort=50)
    planner.kept()
    return planner


def accepts(planner: Planner, contracts: tuple[Contract, ...]) -> bool:
    """All of them, applied one after the other as new contracts to a copy, stand there in a legal plan that serves them."""
    other = planner.copy()
    named = [replace(c, key=f"ask/part-{i}", contract_id=f"part-{i}") for i, c in enumerate(contracts)]
    for contract in named:
        other.update([ContractChanged(contract)])
    assert check(other.problem, other.plan) == []
    return not {c.key for c in named} & {u.contract for u in other.plan.undelivered}


@pytest.mark.parametrize("ppm", [None, 5_000])
@pytest.mark.parametrize("seed", seeds(4))
def test_answers(seed: int, ppm: int | None) -> None:
    """Full if and only if the same contract is accepted when it comes; every alternative would be; asking twice says the same."""
    planner = kept(with_target(problem(seed, MIDDLE), ppm))
    for asked in questions(planner.problem, seed):
        found = answer(planner.kept(), asked)
        assert (found.promise is Promise.FULL) == accepts(planner, (candidate(asked),)) == (found.refusal is None)
        for alternative in found.alternatives:
            assert accepts(planner, alternative.contracts), alternative.reason
        assert answer(planner.kept(), asked) == found


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_changes_by_asking(seed: int) -> None:
    """Whatever is asked, the book is afterwards as it was, in every byte of the ledger and in the order of everything."""
    live = kept(with_target(problem(seed, MIDDLE), 5_000 if seed % 2 else None)).kept()
    before = state(live.book)
    for asked in questions(live.problem(), seed):
        answer(live, asked)
        assert state(live.book) == before


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_that_goes_on(seed: int) -> None:
    """Two plans with the same past, one of which is asked after every update, go on alike to the byte.

    But for one note: who is looked at while delivery runs is remembered as delivering, and asking is a look.
    """
    asked, quiet = kept(problem(seed, MIDDLE)), kept(problem(seed, MIDDLE))
    for step in range(3):
        for question in (q for q in questions(asked.problem, seed + step, 3) if q.end > asked.problem.now):
            answer(asked.kept(), question)
        new = replace(asked.problem.contracts[step], key=f"desk/new{step}", contract_id=f"new{step}", accepted=False, due_from=0)
        events: list[Event] = [TimePassed(asked.problem.now + STEP), ContractChanged(new)]
        assert asked.update(events) == quiet.update(events)
        assert asked.plan == quiet.plan
        assert begun(asked.problem) == begun(quiet.problem)


def begun(p: Problem) -> Problem:
    return replace(p, contracts=tuple(replace(c, delivering=True) for c in p.contracts), previous=tuple(sorted(p.previous)))


def test_every_kind_is_offered() -> None:
    """Over all these questions each kind of alternative is among the answers, and so is each promise."""
    kinds: Counter[object] = Counter()
    for seed in SEEDS:
        live = kept(with_target(problem(seed, MIDDLE), 5_000 if seed % 2 else None)).kept()
        for asked in questions(live.problem(), seed):
            found = answer(live, asked)
            kinds.update([found.promise, *(a.kind for a in found.alternatives)])
            orderly(asked, found.alternatives)
    assert kinds.keys() >= {*Promise, *Kind}


def with_target(p: Problem, ppm: int | None) -> Problem:
    """Products with a target, which may be sold Interruptible."""
    known = Reliability(target_ppm=ppm)
    return replace(p, products=tuple(replace(q, reliability=known, notice_seconds=600, curtailable_seconds=72 * 3_600) for q in p.products))


def orderly(asked: Contract, alternatives: tuple[Alternative, ...]) -> None:
    """At most so many, by kind, none twice, none of which is what was asked."""
    assert len(alternatives) <= MOST
    assert [a.kind for a in alternatives] == sorted(a.kind for a in alternatives)
    assert len({a.contracts for a in alternatives}) == len(alternatives)
    assert all(a.contracts != (candidate(asked),) for a in alternatives)


def test_an_equivalent_is_offered_only_in_lots_in_which_it_is_sold() -> None:
    """Nobody could apply for anything else."""
    own = Product("a", frozenset({"A"}), equivalents={"whole": 1, "parts": 2})
    others = [Product("whole", frozenset({"B"}), lot_gpus=8), Product("parts", frozenset({"C"}))]
    nodes = tuple(Node(f"n{grade}", grade, 8, ("z", "f", "r", f"n{grade}")) for grade in "ABC")
    sold = Contract("d/sold", "sold", "a", 100, 200, 8, 4)
    live = kept(Problem(0, nodes, (own, *others), (sold,))).kept()
    asked = Contract("d/q", "q", "a", 100, 200, 8, 4, accepted=False)
    assert {a.product for a in answer(live, asked).alternatives if a.kind is Kind.GRADE} == {"a", "parts"}
