"""Resources become the planner's data, with the meaning of what they leave unsaid."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.planning.problem import LAST, bindings_from, contract_from, node_from, outage_from, products_from, unplannable
from laycan.resources.contract import ContractSpec
from laycan.resources.outage import OutageSpec
from laycan.resources.product import ProductSpec
from laycan.resources.times import parse_time
from laycan.resources.validate import contract_spec, outage_spec, product_spec
from laycan_solver.model import FOREVER, Binding, Contract, Level, MovePolicy, Problem, Reliability, Scope
from tests.fixtures.schemas import JSON, lax, spec_schema, status_schema, valid

NODE: dict[str, Any] = {
    "metadata": {
        "name": "n1",
        "labels": {
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
            "topology.kubernetes.io/zone": "z1",
            "fabric.topograph.run/tier-1": "spine-7",
            "fabric.topograph.run/tier-0": "second choice",
            "network.topology.nvidia.com/leaf": "leaf-1",
        },
    },
    "spec": {},
    "status": {
        "capacity": {"nvidia.com/gpu": "8"},
        "allocatable": {"nvidia.com/gpu": "7"},
        "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
    },
}
SPEC = {
    "intent": "Firm",
    "terms": {
        "contractId": "GCX-1",
        "productRef": {"name": "h100"},
        "delivery": {"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 16, "lotGpus": 8},
    },
}
PRODUCT = ProductSpec(gpu_products=["NVIDIA-H100-80GB-HBM3"], node_gpus=8)


def node(**changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(NODE)
    for path, value in changes.items():
        part, _, key = path.partition("__")
        made[part][key] = value
    return made


def contract(
    product: ProductSpec = PRODUCT, terms: dict[str, Any] | None = None, delivery: dict[str, Any] | None = None, **known: Any
) -> Contract:
    raw: dict[str, Any] = copy.deepcopy(SPEC)
    raw["terms"] |= terms or {}
    raw["terms"]["delivery"] |= delivery or {}
    spec = contract_spec(raw)
    assert isinstance(spec, ContractSpec), spec
    return contract_from("desk/c", spec, product, **known)


class TestNodes:
    """What a Node object says about capacity and place."""

    def test_node(self) -> None:
        """Healthy GPUs are the smaller count; the first label key that is present gives the domain; without one a node is its own."""
        made = node_from(NODE, level=Level.NODE)
        assert (made.grade, made.gpus, made.usable, made.cordoned, made.level) == ("NVIDIA-H100-80GB-HBM3", 7, True, False, Level.NODE)
        assert made.domains == ("z1", "spine-7", "leaf-1", "node/n1")

    def test_overrides(self) -> None:
        """The operator's word on health and GPUs goes before the object's."""
        made = node_from(NODE, level=Level.NODE, usable=False, gpus=8)
        assert (made.usable, made.gpus) == (False, 8)

    @pytest.mark.parametrize("conditions", [[], [{"type": "Ready", "status": "Unknown"}], [{"type": "Ready", "status": "False"}], None])
    def test_not_ready(self, conditions: object) -> None:
        """Only a Ready condition that is True makes a node usable."""
        assert not node_from(node(status__conditions=conditions), level=Level.DEVICE).usable

    def test_cordon(self) -> None:
        """A cordon is no failure: the node stays usable."""
        made = node_from(node(spec__unschedulable=True), level=Level.DEVICE)
        assert (made.usable, made.cordoned) == (True, True)

    @pytest.mark.parametrize(
        ("labels", "capacity", "says"),
        [
            ({"nvidia.com/gpu.sharing-strategy": "time-slicing"}, {}, "shared"),
            ({"nvidia.com/gpu.replicas": "4"}, {}, "4 times"),
            ({}, {"nvidia.com/mig-1g.10gb": "7"}, "MIG"),
            ({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"}, {}, "MIG"),
        ],
    )
    def test_nodes_whose_count_lies(self, labels: dict[str, str], capacity: dict[str, str], says: str) -> None:
        """Shared and partitioned GPUs are no physical GPUs: such a node serves nothing, with a reason."""
        raw = copy.deepcopy(NODE)
        raw["metadata"]["labels"] |= labels
        raw["status"]["capacity"] |= capacity
        assert says in (unplannable(raw) or "")
        assert not node_from(raw, level=Level.DEVICE).usable

    def test_what_the_gpu_operator_sets_everywhere(self) -> None:
        """Labels that say `no sharing, no MIG` refuse nothing."""
        raw = copy.deepcopy(NODE)
        raw["metadata"]["labels"] |= {
            "nvidia.com/gpu.sharing-strategy": "none",
            "nvidia.com/gpu.replicas": "1",
            "nvidia.com/mig.strategy": "single",
        }
        raw["status"]["capacity"] |= {"nvidia.com/mig-1g.10gb": "0"}
        assert unplannable(raw) is None

    @settings(max_examples=100, deadline=None)
    @given(JSON, JSON, JSON)
    def test_any_node(self, metadata: object, spec: object, status: object) -> None:
        """No Node object makes the fleet unreadable."""
        made = node_from({"metadata": metadata, "spec": spec, "status": status}, level=Level.DEVICE)
        assert made.gpus >= 0


class TestContracts:
    """What terms leave unsaid."""

    def test_shortest(self) -> None:
        """A contract that says nothing more is Firm, anywhere, in parts, at 1.00 per GPU-hour."""
        made = contract()
        assert made == Contract(
            key="desk/c",
            contract_id="GCX-1",
            product="h100",
            start=parse_time("2030-01-04T00:00:00Z"),
            end=parse_time("2030-01-05T00:00:00Z"),
            gpus=16,
            lot_gpus=8,
            admission_order=(LAST, LAST, "GCX-1"),
        )

    @pytest.mark.parametrize(
        ("delivery", "expected"),
        [
            ({}, False),
            ({"scope": "Any"}, False),
            ({"scope": "Zone"}, True),
            ({"spread": {"level": "Rack", "minDomains": 2}}, True),
            ({"scope": "Zone", "partial": "Allowed"}, False),
            ({"partial": "AllOrNothing"}, True),
        ],
    )
    def test_all_or_nothing(self, delivery: dict[str, Any], expected: bool) -> None:
        """Absent, `partial` follows from scope and spread; given, it stands."""
        assert contract(delivery=delivery).all_or_nothing is expected

    def test_topology(self) -> None:
        """Scope and spread keep their levels."""
        made = contract(delivery={"scope": "Zone", "spread": {"level": "Rack", "minDomains": 2}, "movePolicy": "Forced"})
        assert (made.scope, made.spread_level, made.spread_domains, made.forced_moves_only) == (Scope.ZONE, Scope.RACK, 2, True)

    def test_interruptible(self) -> None:
        """The contract's own right of curtailment goes before the product's; what was used of it is gone."""
        sold = product_spec("h100", {"gpuProducts": ["H"], "nodeGpus": 8, "interruption": {"noticeSeconds": 60, "maxHours": 1}})
        assert isinstance(sold, ProductSpec)
        own = {"firmness": {"class": "Interruptible", "interruption": {"noticeSeconds": 600, "maxHours": 2}}}
        inherited = {"firmness": {"class": "Interruptible"}}
        assert (contract(sold, own).notice_seconds, contract(sold, own).curtailable_seconds) == (600, 7200)
        assert (contract(sold, inherited).notice_seconds, contract(sold, inherited).curtailable_seconds) == (60, 3600)
        assert contract(sold, own, curtailed_gpu_seconds=16 * 3600).curtailable_seconds == 3600
        assert contract(sold, own, curtailed_gpu_seconds=10**9).curtailable_seconds == 0
        assert contract(PRODUCT, inherited).notice_seconds is None
        assert contract(sold).notice_seconds is None

    def test_price(self) -> None:
        """Amounts are micros; without a multiple it is one."""
        made = contract(terms={"price": {"amount": "2.10", "currency": "USD"}})
        assert (made.price_micros, made.multiple_ppm) == (2_100_000, 1_000_000)
        assert contract(terms={"price": {"amount": "2.10", "currency": "USD", "shortfallMultiplePpm": 0}}).multiple_ppm == 0

    def test_admission_order(self) -> None:
        """First come: creation, trade, contractId; who gives no time of trade comes after those who do."""
        first = contract(terms={"tradeTime": "2029-01-01T00:00:00Z"}, created=100)
        later = contract(created=100)
        latest = contract(terms={"tradeTime": "2028-01-01T00:00:00Z"}, created=101)
        assert first.admission_order < later.admission_order < latest.admission_order

    def test_created_after_the_start(self) -> None:
        """Such a contract owes from its creation."""
        assert contract(created=parse_time("2030-01-04T06:00:00Z")).due_from == parse_time("2030-01-04T06:00:00Z")


def test_products() -> None:
    """Planning knobs have the published defaults; equivalents that nobody gave cannot be delivered."""
    raw = {
        "gpuProducts": ["H"],
        "nodeGpus": 8,
        "equivalents": [{"product": "b", "costPerGpuHour": "0.080"}, {"product": "gone", "costPerGpuHour": "1"}],
    }
    specs = {
        "a": product_spec("a", raw),
        "b": product_spec("b", {**raw, "equivalents": [], "planning": {"move": {"seconds": 0, "perMonth": 0}}}),
    }
    good = {name: spec for name, spec in specs.items() if isinstance(spec, ProductSpec)}
    a, b = products_from(good)
    assert (a.equivalents, a.move_seconds, a.move_policy, a.moves_per_month) == ({"b": 80_000}, 900, MovePolicy.RESCUE, 4)
    assert (b.move_seconds, b.moves_per_month) == (0, 0)


def test_outages() -> None:
    """An outage hits the nodes named or selected; without an end it is for ever."""
    labels = {"n1": {"leaf": "a", "x": "y"}, "n2": {"leaf": "b"}, "n3": {}}
    forced = outage_spec({"type": "Forced", "nodeSelector": {"leaf": "a"}, "start": "2030-01-01T00:00:00Z"})
    assert isinstance(forced, OutageSpec)
    made = outage_from("o", forced, labels)
    assert (made.nodes, made.end) == (frozenset({"n1"}), FOREVER)
    named = outage_spec({"type": "Planned", "nodes": ["n2", "gone"], "start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"})
    assert isinstance(named, OutageSpec)
    assert outage_from("o", named, labels).nodes == frozenset({"n2", "gone"})


STORED = st.one_of(valid(spec_schema("ComputeContract")), lax(spec_schema("ComputeContract")))
PRODUCTS = valid(spec_schema("ComputeProduct"))
STATUSES = st.one_of(valid(status_schema("ComputeContract")), lax(status_schema("ComputeContract")), JSON)


@settings(max_examples=60, deadline=None)
@given(STORED, PRODUCTS, STATUSES)
def test_whatever_is_stored_can_be_planned_or_refused(raw: object, product: object, status: object) -> None:
    """F15: an object that passes validation always becomes a problem that the planner accepts; the rest has faults."""
    sold, spec = product_spec("p", product), contract_spec(raw)
    if isinstance(sold, list) or isinstance(spec, list):
        return
    named = spec.model_copy(
        update={"terms": spec.terms.model_copy(update={"product_ref": spec.terms.product_ref.model_copy(update={"name": "p"})})}
    )
    previous = bindings_from("desk/c", status if isinstance(status, dict) else {})
    Problem(0, (), products_from({"p": sold}), (contract_from("desk/c", named, sold),), (), tuple(previous))


def test_bindings_in_a_status() -> None:
    """Well-formed bindings count, others are none."""
    good = {"node": "n1", "product": "h100", "gpus": 8, "level": "Node", "start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}
    broken = [{**good, "end": "soon"}, {**good, "gpus": None}, {**good, "end": good["start"]}, {"node": "n1"}, "x", None]
    start = parse_time("2030-01-01T00:00:00Z")
    assert bindings_from("desk/c", {"bindings": [*broken, good]}) == [Binding("desk/c", "n1", "h100", 8, start, start + 86400)]
    assert bindings_from("desk/c", {"bindings": None}) == []


def test_how_nodes_of_a_product_fail() -> None:
    """Target and cure come from the spec, rate and repair time from what was measured; without either the defaults."""
    sure = product_spec(
        "h100",
        {"gpuProducts": ["H"], "nodeGpus": 8, "target": {"shortfallPpm": 100}, "tolerance": {"graceSeconds": 60, "cureSeconds": 600}},
    )
    plain = ProductSpec(gpu_products=["H"], node_gpus=8)
    assert isinstance(sure, ProductSpec)
    counts = {"reliability": {"nodeSeconds": 1_000 * 86_400, "failures": 7, "repairs": 1, "repairSeconds": 3_600}}
    found = {p.name: p.reliability for p in products_from({"a": sure, "b": plain, "c": plain}, statuses={"a": counts, "c": None})}
    assert found == {"a": Reliability(6_800, 45_000, 600, 100), "b": Reliability(), "c": Reliability()}
