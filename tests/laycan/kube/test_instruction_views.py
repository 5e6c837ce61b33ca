"""What is read of a ContractInstruction, whatever it looks like."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from laycan.kube.instruction_views import instruction_view

ACT = {"contractId": "GCX-1", "action": "Dispute", "effectiveTime": "2027-01-04T00:00:00Z"}
META = {"namespace": "desk", "name": "i", "uid": "u", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2027-01-04T00:00:05Z"}
json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


def obj(spec: Any, **more: Any) -> dict[str, Any]:
    return {"metadata": META, "spec": spec, **more}


def test_the_digest_is_of_the_act_as_it_stands() -> None:
    """SHA-256 over its RFC 8785 bytes, whatever the order of its keys; the bytes are what a signature must be over."""
    view = instruction_view(obj({"contractRef": {"name": "c"}, "act": dict(reversed(ACT.items())), "envelope": "e30="}))
    assert view.digest == "sha256:" + hashlib.sha256(rfc8785.dumps(dict(ACT))).hexdigest()
    assert (view.signed, view.envelope, view.contract) == (rfc8785.dumps(dict(ACT)), "e30=", "desk/c")
    assert view.effective == view.created - 5


def test_what_is_answered_for_good_is_kept_small() -> None:
    """Nobody checks its signature again; its digest and what it cites stay, for the chain."""
    view = instruction_view(obj({"contractRef": {"name": "c"}, "act": ACT, "envelope": "e30="}, status={"phase": "Applied"}))
    assert (view.signed, view.envelope) == (b"", "")
    assert view.digest


@given(json, json)
def test_nothing_that_is_stored_stops_the_watch(spec: Any, status: Any) -> None:
    """Any JSON is read: what is wrong with it is said, and it has no digest."""
    view = instruction_view(obj(spec, status=status))
    assert view.fault
    assert view.digest == ""
