"""What `make bench-atp` measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import atp, instances
from bench.budgets import limits
from bench.instances import Size
from bench.shortfall import DAY, Outcome, Part, Pool, simulate


def test_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fleet that is asked for far too much is sold up to the target and not beyond, and what is left is simulated."""
    monkeypatch.setattr(atp, "instance", lambda size: instances.instance(size, tmp_path))
    row = atp.row("loose", 0, 2_000, Size(60, 700, 3.0))
    assert row["for_targets"]
    assert row["pools"]
    assert isinstance(row["promised_ppm"], int)
    assert 0 < row["promised_ppm"] < 20_000
    assert row["above"] == 0


def test_above_is_told_from_chance() -> None:
    """Twice the promise is above it; a hit more than promised is not."""
    assert atp.above(10**6, 200, 100_000)
    assert not atp.above(10**6, 101, 100_000)


def test_the_simulation_counts() -> None:
    """Without spares every failure is unmet, with plenty none; a slice that begins with none is short though no failure found it so."""
    month = Pool(np.array([0, 30 * DAY]), np.array([100]), [Part(100, np.array([0]))], 6_500, 3_600)
    assert simulate(month, 500, 1).unmet == 500
    assert simulate(replace(month, parts=[Part(100, np.array([50]))]), 500, 1) == Outcome(500, 0, 0)
    ends = Pool(np.array([0, 30 * DAY, 30 * DAY + 1]), np.array([100, 100]), [Part(100, np.array([50, 0]))], 6_500, 86_400)
    found = simulate(ends, 2_000, 1)
    assert found.unmet < 5
    assert abs(found.short / 2_000 - (1 - np.exp(-0.65))) < 0.05


def test_every_row_has_a_limit() -> None:
    """And every limit of promises has a row."""
    assert {f"atp-{name}" for name in atp.ROWS} == {limit.row for limit in limits() if limit.row.startswith("atp-")}
