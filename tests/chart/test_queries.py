"""What alerts and dashboard pick by a label's value exists: an expression that matches nothing is never wrong, and never right."""

from __future__ import annotations

import re
from functools import cache

import pytest

from laycan.control.metrics import Metrics
from tests.chart.conftest import CHART
from tests.chart.test_alerts import ALERTS
from tests.chart.test_dashboard import expressions

ASKED = sorted({*(alert["expr"] for alert in ALERTS.values()), *expressions()})
PICKED = [expr for expr in ASKED if re.search(r'\{[^}]*"', expr)]


@cache
def source() -> str:
    return "\n".join(file.read_text() for file in (CHART.parents[1] / "operator" / "laycan").rglob("*.py"))


@pytest.mark.parametrize("expr", PICKED)
def test_values_of_labels(expr: str) -> None:
    """Buckets are buckets that are served, and every other value is one that the operator writes."""
    for label, given in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]+)"', expr):
        for value in given.split("|"):
            if label != "le":
                assert value == ".*" or f'"{value}"' in source(), value
    served = set(re.findall(r'^(laycan_\w+_bucket)\{.*?le="([^"]+)"', Metrics().text().decode(), re.MULTILINE))
    assert set(re.findall(r'(laycan_\w+_bucket)\{[^}]*?le="([^"]+)"', expr)) <= served


def test_there_are_some() -> None:
    """Of each: buckets, values, and choices of several."""
    assert all(any(sign in expr for expr in PICKED) for sign in ('le="', 'state=~"', 'tier="'))
