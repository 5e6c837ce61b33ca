"""Streams and repairs of the benchmarks are what they say they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.repair import GRADE, contracts_of, fewest_short, loaded, nodes_of
from bench.stream import HORIZON, bound_at_creation, bound_late, stream
from laycan_solver.model import Contract, Node


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_could_be_sold_in_full(seed: int) -> None:
    """At no hour are more nodes asked for than there are, and the busiest hour is all but sold out."""
    requests = stream(40, 500, seed)
    hours = np.arange(HORIZON)
    asked = ((requests[:, :1] <= hours) & (hours < requests[:, 1:2])) * requests[:, 2:]
    assert 38 <= asked.sum(axis=0).max() <= 40


def test_binding_at_creation_refuses_what_a_swap_would_serve() -> None:
    """Bound for good to the first node, two requests leave the later long one no single free node, though two nodes are enough."""
    requests = np.array([[0, 10, 1], [0, 5, 1], [10, 30, 1], [5, 8, 1], [40, 50, 2]])
    accepted, spent = bound_at_creation(requests, nodes=2)
    assert accepted.all()
    assert len(spent) == 5
    swap = np.array([[0, 10, 1], [5, 15, 1], [20, 30, 1], [12, 25, 1]])
    accepted, _ = bound_at_creation(swap, nodes=2)
    assert accepted.tolist() == [True, True, True, False]
    late, _ = bound_late(swap, nodes=2, effort=None)
    assert late.all()


def test_the_fewest_short() -> None:
    """Two lots of 8 on one node of 8 and three of 4: one cannot be served, whatever is moved; single GPUs find room."""
    nodes = [Node(f"n{i}", GRADE, gpus, ("z",) * 4) for i, gpus in enumerate((8, 4, 4, 4))]
    lots = [Contract(f"c{i}", f"c{i}", GRADE, 0, 9, gpus, gpus) for i, gpus in enumerate((8, 8, 1, 1))]
    assert fewest_short(nodes, lots) == 8
    assert fewest_short(nodes, lots[1:]) == 0
    assert fewest_short([replace(n, usable=False) for n in nodes], lots) == 18


def test_the_fleet_is_loaded_to_the_limit(tmp_path: Path) -> None:
    """Whole-GPU pods alone become contracts, each on one node that holds it, up to the load and not above it."""
    (tmp_path / "nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\na,1,1,8,x\nb,1,1,2,y\n")
    pods = "\n".join(f"p{i},1,1,{gpus},{milli}" for i, (gpus, milli) in enumerate([(8, 1000), (1, 460), (1, 1000), (1, 1000), (0, 0)]))
    (tmp_path / "pods.csv").write_text(f"name,cpu_milli,memory_mib,num_gpu,gpu_milli\n{pods}\n")
    wanted = contracts_of(tmp_path / "pods.csv")
    assert [c.key for c in wanted] == ["p0", "p2", "p3"]
    problem = loaded(nodes_of(tmp_path / "nodes.csv"), wanted, seed=1, load_ppm=900_000)
    assert sorted((b.contract, b.node) for b in problem.previous) == [("p0", "a"), ("p2", "b")]
