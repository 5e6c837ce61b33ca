"""What `make bench-ledger` measures is what budgets.yaml limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import ledger
from bench.budgets import judged


def test_every_limit_meets_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small log every row comes with the figures that have limits, and counts are what they must be."""
    monkeypatch.setattr(ledger, "APPENDS", {1: 20, 64: 2})
    rows = {str(row["row"]): row for row in ledger.measured(tmp_path, 100)}
    verdicts = {(verdict["row"], verdict["figure"]): verdict for verdict in judged(list(rows.values()))}
    assert {row for row, _ in verdicts} == set(rows) == set(ledger.ROWS)
    assert verdicts["log-proofs", "hashes_max"]["kept"] == "yes"
    assert rows["log-proofs"]["hashes_max"] == 8
    assert rows["log-open"]["entries"] == 100


def test_entries_are_the_same_in_every_run() -> None:
    """Ids are distinct, bodies as long as they are said to be."""
    drawn = ledger.entries(50, 100)
    assert drawn == ledger.entries(50, 100)
    assert len({entry.id for entry in drawn}) == 100
    assert all(1_000 <= len(entry.body) <= 3_000 for entry in drawn)
