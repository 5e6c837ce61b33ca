"""What the kit writes to standard output."""

from __future__ import annotations

import io
import json

import pytest

from tests.examples.exchange.kit import Exchange


class Writes(io.StringIO):
    """Keeps each write for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    def write(self, text: str) -> int:
        self.all.append(text)
        return len(text)


def test_each_answer_is_one_write(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole line with its end in one piece: what two requests say at once cannot run into one line that no reader can parse."""
    monkeypatch.setattr("sys.stdout", said := Writes())
    assert exchange.say()[0] == 200
    (line,) = said.all
    assert line.endswith("\n")
    assert json.loads(line)["id"] == "c1/1"
