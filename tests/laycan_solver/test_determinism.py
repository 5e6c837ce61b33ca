"""Same problem, same effort, same events: same bytes, in whatever process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PLAN = "print(repr(plan(problem(5, Shape(nodes=16, contracts=40)), 40)))"
UPDATE = """
p = problem(7, Shape(nodes=16, contracts=40))
p = replace(p, products=tuple(replace(q, turnaround_seconds=0) for q in p.products))
planner = Planner(p, effort=40)
lost = Outage("o", OutageType.FORCED, frozenset(n.name for n in p.nodes[3:6]), p.now, p.now + 9 * STEP)
more = replace(p.contracts[0], key="desk/new", contract_id="new", accepted=False)
for event in (NodeGone(p.nodes[0].name), OutageChanged(lost), TimePassed(p.now + STEP), ContractChanged(more), OutageGone("o")):
    print(repr(planner.update([event])))
print(repr(planner.plan))
"""
IMPORTS = """
from dataclasses import replace
from laycan_solver.model import *
from laycan_solver.planner import Planner, plan
from tests.laycan_solver.instances import STEP, Shape, problem
"""


@pytest.mark.parametrize("program", [PLAN, UPDATE], ids=["plan", "update"])
def test_same_bytes_whatever_the_hash_seed(program: str) -> None:
    """Processes with other hash seeds and numbers of threads print the same plans and differences."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", IMPORTS + program],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"), ("3", "1"))
    ]  # fmt: skip
    assert "Binding(" in outputs[0]
    assert outputs[1:] == outputs[:1] * 2
