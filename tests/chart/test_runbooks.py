"""Each alert has its runbook, whole, and what somebody is told to look for in a log is what stands there.

Commands, kinds, settings, values and links of the page are looked at with those of all pages, in tests/docs.
"""

from __future__ import annotations

import re

import pytest

from tests.chart.conftest import CHART
from tests.chart.test_alerts import ALERTS

ROOT = CHART.parents[1]
TEXT = (ROOT / "docs" / "runbooks.md").read_text()
SECTIONS = ("What it means", "Who is harmed", "See", "Do", "Escalate")
LOGGED = (
    "is bound twice",
    "no plan",
    "planning failed",
    "the plan is wrong",
    "not all figures could be taken",
    "the periodic look was broken off",
)


def test_each_alert_has_one() -> None:
    """And each runbook an alert, in the same order; none leaves out what the reader came for."""
    parts = re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in parts] == list(ALERTS)
    for part in parts:
        assert tuple(re.findall(r"^\*\*(.+?)\.\*\*", part, re.MULTILINE)) == SECTIONS, part.splitlines()[0]


@pytest.mark.parametrize("words", LOGGED)
def test_words_of_the_log(words: str) -> None:
    """What somebody is told to look for is what the operator writes."""
    assert words in TEXT
    assert any(words in file.read_text() for file in (ROOT / "operator" / "laycan").rglob("*.py"))
