"""Random histories: whatever happens to a problem, the plan that is kept up to date stays legal and says what it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

import pytest

from laycan_solver.changes import apply
from laycan_solver.check import check
from laycan_solver.model import (
    ContractChanged,
    ContractGone,
    Event,
    NodeChanged,
    NodeGone,
    Outage,
    OutageChanged,
    OutageGone,
    OutageType,
    Problem,
    TimePassed,
    Undelivered,
)
from laycan_solver.planner import Planner
from tests.draws import seeds
from tests.laycan_solver.instances import TINY, Shape, problem

HOUR = 3_600
SMALL = Shape(nodes=8, contracts=14, steps=8, trouble=0.3)
UPDATES = 5
ONCE_WRONG = (5_044, 5_097, 5_176, 5_287, 7_028)


def without_turnaround(p: Problem) -> Problem:
    """So that holders may follow each other at once."""
    return replace(p, products=tuple(replace(q, turnaround_seconds=0) for q in p.products))


def happens(rng: Random, first: Problem, now: Problem, step: str) -> Iterator[Event]:
    """One event, or none where there is nothing for it to happen to. `first`: the problem as it was, to which nodes return."""
    node = rng.choice(first.nodes)
    match rng.randrange(10):
        case 0:
            yield NodeChanged(replace(node, usable=False))
        case 1:
            yield NodeChanged(node)
        case 2:
            yield NodeGone(node.name)
        case 3:
            yield NodeChanged(replace(node, cordoned=not node.cordoned))
        case 4:
            yield NodeChanged(replace(node, gpus=max(0, node.gpus - rng.randint(1, 4))))
        case 5:
            start = now.now + rng.randint(-3, 20) * HOUR
            kind = rng.choice(list(OutageType))
            yield OutageChanged(Outage(f"o{step}", kind, frozenset({node.name}), start, start + rng.randint(1, 30) * HOUR))
        case 6:
            yield from (OutageGone(o.name) for o in now.outages[:1])
        case 7:
            yield TimePassed(now.now + rng.randint(0, 9) * HOUR // 2)
        case 8:
            for c in [c for c in now.contracts if not c.reserve][:1]:
                used, dearer = rng.randint(0, 9) * HOUR, rng.randint(0, 5) * 10**5
                rights = max(0, c.curtailable_seconds - used)
                yield ContractChanged(replace(c, curtailable_seconds=rights, price_micros=c.price_micros + dearer))
        case _:
            for c in rng.sample(now.contracts, min(1, len(now.contracts))):
                new = replace(c, key=f"desk/new{step}", contract_id=f"new{step}", accepted=rng.random() < 0.5, delivering=False)
                yield rng.choice((ContractGone(c.key), ContractChanged(new)))


def history(seed: int, p: Problem) -> None:
    rng, planner = Random(seed), Planner(p, effort=20)
    for step in range(UPDATES):
        events = [e for i in range(rng.randint(1, 2)) for e in happens(rng, p, planner.problem, f"{step}-{i}")]
        before, what_if = set(planner.plan.bindings), planner.copy()
        change = planner.update(events)
        now, after = planner.problem.now, set(planner.plan.bindings)
        told = f"seed {seed}, step {step}, {events}"
        assert check(planner.problem, planner.plan) == [], told
        assert {b for b in change.released if b.end > now} == {b for b in before - after if b.end > now}, told
        assert set(change.acquired) == after - before, told
        assert what_if.update(events) == change, told


@pytest.mark.parametrize("seed", [*seeds(20), *ONCE_WRONG])
def test_kept_plans_stay_legal(seed: int) -> None:
    """After every update the checker finds nothing, the difference is what was released and acquired, and a copy does the same."""
    history(seed, without_turnaround(problem(seed, SMALL if seed % 2 else TINY)))


@pytest.mark.parametrize("seed", seeds(12, 1_000))
def test_with_turnarounds(seed: int) -> None:
    """The same where nodes lie empty between two holders, also after one who has gone."""
    history(seed, problem(seed, TINY))


def seen_anew(planner: Planner, events: list[Event]) -> Problem:
    """The snapshot that an operator would take after the events."""
    seen = replace(planner.problem, previous=planner.plan.bindings)
    for event in events:
        seen = apply(seen, event)
    return seen


def amounts(undelivered: Iterable[Undelivered]) -> dict[str, int]:
    """contract -> GPU-seconds."""
    found: Counter[str] = Counter()
    for u in undelivered:
        found[u.contract] += u.gpus * (u.end - u.start)
    return found


@pytest.mark.parametrize("seed", seeds(12, 2_000))
def test_snapshots_are_followed(seed: int) -> None:
    """From one snapshot to the next the kept plan changes only the part that it names, and that part is legal by itself."""
    p = problem(seed, SMALL if seed % 2 else TINY)
    rng, planner, followed = Random(seed), Planner(p, effort=20), 0
    for step in range(UPDATES):
        events = [e for i in range(rng.randint(1, 2)) for e in happens(rng, p, planner.problem, f"{step}-{i}")]
        seen = seen_anew(planner, events)
        untouched = {(b.contract, b.node, b.gpus, b.end) for b in planner.plan.bindings}
        answer = planner.follow(seen)
        if answer is None:
            planner = Planner(seen, effort=20)
            continue
        part, plan, undelivered = answer
        assert check(part, plan) == [], f"seed {seed}, step {step}, {events}"
        keys, whole = {c.key for c in part.contracts}, planner.plan
        assert amounts(plan.undelivered) == amounts(undelivered)
        assert list(plan.bindings) == [b for b in whole.bindings if b.contract in keys]
        assert {(b.contract, b.node, b.gpus, b.end) for b in whole.bindings if b.contract not in keys} <= untouched
        assert check(planner.problem, whole) == []
        followed += 1
    assert followed
