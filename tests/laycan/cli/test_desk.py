"""The desk's commands over files: what they print in each form, how they are narrowed, and what bad input is told."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from laycan.cli.main import app
from laycan.cli.next_steps import next_steps
from laycan.cli.rows import gpu_hours
from laycan.cli.why import ROOM_NOW

EXAMPLES = Path(__file__).parents[3] / "examples"
DESK = EXAMPLES / "desk"
PLAIN_NOW = "2029-12-01T00:00:00Z"  # of the examples without statuses


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: str | Path) -> dict[str, Any]:
    result = laycan(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def changed(tmp_path: Path) -> Any:
    """The desk's book with one contract's status changed; a second change comes on top of the first."""

    def change(name: str, **status: Any) -> Path:
        book = yaml.safe_load((tmp_path / "book.yaml" if (tmp_path / "book.yaml").exists() else DESK / "book.yaml").read_text())
        found = next(item for item in book["items"] if item["metadata"]["name"] == name)
        found["status"] |= status
        (tmp_path / "book.yaml").write_text(yaml.safe_dump(book))
        (tmp_path / "fleet.yaml").write_text((DESK / "fleet.yaml").read_text())
        return tmp_path

    return change


class TestStatus:
    """One screen."""

    def test_the_document(self) -> None:
        """The fleet adds up, phases are counted, and what comes next comes in its order."""
        status = told("status", DESK)
        assert (status["kind"], status["now"]) == ("DeskStatus", "2027-01-12T09:00:00Z")
        h100, h200 = status["fleet"]
        assert (h100["nodes"], h100["gpus"], h100["boundGpus"], h100["spareGpus"], h100["downNodes"]) == (16, 128, 96, 24, ["h100-07"])
        assert (h100["utilisationPpm"], h200["utilisationPpm"]) == (750_000, 500_000)
        assert status["contracts"] == {"Accepted": 3, "Delivering": 4, "Rejected": 1, "Settled": 1}
        assert [(t["contract"], t["condition"], t["reason"]) for t in status["troubles"]] == [
            ("desk/gamma-eval", "AtRisk", "OutagePlanned")
        ]
        assert [(t["what"], t["contract"]) for t in status["next"]] == [("Start", "desk/zeta-render"), ("End", "desk/zeta-render")]
        assert [(o["name"], o["nodes"]) for o in status["outages"]] == [("r2-power", ["h100-05", "h100-06"])]

    @pytest.mark.parametrize(("days", "turns"), [("0", 0), ("2", 1), ("7", 2), ("60", 10)])
    def test_days_ahead(self, days: str, turns: int) -> None:
        """As many as were asked for."""
        assert len(told("status", DESK, "--days", days)["next"]) == turns

    def test_in_an_outage(self) -> None:
        """Nodes that are out are neither down nor spare."""
        h100 = told("status", DESK, "--now", "2027-01-21T03:00:00Z")["fleet"][0]
        assert (h100["outageNodes"], h100["downNodes"], h100["boundGpus"]) == (["h100-05", "h100-06"], ["h100-07"], 104)
        assert h100["spareGpus"] == 0

    def test_one_namespace(self) -> None:
        """Contracts of it; the fleet is everybody's."""
        other, desk = told("status", DESK, "-n", "other"), told("status", DESK, "-n", "desk")
        assert (other["contracts"], other["troubles"], other["fleet"]) == ({}, [], desk["fleet"])

    def test_the_worst_first(self, changed: Any) -> None:
        """A shortfall comes before a risk, whenever either began."""
        condition = {"status": "True", "reason": "Open", "message": "8 GPUs", "lastTransitionTime": "2027-01-12T08:00:00Z"}
        status = told("status", changed("acme-train", conditions=[{"type": "Shortfall", **condition}]))
        assert [t["condition"] for t in status["troubles"]] == ["Shortfall", "AtRisk"]
        screen = laycan("status", changed("acme-train", conditions=[{"type": "Shortfall", **condition}])).stdout
        assert "look next: laycan why desk/acme-train;" in screen

    def test_without_statuses(self) -> None:
        """The plan tells what is bound and what is short."""
        status = told("status", EXAMPLES, "--now", PLAIN_NOW)
        assert [(t["contract"], t["condition"]) for t in status["troubles"]] == [("desk/omicron-moonshot", "Short")]
        assert status["contracts"]["Short"] == 1

    def test_of_a_plan_file(self, tmp_path: Path) -> None:
        """A plan that is given is not made again, and its time counts."""
        planned = laycan("plan", EXAMPLES, "--now", PLAIN_NOW, "-o", "json").stdout
        (tmp_path / "plan").write_text(planned.replace('"TopologyShort"', '"PoolShort"').replace("512", "511"))
        status = told("status", EXAMPLES, "--plan", tmp_path / "plan")
        assert status["now"] == PLAIN_NOW
        assert status["troubles"][0]["message"].startswith("511 GPUs")
        result = laycan("status", EXAMPLES, "--plan", tmp_path / "plan", "--now", "2029-12-02T00:00:00Z")
        assert (result.exit_code, "leave --now out" in result.stderr) == (2, True)

    def test_yaml_is_the_same_document(self) -> None:
        """`-o yaml` and `-o json` differ in form only."""
        assert yaml.safe_load(laycan("status", DESK, "-o", "yaml").stdout) == told("status", DESK)


class TestWhy:
    """The reasons of one contract."""

    @pytest.mark.parametrize("named", [["desk/gamma-eval"], ["gamma-eval"], ["gamma-eval", "-n", "desk"]])
    def test_what_is_short(self, named: list[str]) -> None:
        """Condition, reason, the plan's words, where it was moved, and a step that mends it."""
        why = told("why", named[0], DESK, *named[1:])
        assert (why["kind"], why["contract"]["phase"], why["reason"]["code"]) == ("Explanation", "Delivering", "OutagePlanned")
        assert why["moved"][0] == "moved: 2027-01-12T06:44:30Z from h100-07 to h100-08"
        assert why["explanation"]["outcome"] == "Short"
        assert why["explanation"]["elsewhere"][0]["counts"]["Outage"] == 2
        assert why["explanation"]["remedies"][0]["gpuSeconds"] == 32 * 3600
        assert why["next"] == [next_steps("", [], ["OutagePlanned"])[0]]

    def test_what_was_refused(self) -> None:
        """How it would fare now: the same reason, and who has the nodes."""
        why = told("why", "theta-sweep", DESK)
        assert (why["contract"]["phase"], why["explanation"]["outcome"]) == ("Rejected", "Refused")
        assert why["explanation"]["elsewhere"][0]["takers"][0]["contract"] == "desk/acme-train"

    def test_what_was_refused_and_fits_now(self, changed: Any) -> None:
        """Since another contract was cancelled there is room, and it is said."""
        folder = changed("acme-train", phase="Cancelled", endedAt="2027-01-12T08:00:00Z", bindings=[])
        why = told("why", "theta-sweep", folder)
        assert (why["explanation"]["outcome"], why["next"]) == ("Served", [ROOM_NOW])

    def test_what_was_refused_for_another_reason_than_room(self, changed: Any) -> None:
        """That there is room mends nothing while the buyer's namespace lacks its label: both are said, the label first."""
        changed("theta-sweep", reason={"code": "HandoverNamespace", "message": "acme has no label"})
        folder = changed("acme-train", phase="Cancelled", endedAt="2027-01-12T08:00:00Z", bindings=[])
        assert told("why", "theta-sweep", folder)["next"] == [next_steps("", [], ["HandoverNamespace"])[0], ROOM_NOW]

    def test_what_is_well_and_what_is_over(self) -> None:
        """Nothing has to be done; of what is over nothing is planned."""
        assert told("why", "acme-train", DESK)["next"] == ["nothing has to be done"]
        over = told("why", "alpha-december", DESK)
        assert (over["explanation"], over["contract"]["shortfallGpuSeconds"]) == (None, 43_200)

    def test_without_status(self) -> None:
        """The plan alone tells."""
        text = laycan("why", "omicron-moonshot", EXAMPLES, "--now", PLAIN_NOW).stdout
        assert "phase: Short" in text
        assert "next: " in text

    def test_yaml_is_the_same_document(self) -> None:
        """`-o yaml` and `-o json` differ in form only."""
        assert yaml.safe_load(laycan("why", "gamma-eval", DESK, "-o", "yaml").stdout) == told("why", "gamma-eval", DESK)

    @pytest.mark.parametrize(
        ("named", "mend"),
        [("gama-eval", "did you mean gamma-eval?"), ("desk/gama-eval", "did you mean desk/gamma-eval?"), ("x", "`laycan book`")],
    )
    def test_no_such_contract(self, named: str, mend: str) -> None:
        """Exit 2, with what may be meant."""
        result = laycan("why", named, DESK)
        assert (result.exit_code, result.stdout) == (2, "")
        assert mend in result.stderr

    def test_one_name_in_two_namespaces(self, tmp_path: Path) -> None:
        """Neither is taken for the other."""
        text = (DESK / "book.yaml").read_text()
        (tmp_path / "other.yaml").write_text(text.replace("namespace: desk", "namespace: other").replace("GCX-2026", "OTHER"))
        result = laycan("why", "acme-train", DESK, tmp_path)
        assert result.exit_code == 2
        assert "desk/acme-train, other/acme-train are called so; give one of these, or --namespace" in result.stderr


class TestBook:
    """The order book."""

    @pytest.mark.parametrize(
        ("narrowed", "names"),
        [
            (["--product", "h200-sxm-141g"], ["epsilon-sim", "zeta-render", "eta-rl"]),
            (["--phase", "Rejected", "--phase", "Settled"], ["alpha-december", "theta-sweep"]),
            (["--to", "2027-01-04T00:00:00Z"], ["alpha-december"]),
            (["--from", "2027-02-03T00:00:00Z"], ["delta-finetune", "eta-rl"]),
            (["-n", "other"], []),
        ],
    )
    def test_narrowed(self, narrowed: list[str], names: list[str]) -> None:
        """By product, phase, namespace, and windows that reach into a time; by start."""
        assert [row["contract"].removeprefix("desk/") for row in told("book", DESK, *narrowed)["contracts"]] == names

    def test_rows(self) -> None:
        """What stands in a row, of one that delivers and of one that is ahead."""
        rows = {row["contract"]: row for row in told("book", DESK)["contracts"]}
        gamma, delta = rows["desk/gamma-eval"], rows["desk/delta-finetune"]
        assert (gamma["class"], gamma["price"]["amount"], gamma["nodes"]) == ("Interruptible", "1.20", ["h100-08", "h100-13"])
        assert (gamma["deliveredGpuSeconds"], gamma["shortfallGpuSeconds"]) == (3_281_520, 0)
        assert (delta["phase"], delta["deliveredGpuSeconds"], len(delta["nodes"])) == ("Accepted", None, 5)

    @pytest.mark.parametrize("form", ["table", "wide", "csv"])
    def test_forms(self, form: str) -> None:
        """A heading, and a line a contract."""
        lines = laycan("book", DESK, "-o", form).stdout.splitlines()
        assert len(lines) == 1 + 9 + (form != "csv")
        assert ("GCX-2026-000105" in "\n".join(lines)) is (form != "table")
        assert ("AtRisk" in "\n".join(lines)) is (form != "table")

    def test_csv(self) -> None:
        """Other programs read it."""
        rows = list(csv.DictReader(io.StringIO(laycan("book", DESK, "-o", "csv").stdout)))
        assert sum(int(row["gpus"]) for row in rows) == 280
        assert rows[1]["nodes"].split()[0] == "h100-01"

    def test_a_contract_id_is_no_formula(self, tmp_path: Path) -> None:
        """What an exchange writes is not computed by a spreadsheet."""
        text = (DESK / "book.yaml").read_text().replace("GCX-2026-000101", "=HYPERLINK(1)")
        (tmp_path / "book.yaml").write_text(text)
        rows = list(csv.DictReader(io.StringIO(laycan("book", DESK / "fleet.yaml", tmp_path, "-o", "csv").stdout)))
        assert (rows[0]["contractId"], rows[1]["contractId"]) == ("'=HYPERLINK(1)", "GCX-2026-000102")

    def test_without_statuses(self) -> None:
        """Phases are the plan's words."""
        rows = {row["contract"]: row["phase"] for row in told("book", EXAMPLES, "--now", PLAIN_NOW)["contracts"]}
        assert (rows["desk/omicron-moonshot"], rows["desk/acme-train-run"]) == ("Short", "Planned")

    @pytest.mark.parametrize(
        ("wrong", "mend"),
        [
            (["--product", "h100"], "--product: there is no ComputeProduct h100; there are h100-sxm5-80g, h200-sxm-141g"),
            (["--from", "today"], "--from: 'today' is not a time of the form 2027-01-04T00:00:00Z"),
            (["--to", "2027"], "--to: '2027' is not a time"),
            (["--now", "soon"], "--now: 'soon' is not a time"),
            (["--context", "c"], "both files"),
            (["-o", "xml"], "xml"),
        ],
    )
    def test_bad_input(self, wrong: list[str], mend: str) -> None:
        """Exit 2, nothing on stdout, the option and what to do on stderr."""
        result = laycan("book", DESK, *wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        assert mend in result.stderr


@pytest.mark.parametrize("command", [["status"], ["why", "gamma-eval"]])
def test_a_message_commands_no_terminal(command: list[str], changed: Any) -> None:
    """A condition's text is shown as it stands, its escapes as such, on one line."""
    told = {"type": "AtRisk", "status": "True", "reason": "OutagePlanned", "message": "\x1b[2J all is well\nphase: Settled"}
    text = laycan(*command, changed("gamma-eval", conditions=[told])).stdout
    assert "\\x1b[2J all is well\\nphase: Settled" in text
    assert "\x1b" not in text


STRANGE: list[dict[str, Any]] = [
    {"conditions": [1, {"type": [], "status": "True"}, {"type": "AtRisk", "status": "True", "lastTransitionTime": 5}]},
    {"bindings": [5, {}, {"node": 3, "end": 7}, {"node": "h100-01", "start": "2027-01-10T00:00:00Z"}]},
    {"quantities": {"deliveredGpuSeconds": True, "shortfallGpuSeconds": "much"}},
    {"reason": [], "phaseSince": {}, "phase": 7},
]


@pytest.mark.parametrize("status", STRANGE)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_status_that_nobody_wrote(status: dict[str, Any], form: str, changed: Any) -> None:
    """Files may hold anything: what is not well formed is left out, and the rest is told."""
    folder = changed("gamma-eval", **status)
    for command in (["status"], ["book"], ["why", "gamma-eval"]):
        result = laycan(*command, folder, "-o", form)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("command", "kind"), [("status", "DeskStatus"), ("book", "Book"), ("why", "Explanation")])
def test_what_is_printed_may_lie_among_manifests(command: str, kind: str, tmp_path: Path) -> None:
    """A folder may hold both."""
    document = laycan(command, *(["acme-train"] if command == "why" else []), DESK, "-o", "json").stdout
    assert json.loads(document)["kind"] == kind
    (tmp_path / "printed.json").write_text(document)
    assert laycan("plan", DESK, tmp_path).exit_code == 0


@pytest.mark.parametrize(("gpu_seconds", "down", "up"), [(None, "-", "-"), (0, "0.0", "0.0"), (359, "0.0", "0.1"), (3600, "1.0", "1.0")])
def test_gpu_hours(gpu_seconds: int | None, down: str, up: str) -> None:
    """What was delivered is never said to be more, what is short never less."""
    assert (gpu_hours(gpu_seconds), gpu_hours(gpu_seconds, up=True)) == (down, up)


def test_each_reason_has_a_step() -> None:
    """Every code of a refusal or a shortfall that the planner knows."""
    from laycan_solver.kinds import Reason

    assert not [reason for reason in Reason if next_steps("Accepted", [], [reason.value]) == ["nothing has to be done"]]


@pytest.mark.parametrize("command", [["plan"], ["status"], ["book"], ["why", "gamma-eval"]])
def test_the_same_bytes_in_every_process(command: list[str]) -> None:
    """Whatever the process's hash seed is."""
    runs = {
        subprocess.run(
            [sys.executable, "-m", "laycan.cli.main", *command, str(DESK), "-o", "json"],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
