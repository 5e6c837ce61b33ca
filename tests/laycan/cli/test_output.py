"""What commands share: files and stdout whole or not at all, nothing that commands a terminal, progress for people only."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from laycan.cli.bar import bar, waiting
from laycan.cli.output import printable, write_file

MUCH = "import typer; from laycan.cli.output import write; typer.run(lambda: write(b'x' * 1_000_000))"  # more than a pipe holds


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Shown on a terminal, nothing in a file or a pipe; NO_COLOR leaves no colour."""
    screen = Screen() if terminal else io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", screen)
    with bar("receipts") as told:
        told(1, 2)
    with waiting("planning"):
        pass
    assert ("receipts" in screen.getvalue()) is ("planning" in screen.getvalue()) is terminal
    assert "\x1b[3" not in screen.getvalue()


def test_stdout_that_takes_nothing() -> None:
    """A reader that stops early is no error; a full disk and a closed stdout are bad input. None of them shows a traceback."""

    def run(command: str) -> tuple[int, str]:
        done = subprocess.run(["bash", "-c", f'"$0" -c "$1" {command}', sys.executable, MUCH], capture_output=True, text=True)
        return done.returncode, done.stderr

    assert run("| head -c 10; exit ${PIPESTATUS[0]}") == (0, "")
    assert run("> /dev/full") == (2, "error: stdout cannot be written: No space left on device; send it elsewhere\n")
    assert run(">&-") == (2, "error: stdout is closed; leave it open, or send it to a file\n")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("r1 \xfc \u4e2d", "r1 \xfc \u4e2d"),
        ("\x1b[2Jx", "\\x1b[2Jx"),
        ("a\nb", "a\\nb"),
        ("\u202eabc", "\\u202eabc"),
        ("\x9b1m", "\\x9b1m"),
    ],
)
def test_printable(given: str, shown: str) -> None:
    """Letters of all scripts stay; what commands a terminal, ends a line or turns its direction is shown as its escape."""
    assert printable(given) == shown


def test_files(tmp_path: Path) -> None:
    """The old file stays until the new one is whole; where it cannot be, exit 2."""
    file = tmp_path / "out.json"
    for text in (b"one", b"two"):
        write_file(file, text)
        assert file.read_bytes() == text
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(typer.Exit) as ended:
        write_file(tmp_path / "none" / "out.json", b"")
    assert ended.value.exit_code == 2
