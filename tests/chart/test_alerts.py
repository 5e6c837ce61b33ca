"""What a Prometheus is told to watch: only metrics that the operator serves."""

from __future__ import annotations

import re

from laycan.control.metrics import Metrics
from tests.chart.conftest import Render


def test_none_by_default(render: Render) -> None:
    """A cluster without a Prometheus Operator does not know the kind."""
    assert not [each for each in render() if each["kind"] == "PrometheusRule"]


def test_of_what_is_served(render: Render) -> None:
    """Each alert is of a metric that is served under that very name, and can be found by the labels that were asked for."""
    (rule,) = [each for each in render("alerts.enabled=true", "alerts.labels.release=stack") if each["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "stack"
    served = set(re.findall(r"^# TYPE (laycan_\w+) ", Metrics().text().decode(), re.MULTILINE))
    (group,) = rule["spec"]["groups"]
    names = [each["alert"] for each in group["rules"]]
    assert "LaycanReceiptsNotCurrent" in names
    assert len(set(names)) == len(names) == 5
    for each in group["rules"]:
        named = set(re.findall(r"laycan_\w+", each["expr"]))
        assert named, each
        assert named <= served, each
        assert each["annotations"]["summary"]
