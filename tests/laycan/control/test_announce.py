"""Which step of a contract is worth an Event, and with which words."""

from __future__ import annotations

from typing import Any

from laycan.control.announce import news
from tests.laycan.control.town import bound, contract


def told(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [tuple(item) for item in news(contract("a", status=old), contract("a", status=new))]  # type: ignore[misc]


def test_each_phase_is_announced_once() -> None:
    """Received is not: everything begins so."""
    assert told({}, {"phase": "Received"}) == []
    assert told({"phase": "Received"}, bound("n1", "n2")) == [("Normal", "Accepted", "bound to n1, n2")]
    assert told(bound("n1"), bound("n1")) == []
    refused = {"phase": "Rejected", "reason": {"code": "NoCapacity", "message": "h100 is short"}}
    assert told({}, refused) == [("Warning", "Rejected", "NoCapacity: h100 is short")]


def test_a_new_node_of_a_promise_is_announced() -> None:
    """A node that merely ends is not news."""
    assert told(bound("n1", "n2"), bound("n2", "n3")) == [("Normal", "Rebound", "from n1 to n3")]
    assert told(bound("n1", "n2"), bound("n2")) == []


def test_a_new_node_for_a_lost_one_says_what_was_lost() -> None:
    """And why, where an agent knows; a planned move of what the buyer has says nothing of the kind."""
    lost = {"type": "HandedOver", "status": "False", "reason": "Interrupted", "message": "0 of 1 lots: Xid79"}
    lost["lastTransitionTime"] = "2027-01-04T00:00:00Z"
    assert told(bound("n1"), bound("n2") | {"conditions": [lost]}) == [("Normal", "Rebound", "from n1 to n2: 0 of 1 lots: Xid79")]
    had = {**lost, "status": "True", "reason": "Complete", "message": "1 of 1 lots"}
    assert told(bound("n1") | {"conditions": [had]}, bound("n2") | {"conditions": [had]}) == [("Normal", "Rebound", "from n1 to n2")]


def test_a_condition_is_announced_when_it_becomes_true() -> None:
    """Not again while it holds, and not when its message changes."""
    since = {"lastTransitionTime": "2027-01-04T00:00:00Z"}
    short = [{"type": "Shortfall", "status": "True", "reason": "NodeLost", "message": "8 GPUs", **since}]
    assert told(bound("n1"), bound("n1") | {"conditions": short}) == [("Warning", "Shortfall", "8 GPUs")]
    assert told(bound("n1") | {"conditions": short}, bound("n1") | {"conditions": [{**short[0], "message": "16 GPUs"}]}) == []
