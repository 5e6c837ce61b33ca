"""docs/metrics.md is what operator and agent serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from laycan.exposition import Described
from laycan.metrics_page import rewrite

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text()


def test_the_page_is_generated() -> None:
    """The table is that of the registries; `make generate` writes it anew."""
    assert rewrite(PAGE) == PAGE
    assert "| `laycan_delivery_margin_gpus` | gauge | `product` |" in PAGE
    assert "| `laycan_gpu_healthy` | gauge | `uuid` |" in PAGE


@pytest.mark.parametrize("page", ["delivery.md", "agent.md"])
def test_there_is_one_table(page: str) -> None:
    """The other pages send the reader there."""
    text = (DOCS / page).read_text()
    assert "| `laycan_" not in text
    assert "(metrics.md)" in text


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("laycan_rebind_seconds", "seconds"),
        ("laycan_gpu_energy_joules_total", "joules"),
        ("laycan_measured_timestamp_seconds", "Unix seconds"),
        ("laycan_plan_gap_ratio", "share, 0 to 1"),
        ("laycan_gpus_spare", ""),
    ],
)
def test_units(name: str, unit: str) -> None:
    """A name ends with its unit; what has none is a count."""
    assert Described(name, "gauge", (), "").unit == unit
