"""The arithmetic of the bin packing benchmark: bounds are bounds, packings are packings."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.tbpp import bins_of, solve
from bench.tbpp_bound import Instance, clique_bound, dearest, read
from bench.tbpp_search import construct, orders, pack


def instance(items: list[tuple[int, int, int]], capacity: int = 10) -> Instance:
    start, end, size = (np.array(column) for column in zip(*items, strict=True))
    return Instance("made", capacity, start, end, size)


def fewest(made: Instance) -> int:
    """By trying every packing."""
    for bins in range(1, made.items + 1):
        for choice in product(range(bins), repeat=made.items):
            try:
                return bins_of(made, np.array(choice))
            except ValueError:
                continue
    raise AssertionError("every item alone is a packing")


@pytest.mark.parametrize("seed", range(25))
def test_bound_optimum_and_packing_are_in_order(seed: int) -> None:
    """bound <= fewest bins <= what the search packs, and the search finds the fewest of six items."""
    rng = random.Random(seed)
    made = instance([(a := rng.randrange(8), a + rng.randint(1, 6), rng.randint(2, 8)) for _ in range(6)])
    least, bound = fewest(made), clique_bound(made)
    assert bound <= least
    assert bins_of(made, pack(made, bound, seconds=0.2)) == least
    assert all(bins_of(made, construct(made, order, fullest=True)) >= least for order in orders(made))


def test_the_bound_sees_what_load_does_not() -> None:
    """Three items of 6 need three bins of 10, though their load is below two; touching windows are no conflict."""
    assert clique_bound(instance([(0, 4, 6), (1, 3, 6), (2, 5, 6)])) == 3
    assert clique_bound(instance([(0, 4, 6), (4, 5, 6), (5, 9, 6)])) == 1


def test_an_overfull_bin_is_told() -> None:
    """The count of bins is of a checked packing, at the instant of the overlap only."""
    made = instance([(0, 4, 6), (3, 6, 6), (6, 7, 6)])
    with pytest.raises(ValueError, match="bin 0 holds 12 of 10 at 3"):
        bins_of(made, np.array([0, 0, 0]))
    assert bins_of(made, np.array([0, 1, 0])) == 2


def test_the_dearest_bin() -> None:
    """A knapsack with as many copies as fit, and which they are."""
    price, counts = dearest(10, np.array([3, 4, 7]), np.array([4, 6, 10]))
    assert (price, counts.tolist()) == (14, [2, 1, 0])


def test_files_are_read_as_published(tmp_path: Path) -> None:
    """Number of items and capacity, then index, start, end and size; a file cut short is refused."""
    file = tmp_path / "x.txt"
    file.write_text("2\t10\t0\t0\n0\t1\t3\t6\n1\t2\t4\t6\n")
    found = solve(read(file), seconds=1)
    assert {k: found[k] for k in ("items", "first_fit", "best_fit", "bins", "bound")} == {
        "items": 2, "first_fit": 2, "best_fit": 2, "bins": 2, "bound": 2,
    }  # fmt: skip
    file.write_text("3\t10\t0\t0\n0\t1\t3\t6\n1\t2\t4\t6\n")
    with pytest.raises(ValueError, match="2 items of 3"):
        read(file)
