"""What the fleet could hold: the planner's step functions are the checker's."""

from __future__ import annotations

import pytest

from laycan_solver.certificate import within
from laycan_solver.check_facts import Facts
from laycan_solver.check_reach import Reach
from laycan_solver.eligible import Demands, Fleet
from laycan_solver.slices import Slices
from laycan_solver.topology import Topology
from tests.laycan_solver.instances import TINY, Shape, problem

SHAPES = [*((TINY, seed) for seed in range(30)), *((Shape(nodes=30, contracts=40, trouble=0.5), seed) for seed in range(15))]


@pytest.mark.parametrize(("shape", "seed"), SHAPES)
def test_reach(shape: Shape, seed: int) -> None:
    """Lots in reach and the grades that serve any, at every instant of every contract, counted twice."""
    p = problem(seed, shape)
    fleet, reach = Fleet(p), Reach(Facts(p))
    topology, demands = Topology(fleet, p.now), Demands(p, fleet)
    for d in filter(None, map(demands.demand, range(len(p.contracts)))):
        stages = reach.stages(d.contract, [fleet.grades[g] for g in d.options])
        slices = Slices([d.start, d.end, *(t for t in (*stages.times, *topology.edges(d.end)) if d.start < t < d.end)])
        lots = topology.reach(d).at(slices.starts)
        for t, most in zip(slices.starts.tolist(), lots.tolist(), strict=True):
            i = stages.within(t, t + 1).start
            able = frozenset(fleet.grades[g] for g in d.options if topology.able(d, g).at(slices.starts[:1] * 0 + t)[0])
            assert (most, able) == (stages.lots[i], stages.able[i])
        assert topology.reach(d).least(d.start, d.end) == lots.min()
        inside = within(d, lots).tolist()
        started = next((i for i, n in enumerate(inside) if n == d.lots), len(inside)) if d.together else 0
        assert inside == [0] * started + [min(n, d.lots) for n in lots.tolist()[started:]]


@pytest.mark.parametrize(("shape", "seed"), SHAPES)
def test_blocks(shape: Shape, seed: int) -> None:
    """Blocks inside nodes, counted twice."""
    p = problem(seed, shape)
    fleet, reach = Fleet(p), Reach(Facts(p))
    topology = Topology(fleet, p.now)
    slices = Slices([p.now, p.now + 10**7, *topology.edges(p.now + 10**7)])
    for g, grade in enumerate(fleet.grades):
        for k in (1, 3, 8):
            steps = reach.blocks(grade, k)
            expected = [next(n for t, n in reversed(steps) if t <= start) for start in slices.starts.tolist()]
            assert topology.blocks(g, k).at(slices.starts).tolist() == expected
            assert steps[0][0] == p.now
