"""Everything that is wrong with an object is found, in words, and nothing raises."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.planning.documents import documents
from laycan.resources import validate
from laycan.resources.contract import ContractSpec
from laycan.resources.exchange import EndpointSpec
from laycan.resources.product import ProductSpec
from laycan.resources.terms import lei_is_valid
from laycan.resources.validate import Fault, against_endpoint, against_product, contract_spec, handover_refusal, malformed
from tests.fixtures.schemas import JSON, lax, spec_schema, valid

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD: dict[str, Any] = {
    "intent": "Firm",
    "terms": {
        "contractId": "GCX-1",
        "productRef": {"name": "h100-sxm5-80g"},
        "delivery": {"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 16, "lotGpus": 8},
    },
}
EXEMPT = ("kube-system", "gpu-operator")


def spec(**delivery: Any) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    made["terms"]["delivery"] |= delivery
    return made


def read(raw: dict[str, Any]) -> ContractSpec:
    found = contract_spec(raw)
    assert isinstance(found, ContractSpec)
    return found


JUDGES = {
    "ComputeContract": contract_spec,
    "ComputeProduct": lambda raw: validate.product_spec("p", raw),
    "Outage": validate.outage_spec,
    "ExchangeEndpoint": validate.endpoint_spec,
}


STORED = {kind: st.one_of(valid(spec_schema(kind)), lax(spec_schema(kind)), JSON) for kind in JUDGES}


@pytest.mark.parametrize("kind", JUDGES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_stored_under_any_crd(kind: str, data: st.DataObject) -> None:
    """F15: whatever an API server may have stored yields a model or faults with a field and a text, never an exception."""
    raw = data.draw(STORED[kind])
    found = JUDGES[kind](raw)
    if isinstance(found, list):
        assert found
        assert all(fault.field.startswith("spec") and 3 < len(fault.text) < 1000 for fault in found)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gpus": 10**12}, "gpus"),
        ({"gpus": -8}, "gpus"),
        ({"gpus": 12}, "gpus"),
        ({"gpus": True}, "gpus"),
        ({"gpus": 16.0}, "gpus"),
        ({"lotGpus": 0}, "lotGpus"),
        ({"gpus": 8193, "lotGpus": 1}, "lotGpus"),
        ({"end": "2030-01-03T00:00:00Z"}, "end"),
        ({"end": "2030-01-04T00:00:00Z"}, "end"),
        ({"end": "2033-01-06T00:00:01Z"}, "end"),
        ({"scope": "NVLinkDomain", "spread": {"level": "NVLinkDomain", "minDomains": 2}}, "spread.level"),
        ({"profile": [{"start": "2030-01-04T00:00:00Z", "end": "2030-01-04T12:00:00Z", "gpus": 16}]}, "profile"),
        ({"profile": [{"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 12}]}, "profile[0].gpus"),
    ],
)
def test_deliveries(change: dict[str, Any], field: str) -> None:
    """Each contradiction is found at its field, and is the only one."""
    found = contract_spec(spec(**change))
    assert isinstance(found, list)
    assert [fault.field for fault in found] == [f"spec.terms.delivery.{field}"]


def test_a_flat_profile_says_nothing_new() -> None:
    """Blocks that add up to `gpus` from start to end are delivered like none."""
    middle = "2030-01-04T12:00:00Z"
    blocks = [
        {"start": GOOD["terms"]["delivery"]["start"], "end": middle, "gpus": 16},
        {"start": middle, "end": "2030-01-05T00:00:00Z", "gpus": 16},
    ]
    assert isinstance(contract_spec(spec(profile=blocks)), ContractSpec)


def test_all_faults_at_once() -> None:
    """One look finds them all."""
    found = contract_spec(spec(gpus="8", start="tomorrow", scpoe="Rack"))
    assert isinstance(found, list)
    assert [str(fault) for fault in found] == [
        "spec.terms.delivery.start: 'tomorrow' is not a time of the form 2027-01-04T00:00:00Z (UTC, whole seconds, Z)",
        "spec.terms.delivery.gpus: must be a whole number without quotes, not '8'",
        "spec.terms.delivery.scpoe: is no field here; did you mean scope?",
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {**GOOD, **{f"field{i}": i for i in range(10_000)}},
        spec(profile=[{"start": 1, "end": 2, "gpus": "x"}] * 300),
        spec(profile=[{"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 16}] * 10_000),
        {**GOOD, "adopt": {"bindings": [{"node": "n", "gpus": 0}] * 1024}},
    ],
)
def test_floods(raw: dict[str, Any]) -> None:
    """F15: ten thousand faults cost no more than a few, and are counted."""
    found = contract_spec(raw)
    assert isinstance(found, list)
    assert 1 <= len(found) <= validate.MOST + 1
    assert sum(len(fault.text) for fault in found) < 20_000


def test_a_refusal_is_short() -> None:
    """A refusal is a condition's message: it names the first faults and counts the others."""
    refusal = malformed([Fault(f"spec.f{i}", "is missing; add it") for i in range(6)])
    assert refusal.code == "Malformed"
    assert refusal.message.endswith("spec.f3: is missing; add it; and 2 more")


def bad_examples() -> list[Path]:
    return sorted((EXAMPLES / "bad").glob("*.yaml"))


@pytest.mark.parametrize("path", bad_examples(), ids=lambda path: path.stem)
def test_bad_examples(path: Path) -> None:
    """Each bad example is refused in the words of its header."""
    expected = [line.removeprefix("# laycan plan: ") for line in path.read_text().splitlines() if line.startswith("# laycan plan: ")]
    lines: list[str] = []
    (_, raw), *others = documents([str(path)], lines)
    assert not lines
    assert not others
    judge = JUDGES.get(raw["kind"])
    if raw["kind"] == "ComputeProduct":
        found: object = validate.product_spec(raw["metadata"]["name"], raw["spec"])
    else:
        found = judge(raw["spec"]) if judge else []
    assert isinstance(found, list)
    assert [str(fault) for fault in found] == expected


def test_lei_check_digits() -> None:
    """ISO 17442 by two LEIs in public registers; one changed character breaks each."""
    assert lei_is_valid("5493001KJTIIGC8Y1R12")
    assert lei_is_valid("529900T8BM49AURSDO55")
    assert not lei_is_valid("5493001KJTIIGC8Y1R13")
    assert not lei_is_valid("5493001KJTIIGC8Y2R12")


def test_lots_of_the_product() -> None:
    """A product that is sold in multiples of four is not sold in threes."""
    product = ProductSpec(gpu_products=["NVIDIA-GB200"], node_gpus=4, lot_gpus=4)
    assert against_product(read(spec(lotGpus=4)).terms, product) is None
    refusal = against_product(read(spec(lotGpus=2)).terms, product)
    assert refusal is not None
    assert (refusal.code, "multiples of 4" in refusal.message) == ("Malformed", True)


def test_what_an_exchange_requires() -> None:
    """A contract that lacks a required field is refused by its name."""
    endpoint = validate.endpoint_spec(
        {"url": "https://x.example", "secretRef": {"name": "s", "key": "k"}, "requires": ["uti", "confirmation"]}
    )
    assert isinstance(endpoint, EndpointSpec)
    refusal = against_endpoint(read(GOOD), endpoint)
    assert refusal is not None
    assert refusal.message.startswith("spec.terms.uti, spec.confirmation: required")
    complete = {**copy.deepcopy(GOOD), "confirmation": {"envelope": "e30="}}
    complete["terms"]["uti"] = "529900T8BM49AURSDO5500000417"
    assert against_endpoint(read(complete), endpoint) is None


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        (None, "is missing"),
        ("kube-system", "exempt"),
        ("gpu-operator", "exempt"),
        ("nowhere", "does not exist"),
        ("unlabelled", "has no label laycan.dev/desk"),
        ("others", "belongs to desk rival"),
        ("acme-train", None),
    ],
)
def test_handover_namespaces(namespace: str | None, says: str | None) -> None:
    """Only a namespace that an administrator gave to this desk can be delivered to."""
    namespaces = {
        "kube-system": {"laycan.dev/desk": "desk"},
        "unlabelled": {},
        "others": {"laycan.dev/desk": "rival"},
        "acme-train": {"laycan.dev/desk": "desk"},
    }
    terms = read(spec(**({"handover": {"namespace": namespace}} if namespace else {}))).terms
    refusal = handover_refusal(terms, "desk", EXEMPT, namespaces)
    assert (refusal is None) == (says is None)
    if refusal and says:
        assert refusal.code == "HandoverNamespace"
        assert says in refusal.message
