"""The Grafana dashboard: every panel draws what is served, says what it shows, and lies in its place."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import promql_parser
import pytest

from charts.dashboard import COLUMNS, FILE, render
from laycan.agent.metrics import described
from laycan.control.metrics import Metrics
from tests.chart.conftest import CHART, Helm, Manifest, Render

DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}  # of Prometheus's own client
UNITS = {"none", "s", "percentunit", "ops", "bytes"}


def expressions() -> list[str]:
    """With the variables as Grafana fills them in."""
    found = [target["expr"] for panel in DRAWN for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "5m").replace("$product", ".*") for expr in found]


def test_it_is_generated() -> None:
    """The file is that of `charts/dashboard.py`; `make generate` writes it anew."""
    assert FILE.read_text() == render()


def test_every_query_is_of_what_is_served(served: set[str]) -> None:
    """And can be read; labels in it are labels that the metric has."""
    labels = {each.name: {*each.labels, "le"} for each in (*Metrics().exposition.described, *described())}
    for expr in expressions():
        promql_parser.parse(expr)
        named = set(re.findall(r"\b(?:laycan|process)_\w+", expr))
        assert named, expr
        assert named <= served | PROCESS, expr
        for name, chosen in re.findall(r"(laycan_\w+)\{(\w+)", expr):
            assert chosen in labels.get(name, labels.get(re.sub("_(bucket|count|sum)$", "", name), set())), expr


def test_legends_name_labels_that_are_there() -> None:
    """`{{kind}}` of a metric without that label would be an empty legend."""
    known = {label for each in (*Metrics().exposition.described, *described()) for label in each.labels}
    for panel in DRAWN:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in known, panel["title"]


def test_the_main_figures_are_drawn() -> None:
    """Solve time, gap, utilisation, reserve, margin, late starts, re-bind latency, outbox age, watch age."""
    text = " ".join(expressions())
    for name in (
        "solve_seconds_bucket",
        "plan_gap_ratio",
        "gpus_sold",
        "gpus_spare",
        "delivery_margin_gpus",
        "first_breach_seconds",
        "late_start_seconds_bucket",
        "rebind_seconds_bucket",
        "outbox_age_seconds",
        "watch_age_seconds",
    ):
        assert f"laycan_{name}" in text, name


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: f"{panel['id']}-{panel['title']}")
def test_each_panel_explains_itself(panel: dict[str, Any]) -> None:
    """A title, a description, a unit, and the data source that the reader has chosen."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    ids = [target["refId"] for target in panel["targets"]]
    assert ids
    assert len(ids) == len(set(ids))


def test_places() -> None:
    """Nothing lies over anything else, nothing sticks out, and no id is given twice."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= COLUMNS and place["h"] > 0 for place in places)
    for a, b in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (a, b)


def test_rows() -> None:
    """Each row begins below the one before, and each variable that a query uses is there."""
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == ["Delivery", "Planning", "Evidence", "Control", "Fleet"]
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(PANELS)))
    assert used == variables == {"datasource", "product"}


def test_off_by_default(render: Render) -> None:
    """Who has no Grafana gets no ConfigMap for it."""
    assert not [each for each in render() if each["metadata"]["name"] == "laycan-dashboard"]


def test_shipped(render: Render) -> None:
    """The very file, where the sidecar looks for it and under the label by which it does."""
    made = render("dashboard.enabled=true", "dashboard.namespace=monitoring", "dashboard.annotations.grafana_folder=Laycan")
    (found,) = [each for each in made if each["metadata"]["name"] == "laycan-dashboard"]
    assert found["data"] == {"laycan.json": FILE.read_text()}
    assert (found["metadata"]["namespace"], found["metadata"]["labels"]["grafana_dashboard"]) == ("monitoring", "1")
    assert found["metadata"]["annotations"] == {"grafana_folder": "Laycan"}
    assert of_release(render("dashboard.enabled=true"))["metadata"]["namespace"] == "laycan-system"
    bare = of_release(render("dashboard.enabled=true", "dashboard.labels.grafana_dashboard=null"))
    assert "grafana_dashboard" not in bare["metadata"]["labels"], "found by a name or a folder"


def of_release(made: list[Manifest]) -> Manifest:
    return next(each for each in made if each["metadata"]["name"] == "laycan-dashboard")


def test_values_that_make_no_sense(helm: Helm) -> None:
    """A label that is no text is refused."""
    assert (
        helm("template", "laycan", str(CHART), "--kube-version", "1.36.3", "--set", "dashboard.labels.grafana_dashboard=1").returncode != 0
    )
