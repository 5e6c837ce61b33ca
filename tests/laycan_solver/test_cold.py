"""What a cold plan saves itself: slices without room for a contract that comes whole, and the collector of cycles."""

from __future__ import annotations

import gc
import random

import pytest

from laycan_solver.model import Scope
from laycan_solver.place import find_place, next_room
from laycan_solver.planner import laid_out, plan
from tests.laycan_solver.small import HOUR, NOW, contract, node, problem

WHOLE = {"scope": Scope.RACK, "all_or_nothing": True, "firm": False}


@pytest.mark.parametrize("seed", range(6))
def test_next_room_skips_nothing(seed: int) -> None:
    """No slice before the one found has room for a contract that comes whole; with a scope and no spread, that one has."""
    rng = random.Random(seed)
    nodes = [node(f"n{i:02}", rack=f"r{rng.randrange(4)}", cordoned=rng.random() < 0.1) for i in range(16)]
    taken = [(f"t{i}", a := rng.randrange(300), a + rng.randrange(10, 60)) for i in range(160)]
    contracts = [contract(*t) for t in taken] + [contract("whole", 0, 360, 24, **WHOLE)]
    book, _ = laid_out(problem(nodes, contracts), plan(problem(nodes, contracts[:-1]), 0).bindings, set())
    demand, times = book.demands[160], book.ledger.grid.between(NOW, NOW + 360 * HOUR)
    roomy = [t for t in times if find_place(book, demand, t, book.ledger.grid.slice_at(t)[1], demand.lots, own=True)]
    assert 0 < len(roomy) < len(times)
    for time in times:
        assert next_room(book, demand, time, demand.end, own=True) == min((t for t in roomy if t >= time), default=demand.end)


def test_collector_as_it_was() -> None:
    """A plan leaves the collector of cycles as it found it."""
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            plan(problem([node("n0")], [contract("a", 0, 10)]))
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
