"""What commands share: files whole or not at all, progress for people only."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer

from laycan.cli.output import progress, write_file


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, which is gone at the end."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    show = progress("receipt")
    show(1, 2)
    assert screen.getvalue().endswith("receipt 1 of 2")
    show(2, 2)
    assert screen.getvalue().endswith("\r\x1b[K")


def test_no_progress_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a file or a pipe."""
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    progress("receipt")(1, 2)
    assert pipe.getvalue() == ""


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
