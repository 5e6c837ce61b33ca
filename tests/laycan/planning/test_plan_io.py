"""A plan's document is exact both ways, and in the published form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from laycan.planning.manifests import BadInputError
from laycan.planning.plan_io import plan_document, plan_json, read_plan, read_previous
from laycan_solver.model import Plan
from tests.laycan.planning.plans import ONE, PLANS


@given(PLANS)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> None:
    """What is written is read back as it was, whatever the plan."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_bytes(plan_json(plan))
    assert read_plan(str(path)) == plan
    announced = tuple(b for b in plan.bindings if b.start < b.end and 0 < b.gpus <= 65_536)
    path.write_bytes(plan_json(replace(plan, bindings=announced)))
    assert read_previous(str(path)) == (plan.now, list(announced))


def test_published_form() -> None:
    """Names and their order are the stable part of the interface."""
    day = {"start": "2027-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"}
    expected: dict[str, Any] = {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "Plan",
        "now": "2027-01-01T00:00:00Z",
        "bindings": [{"contract": "desk/c1", "node": "n1", "product": "h100", "gpus": 8, **day}],
        "undelivered": [{"contract": "desk/c2", "gpus": 16, **day, "reason": {"code": "PoolShort", "message": "16 of 16"}}],
        "moves": [{"contract": "desk/c3", "gpus": 8, "from": "n7", "to": "n9", "reason": "NodeLost"}],
        "totals": {
            "valueMicros": 1,
            "owedMicros": 2,
            "firmOwedMicros": 3,
            "interruptionMicros": 4,
            "substitutionMicros": 5,
            "contractedGpuSeconds": 6,
            "boundGpuSeconds": 7,
            "movedGpus": 8,
            "contractInstants": 9,
        },
        "bound": {"firmMicros": 10, "totalMicros": 11},
        "gapPpm": {"firm": 12, "total": 13},
        "stopped": "Effort",
        "certificate": {},
    }
    assert json.dumps(plan_document(ONE)) == json.dumps(expected)
    assert json.loads(plan_json(ONE)) == expected


def test_the_total_of_reserves_is_there_where_it_says_something() -> None:
    """A plan without reserves has the published totals and no other; one that is short of reserve says so, and is read back."""
    short = replace(ONE, totals=replace(ONE.totals, reserve_short_gpu_seconds=5))
    assert "reserveShortGpuSeconds" not in plan_document(ONE)["totals"]
    assert plan_document(short)["totals"] == {**plan_document(ONE)["totals"], "reserveShortGpuSeconds": 5}


def test_a_previous_plan_needs_only_now_and_bindings(tmp_path: Path) -> None:
    """As generated instances give it."""
    path = tmp_path / "previous.json"
    path.write_text(json.dumps({"apiVersion": "laycan.dev/v1alpha1", "kind": "Plan", "now": "2027-01-01T00:00:00Z", "bindings": []}))
    assert read_previous(str(path)) == (1798761600, [])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"now": "2027"}, "now: "),
        ({"kind": "Node"}, "kind: "),
        ({"bindings": [{"contract": "c"}]}, "bindings.0.node: "),
        ({"totals": {}}, "totals.valueMicros: "),
        ({"stopped": "Bored"}, "stopped: "),
        ({"undelivered": 5}, "undelivered: "),
    ],
)
def test_what_is_no_plan(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """A wrong field is named."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**plan_document(ONE), **change}))
    with pytest.raises(BadInputError, match=f"plan.json: Plan: {says}"):
        read_plan(str(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gpus": 0}, "bindings.0.gpus: .* greater than or equal to 1"),
        ({"gpus": -8}, "bindings.0.gpus: .* greater than or equal to 1"),
        ({"gpus": 10**12}, "bindings.0.gpus: .* less than or equal to 65536"),
        ({"end": "2027-01-01T00:00:00Z"}, "bindings.0: .* end is not later than start"),
    ],
)
def test_what_was_never_announced(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """A plan is judged with whatever bindings it claims; a previous plan holds bindings that some plan may have had."""
    path = tmp_path / "plan.json"
    document = plan_document(ONE)
    path.write_text(json.dumps({**document, "bindings": [{**document["bindings"][0], **change}]}))
    assert len(read_plan(str(path)).bindings) == 1
    with pytest.raises(BadInputError, match=f"plan.json: Plan: {says}"):
        read_previous(str(path))


def test_unreadable(tmp_path: Path) -> None:
    """A file that is gone, and one that is no JSON."""
    with pytest.raises(BadInputError, match="cannot be read"):
        read_plan(str(tmp_path / "gone.json"))
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(BadInputError, match="is not JSON"):
        read_plan(str(tmp_path / "plan.json"))
