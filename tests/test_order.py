"""No file is lost by ordering them, and what waits is spread."""

from __future__ import annotations

from pathlib import Path

from tests.order import LONGEST, rank, spread


def test_spread() -> None:
    """Each file stands there once; in every stretch there is as much of one kind as in any other."""
    assert list(spread("ABC", "abcdef")) == list("AabBcdCef")
    assert list(spread("", "ab")) == ["a", "b"]
    assert list(spread("AB", "")) == ["A", "B"]


def test_the_longest_are_files() -> None:
    """A name that no file has any more would be without effect."""
    here = Path(__file__).parent
    assert {f"test_{name}.py" for name in LONGEST} <= {file.name for file in (here / "cluster").rglob("test_*.py")}
    assert rank("tests/cluster/test_crash.py") < rank("tests/cluster/policies/test_lifecycle.py") < rank("tests/cluster/test_new.py")
