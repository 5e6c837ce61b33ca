"""What `make bench-whatif` measures is what budgets.yaml limits."""

from __future__ import annotations

from pathlib import Path

from bench.budgets import limits
from bench.whatif import ROWS, losses
from laycan_solver.kinds import Scope


def test_a_small_instance(tmp_path: Path) -> None:
    """Every rack is lost once, and the row says how many are harmless."""
    row = losses("small", Scope.RACK, effort=0, cache=tmp_path)
    assert row["row"] == "lose-each-rack-small"
    assert isinstance(row["losses"], int)
    assert isinstance(row["harmless"], int)
    assert 0 <= row["harmless"] <= row["losses"]


def test_every_row_has_a_limit() -> None:
    """And no limit is for a row that is not measured."""
    assert ROWS.keys() == {limit.row for limit in limits() if limit.row.startswith("lose-each-")}
