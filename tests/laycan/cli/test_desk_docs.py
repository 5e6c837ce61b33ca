"""docs/desk.md shows what the commands print: each `$ laycan …` in it is run at the root of the repository and compared.

`LAYCAN_UPDATE_SNAPSHOTS=1` writes what they print into the page, where no line is left out by `…`.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laycan.cli.main import app

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "desk.md"
BLOCK = re.compile(r"```console\n\$ laycan (.+)\n((?:(?!```).*\n)*)```\n")


def printed(arguments: str) -> str:
    result = CliRunner().invoke(app, shlex.split(arguments))
    assert result.exit_code in (0, 3), result.output
    return "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())


def like(shown: str) -> re.Pattern[str]:
    """What may be printed where this is shown; a line `…` stands for any lines, and `…` at a line's end for its rest."""
    lines = (r"(?:.*\n)*" if line.strip() == "…" else _line(line) for line in shown.splitlines())
    return re.compile("".join(lines))


def _line(line: str) -> str:
    return re.escape(line.removesuffix("…")) + (".*" if line.endswith("…") else "") + r"\n"


def blocks() -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in BLOCK.finditer(PAGE.read_text())]


@pytest.mark.parametrize(("arguments", "shown"), blocks(), ids=[arguments for arguments, _ in blocks()])
def test_the_page_shows_what_is_printed(arguments: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example, line by line."""
    monkeypatch.chdir(ROOT)
    told = printed(arguments)
    if os.environ.get("LAYCAN_UPDATE_SNAPSHOTS") and "…" not in shown:
        text = PAGE.read_text()
        head = f"```console\n$ laycan {arguments}\n"
        PAGE.write_text(text.replace(f"{head}{shown}```\n", f"{head}{told}```\n"))
        return
    assert like(shown).fullmatch(told), told


def test_there_are_examples() -> None:
    """One at least of each command that the page has a section for and that is there."""
    assert {arguments.split()[0] for arguments, _ in blocks()} >= {"status", "why", "book", "plan", "what-if", "quote", "sellable"}


@pytest.mark.parametrize(("shown", "told", "same"), [("a\n…\nd\n", "a\nb\nc\nd\n", True), ("a…\n", "abc\n", True), ("a\n", "b\n", False)])
def test_what_is_left_out(shown: str, told: str, same: bool) -> None:
    """`…` leaves out lines or the rest of one, and nothing else may differ."""
    assert bool(like(shown).fullmatch(told)) is same
