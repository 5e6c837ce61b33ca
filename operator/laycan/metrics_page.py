"""The table of metrics, from what operator and agent register: `python -m laycan.metrics_page DOCS` writes it into DOCS/metrics.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from laycan.agent.metrics import described
from laycan.control.metrics import Metrics
from laycan.exposition import Described
from laycan.markdown import cell, put

BEGIN = "<!-- from the registries, by `make generate` -->\n"


def table() -> str:
    """Both tables, each sorted by name."""
    operator = ("The operator", "`/metrics` on port 8081 of its pod", Metrics().exposition.described)
    agent = ("An agent", "`/metrics` on port 8081 of each of its pods", described())
    return "\n".join(_section(*each) for each in (operator, agent))


def _section(title: str, where: str, metrics: Iterable[Described]) -> str:
    head = f"### {title}\nServed at {where}, with `process_*` of its process.\n\n"
    columns = "| metric | type | labels | unit | what it says |\n|---|---|---|---|---|\n"
    return head + columns + "".join(_row(each) for each in sorted(metrics))


def _row(metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.unit} | {cell(metric.words)} |\n"


def rewrite(page: str) -> str:
    """The page with the table of today between its marks."""
    return put(page, BEGIN, table())


if __name__ == "__main__":
    file = Path(sys.argv[1]) / "metrics.md"
    file.write_text(rewrite(file.read_text()))
