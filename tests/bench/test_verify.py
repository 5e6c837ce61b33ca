"""What `make bench-verify` measures."""

from __future__ import annotations

import pytest

from bench import verify
from bench.budgets import limits


@pytest.mark.parametrize(("with_readings", "readings"), [(True, 6), (False, 0)])
def test_a_row(with_readings: bool, readings: int, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A bundle of the size asked for is written once, verified, and counted by its receipts and readings."""
    monkeypatch.setattr(verify, "CACHE", tmp_path)
    monkeypatch.setitem(verify.ROWS, "small", (16, 3, with_readings))
    row = verify.measured("small")
    assert (row["row"], row["receipts"], row["readings"]) == ("verify-small", 3, readings)
    assert verify.evidence(16, 3) == verify.evidence(16, 3)


def test_every_row_has_a_limit() -> None:
    """And every limit of verification has a row."""
    assert {f"verify-{name}" for name in verify.ROWS} == {limit.row for limit in limits() if limit.row.startswith("verify-")}
