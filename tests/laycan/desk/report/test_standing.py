"""Statuses are read leniently: what is there is shown, what is malformed is left out."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.desk.report.standing import Quantities, Standing, standing_of
from laycan.planning.manifests import ReadContract
from laycan.resources.contract import ContractSpec
from laycan.resources.validate import contract_spec
from tests.laycan_solver.small import NOW

DELIVERY = {"start": "2027-01-04T00:00:00Z", "end": "2027-02-03T00:00:00Z", "gpus": 64, "lotGpus": 8}


def standing(status: dict[str, Any]) -> Standing | None:
    spec = contract_spec({"intent": "Firm", "terms": {"contractId": "T-1", "productRef": {"name": "h100"}, "delivery": DELIVERY}})
    assert isinstance(spec, ContractSpec)
    return standing_of(ReadContract("desk/a", "file: ComputeContract desk/a", spec, status, 0))


def test_all_of_it() -> None:
    """What the operator writes."""
    parts = {"contracted": 100, "delivered": 80, "curtailed": 5, "buyerCaused": 4, "excused": 1, "shortfall": 10}
    found = standing(
        {
            "phase": "Delivering",
            "quantities": {f"{part}GpuSeconds": n for part, n in parts.items()},
            "meter": {"until": "2027-01-01T00:00:00Z"},
            "conditions": [
                {"type": "AtRisk", "status": "True", "reason": "OutagePlanned", "message": "two nodes"},
                {"type": "Degraded", "status": "False", "reason": "Fine"},
            ],
            "reason": {"code": "PoolShort", "message": "h100: 8 of 64", "pool": "h100"},
        }
    )
    assert found
    assert found.quantities == Quantities(100, 80, 5, 4, 1, 10)
    assert (found.contract_id, found.product, found.phase, found.until) == ("T-1", "h100", "Delivering", NOW)
    assert [(c.type, c.reason, c.message) for c in found.conditions] == [("AtRisk", "OutagePlanned", "two nodes")]
    assert (found.code, found.message, found.pool) == ("PoolShort", "h100: 8 of 64", "h100")
    assert found.quantities.due == 91
    assert (found.gpus, found.start, found.end) == (64, NOW + 3 * 86_400, NOW + 33 * 86_400)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": 7, "quantities": [], "meter": "soon", "conditions": "many", "reason": 3},
        {"phase": None, "quantities": {"deliveredGpuSeconds": "8"}, "meter": {"until": "soon"}, "conditions": [3, {"type": 4}]},
        {"phase": [], "quantities": {"deliveredGpuSeconds": True}, "meter": {"until": 5}, "conditions": [{"status": "True"}]},
    ],
)
def test_malformed(status: dict[str, Any]) -> None:
    """Nothing raises, and nothing is made up."""
    found = standing(status)
    assert found
    assert (found.phase, found.quantities, found.until, found.conditions, found.code) == ("", None, 0, (), "")


def test_none() -> None:
    """A manifest without a status says nothing, and one without quantities was not metered."""
    assert standing({}) is None
    found = standing({"phase": "Accepted"})
    assert found
    assert found.quantities is None
