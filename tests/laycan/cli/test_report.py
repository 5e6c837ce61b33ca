"""`laycan report`: options, files and exit codes, on the desk's example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from laycan.cli.main import app

EXAMPLES = Path(__file__).parents[3] / "examples"
DESK = EXAMPLES / "desk"


def laycan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_one_page(tmp_path: Path) -> None:
    """A file with the book in it; nothing on stdout; the same again."""
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    for out in (first, second):
        result = laycan("report", DESK, "--out", out, "--title", "Desk <1>")
        assert (result.exit_code, result.stdout) == (0, ""), result.output
    page = first.read_text()
    assert page == second.read_text()
    assert page.startswith("<!doctype html>")
    assert "desk/gamma-eval" in page
    assert "<h1>Desk &lt;1&gt;</h1>" in page
    assert "theta-sweep" in page  # rejected, so in no plan, but told


def test_stdout() -> None:
    """`-` is stdout, and what is said to people goes elsewhere."""
    result = laycan("report", DESK, "--out", "-")
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert "note: " not in result.stdout


def test_a_plan_that_is_there(tmp_path: Path) -> None:
    """`--plan` shows that plan, and it is the page that planning anew gives."""
    planned = tmp_path / "plan.json"
    planned.write_text(laycan("plan", DESK, "-o", "json").stdout)
    assert laycan("report", DESK, "--out", "-", "--plan", planned).stdout == laycan("report", DESK, "--out", "-").stdout


def test_a_plan_of_another_book(tmp_path: Path) -> None:
    """Is bad input: nothing is written."""
    document = json.loads(laycan("plan", DESK, "-o", "json").stdout)
    document["bindings"][0]["node"] = "nowhere"
    planned, out = tmp_path / "plan.json", tmp_path / "page.html"
    planned.write_text(json.dumps(document))
    result = laycan("report", DESK, "--out", out, "--plan", planned)
    assert result.exit_code == 2
    assert "binds node nowhere" in result.stderr
    assert "give the manifests that it was made from" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [[DESK], ["--out", "x.html", "nowhere"], ["--out", "gone/page.html", DESK], ["--out", "x.html", "--now", "then", DESK]]
)
def test_bad_input(arguments: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong usage, input that is not there, and a place that cannot be written: exit code 2, and no file."""
    monkeypatch.chdir(tmp_path)
    result = laycan("report", *arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert not list(tmp_path.iterdir())
