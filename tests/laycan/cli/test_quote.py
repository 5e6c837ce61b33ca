"""`laycan quote` and `laycan sellable` over files: scenario 2 of the acceptance list, the forms, and what bad input is told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from laycan.cli.asked import firmness
from laycan.cli.main import app
from laycan.cli.source import open_case
from laycan.desk.curve_svg import Sold, curve_svg, span_words

NOW, START, END = "2027-01-01T00:00:00Z", "2027-01-04T00:00:00Z", "2027-02-03T00:00:00Z"
DESK = Path(__file__).parents[3] / "examples" / "desk"
API = "laycan.dev/v1alpha1"


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 nodes of 8 GPUs in racks of 4, a target of 100 ppm, 57 nodes sold to 3 February."""
    folder = tmp_path_factory.mktemp("book")
    product = {
        "gpuProducts": ["NVIDIA-H100-80GB-HBM3"],
        "nodeGpus": 8,
        "target": {"shortfallPpm": 100},
        "interruption": {"noticeSeconds": 600, "maxHours": 72},
    }
    documents = [resource("ComputeProduct", "h100-sxm5-80g", product)]
    documents.append(resource("ComputeProduct", "quad-a100", {"gpuProducts": ["NVIDIA-A100"], "nodeGpus": 8, "lotGpus": 4}))
    documents += [sold("base", 64), sold("others", 392)]
    documents += [node(f"n{i:02}", f"r{i // 4}") for i in range(64)]
    (folder / "book.yaml").write_text(yaml.safe_dump_all(documents))
    return folder


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def sold(name: str, gpus: int) -> dict[str, Any]:
    delivery = {"start": START, "end": END, "gpus": gpus, "lotGpus": 8}
    terms = {"contractId": name, "productRef": {"name": "h100-sxm5-80g"}, "delivery": delivery}
    return resource("ComputeContract", name, {"intent": "Firm", "terms": terms})


def node(name: str, rack: str) -> dict[str, Any]:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "network.topology.nvidia.com/leaf": rack}
    gpus = {"nvidia.com/gpu": "8"}
    status = {"capacity": gpus, "allocatable": gpus, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def asked(book: Path, gpus: int, *more: str | Path) -> Result:
    what = ("--product", "h100-sxm5-80g", "--gpus", str(gpus), "--start", START, "--end", END)
    return laycan("quote", book, "--now", NOW, *what, *more)


class TestQuote:
    """A question to the desk."""

    def test_scenario_2(self, book: Path) -> None:
        """24 GPUs are promised in part, with 8 Firm, 24 Interruptible and 24 from 3 February instead."""
        result = asked(book, 24, "-o", "json")
        assert result.exit_code == 3
        told = json.loads(result.stdout)
        assert (told["kind"], told["promise"], told["risk"]["shortfallProbabilityPpm"]) == ("QuoteAnswer", "Partial", 11_192)
        assert told["reason"]["code"] == "NoCapacity"
        fewer, interruptible, later = told["alternatives"][:3]
        assert (fewer["gpus"], fewer["class"], fewer["risk"]["shortfallProbabilityPpm"]) == (8, "Firm", 63)
        assert (interruptible["gpus"], interruptible["class"]) == (24, "Interruptible")
        assert (later["gpus"], later["class"], later["start"]) == (24, "Firm", END)
        assert "default/others ends" in later["reason"]

    def test_in_full(self, book: Path) -> None:
        """8 GPUs can be promised: exit 0, with the risk, the target and what to do next."""
        result = asked(book, 8)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("Full: 8 GPUs of h100-sxm5-80g in lots of 8, Firm")
        assert "63 ppm; the target is 100 ppm" in result.stdout
        assert "next: apply it" in result.stdout
        assert asked(book, 8).stdout == result.stdout

    def test_for_people(self, book: Path) -> None:
        """What is short, what could be instead, line by line."""
        result = asked(book, 24)
        assert result.exit_code == 3
        assert result.stdout.splitlines()[3].startswith("short: NoCapacity: ")
        assert "Interruptible instead of Firm: notice of 600 s" in result.stdout

    def test_half_of_a_right(self, book: Path) -> None:
        """Of notice and hours the one that is not given is the product's."""
        case = open_case([str(book)], now=NOW)
        assert firmness(case, "h100-sxm5-80g", "Interruptible", None, 60, None)["interruption"] == {"noticeSeconds": 60, "maxHours": 72}
        assert firmness(case, "h100-sxm5-80g", "Interruptible", None, None, 5)["interruption"] == {"noticeSeconds": 600, "maxHours": 5}
        assert firmness(case, "h100-sxm5-80g", "Interruptible", 9, None, None) == {"class": "Interruptible", "priority": 9}

    def test_other_terms(self, book: Path) -> None:
        """Interruptible, a rack, important, spread: each option is what the field of the terms would be."""
        assert asked(book, 24, "--class", "Interruptible").exit_code == 0
        assert asked(book, 40, "--scope", "Rack").exit_code == 3
        spread = asked(book, 8, "--spread", "Rack=2", "--lot-gpus", "4", "--priority", "900", "-o", "yaml")
        assert yaml.safe_load(spread.stdout)["asked"]["lotGpus"] == 4

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"--product": "h900"}, "--product: there is no ComputeProduct h900; there are h100-sxm5-80g"),
            ({"--start": "soon"}, "--start: 'soon' is not a time"),
            ({"--gpus": "12"}, "--gpus: is 12, no multiple of lotGpus (8)"),
            ({"--end": START}, "--end: is not later than start"),
            ({"--lot-gpus": "0"}, "--lot-gpus: must be at least 1, not 0"),
            ({"--spread": "Rack"}, "--spread Rack: is not of the form LEVEL=N"),
            ({"--spread": "Street=2"}, "--spread"),
            ({"--end": "2026-12-01T00:00:00Z", "--start": "2026-11-01T00:00:00Z"}, "--end: 2026-12-01T00:00:00Z is over"),
            ({"--class": "Firm", "--max-hours": "3"}, "--notice-seconds, --max-hours: a Firm contract has no interruption terms"),
        ],
    )
    def test_bad_input(self, book: Path, changed: dict[str, str], said: str) -> None:
        """Exit 2, and the option that is wrong is named."""
        options = {"--product": "h100-sxm5-80g", "--gpus": "8", "--start": START, "--end": END} | changed
        result = laycan("quote", book, "--now", NOW, *(text for pair in options.items() for text in pair))
        assert result.exit_code == 2
        assert said in result.stderr
        assert result.stdout == ""


class TestSellable:
    """The curve."""

    @pytest.mark.parametrize("product", ["h100-sxm5-80g", "h200-sxm-141g"])
    def test_a_point_is_a_full_quote(self, product: str) -> None:
        """So many GPUs are promised in full when they are asked for, at the same risk. A quote may find more: it curtails and moves."""
        windows = [option for start in ("2027-01-12T09:00:00Z", "2027-02-01T00:00:00Z") for option in ("--start", start)]
        told = laycan("sellable", DESK, "--product", product, *windows, "--days", "1", "--days", "30", "-o", "json").stdout
        points = json.loads(told)["points"]
        assert sum(point["gpus"] > 0 for point in points) >= 3
        for point in points:
            if point["gpus"]:
                options = ("--product", product, "--gpus", str(point["gpus"]), "--start", point["start"], "--end", point["end"])
                answer = json.loads(laycan("quote", DESK, *options, "-o", "json").stdout)
                assert answer["promise"] == "Full", point
                assert answer["risk"]["shortfallProbabilityPpm"] == point["shortfallProbabilityPpm"]

    def curve(self, book: Path, *more: str) -> Result:
        return laycan("sellable", book, "--now", NOW, "--product", "h100-sxm5-80g", *more)

    def test_the_default_grid(self, book: Path) -> None:
        """Twelve starts and six lengths; 58 of 64 nodes at most are sold for a month, one more beside 57."""
        told = json.loads(self.curve(book, "-o", "json").stdout)
        points = {(p["start"], p["end"]): p for p in told["points"]}
        assert (told["kind"], told["targetPpm"], len(points)) == ("SellableCurve", 100, 72)
        assert points[NOW, "2027-01-31T00:00:00Z"]["gpus"] == 8
        assert points["2027-03-01T00:00:00Z", "2027-03-31T00:00:00Z"]["gpus"] == 464
        assert points["2027-03-01T00:00:00Z", "2027-03-31T00:00:00Z"]["limit"] == "target"

    def test_other_starts_lengths_and_targets(self, book: Path) -> None:
        """They are taken as given; a lower target sells more, and an asterisk says what ended it."""
        assert self.curve(book, "--start", END, "--days", "30").stdout.splitlines()[2].split()[1] == "464*"
        loose = self.curve(book, "--start", END, "--days", "30", "--target-ppm", "10000").stdout
        assert "at 10000 ppm in 30 days" in loose
        assert loose.splitlines()[2].split()[1] == "472*"

    def test_the_same_points_in_every_form(self, book: Path) -> None:
        """CSV has a row for each point of the JSON; the drawing a dot."""
        grid = ("--start", START, "--start", END, "--days", "1", "--days", "30")
        points = json.loads(self.curve(book, *grid, "-o", "json").stdout)["points"]
        rows = list(csv.DictReader(io.StringIO(self.curve(book, *grid, "-o", "csv").stdout)))
        assert [(r["start"], int(r["gpus"])) for r in rows] == [(p["start"], p["gpus"]) for p in points]
        drawing = self.curve(book, *grid, "-o", "svg").stdout
        assert drawing.count("<circle") == len(points) == 4

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--product", "h900"), "--product: there is no ComputeProduct h900"),
            (("--product", "h100-sxm5-80g", "--start", "x"), "--start: 'x'"),
            (("--product", "h100-sxm5-80g", "--days", "2000"), "--days: 2000 is longer than a contract may be"),
            (("--product", "h100-sxm5-80g", "--start", "9999-12-30T00:00:00Z"), "ends after 9999-12-31T23:59:59Z; ask for less"),
            (("--product", "h100-sxm5-80g", "--lot-gpus", str(10**20)), "--lot-gpus"),
            (("--product", "h100-sxm5-80g", "--target-ppm", "1000001"), "--target-ppm"),
            (("--product", "quad-a100", "--lot-gpus", "6"), "--lot-gpus: is 6, but quad-a100 is sold in multiples of 4 GPUs"),
        ],
    )
    def test_bad_input(self, book: Path, options: tuple[str, ...], said: str) -> None:
        result = laycan("sellable", book, "--now", NOW, *options)
        assert result.exit_code == 2
        assert said in result.stderr


class TestDrawing:
    """The curve as SVG."""

    def test_is_well_formed_whatever_it_is_called(self) -> None:
        """Hostile names stay text; no points are an empty drawing; the same points are the same bytes."""
        points = [Sold(1_798_761_600 + 86_400 * i, 86_400 * days, 8 * i) for i in range(20) for days in (1, 30)]
        drawing = curve_svg(points, '<script>"&')
        root = ElementTree.fromstring(drawing)  # noqa: S314 - our own
        assert root[0].text == '<script>"&'
        assert drawing == curve_svg(list(reversed(points)), '<script>"&')
        assert curve_svg([], "nothing").endswith("</svg>\n")

    def test_lengths_in_words(self) -> None:
        assert [span_words(s) for s in (86_400, 30 * 86_400, 7_200, 90)] == ["1 d", "30 d", "2 h", "90 s"]
