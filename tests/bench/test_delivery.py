"""What `make bench-delivery` counts."""

from __future__ import annotations

import os
import time

import pytest

from bench.delivery import due_at
from bench.fence_cost import entries
from bench.watching import cpu_us, requests, spread, waits_ms
from controlplane.api import Object

START = 1_798_761_600  # 2027-01-01T00:00:00Z


def test_a_node_waits_until_it_is_first_held() -> None:
    """The first time that it is the holder's counts, from when it was due; what was held before that waited for nothing."""
    changes = [(9.5, "b", "acme"), (10.0, "a", "frozen.1"), (10.25, "a", "acme"), (11.0, "a", ""), (12.0, "a", "acme")]
    assert waits_ms(changes, {"a": 10.0, "b": 10.0}, "acme") == [250, 0]


def test_a_node_that_was_never_held_is_no_figure() -> None:
    """Rather no result than one over those that were lucky."""
    with pytest.raises(KeyError, match="b"):
        waits_ms([(10.0, "a", "acme")], {"a": 10.0, "b": 10.0}, "acme")


def test_a_binding_is_due_at_its_start_or_when_it_was_asked_for() -> None:
    """A window that had begun before its contract was created is due from then on."""
    bindings = [{"node": "a", "start": "2027-01-01T00:00:05Z"}, {"node": "b", "start": "2026-12-31T00:00:00Z"}]
    contracts: list[Object] = [{"status": {"bindings": bindings}}, {"status": {}}]
    assert due_at(contracts, START + 0.5) == {"a": START + 5, "b": START + 0.5}


def test_spread() -> None:
    """Median, 99th percentile and largest of what was measured."""
    assert spread("x", list(range(1, 201))) == {"x_p50": 100, "x_p99": 198, "x_max": 200}


def test_requests_are_told_apart() -> None:
    """Writes and lists by kind, a dry run apart; the codes of one kind are added up, watches, reads and other metrics left out."""
    common = 'component="apiserver",group="",scope="resource",version="v1"'
    metrics = "\n".join(
        [
            "# TYPE apiserver_request_total counter",
            f'apiserver_request_total{{code="200",{common},dry_run="",resource="nodes",subresource="",verb="PATCH"}} 40',
            f'apiserver_request_total{{code="422",{common},dry_run="",resource="nodes",subresource="",verb="PATCH"}} 2',
            f'apiserver_request_total{{code="403",{common},dry_run="All",resource="pods",subresource="binding",verb="POST"}} 3',
            f'apiserver_request_total{{code="200",{common},dry_run="",resource="pods",subresource="",verb="LIST"}} 1e+06',
            f'apiserver_request_total{{code="200",{common},dry_run="",resource="nodes",subresource="",verb="WATCH"}} 9',
            f'apiserver_request_total{{code="200",{common},dry_run="",resource="nodes",subresource="",verb="GET"}} 9',
            'apiserver_longrunning_requests{resource="nodes",verb="LIST"} 5',
        ]
    )
    assert requests(metrics) == {"PATCH nodes": 42, "POST pods/binding (dry run)": 3, "LIST pods": 1_000_000}


def test_entries_of_a_large_fence() -> None:
    """As many as asked for: first nodes that are there, then others; without any the fence is empty."""
    assert len(entries(["a", "b"], 12_500)) == 12_500
    assert {"a", "b"} < entries(["a", "b"], 3).keys()
    assert entries(["a", "b"], 1).keys() == {"a"}
    assert entries(["a", "b"], 0) == {}


def test_cpu_of_a_process() -> None:
    """The clock of another process, asked for our own, agrees with ours; it counts all threads."""
    before = time.process_time_ns() // 1_000
    seen = cpu_us(os.getpid())
    assert before <= seen <= time.process_time_ns() // 1_000
