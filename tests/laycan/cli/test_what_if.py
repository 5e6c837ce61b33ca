"""`laycan what-if`: options, outputs and exit codes, on the desk's example."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from laycan.cli.table import many
from laycan.cli.what_if_words import hours, span

DESK = Path(__file__).parents[3] / "examples" / "desk"
WINDOW = "2027-01-14T00:00:00Z/2027-01-14T04:00:00Z"
WEEK = "2027-01-14T00:00:00Z/2027-01-20T00:00:00Z"
CONTRACT = {
    "apiVersion": "laycan.dev/v1alpha1",
    "kind": "ComputeContract",
    "metadata": {"name": "omega", "namespace": "desk"},
    "spec": {
        "intent": "Quote",
        "terms": {
            "contractId": "GCX-2027-000999",
            "productRef": {"name": "h100-sxm5-80g"},
            "delivery": {
                "start": "2027-02-04T00:00:00Z",
                "end": "2027-02-24T00:00:00Z",
                "gpus": 64,
                "lotGpus": 8,
                "handover": {"namespace": "omega"},
            },
            "price": {"amount": "2.20", "currency": "USD", "shortfallMultiplePpm": 1500000},
        },
    },
}


def what_if(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["what-if", *map(str, arguments)])


def asked(*arguments: str | Path) -> dict[str, Any]:
    result = what_if(DESK, *arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def text(*arguments: str | Path) -> str:
    result = what_if(DESK, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def contract(folder: Path) -> Path:
    path = folder / "omega.yaml"
    path.write_text(yaml.safe_dump(CONTRACT))
    return path


class TestHappening:
    """What is lost, drained and added together."""

    def test_losing_a_rack(self) -> None:
        """Three of acme-train's lots and two of gamma-eval's find no place while two other nodes are maintained."""
        document = asked("--lose", "rack=r1")
        assert (document["kind"], document["now"]) == ("WhatIf", "2027-01-12T09:00:00Z")
        assert document["happened"]["lose"][0]["nodes"] == ["h100-01", "h100-02", "h100-03", "h100-04"]
        effect = document["effect"]
        assert [c["contract"] for c in effect["contracts"]] == ["desk/acme-train", "desk/gamma-eval"]
        assert effect["worst"]["lotsShort"] == 5
        assert effect["after"]["shortGpuSeconds"] == sum(c["shortGpuSeconds"] for c in effect["contracts"]) == 4600 * 3600
        assert effect["costMicros"] == sum(c["costMicros"] for c in effect["contracts"])

    def test_losing_it_for_a_time(self) -> None:
        """Four hours are less than for good."""
        some, all_of_it = (asked("--lose", f"rack=r1{when}")["effect"] for when in (f"@{WINDOW}", ""))
        assert 0 < some["after"]["shortGpuSeconds"] < all_of_it["after"]["shortGpuSeconds"]

    def test_together(self) -> None:
        """What is added makes up for what is drained; the drain by itself would be blocked, and that is said."""
        document = asked("--drain", f"rack=r1@{WINDOW}", "--add", "h100-sxm5-80g=4:rack=r1")
        assert document["effect"]["after"]["shortGpuSeconds"] == 0
        assert [(v["verdict"], v["worst"]["lotsShort"]) for v in document["verdicts"]] == [("Blocked", 1)]
        assert {m["to"] for m in document["effect"]["moves"]} <= {f"what-if/added-1-{i}" for i in range(1, 5)}

    def test_table(self) -> None:
        """Before and after, the contracts that change, and one sentence that says what it means."""
        out = text("--lose", "rack=r1")
        assert "owed                                  0.00  12321.60  +12321.60" in out
        assert "desk/acme-train  Firm" in out
        assert "2 contracts would be short of 4600.0 GPU-hours more: 5 lots at the worst, from 2027-01-21T02:00:00Z" in out
        assert "beta-infer" not in out

    def test_nothing_changes(self) -> None:
        """A node in quarantine serves nobody."""
        assert "Nothing changes: nobody who was promised anything would notice." in text("--lose", "h100-07")

    def test_verdict_of_a_drain(self) -> None:
        """A node that can be spared: covered, with the chance that a failure finds no spare."""
        out = text("--drain", f"h100-05@{WINDOW}")
        assert "As an Outage, draining h100-05 is Covered: a failure finds no spare with a chance of" in out


class TestEach:
    """One at a time."""

    def test_racks(self) -> None:
        """All six, the dearest first."""
        (losses,) = asked("--lose-each", "rack")["loseEach"]
        assert (losses["count"], losses["worst"]) == (6, losses["rows"][0]["name"])
        costs = [row["effect"]["costMicros"] for row in losses["rows"]]
        assert costs == sorted(costs, reverse=True)
        assert losses["harmless"] == sum(row["harmless"] for row in losses["rows"]) == 0

    def test_nodes(self) -> None:
        """How many are harmless, in words."""
        out = text("--lose-each", "node")
        assert "12 of 24 nodes can be lost, one at a time, with nobody short of a GPU-second more; the worst is node h100-01" in out

    def test_what_was_added_is_lost_with_its_rack(self) -> None:
        """Four nodes more in rack r1, two in one of their own: r1 goes with eight, and the new rack goes as well."""
        more = ("--add", "h100-sxm5-80g=4:rack=r1", "--add", "h100-sxm5-80g=2")
        (losses,) = asked(*more, "--lose-each", "rack")["loseEach"]
        nodes = {row["name"]: row["nodes"] for row in losses["rows"]}
        assert nodes == {**{f"r{i}": 4 for i in range(2, 7)}, "r1": 8, "what-if/added-2": 2}
        (each,) = asked(*more, "--lose-each", "node")["loseEach"]
        assert len(each["rows"]) == 24 + 4 + 2


class TestSelling:
    """A contract that is not in the book yet."""

    def test_a_file(self, tmp_path: Path) -> None:
        """A quote counts as what it asks for. It is admitted; its chance of a shortfall and what is left are shown."""
        (sale,) = asked("--sell", contract(tmp_path))["sell"]
        assert (sale["contract"], sale["admitted"]) == ("desk/omega", True)
        assert ("desk/omega", None) in [(r["contract"], r["before"]) for r in sale["risks"]]
        assert sale["sellableGpus"]["before"] - sale["sellableGpus"]["after"] == 64

    def test_in_words(self) -> None:
        """So many GPUs of a product; too many are refused with the reason, each by itself."""
        out = text("--sell", f"h100-sxm5-80g=64@{WEEK}", "--sell", "h100-sxm5-80g=24@2027-02-12T00:00:00Z/2027-02-24T00:00:00Z")
        assert "It would be refused: NoCapacity" in out
        assert "It would be accepted, and nobody else would be moved; 96 GPUs of h100-sxm5-80g could be sold Firm in its window" in out

    def test_what_is_in_the_book(self, tmp_path: Path) -> None:
        """It cannot be sold twice."""
        book = yaml.safe_load((DESK / "book.yaml").read_text())
        (tmp_path / "one.yaml").write_text(yaml.safe_dump(book["items"][1]))
        result = what_if(DESK, "--sell", tmp_path / "one.yaml")
        assert result.exit_code == 2
        assert "desk/acme-train is in the book already; give the contract another name" in result.stderr


class TestDrains:
    """How much can be out, and in which order."""

    def test_largest(self) -> None:
        """Eight of sixteen, and it is proved that no more can."""
        (drain,) = asked("--largest-drain", f"product=h100-sxm5-80g@{WINDOW}")["largestDrain"]
        assert (len(drain["nodes"]), drain["of"], drain["atMost"], drain["proved"]) == (8, 16, 8, True)
        assert drain["effect"]["after"]["shortGpuSeconds"] == 0
        assert "no more can, by counting (proved)" in text("--largest-drain", f"product=h100-sxm5-80g@{WINDOW}")

    def test_order(self) -> None:
        """Every node once, for four hours, nobody short, verified."""
        (order,) = asked("--drain-order", f"all@{WEEK}", "--each", "14400")["drainOrder"]
        nodes = [n for batch in order["batches"] for n in batch["nodes"]]
        assert (len(nodes), len(set(nodes)), order["left"], order["verified"]) == (24, 24, [], True)
        assert order["effect"]["after"]["shortGpuSeconds"] == 0
        assert order["atLeast"] <= len(order["batches"]) <= 4

    def test_order_in_words(self) -> None:
        out = text("--drain-order", f"rack=r1@{WEEK}", "--each", "14400")
        assert "4 of 4 nodes can be done in 2 batches with nobody short of a GPU-second more" in out
        assert "the independent checker agrees." in out

    def test_no_order(self) -> None:
        """Nodes that are needed all the time."""
        out = text("--drain-order", "zone=us-east-1a@2027-01-14T00:00:00Z/2027-01-14T05:00:00Z", "--each", "14400")
        assert "no time was found for" in out


class TestOutput:
    """Forms of the result."""

    def test_yaml_is_the_same_document(self) -> None:
        """`-o yaml` and `-o json` differ in form only."""
        result = what_if(DESK, "--lose", "rack=r1", "-o", "yaml")
        assert yaml.safe_load(result.stdout) == asked("--lose", "rack=r1")

    def test_same_bytes(self) -> None:
        """Same input, same bytes."""
        assert len({what_if(DESK, "--lose-each", "rack", "-o", "json").stdout for _ in range(2)}) == 1

    def test_a_result_may_lie_among_manifests(self, tmp_path: Path) -> None:
        """It is passed over."""
        for file in DESK.iterdir():
            shutil.copy(file, tmp_path)
        (tmp_path / "what-if.json").write_text(json.dumps(asked("--lose", "h100-05")))
        assert what_if(tmp_path, "--lose", "h100-05").exit_code == 0

    def test_no_progress_without_a_terminal(self) -> None:
        """Notes only."""
        result = what_if(DESK, "--lose-each", "node", "-o", "json")
        assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["note"]

    def test_figures(self) -> None:
        """GPU-hours are rounded half up, counts have their plural, lengths of time their unit."""
        assert [hours(n) for n in (0, 179, 180, 3600, -180, -1)] == ["0.0", "0.0", "0.1", "1.0", "-0.1", "0.0"]
        assert [many(n, "node") for n in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]
        assert [span(n) for n in (14400, 5400, 61)] == ["4 h", "90 min", "61 s"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing is asked; give --lose, --lose-each, --drain, --add, --sell, --largest-drain or --drain-order"),
        (["--lose", "rack=r9"], "--lose rack=r9: no node is in rack r9; there are r1, r2, r3, r4, r5, r6"),
        (["--lose", "rack=r1@2027-01-14"], "--lose rack=r1@2027-01-14: '2027-01-14' is not a time of the form 2027-01-04T00:00:00Z"),
        (["--lose", "zone=us-east-1"], "no node is in zone us-east-1; did you mean us-east-1b?"),
        (["--lose", "h100-1"], "--lose h100-1: no node h100-1 is given; did you mean h100-16?"),
        (["--lose", ","], "names no node; write NODE, rack=R, zone=Z, product=P or all before the @"),
        (["--lose", "row=1"], "--lose row=1: row= is none of rack=, fabric=, zone=, product="),
        (["--lose", "product=h100"], "no product h100 is given; there are h100-sxm5-80g, h200-sxm-141g"),
        (["--drain", "h100-01@2027-01-14T04:00:00Z/2027-01-14T00:00:00Z"], "ends before it begins"),
        (["--drain", "h100-01@2026-01-14T00:00:00Z/2026-01-15T00:00:00Z"], "is over at 2027-01-12T09:00:00Z, for which the plan is"),
        (["--add", "h100-sxm5-80=3"], "--add h100-sxm5-80=3: no product h100-sxm5-80 is given; did you mean h100-sxm5-80g?"),
        (["--add", "h100-sxm5-80g=0"], "is not PRODUCT=COUNT or PRODUCT=COUNT:rack=R, with a count from 1 to 10000"),
        (["--add", "h100-sxm5-80g=3:row=3"], "row=3 is not rack=R, the rack in which they are to stand"),
        (["--lose-each", "racks"], "--lose-each racks: is none of node, rack, fabric, zone; did you mean rack?"),
        (["--largest-drain", "rack=r1"], "says no end; write rack=r1@START/END, such as rack=r1@2027-01-12T09:00:00Z/2027-01-12T13:00:00Z"),
        (
            ["--drain-order", f"all@{WINDOW}"],
            "--drain-order: says not how long each node is out; give --each SECONDS, such as --each 14400",
        ),
        (["--drain-order", f"all@{WINDOW}", "--each", "20000"], "its window is shorter than --each 20000; give a longer window"),
        (["--lose", "h100-01", "--each", "5"], "--each: belongs to --drain-order, which is not given"),
        (["--sell", "nowhere.yaml"], "--sell nowhere.yaml: cannot be read: No such file or directory; correct the path"),
        (
            ["--sell", "h100-sxm5-80g=x@2027-02-04T00:00:00Z/2027-02-05T00:00:00Z"],
            "is not PRODUCT=GPUS@START/END, such as h100-sxm5-80g=64@",
        ),
        (["--sell", "h100-sxm5-80=8@2027-02-04T00:00:00Z/2027-02-05T00:00:00Z"], "did you mean h100-sxm5-80g?"),
        (["--sell", "h100-sxm5-80g=8@2026-02-04T00:00:00Z/2026-02-05T00:00:00Z"], "has ended; give it a window that ends later"),
    ],
)
def test_bad_input(arguments: list[str], said: str) -> None:
    """Exit 2, nothing on stdout, and a line that names the option and what would be right."""
    result = what_if(DESK, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_all_that_is_wrong_at_once() -> None:
    """One line for each."""
    result = what_if(DESK, "--lose", "rack=r9", "--lose", "nowhere", "--lose-each", "row")
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error"] * 3


def test_a_product_without_nodes(tmp_path: Path) -> None:
    """New nodes have nothing to be like."""
    product = {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": "b200"}}
    (tmp_path / "b200.yaml").write_text(yaml.safe_dump(product | {"spec": {"gpuProducts": ["NVIDIA-B200"], "nodeGpus": 8}}))
    result = what_if(DESK, tmp_path, "--add", "b200=2")
    assert result.exit_code == 2
    assert "--add b200=2: no node of b200 is given for new ones to be like; give a product that has nodes" in result.stderr
