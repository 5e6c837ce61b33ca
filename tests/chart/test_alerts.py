"""What a Prometheus is told to watch: metrics that are served, in expressions that it can read, each with a page on what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.chart.conftest import CHART, Helm, Manifest, Render

RULES = CHART / "alerts" / "rules.yaml"
GROUPS: list[Manifest] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, Manifest] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}

# For each alert the series of a bad day and of a good one, in promtool's notation (a value, or first+step x times), a sample a minute.
PRODUCT = '{product="h100"}'
WATCH = '{kind="nodes"}'
SECONDS = 'laycan_solve_seconds_bucket{kind="thorough",le='
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "LaycanShortfallOpen": (
        {"laycan_contracts_short": "1x60", "laycan_enforcing": "1x60"},
        {"laycan_contracts_short": "1x60", "laycan_enforcing": "0x60"},
    ),
    "LaycanBreachAhead": ({"laycan_first_breach_seconds": "3600x60"}, {"laycan_first_breach_seconds": "Inf " * 60}),
    "LaycanDeliveryMarginLow": (
        {f"laycan_delivery_margin_gpus{PRODUCT}": "7x60", f"laycan_product_node_gpus{PRODUCT}": "8x60"},
        {f"laycan_delivery_margin_gpus{PRODUCT}": "8x60", f"laycan_product_node_gpus{PRODUCT}": "8x60"},
    ),
    "LaycanContractAtRisk": ({"laycan_contracts_at_risk": "2x60"}, {"laycan_contracts_at_risk": "0x60"}),
    "LaycanLateStart": (
        {"laycan_late_start_seconds_count": "4x30 5x30", 'laycan_late_start_seconds_bucket{le="60.0"}': "4x60"},
        {"laycan_late_start_seconds_count": "4x30 5x30", 'laycan_late_start_seconds_bucket{le="60.0"}': "4x30 5x30"},
    ),
    "LaycanRebindSlow": (
        {"laycan_rebind_seconds_count": "4x30 5x30", 'laycan_rebind_seconds_bucket{le="600.0"}': "4x60"},
        {"laycan_rebind_seconds_count": "4x30 5x30", 'laycan_rebind_seconds_bucket{le="600.0"}': "4x30 5x30"},
    ),
    "LaycanDoubleBooking": ({"laycan_double_bookings_total": "0x30 1x30"}, {"laycan_double_bookings_total": "1x120"}),
    "LaycanFenceNotLive": ({"laycan_fence_live": "0x60"}, {"laycan_fence_live": "1x60"}),
    "LaycanPoliciesChanged": ({"laycan_policies_changed": "1x60"}, {"laycan_policies_changed": "0x60"}),
    "LaycanStrangers": ({"laycan_stranger_processes": "3x60"}, {"laycan_stranger_processes": "0x60"}),
    "LaycanPaused": ({"laycan_paused": "1x70"}, {"laycan_paused": "0x5 1x50"}),
    "LaycanBreakerOpen": ({"laycan_nodes_withheld": "5x60"}, {"laycan_nodes_withheld": "0x60"}),
    "LaycanAgentsSilent": ({"laycan_agents_silent": "1x60"}, {"laycan_agents_silent": "0x60"}),
    "LaycanAgentWithoutDriver": ({"laycan_agent_driver": "0x60"}, {"laycan_agent_driver": "1x60"}),
    "LaycanAgentClockOff": ({"laycan_agent_clock_offset_seconds": "-2x60"}, {"laycan_agent_clock_offset_seconds": "-0.5x60"}),
    "LaycanGpusUnfit": ({'laycan_gpus_unfit{reason="Xid"}': "1x70"}, {'laycan_gpus_unfit{reason="Xid"}': "0x70"}),
    "LaycanOutageBlocked": ({'laycan_outages{verdict="Blocked"}': "1x70"}, {'laycan_outages{verdict="Covered"}': "1x70"}),
    "LaycanPlanWaits": ({"laycan_plan_waiting_seconds": "0+60x60"}, {"laycan_plan_waiting_seconds": "0 30 0 40x60"}),
    "LaycanPlansFail": ({"laycan_plans_failed_total": "0+1x60"}, {"laycan_plans_failed_total": "0x40 1x20"}),
    "LaycanPlanSlow": (
        {f'{SECONDS}"30.0"}}': "0x60", f'{SECONDS}"60.0"}}': "0+5x60", f'{SECONDS}"+Inf"}}': "0+5x60"},
        {f'{SECONDS}"30.0"}}': "0+5x60", f'{SECONDS}"60.0"}}': "0+5x60", f'{SECONDS}"+Inf"}}': "0+5x60"},
    ),
    "LaycanPlanGap": ({'laycan_plan_gap_ratio{tier="firm"}': "0.1x70"}, {'laycan_plan_gap_ratio{tier="total"}': "0.1x70"}),
    "LaycanContractsUndecided": ({"laycan_undecided_seconds": "0+60x60"}, {"laycan_undecided_seconds": "200x60"}),
    "LaycanLogContradicted": ({"laycan_checkpoints_refused_total": "0x58 1x9"}, {"laycan_checkpoints_refused_total": "1x120"}),
    "LaycanLogFailing": ({"laycan_logs_failing": "1x60"}, {"laycan_logs_failing": "0x60"}),
    "LaycanLogVolumeFull": ({"laycan_ledger_free_ratio": "0.05x60"}, {"laycan_ledger_free_ratio": "0.5x60"}),
    "LaycanOutboxOld": ({"laycan_outbox_age_seconds": "0+60x60"}, {"laycan_outbox_age_seconds": "2x60"}),
    "LaycanReceiptsNotCurrent": ({"laycan_receipts_current": "0x60"}, {"laycan_receipts_current": "1x60"}),
    "LaycanKeyRotationStuck": ({"laycan_key_rotations_pending": "1x250"}, {"laycan_key_rotations_pending": "0x100 1x150"}),
    "LaycanExchangeNotTold": ({'laycan_endpoints{state="unreachable"}': "1x70"}, {'laycan_endpoints{state="reachable"}': "1x70"}),
    "LaycanClockOff": ({"laycan_clock_offset_seconds": "3x60"}, {"laycan_clock_offset_seconds": "0x60"}),
    "LaycanOperatorAbsent": ({"laycan_leader": "0x60"}, {"laycan_leader": "1x60"}),
    "LaycanWatchStalled": ({f"laycan_watch_age_seconds{WATCH}": "0+60x60"}, {f"laycan_watch_age_seconds{WATCH}": "70x60"}),
    "LaycanNotReconciled": ({"laycan_reconcile_age_seconds": "0+60x60"}, {"laycan_reconcile_age_seconds": "25x60"}),
    "LaycanFiguresOld": (
        {"laycan_leader": "1x60", "laycan_measured_timestamp_seconds": "60x60"},
        {"laycan_leader": "1x60", "laycan_measured_timestamp_seconds": "0+60x60"},
    ),
    "LaycanWritesFail": ({"laycan_contracts_failing": "1x60"}, {"laycan_contracts_failing": "0x60"}),
}

# Further days: an operator that finds something at its start, before Prometheus reads it for the first time, and what is easily mistaken.
LATE, ON_TIME = "laycan_late_start_seconds_count", 'laycan_late_start_seconds_bucket{le="60.0"}'
ONE_OF_TWO, OTHER_OF_TWO = 'laycan_leader{cluster="a"}', 'laycan_leader{cluster="b"}'
FURTHER: list[tuple[str, dict[str, str], bool]] = [
    ("LaycanBreachAhead", {"laycan_first_breach_seconds": "0x60", "laycan_contracts_short": "0x60"}, True),
    ("LaycanBreachAhead", {"laycan_first_breach_seconds": "0x60", "laycan_contracts_short": "1x60"}, False),
    ("LaycanLateStart", {LATE: "_x20 1x40", ON_TIME: "_x20 0x40"}, True),
    ("LaycanLateStart", {LATE: "_x20 1x40", ON_TIME: "_x20 1x40"}, False),
    ("LaycanLateStart", {LATE: "1x90 3x5", ON_TIME: "0x90 2x5"}, False),
    ("LaycanDoubleBooking", {"laycan_double_bookings_total": "_x20 1x40"}, True),
    ("LaycanLogContradicted", {"laycan_log_conflicts_total": "_x20 1x40"}, True),
    ("LaycanOperatorAbsent", {ONE_OF_TWO: "1x60", OTHER_OF_TWO: "1x30 _x30"}, True),
    ("LaycanOperatorAbsent", {ONE_OF_TWO: "1x60", OTHER_OF_TWO: "0x30 1x30"}, False),
]


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's own judge of rules."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found


def rendered(render: Render, *values: str) -> Manifest:
    (rule,) = [each for each in render("alerts.enabled=true", *values) if each["kind"] == "PrometheusRule"]
    return rule


def test_none_by_default(render: Render) -> None:
    """A cluster without a Prometheus Operator does not know the kind."""
    assert not [each for each in render() if each["kind"] == "PrometheusRule"]


def test_all_are_rendered(render: Render) -> None:
    """As they stand in the file, with the address of their runbook, under the labels that were asked for."""
    rule = rendered(render, "alerts.labels.release=stack", "alerts.runbookBase=https://wiki.example/laycan")
    assert rule["metadata"]["labels"]["release"] == "stack"
    found = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}
    for alert in found.values():
        assert alert["annotations"].pop("runbook_url") == f"https://wiki.example/laycan#{alert['alert'].lower()}"
    assert found == ALERTS
    assert [group["name"] for group in rule["spec"]["groups"]] == [group["name"] for group in GROUPS]


def test_one_can_be_left_out(render: Render) -> None:
    """By its name; the others stay."""
    rule = rendered(render, "alerts.disabled={LaycanGpusUnfit}")
    assert {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]} == ALERTS.keys() - {"LaycanGpusUnfit"}


def test_values_that_make_no_sense(helm: Helm) -> None:
    """An alert by a name that is none of ours, and a page that is no address, are refused."""
    for value in ("alerts.disabled={KubePodCrashLooping}", "alerts.runbookBase=runbooks.md", "alerts.runbookBase=https://a.example/#x"):
        done = helm("template", "laycan", str(CHART), "--kube-version", "1.36.3", "--set", value)
        assert done.returncode != 0, value


def test_of_what_is_served(served: set[str]) -> None:
    """Each expression can be read, and is of metrics that are served under that very name."""
    for name, alert in ALERTS.items():
        promql_parser.parse(alert["expr"])
        named = set(re.findall(r"laycan_\w+", alert["expr"]))
        assert named, name
        assert named <= served, name


def test_each_says_what_to_do() -> None:
    """Who is woken, in one line what happened, and in the next what to do first."""
    assert len(ALERTS) == sum(len(group["rules"]) for group in GROUPS)
    for name, alert in ALERTS.items():
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert alert["annotations"].keys() == {"summary", "description"}, name


def test_each_has_a_bad_day_and_a_good_one() -> None:
    """The table above is of all alerts."""
    assert list(CASES) == list(ALERTS)


def test_promtool_reads_the_rules(promtool: str) -> None:
    """Expressions, durations and templates, by Prometheus's own code."""
    done = subprocess.run([promtool, "check", "rules", "--lint-fatal", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout + done.stderr


def test_they_fire_on_bad_days_only(promtool: str, tmp_path: Path) -> None:
    """Prometheus evaluates each rule over the series of a bad day, where it fires, and of a good one, where it does not."""
    page = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(days())}
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump(page))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def length(values: str) -> int:
    """At least so many samples."""
    return sum(int(each.rpartition("x")[2]) if "x" in each else 1 for each in values.split())


def days() -> Iterator[dict[str, Any]]:
    """promtool's tests: what fires at the end of each day; a leader is there on every day but one."""
    tabled = [(name, series, firing) for name, (bad, good) in CASES.items() for series, firing in ((bad, True), (good, False))]
    for name, series, firing in tabled + FURTHER:
        minutes = min(map(length, series.values())) - 1
        present = {} if any(each.startswith("laycan_leader") for each in series) else {"laycan_leader": f"1x{minutes + 1}"}
        expected = [{"labels": "{}", "value": 1}] if firing else []
        asked = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
        yield {
            "name": f"{name}, {'bad' if firing else 'good'}",
            "interval": "1m",
            "input_series": [{"series": each, "values": values} for each, values in {**series, **present}.items()],
            "promql_expr_test": [{"expr": asked, "eval_time": f"{minutes}m", "exp_samples": expected}],
        }
