"""`laycan plan` and `laycan check-plan`: options, outputs and exit codes, on the examples."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from laycan.cli.main import COMMANDS, app, load
from laycan.cli.table import aligned

EXAMPLES = Path(__file__).parents[3] / "examples"
NOW = "2029-12-01T00:00:00Z"


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def planned(*arguments: str | Path) -> dict[str, Any]:
    result = laycan("plan", EXAMPLES, "--now", NOW, "-o", "json", *arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_text(json.dumps(planned()))
    return path


class TestPlan:
    """Plans from files."""

    def test_json_is_all_of_stdout(self) -> None:
        """One document; notes go elsewhere."""
        document = planned()
        assert (document["kind"], document["now"]) == ("Plan", NOW)
        short = {entry["contract"] for entry in document["undelivered"]}
        assert short == {"desk/omicron-moonshot"}

    def test_same_bytes(self) -> None:
        """Same input and effort, same bytes."""
        runs = {laycan("plan", EXAMPLES, "--now", NOW, "--effort", "50", "-o", "json").stdout for _ in range(2)}
        assert len(runs) == 1

    def test_yaml_is_the_same_document(self) -> None:
        """`-o yaml` and `-o json` differ in form only."""
        result = laycan("plan", EXAMPLES, "--now", NOW, "-o", "yaml")
        assert yaml.load(result.stdout, Loader=yaml.CSafeLoader) == planned()

    @pytest.mark.parametrize("form", ["table", "wide"])
    def test_tables(self, form: str) -> None:
        """A line per contract, the reason of what is short, and the proof."""
        out = laycan("plan", EXAMPLES, "--now", NOW, "-o", form).stdout
        rows = {line.split()[0]: line for line in out.splitlines() if line}
        assert "full" in rows["desk/acme-train-run"]
        assert "short 100.0 %" in rows["desk/omicron-moonshot"]
        assert "desk/omicron-moonshot: 512 GPUs undelivered" in out
        assert ("acme-train " in rows["desk/acme-train-run"]) is (form == "wide")
        assert "no plan costs less than" in out

    def test_columns(self) -> None:
        """Cells stand under their names, counts to the right, and no line ends in blanks."""
        assert aligned([("CONTRACT", "GPUS", "ON"), ("a", "8", "n1"), ("desk/long-one", "10000", "")], right=["GPUS"]) == [
            "CONTRACT        GPUS  ON",
            "a                  8  n1",
            "desk/long-one  10000",
        ]

    def test_the_collector_is_on_again(self) -> None:
        """A command does without the cycle collector, and not what runs after it in the same process."""
        laycan("plan", "nowhere")
        assert gc.isenabled()

    def test_admit(self) -> None:
        """Candidates are refused with a code of the lifecycle, and then nothing is owed for them."""
        document = planned("--admit")
        (refused,) = document["undelivered"]
        assert (refused["contract"], refused["reason"]["code"], refused["refused"]) == ("desk/omicron-moonshot", "ExceedsFleet", True)
        assert document["totals"]["owedMicros"] == 0

    def test_now_of_the_previous_plan(self, plan_file: Path) -> None:
        """Without --now a plan continues the previous one at its time, and least change means no move."""
        result = laycan("plan", EXAMPLES, "--previous", plan_file, "-o", "json")
        document = json.loads(result.stdout)
        assert document["now"] == NOW
        assert document["moves"] == []
        assert document["bindings"] == json.loads(plan_file.read_text())["bindings"]

    def test_stats(self, tmp_path: Path) -> None:
        """CPU seconds and memory go to a file that may lie among manifests."""
        planned("--stats", tmp_path / "stats.json")
        stats = json.loads((tmp_path / "stats.json").read_text())
        assert stats["cpuSeconds"] > 0
        assert stats["maxResidentKiB"] > 1000
        assert laycan("plan", EXAMPLES, tmp_path, "--now", NOW).exit_code == 0

    def test_stats_that_cannot_be_written(self, tmp_path: Path) -> None:
        """A wrong path is bad input, and nothing is printed."""
        result = laycan("plan", EXAMPLES, "--now", NOW, "--stats", tmp_path / "gone" / "stats.json", "-o", "json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "cannot be written: No such file or directory; correct the path" in result.stderr

    def test_time_limit(self) -> None:
        """A cap that has passed at once shows in `stopped`, unless nothing was left to find."""
        assert planned("--time-limit", "0")["stopped"] in ("TimeLimit", "Optimal")

    def test_bad_input(self) -> None:
        """Exit code 2, every fault on stderr, nothing on stdout."""
        result = laycan("plan", EXAMPLES, EXAMPLES / "bad", "-o", "json")
        assert (result.exit_code, result.stdout) == (2, "")
        expected = sum(path.read_text().count("# laycan plan: ") for path in (EXAMPLES / "bad").glob("*.yaml"))
        assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == expected

    @pytest.mark.parametrize(
        "arguments", [[], ["--now", "yesterday", EXAMPLES], ["--effort", "-1", EXAMPLES], ["-o", "xml", EXAMPLES], ["nowhere"]]
    )
    def test_usage(self, arguments: list[str]) -> None:
        """Wrong usage is bad input too."""
        assert laycan("plan", *arguments).exit_code == 2


class TestCheckPlan:
    """The independent look."""

    def test_sound(self, plan_file: Path) -> None:
        """What was planned passes."""
        result = laycan("check-plan", plan_file, EXAMPLES)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("sound: ")

    def test_candidates(self, tmp_path: Path) -> None:
        """Contracts that the plan refuses are taken as candidates."""
        (tmp_path / "plan.json").write_text(json.dumps(planned("--admit")))
        assert laycan("check-plan", tmp_path / "plan.json", EXAMPLES).exit_code == 0

    @pytest.mark.parametrize("field", ["owedMicros", "boundGpuSeconds", "valueMicros"])
    def test_doctored_totals(self, plan_file: Path, tmp_path: Path, field: str) -> None:
        """Each violation stands on a line of its own, with exit code 1."""
        document = json.loads(plan_file.read_text())
        document["totals"][field] += 1
        (tmp_path / "plan.json").write_text(json.dumps(document))
        result = laycan("check-plan", tmp_path / "plan.json", EXAMPLES)
        assert result.exit_code == 1
        assert any(line.startswith("Totals: ") for line in result.stdout.splitlines())

    def test_doctored_bindings(self, plan_file: Path, tmp_path: Path) -> None:
        """One node given twice is found, whoever planned it."""
        document = json.loads(plan_file.read_text())
        first = next(b for b in document["bindings"] if b["contract"] == "desk/gamma-lab-sweep")
        document["bindings"].append(first)
        (tmp_path / "plan.json").write_text(json.dumps(document))
        result = laycan("check-plan", tmp_path / "plan.json", EXAMPLES)
        assert result.exit_code == 1
        assert "Capacity: " in result.stdout

    def test_unreadable(self, tmp_path: Path, plan_file: Path) -> None:
        """Neither a broken plan nor bad manifests are violations: exit code 2."""
        (tmp_path / "plan.json").write_text("{}")
        assert laycan("check-plan", tmp_path / "plan.json", EXAMPLES).exit_code == 2
        assert laycan("check-plan", plan_file, EXAMPLES / "bad").exit_code == 2

    def test_without_the_planner(self, plan_file: Path) -> None:
        """A whole check loads neither OR-Tools nor numpy nor anything of the planner."""
        program = (
            "import sys; from laycan.cli.main import app\n"
            f"try: app(['check-plan', {str(plan_file)!r}, {str(EXAMPLES)!r}])\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "print(sorted({name.partition('.')[0] for name in sys.modules} & {'ortools', 'numpy', 'kopf', 'kubernetes', 'aiohttp'}),"
            " 'laycan_solver.planner' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[] False"


class TestHelp:
    """The table of commands."""

    def test_help_is_quick(self) -> None:
        """`laycan --help` takes less than 0.3 s of CPU and loads no command."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "laycan.cli.main", "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "120"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
        assert all(f"  {name} " in done.stdout for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_loads(self, name: str) -> None:
        """Each line of the table leads to a command of that name with a help of its own."""
        command = load(name)
        assert (command.name, bool(command.help)) == (name, True)

    def test_unknown_command(self) -> None:
        """A misspelt command is bad usage."""
        result = laycan("paln")
        assert result.exit_code == 2
        assert "No such command" in result.stderr

    def test_version(self) -> None:
        """`--version` prints the version and nothing else."""
        assert laycan("--version").stdout.strip().count(".") == 2
