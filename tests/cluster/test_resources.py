"""The CRDs on a real API server: good examples are stored, bad ones refused in the words of their headers, promises cannot be changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.api import Api, ApiError
from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.planning.documents import documents
from laycan.resources.constants import PLURALS
from laycan.resources.crd import definition
from laycan.resources.validate import contract_spec
from tests.docs.pages import objects
from tests.docs.shell import here_documents
from tests.fixtures.schemas import damaged, spec_schema, valid

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUP_PATH = "/apis/laycan.dev/v1alpha1"
Object = dict[str, Any]
CONTRACT: Object = {
    "apiVersion": "laycan.dev/v1alpha1",
    "kind": "ComputeContract",
    "metadata": {"name": "c", "namespace": "desk"},
    "spec": {
        "intent": "Quote",
        "exchangeRef": {"name": "gcx"},
        "terms": {
            "contractId": "GCX-1",
            "productRef": {"name": "h100-sxm5-80g"},
            "delivery": {"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 16, "lotGpus": 8},
            "firmness": {"class": "Firm"},
        },
    },
}
PRODUCT: Object = {
    "apiVersion": "laycan.dev/v1alpha1",
    "kind": "ComputeProduct",
    "metadata": {"name": "p"},
    "spec": {
        "gpuProducts": ["NVIDIA-H100-80GB-HBM3"],
        "nodeGpus": 8,
        "tolerance": {"graceSeconds": 300, "cureSeconds": 14400},
        "health": {"version": "1", "fatalXids": [79]},
    },
}


@pytest.fixture(scope="module")
def api(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API server with the CRDs; its own, because CRDs are cluster-wide and helm wants to own them elsewhere."""
    with ControlPlane(tmp_path_factory.mktemp("resources"), tools=tools, fsync=False) as plane:
        api = plane.admin
        for kind in PLURALS:
            api.apply(definition(kind))
        for kind in PLURALS:
            wait_established(api, kind)
        for namespace in {"desk", *(obj["metadata"].get("namespace", "desk") for obj in good_objects())}:
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield api


def wait_established(api: Api, kind: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURALS[kind]}.laycan.dev"

    def established() -> bool:
        conditions = (api.get(path).get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    until(f"{kind} is served", established)


def read(path: Path) -> list[Object]:
    lines: list[str] = []
    found = [document for _, document in documents([str(path)], lines)]
    assert not lines
    return found


def judged(api: Api, obj: Object) -> str:
    """The API server's word on creating an object, "" if it would store it."""
    try:
        api.create(obj, fieldValidation="Strict", dryRun="All")
    except ApiError as error:
        return error.message
    return ""


@cache
def good_objects() -> list[Object]:
    """Everything that a person may apply from the folders of good examples and from the pages' blocks."""
    files = [obj for folder in ("", "desk", "kinds") for path in sorted((EXAMPLES / folder).glob("*.yaml")) for obj in read(path)]
    shown = [obj for _, obj in (*objects(), *here_documents())]
    return [item for obj in (*files, *shown) for item in (obj["items"] if obj["kind"] == "List" else [obj])]


class TestExamples:
    """What the examples' files say about themselves is true."""

    @pytest.mark.parametrize("obj", [obj for obj in good_objects() if obj["kind"] in PLURALS], ids=lambda obj: obj["metadata"]["name"])
    def test_good(self, api: Api, obj: Object) -> None:
        """Every good example is stored as it is: no field is unknown, none is added to the spec."""
        stored = api.create(obj, fieldValidation="Strict", dryRun="All")
        assert stored["spec"] == obj["spec"]

    def test_nodes(self, api: Api) -> None:
        """The nodes of the examples are nodes."""
        nodes = [obj for obj in good_objects() if obj["kind"] not in PLURALS]
        assert {obj["kind"] for obj in nodes} == {"Node"}
        for obj in nodes:
            api.create(obj, fieldValidation="Strict", dryRun="All")

    @pytest.mark.parametrize("path", sorted((EXAMPLES / "bad").glob("*.yaml")), ids=lambda path: path.stem)
    def test_bad(self, api: Api, path: Path) -> None:
        """Every bad example is refused in the words of its header, or stored where the header says so."""
        (obj,) = read(path)
        (expected,) = [line.removeprefix("# API server: ") for line in path.read_text().splitlines() if line.startswith("# API server: ")]
        said = judged(api, obj)
        if expected.startswith("stored"):
            assert said == ""
        else:
            assert expected in said

    def test_minimal(self) -> None:
        """A minimal contract is ten lines."""
        assert len((EXAMPLES / "minimal.yaml").read_text().splitlines()) == 10


def changed(obj: Object, path: str, value: object) -> Object:
    """A copy with one field set, or removed with None; `path` as in spec.terms.price."""
    made = copy.deepcopy(obj)
    *parents, last = path.split(".")
    place = made
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return made


class TestPromisesStand:
    """What was agreed cannot be changed, also not by whoever may write the object."""

    @pytest.fixture
    def update(self, api: Api) -> Iterator[Callable[[Object, Object], str]]:
        """Creates an object, replaces it, and returns the API server's word on that."""
        made: list[str] = []

        def replace(before: Object, after: Object) -> str:
            stored = api.create(before, fieldValidation="Strict")
            made.append(api.path(before))
            newer = {**after, "metadata": {**after["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}}
            try:
                api.request("PUT", api.path(before), newer, fieldValidation="Strict")
            except ApiError as error:
                return error.message
            return ""

        yield replace
        for path in made:
            api.delete(path)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("spec.terms.delivery.gpus", 8),
            ("spec.terms.price", {"amount": "1.00", "currency": "USD"}),
            ("spec.terms.firmness", None),
            ("spec.terms.uti", "529900T8BM49AURSDO5500000417"),
            ("spec.terms.delivery.handover", {"namespace": "elsewhere"}),
        ],
    )
    def test_terms(self, update: Callable[[Object, Object], str], path: str, value: object) -> None:
        """Terms are immutable as a whole: nothing changes, nothing is added, nothing goes."""
        assert "terms are immutable; amend by a new contract with terms.replaces" in update(CONTRACT, changed(CONTRACT, path, value))

    @pytest.mark.parametrize(
        ("path", "before", "after", "says"),
        [
            ("spec.intent", "Firm", "Quote", "intent may change from Quote to Firm only"),
            ("spec.intent", "Quote", "Firm", ""),
            ("spec.exchangeRef", {"name": "gcx"}, {"name": "other"}, "exchangeRef is immutable"),
            ("spec.exchangeRef", {"name": "gcx"}, None, "exchangeRef is immutable"),
            ("spec.exchangeRef", None, {"name": "gcx"}, "exchangeRef is immutable"),
            ("spec.adopt", None, {"bindings": [{"node": "n1", "gpus": 8}]}, ""),
            ("spec.adopt", {"bindings": []}, {"bindings": [{"node": "n1", "gpus": 8}]}, "adopt may be set once"),
            ("spec.adopt", {"bindings": []}, None, "adopt may be set once"),
            ("spec.quoteRef", {"name": "q1"}, {"name": "q2"}, "quoteRef may be set once"),
            ("spec.confirmation", None, {"envelope": "e30="}, ""),
            ("spec.confirmation", {"envelope": "e30="}, {"envelope": "e31="}, "confirmation may be set once"),
        ],
    )
    def test_contracts(self, update: Callable[[Object, Object], str], path: str, before: object, after: object, says: str) -> None:
        """What surrounds the terms changes in one direction, or once."""
        said = update(changed(CONTRACT, path, before), changed(CONTRACT, path, after))
        assert says in said
        assert bool(said) is bool(says)

    @pytest.mark.parametrize(
        ("path", "value", "allowed"),
        [
            ("spec.nodeGpus", 4, False),
            ("spec.lotGpus", 8, False),
            ("spec.gpuProducts", ["NVIDIA-H200"], False),
            ("spec.tolerance", None, False),
            ("spec.tolerance.graceSeconds", 0, False),
            ("spec.detection", {"seconds": 1}, False),
            ("spec.interruption", {"noticeSeconds": 1, "maxHours": 1}, False),
            ("spec.health.fatalXids", [79, 48], False),
            ("spec.health", {"version": "2", "fatalXids": [79, 48]}, True),
            ("spec.turnaroundSeconds", 60, True),
            ("spec.equivalents", [{"product": "q", "costPerGpuHour": "0.10"}], True),
            ("spec.planning", {"move": {"policy": "Forced"}}, True),
            ("spec.target", {"shortfallPpm": 100}, True),
        ],
    )
    def test_products(self, update: Callable[[Object, Object], str], path: str, value: object, allowed: bool) -> None:
        """The promise is immutable, the operator's own knobs are not, and a health policy changes with its version."""
        said = update(PRODUCT, changed(PRODUCT, path, value))
        assert ("immutable; make a new product" in said or "needs a new health.version" in said) is not allowed
        assert bool(said) is not allowed

    @pytest.mark.parametrize("kind", ["NodeFence", "LeaderEpoch"])
    def test_epochs_of_singletons(self, update: Callable[[Object, Object], str], kind: str) -> None:
        """A writer of an older epoch is refused, one of the same or a newer is not."""
        obj: Object = {"apiVersion": "laycan.dev/v1alpha1", "kind": kind, "metadata": {"name": "cluster"}, "spec": {"epoch": 7}}
        assert "epoch never falls" in update(obj, changed(obj, "spec.epoch", 6))

    def test_epoch_of_a_status(self, api: Api) -> None:
        """I12 per object: the status of a newer operator cannot be overwritten by an older one, nor its epoch removed."""
        api.create(CONTRACT, fieldValidation="Strict")
        path = f"{api.path(CONTRACT)}/status"
        api.patch(path, {"status": {"phase": "Received", "epoch": 5}})
        for stale in (4, None):
            with pytest.raises(ApiError, match="epoch never falls") as refused:
                api.patch(path, {"status": {"phase": "Accepted", "epoch": stale}})
            assert refused.value.status == 422
        api.patch(path, {"status": {"phase": "Accepted", "epoch": 6}})
        api.delete(api.path(CONTRACT))


class TestServed:
    """What kubectl users expect."""

    def test_selectable_fields(self, api: Api) -> None:
        """A watch of one product's contracts costs only those."""
        api.create(CONTRACT)
        contracts = f"{GROUP_PATH}/namespaces/desk/computecontracts"
        for selector, count in (
            ("spec.terms.productRef.name=h100-sxm5-80g", 1),
            ("spec.terms.productRef.name=other", 0),
            ("spec.exchangeRef.name=gcx", 1),
        ):
            assert len(api.items(contracts, fieldSelector=selector)) == count
        api.delete(api.path(CONTRACT))

    def test_names(self, api: Api) -> None:
        """Short name, category and status subresource."""
        resources = {r["name"]: r for r in api.get(GROUP_PATH)["resources"]}
        assert resources["computecontracts"]["shortNames"] == ["cc"]
        assert all(resources[plural]["categories"] == ["laycan"] for plural in PLURALS.values())
        assert "computecontracts/status" in resources


MAY_BE_STORED = ("parties", "replaces", "profile")  # what CEL cannot say, or not within its budget


def mended(spec: Object) -> Object:
    """A spec that the schema allows, with most of what CEL would refuse put right, so that a good part is stored."""
    terms = copy.deepcopy(spec["terms"])
    delivery = terms["delivery"]
    delivery |= {"start": min(delivery["start"], delivery["end"]), "end": "2031-12-31T00:00:00Z", "gpus": delivery["lotGpus"] * 4}
    if delivery.get("scope", "Any") != "Any":
        delivery.pop("spread", None)
    if terms.get("firmness", {}).get("class") == "Firm":
        terms["firmness"].pop("interruption", None)
    terms.pop("tolerance", None)
    if "profile" in delivery:
        delivery["profile"] = [{"start": delivery["start"], "end": delivery["end"], "gpus": delivery["gpus"]}]
    return {**spec, "terms": terms}


SPECS = valid(spec_schema("ComputeContract")).filter(lambda spec: "2030-02-30" not in str(spec)).map(mended)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=st.one_of(SPECS, damaged(SPECS), valid(spec_schema("ComputeContract"))))
def test_files_are_judged_like_objects(api: Api, spec: object) -> None:
    """What the API server refuses `laycan plan` refuses too; what it stores is a good contract but for what CEL cannot say."""
    refused = judged(api, {**CONTRACT, "spec": spec})
    found = contract_spec(spec)
    faults = found if isinstance(found, list) else []
    if refused:
        assert faults, refused
    else:
        assert all(any(word in fault.field for word in MAY_BE_STORED) for fault in faults), faults
