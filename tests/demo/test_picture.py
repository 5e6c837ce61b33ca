"""The README's picture: contracts, the first of each kind of event, the summary; one file that fetches nothing."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from demo.picture import draw, highlights
from demo.summary import Summary
from tests.demo.test_demo import T, at, contract


def test_the_first_of_each_kind() -> None:
    """In the order in which they were said, whatever else was said; nothing twice."""
    told = [Text(line) for line in ("a", "node n1 dies while", "node n2 dies while", "malformed x refused", "it names itself")]
    assert [line.plain for line in highlights(told)] == ["node n1 dies while", "malformed x refused"]


def test_drawn(tmp_path: Path) -> None:
    """It holds the short contracts and the summary, without the lines that are about the demo itself, and names no host to fetch from."""
    made = contract("train-run", "acme", "n1", T, at(60))
    made["metadata"]["annotations"] = {"laycan.dev/demo-end": "+60s"}
    made["spec"]["terms"] |= {"productRef": {"name": "h100"}}
    made["spec"]["terms"]["delivery"] |= {"gpus": 8, "start": T, "end": at(60)}
    summary = Summary([("delivered", "1,234"), ("restarts of the operator", "0")])
    draw(tmp_path / "demo.svg", [made], 0, [Text("node n1 dies while it serves")], summary)
    drawn = (tmp_path / "demo.svg").read_text().replace("&#160;", " ")
    assert all(words in drawn for words in ("train-run", "node n1 dies while it serves", "1,234"))
    assert "restarts of" not in drawn
    assert "url(http" not in drawn
