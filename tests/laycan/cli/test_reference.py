"""docs/cli.md and `--help` say the same of every command: what it does, what it needs, an example, and what its exit codes mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laycan.cli.main import COMMANDS, OWN_PARSER, app
from laycan.cli.reference import options, page, told

ROOT = Path(__file__).parents[3]


def test_generated_is_checked_in() -> None:
    """`make generate` would change nothing."""
    assert (ROOT / "docs" / "cli.md").read_text() == page()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says(name: str) -> None:
    """What it needs, an example of itself, and at least what 0 and the other exit codes mean, each once and in order."""
    words, example, codes = told(name)
    assert re.search(r"\bNeeds:? ", words)
    assert all(f"laycan {name}" in line for line in example.splitlines())
    numbers = [int(code) for code, _ in codes]
    assert numbers[0] == 0
    assert len(numbers) > 1
    assert numbers == sorted(set(numbers))
    assert all(says for _, says in options(name))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in OWN_PARSER])
def test_help_shows_the_example(name: str) -> None:
    """In a terminal of 80 columns an example is on the lines on which it is typed, whole."""
    shown = CliRunner().invoke(app, [name, "--help"]).output.splitlines()
    assert [line for line in shown if line.removeprefix("    ") in told(name)[1].splitlines()] == [
        f"    {line}" for line in told(name)[1].splitlines()
    ]


def test_the_table_is_not_cut() -> None:
    """`laycan --help` has each command's line to its end."""
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert [line for _, _, line in COMMANDS.values() if line not in shown] == []
