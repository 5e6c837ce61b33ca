"""The Grafana dashboard of the chart, from a table of panels: `python -m charts.dashboard` writes charts/laycan/dashboards/laycan.json.

The file is what Grafana imports; this table is what a person reads and changes. Places on the grid and ids follow from the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parent / "laycan" / "dashboards" / "laycan.json"
COLUMNS, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 7
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE = '{product=~"$product"}'
Json = dict[str, Any]


class Query(NamedTuple):
    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """`unit` is Grafana's name of it; `bad`: from this value on a stat is red, below it where `low` says so."""

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    bad: float | None = None
    low: bool = False


def stat(title: str, unit: str, expr: str, description: str, bad: float | None = None, *, low: bool = False) -> Panel:
    return Panel(title, unit, description, (Query(expr),), "stat", 4, bad=bad, low=low)


def graph(title: str, unit: str, description: str, *queries: Query, width: int = 8, stacked: bool = False) -> Panel:
    return Panel(title, unit, description, queries, width=width, stacked=stacked)


def quantiles(name: str, by: str = "") -> tuple[Query, ...]:
    group, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    return tuple(
        Query(f"histogram_quantile({q}, sum by ({group}) (rate({name}_bucket[$__rate_interval])))", f"p{round(100 * q)}{legend}")
        for q in (0.5, 0.95)
    )


DELIVERY = (
    stat("Contracts short", "none", "sum(laycan_contracts_short)", "Contracts that are delivered less than they are due.", 1),
    stat("Contracts at risk", "none", "sum(laycan_contracts_at_risk)", "Short ahead by the plan, or likelier to be than allowed.", 1),
    stat(
        "First breach in",
        "s",
        "min(laycan_first_breach_seconds) < Inf",
        "Until the plan leaves a contract short; empty: never.",
        86_400,
        low=True,
    ),
    stat(
        "Delivery margin",
        "none",
        f"min(laycan_delivery_margin_gpus{ONE})",
        "GPUs that may fail now before a running Firm contract is short.",
        8,
        low=True,
    ),
    stat("Running contracts", "none", 'sum(laycan_contracts{phase="Delivering"})', "Contracts in delivery."),
    stat("Fence", "none", "min(laycan_fence_live)", "1: the API server is seen to keep strangers off.", 1, low=True),
    graph(
        "Contracts by phase",
        "none",
        "Where contracts stand; final phases are left out.",
        Query('sum by (phase) (laycan_contracts{phase!~"Settled|Cancelled|Terminated|Rejected|Expired"})', "{{phase}}"),
        stacked=True,
    ),
    graph(
        "Delivery margin",
        "none",
        "GPUs that may fail before a running Firm contract is short, against what one node takes along.",
        Query(f"laycan_delivery_margin_gpus{ONE}", "{{product}}"),
        Query(f"laycan_product_node_gpus{ONE} and laycan_delivery_margin_gpus", "one node of {{product}}"),
    ),
    graph(
        "Short and at risk", "none", "Contracts.", Query("laycan_contracts_short", "short"), Query("laycan_contracts_at_risk", "at risk")
    ),
    graph("Late starts", "s", "From the start of a window until its buyer had all.", *quantiles("laycan_late_start_seconds")),
    graph(
        "Re-bind latency",
        "s",
        "From the onset of an interruption until the buyer had everything again.",
        *quantiles("laycan_rebind_seconds"),
    ),
    graph(
        "Starts and interruptions",
        "none",
        "Counts since the operator started.",
        Query("laycan_late_start_seconds_count", "windows begun"),
        Query("laycan_rebind_seconds_count", "interruptions mended"),
        Query('laycan_early_stop_seconds_count - ignoring(le) laycan_early_stop_seconds_bucket{le="0.0"}', "not mended"),
    ),
)

PLANNING = (
    graph(
        "Solve time",
        "s",
        "From question to checked plan: of everything (thorough), or of what has changed (following).",
        *quantiles("laycan_solve_seconds", "kind"),
    ),
    graph(
        "Plans",
        "ops",
        "Plans made, failed and broken off for a quote, per second.",
        Query("sum by (kind) (rate(laycan_solve_seconds_count[$__rate_interval]))", "{{kind}}"),
        Query("rate(laycan_plans_failed_total[$__rate_interval])", "failed"),
        Query("rate(laycan_plans_interrupted_total[$__rate_interval])", "interrupted"),
    ),
    graph(
        "Gap", "percentunit", "What the plan may owe more than is proven to be owed at least.", Query("laycan_plan_gap_ratio", "{{tier}}")
    ),
    graph(
        "Waiting",
        "s",
        "For a plan, and for the oldest answer.",
        Query("laycan_plan_waiting_seconds", "for a plan"),
        Query("laycan_undecided_seconds", "oldest contract without an answer"),
    ),
    graph(
        "Utilisation",
        "percentunit",
        "Sold of what is in service, now and of the next 30 days.",
        Query(f"laycan_gpus_sold{ONE} / (laycan_gpus_in_service > 0)", "{{product}} now"),
        Query(f"laycan_sold_30d_ratio{ONE}", "{{product}} next 30 days"),
    ),
    graph(
        "Reserve",
        "none",
        "GPUs that nobody is bound to, now and at their fewest in 30 days.",
        Query(f"laycan_gpus_spare{ONE}", "{{product}} now"),
        Query(f"laycan_gpus_spare_least{ONE}", "{{product}} at the fewest"),
    ),
    graph(
        "Chance of a shortfall",
        "percentunit",
        "The greatest of a Firm contract in its worst 30 days, against the product's target.",
        Query(f"laycan_shortfall_chance_ratio{ONE}", "{{product}}"),
        Query(f"laycan_shortfall_target_ratio{ONE}", "{{product}} target"),
    ),
    graph("Outages", "none", "Those that are not over, by verdict.", Query("laycan_outages", "{{verdict}}"), stacked=True),
    graph("Waiting for an answer", "none", "Contracts and quotes.", Query("laycan_contracts_undecided", "undecided")),
)

EVIDENCE = (
    graph("Outbox age", "s", "For how long the oldest event has waited for its log.", Query("laycan_outbox_age_seconds", "oldest event")),
    graph(
        "Events",
        "none",
        "Not yet acknowledged by their exchange, and given up for those behind them.",
        Query("laycan_events_pending", "pending"),
        Query("laycan_events_parked", "parked"),
    ),
    graph("Exchanges", "none", "By how their last attempts went.", Query("laycan_endpoints", "{{state}}"), stacked=True),
    graph("Log", "none", "Entries in all logs.", Query("laycan_log_entries", "entries")),
    graph("Append to the log", "s", "Until a batch was on the disk.", *quantiles("laycan_log_append_seconds")),
    graph(
        "Alarms of the evidence",
        "none",
        "Contradicted checkpoints, conflicting events, logs that fail. All are 0 on a good day.",
        Query("laycan_checkpoints_refused_total", "checkpoints contradicted"),
        Query("laycan_log_conflicts_total", "conflicts"),
        Query("laycan_logs_failing", "logs failing"),
    ),
    stat("Receipts", "none", "min(laycan_receipts_current)", "1: receipts can be signed.", 1, low=True),
    stat("Free for the log", "percentunit", "min(laycan_ledger_free_ratio)", "Of the log's volume.", 0.1, low=True),
    stat("Clock", "s", "laycan_clock_offset_seconds", "How far the operator's is ahead of the API server's at least."),
)

CONTROL = (
    graph("Watch age", "s", "Since the API server last said something, by kind.", Query("laycan_watch_age_seconds", "{{kind}}")),
    graph(
        "Writes",
        "ops",
        "Of contracts, per second, by what came of them.",
        Query("rate(laycan_contract_writes_total[$__rate_interval])", "{{outcome}}"),
    ),
    graph(
        "Trouble",
        "none",
        "Contracts that cannot be written, policies that somebody changed, nodes bound twice. All are 0 on a good day.",
        Query("laycan_contracts_failing", "contracts failing"),
        Query("laycan_policies_changed", "policies changed"),
        Query("laycan_double_bookings_total", "double bookings"),
    ),
    graph(
        "Processor time",
        "none",
        "Cores: of the operator, and of the planner's process.",
        Query("rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) laycan_leader", "operator"),
        Query("sum(rate(laycan_solve_cpu_seconds_total[$__rate_interval]))", "planner"),
    ),
    graph(
        "Memory", "bytes", "Resident, of the operator.", Query("process_resident_memory_bytes and on (instance) laycan_leader", "operator")
    ),
    graph("Reconcile", "s", "Since everything was last compared in full.", Query("laycan_reconcile_age_seconds", "age")),
    stat("Leader", "none", "sum(laycan_leader)", "Processes that hold the lease.", 1, low=True),
    stat("Mode", "none", "min(laycan_enforcing)", "1: Enforce, 0: Observe."),
    stat("Paused", "none", "max(laycan_paused)", "1: nothing is handed over, re-bound or drained.", 1),
)

FLEET = (
    graph("Nodes by state", "none", "What the nodes of the fleet are used for.", Query("laycan_nodes", "{{state}}"), stacked=True),
    graph(
        "GPUs in service",
        "none",
        "Healthy, on nodes that plans may use; and what contracts are due.",
        Query(f"laycan_gpus_in_service{ONE}", "{{product}}"),
        Query(f"laycan_gpus_sold{ONE}", "{{product}} sold"),
    ),
    graph("Unfit GPUs", "none", "By the worst that their agents found.", Query("laycan_gpus_unfit > 0", "{{reason}}"), stacked=True),
    graph("Nodes withheld", "none", "Failed nodes that the circuit breaker keeps.", Query("laycan_nodes_withheld", "withheld")),
    graph(
        "Agents",
        "none",
        "Those that missed two reports, or see no driver.",
        Query("laycan_agents_silent", "silent"),
        Query("count(laycan_agent_driver == 0)", "without a driver"),
    ),
    graph("Strangers", "none", "Processes on delivered GPUs that are not the holder's.", Query("laycan_stranger_processes", "processes")),
)

ROWS = {"Delivery": DELIVERY, "Planning": PLANNING, "Evidence": EVIDENCE, "Control": CONTROL, "Fleet": FLEET}


def placed() -> Iterator[Json]:
    """Rows and panels, left to right and top to bottom, with ids from 1."""
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            number, tall = number + 1, STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": tall})
            x, height = x + panel.width, max(height, tall)
        y += height


def _panel(panel: Panel, number: int, place: Json) -> Json:
    defaults: Json = {"unit": panel.unit, "min": 0} if panel.unit != "s" or panel.kind != "stat" else {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"fillOpacity": 25 if panel.stacked else 5, "lineWidth": 1, "showPoints": "never", "stacking": stacking}
        options: Json = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    else:
        good, bad = ("red", "green") if panel.low else ("green", "red")
        steps = [{"color": good if panel.bad is not None else "text", "value": None}]
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [*steps, *([{"color": bad, "value": panel.bad}] if panel.bad is not None else [])],
        }
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    targets = [
        {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend or "__auto"}
        for n, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def build() -> Json:
    product = {
        "name": "product",
        "label": "Product",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(laycan_gpus_in_service, product)", "refId": "products"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    return {
        "uid": "laycan",
        "title": "Laycan",
        "description": "Delivery of physical compute forwards. What each figure means: docs/metrics.md.",
        "tags": ["laycan", "gpu"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, product]},
        "annotations": {"list": []},
        "links": [],
        "panels": list(placed()),
    }


def render() -> str:
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render())
