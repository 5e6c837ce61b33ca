"""Manifests are read as the Kubernetes API reads them, and all that is wrong is said at once."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.planning.case import problem_of
from laycan.planning.manifests import BadInputError, Manifests, load
from laycan.resources.times import parse_time
from laycan_solver.model import Binding, Level
from tests.fixtures.schemas import JSON

EXAMPLES = Path(__file__).parents[3] / "examples"
CONTRACT = """\
apiVersion: laycan.dev/v1alpha1
kind: ComputeContract
metadata: {name: NAME, namespace: desk}
spec:
  intent: Firm
  terms:
    contractId: ID
    productRef: {name: h100}
    delivery: {start: 2030-01-04T00:00:00Z, end: "2030-01-05T00:00:00Z", gpus: 8, lotGpus: 8}
"""
PRODUCT = """\
apiVersion: laycan.dev/v1alpha1
kind: ComputeProduct
metadata: {name: h100}
spec: {gpuProducts: [H], nodeGpus: 8}
"""
NODE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": "H"}},
    "status": {"capacity": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]},
}
SLICE = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "ResourceSlice",
    "metadata": {"name": "s"},
    "spec": {"driver": "gpu.nvidia.com", "nodeName": "n1"},
}


def contract(name: str = "c", contract_id: str = "ID", **extra: str) -> str:
    made = CONTRACT.replace("NAME", name).replace("contractId: ID", f"contractId: {contract_id}")
    for old, new in extra.items():
        made = made.replace(old, new)
    return made


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def faults(*paths: Path | str) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        problem_of(load([str(path) for path in paths]), now=0)
    return caught.value.lines


class TestReading:
    """Files, folders, standard input; YAML and JSON; lists and many documents."""

    def test_examples(self) -> None:
        """The folder of examples is good, and its folder of bad ones is not looked into."""
        found = load([str(EXAMPLES)])
        assert (len(found.nodes), len(found.products), len(found.outages)) == (48, 3, 2)
        assert len(found.contracts) == 21

    def test_many_forms(self, tmp_path: Path) -> None:
        """One document, several, a List and a typed list hold the same."""
        listed = {"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": NODE["metadata"], "status": NODE["status"]}]}
        write(
            tmp_path,
            a_yaml=f"{PRODUCT}---\n---\n{contract()}",
            b_json=json.dumps(listed),
            notes_txt="not read",
            c_yml=json.dumps({"apiVersion": "v1", "kind": "List", "items": []}),
        )
        found = load([str(tmp_path)])
        assert (set(found.nodes), set(found.products), set(found.contracts)) == ({"n1"}, {"h100"}, {"desk/c"})

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`-` is standard input, YAML or JSON."""

        class Stdin:
            buffer = io.BytesIO(json.dumps(NODE).encode())

        monkeypatch.setattr("sys.stdin", Stdin)
        assert set(load(["-"]).nodes) == {"n1"}

    def test_unquoted_times_are_text(self, tmp_path: Path) -> None:
        """As in the Kubernetes API: YAML's own timestamps do not exist."""
        found = load([str(write(tmp_path, a_yaml=contract()))])
        assert found.contracts["desk/c"].spec.terms.delivery.start == "2030-01-04T00:00:00Z"

    def test_an_empty_file_is_nothing(self, tmp_path: Path) -> None:
        """Such as the plan that a shell opens for writing before the folder is read."""
        write(tmp_path, a_yaml=PRODUCT, plan_json="")
        assert set(load([str(tmp_path)]).products) == {"h100"}

    def test_other_kinds_are_noted(self, tmp_path: Path) -> None:
        """What a plan does not depend on is passed over, and that is said."""
        write(tmp_path, a_yaml="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", b_yaml="apiVersion: other.io/v1\nkind: Outage\n")
        assert load([str(tmp_path)]).notes == [
            f"{tmp_path}/a.yaml: Secret passed over; a plan does not depend on it",
            f"{tmp_path}/b.yaml: Outage passed over; a plan does not depend on it",
        ]

    def test_nodes_that_are_no_fleet(self, tmp_path: Path) -> None:
        """A node without GPUs is passed over in silence, one with MIG with its reason."""
        plain = {**NODE, "metadata": {"name": "cpu"}, "status": {}}
        sliced = {
            **NODE,
            "metadata": {"name": "mig", "labels": NODE["metadata"]["labels"]},
            "status": {"capacity": {"nvidia.com/mig-1g.10gb": "7"}},
        }
        write(tmp_path, a_json=json.dumps({"apiVersion": "v1", "kind": "List", "items": [plain, sliced]}))
        found = load([str(tmp_path)])
        assert not found.nodes
        assert [note.partition(": left out")[0] for note in found.notes] == [f"{tmp_path}/a.json: Node mig"]


class TestFaults:
    """Every line names file, object, field and fix."""

    def test_every_bad_object_is_reported(self, tmp_path: Path) -> None:
        """One look finds the faults of all files."""
        write(
            tmp_path,
            a_yaml=contract("one", gpus="gpsu"),
            b_yaml=contract("two", Firm="Frim"),
            c_yaml="a: [",
            d_json="{",
            e_yaml="kind: Node\n",
        )
        assert faults(tmp_path) == [
            f"{tmp_path}/a.yaml: ComputeContract desk/one: spec.terms.delivery.gpus: is missing; add it",
            f"{tmp_path}/a.yaml: ComputeContract desk/one: spec.terms.delivery.gpsu: is no field here; did you mean gpus?",
            f"{tmp_path}/b.yaml: ComputeContract desk/two: spec.intent: must be 'Firm' or 'Quote', not 'Frim'",
            f"{tmp_path}/c.yaml:2: is not YAML: did not find expected node content",
            f"{tmp_path}/d.json:1: is not JSON: unexpected end of data",
            f"{tmp_path}/e.yaml: an object without apiVersion and kind; add them",
        ]

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({"a_yaml": PRODUCT + "---\n" + PRODUCT}, "ComputeProduct h100: is already given in {}/a.yaml; remove one of the two"),
            ({"a_yaml": json.dumps(NODE), "b_json": json.dumps(NODE)}, "Node n1: is already given in {}/a.yaml; remove one of the two"),
            (
                {"a_yaml": PRODUCT + "---\n" + contract("a") + "---\n" + contract("b")},
                "ComputeContract desk/b: spec.terms.contractId: desk/a already has it (TermsConflict); remove one of the two",
            ),
            (
                {"a_yaml": PRODUCT + "---\n" + contract(h100="h10")},
                "ComputeContract desk/c: spec.terms.productRef.name: no ComputeProduct h10 is given (UnknownProduct); did you mean h100?",
            ),
            (
                {"a_yaml": PRODUCT.replace("8}", "8, lotGpus: 3}") + "---\n" + contract()},
                "ComputeContract desk/c: spec.terms.delivery.lotGpus: is 8, but h100 is sold in multiples of 3 GPUs; use such a lotGpus",
            ),
            ({"a_yaml": contract(v1alpha1="v1")}, "ComputeContract: apiVersion: must be laycan.dev/v1alpha1, not laycan.dev/v1"),
            (
                {"a_yaml": contract(NAME="x").replace("namespace: desk", "namespace: De_sk")},
                "ComputeContract c: metadata.namespace: must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$; 'De_sk' does not",
            ),
            ({"a_yaml": PRODUCT + "sepc: {}\n"}, "ComputeProduct h100: sepc: is no field here; remove it"),
            ({"a_yaml": PRODUCT + "kind: Node\n"}, "a.yaml:5: is not YAML: the key 'kind' stands twice"),
            (
                {"a_json": json.dumps({**NODE, "status": {"capacity": {"nvidia.com/gpu": "8k"}}})},
                "Node n1: status.capacity[nvidia.com/gpu]: must be a count of GPUs such as '8', not '8k'",
            ),
            ({"a_yaml": "apiVersion: v1\nkind: Node\nmetadata: {}\n"}, "Node: metadata.name: is missing; add it"),
            (
                {"a_yaml": contract(ComputeContract="ComputeContrat")},
                "ComputeContrat: kind: is none of laycan.dev; did you mean ComputeContract?",
            ),
            ({"a_yaml": contract(**{"laycan.dev": "laycan.io"})}, "apiVersion: must be laycan.dev/v1alpha1, not laycan.io/v1alpha1"),
            ({"a_json": '{"apiVersion": "v1", "kind": "NodeList", "items": {}}'}, "NodeList: items: must be a list of objects"),
            (
                {"a_json": '{"apiVersion": "v1", "kind": "List", "items": [' * 400 + "]}" * 400},
                "List: lists in lists in lists; give the objects",
            ),
        ],
    )
    def test_each(self, tmp_path: Path, files: dict[str, str], says: str) -> None:
        """One fault, one line."""
        lines = faults(write(tmp_path, **files))
        assert len(lines) == 1
        assert says.format(tmp_path) in lines[0]

    def test_paths(self, tmp_path: Path) -> None:
        """Files that are not there, and folders without manifests."""
        assert faults(tmp_path / "gone.yaml", tmp_path) == [
            f"{tmp_path}/gone.yaml: cannot be read: No such file or directory; correct the path",
            f"{tmp_path}: no file here ends in .yaml, .yml, .json; name the files, or another folder",
        ]

    def test_paths_that_no_file_can_have(self) -> None:
        """A name too long is a fault like any other."""
        assert faults(Path("x" * 5000)) == [f"{'x' * 200}: cannot be read: File name too long; correct the path"]

    def test_a_broken_stream_hides_nothing_before_it(self, tmp_path: Path) -> None:
        """Documents before the one that is not YAML are judged all the same."""
        lines = faults(write(tmp_path, a_yaml=contract(Firm="Frim") + "---\na: [\n"))
        assert [line.partition(f"{tmp_path}/a.yaml")[2][:20] for line in lines] == [":12: is not YAML: di", ": ComputeContract de"]

    def test_one_currency(self, tmp_path: Path) -> None:
        """Amounts in two currencies cannot be added."""
        euros = contract("b", "B") + "    price: {amount: '1.00', currency: EUR}\n"
        write(tmp_path, a_yaml=PRODUCT + "---\n" + contract("a", "A") + "    price: {amount: '1.00', currency: USD}\n---\n" + euros)
        where = f"{tmp_path}/a.yaml: ComputeContract"
        assert [line.partition(" (Curr")[0] for line in faults(tmp_path)] == [
            f"{where} desk/b: spec.terms.price.currency: is EUR, but {where} desk/a has USD"
        ]

    @settings(max_examples=100, deadline=None)
    @given(
        document=st.one_of(
            JSON,
            st.fixed_dictionaries(
                {
                    "apiVersion": st.just("laycan.dev/v1alpha1"),
                    "kind": st.sampled_from(["ComputeContract", "Outage", "List"]),
                    "metadata": JSON,
                    "spec": JSON,
                    "items": JSON,
                }
            ),
        )
    )
    def test_any_document(self, tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
        """No document ends the command in any other way than a list of faults."""
        path = tmp_path_factory.mktemp("any") / "a.json"
        path.write_text(json.dumps(document))
        lines = ["a note"]
        try:
            load([str(path)])
        except BadInputError as error:
            lines = error.lines
        assert all(lines)


class TestCase:
    """What is planned of what was read."""

    def read(self, folder: Path, *documents: str) -> Manifests:
        return load([str(write(folder, a_yaml="---\n".join([PRODUCT, json.dumps(NODE) + "\n", *documents])))])

    def test_levels(self, tmp_path: Path) -> None:
        """A node is planned as a whole only if a contract has a handover and no ResourceSlice lists the node's GPUs."""
        handover = contract().replace("lotGpus: 8}", "lotGpus: 8, handover: {namespace: acme}}")
        for documents, level in (
            ((contract(),), Level.DEVICE),
            ((handover,), Level.NODE),
            ((handover, json.dumps(SLICE) + "\n"), Level.DEVICE),
        ):
            problem = problem_of(self.read(tmp_path, *documents), now=0)
            assert problem.nodes[0].level is level
        assert problem.contracts[0].holder == "acme"

    @pytest.mark.parametrize(
        ("phase", "planned"), [("Accepted", True), ("Delivering", True), ("Received", True), ("Rejected", False), ("Settled", False)]
    )
    def test_status(self, tmp_path: Path, phase: str, planned: bool) -> None:
        """What is over is left out with a note, and what was accepted is never a candidate again."""
        manifests = self.read(tmp_path, contract() + f"status: {{phase: {phase}}}\n")
        problem = problem_of(manifests, now=0, admit=True)
        assert (len(problem.contracts) == 1) is planned
        assert any("passed over" in note for note in manifests.notes) is not planned
        if planned:
            assert problem.contracts[0].accepted is (phase != "Received")

    def test_quotes_are_not_planned(self, tmp_path: Path) -> None:
        """A quote promises nothing."""
        manifests = self.read(tmp_path, contract(Firm="Quote"))
        assert problem_of(manifests, now=0).contracts == ()

    def test_bindings_in_statuses_are_announced(self, tmp_path: Path) -> None:
        """Without a previous plan the statuses are the warm start; with one, it is."""
        binding = "{node: n1, product: h100, gpus: 8, start: 2030-01-04T00:00:00Z, end: 2030-01-05T00:00:00Z}"
        manifests = self.read(tmp_path, contract() + f"status: {{phase: Accepted, bindings: [{binding}]}}\n")
        assert [b.node for b in problem_of(manifests, now=0).previous] == ["n1"]
        assert problem_of(manifests, now=0, previous=[]).previous == ()

    def test_announced_is_accepted(self, tmp_path: Path) -> None:
        """With `admit` what has announced bindings is no candidate: an accepted contract is never decided again."""
        manifests = self.read(tmp_path, contract("a", "A") + "---\n" + contract("b", "B"))
        start, end = parse_time("2030-01-04T00:00:00Z"), parse_time("2030-01-05T00:00:00Z")
        problem = problem_of(manifests, now=start, previous=[Binding("desk/a", "n1", "h100", 8, start, end)], admit=True)
        assert {c.key: c.accepted for c in problem.contracts} == {"desk/a": True, "desk/b": False}

    def test_announced_bindings_lie_inside_the_window(self, tmp_path: Path) -> None:
        """What a previous plan had outside of the contract's window is nothing to be kept."""
        manifests = self.read(tmp_path, contract())
        start, end = parse_time("2030-01-04T00:00:00Z"), parse_time("2030-01-05T00:00:00Z")
        announced = [Binding("desk/c", "n1", "h100", 8, start - 9, end + 9), Binding("desk/c", "n1", "h100", 8, end, end + 9)]
        assert problem_of(manifests, now=0, previous=announced).previous == (Binding("desk/c", "n1", "h100", 8, start, end),)
