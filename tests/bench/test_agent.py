"""The nodes of `make bench-agent`."""

from __future__ import annotations

from bench.agent import GPUS, NOON, REPORT_SECONDS, account, eventful, report
from bench.budgets import limits
from laycan.agent.findings import FINDINGS_KEPT
from laycan.agent.missed import MISSED_KEPT


def test_a_quiet_node() -> None:
    """After three reports it has sampled on, found and missed nothing."""
    told = report(account("uid", 3), "n1")["spec"]
    assert (told["findings"], told["missed"]) == ([], [])
    assert account("uid", 3).at == NOON + 3 * REPORT_SECONDS
    assert len(told["gpus"]) == GPUS


def test_a_node_with_all_the_history_that_is_kept() -> None:
    """As many findings and missed stretches as a report may have."""
    told = report(eventful("uid"), "n1")["spec"]
    assert (len(told["findings"]), len(told["missed"])) == (FINDINGS_KEPT, MISSED_KEPT)


def test_every_row_has_limits() -> None:
    """Of each of the four measurements something is judged."""
    rows = {limit.row for limit in limits() if limit.row.startswith("agent-")}
    assert rows == {"agent-process", "agent-meter", "agent-reports", "agent-events"}
