"""The verdict that is kept up to date segment by segment against the one that is worked out from scratch."""

from __future__ import annotations

from random import Random

import pytest

from laycan_solver.eligible import Demand, Demands, Fleet
from laycan_solver.objective import Segment
from laycan_solver.tally import Tally
from tests.laycan_solver.instances import STEP, Shape, problem
from tests.laycan_solver.reference import judge, missing_profile

SHAPE = Shape(nodes=6, contracts=10, steps=8, trouble=0.4)


def drawn(rng: Random, demand: Demand, fleet: Fleet, own: list[Segment]) -> Segment | None:
    """One more segment that the contract has lots for; often from the first second, to the last, or where another one ends."""
    gaps = missing_profile(demand, own)
    columns = [c for c in range(len(fleet.nodes)) if int(fleet.grade[c]) in demand.options]
    if not gaps or not columns:
        return None
    start, end, lots = rng.choice(gaps)
    inside = [t for t in range(start + STEP // 2, end, STEP // 2) if t < end]
    a, b = (rng.choice([start, *inside]), rng.choice([end, *inside])) if rng.random() < 0.6 else (start, end)
    return Segment(rng.choice(columns), min(a, b), max(a, b), rng.randint(1, lots)) if a != b else None


@pytest.mark.parametrize("seed", range(60))
def test_as_from_scratch(seed: int) -> None:
    """After every segment that comes or goes, verdict and gaps are those that the reference finds in what is there."""
    p = problem(seed, SHAPE)
    fleet = Fleet(p)
    demands, rng = Demands(p, fleet), Random(seed)
    for demand in filter(None, (demands.demand(i) for i in range(len(p.contracts)))):
        tally, own = Tally(demand, fleet, p.now), list[Segment]()
        for _ in range(12):
            if own and rng.random() < 0.35:
                gone = rng.sample(own, rng.randint(1, len(own)))
                for s in gone:
                    own.remove(s)
                tally.add(-1, gone)
            elif new := drawn(rng, demand, fleet, own):
                own.append(new)
                tally.add(1, [new])
            assert tally.verdict() == judge(demand, fleet, p.now, own)
            assert tally.missing() == missing_profile(demand, own)
