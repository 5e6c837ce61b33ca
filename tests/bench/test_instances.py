"""Instances of the benchmarks: the same seed gives the same instance, as a problem and as manifests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.instances import Size, draw, instance, problem_of, write_manifests
from laycan.planning.case import problem_of as problem_from
from laycan.planning.manifests import load
from laycan.planning.plan_io import read_previous

STRESSED = Size(nodes=100, contracts=150, rho=0.95, seed=3, stress=frozenset({"outages", "lost", "odd", "policies", "beyond"}))


@pytest.mark.parametrize("size", [Size(100, 150, 0.95), STRESSED])
def test_the_problem_is_the_one_that_the_manifests_hold(size: Size, tmp_path: Path) -> None:
    """What a benchmark plans is what `laycan plan` would plan from the files of the same seed."""
    drawn = draw(size)
    write_manifests(drawn, tmp_path)
    now, previous = read_previous(str(tmp_path / "previous.json"))
    files = [str(tmp_path / f"{name}.json") for name in ("fleet", "products", "contracts")]
    assert problem_of(drawn) == problem_from(load(files), now=now, previous=previous)


def test_a_seed_is_an_instance(tmp_path: Path) -> None:
    """The instance of a seed is fixed to the byte: figures of different days compare."""
    write_manifests(draw(STRESSED), tmp_path)
    digests = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in sorted(tmp_path.iterdir())}
    assert digests == {
        "contracts": "4834708096bb0c17",
        "fleet": "43e689d973e0ea81",
        "previous": "7a98e052f3616c21",
        "products": "277a0176228bdd85",
    }


def test_the_cache_returns_what_was_drawn(tmp_path: Path) -> None:
    """A problem from the cache is the problem that was drawn."""
    first = instance(Size(100, 50, 0.8), tmp_path)
    assert list(tmp_path.iterdir())
    assert instance(Size(100, 50, 0.8), tmp_path) == first
