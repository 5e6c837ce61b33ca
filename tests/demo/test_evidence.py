"""The demo's last act: good evidence is believed, and one changed byte is found, wherever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.evidence import LIES, Evidence, lies
from tests.laycan_verify.writer import Story, trust

CODES = {
    "another number in a signed receipt": 2,
    "other terms than were agreed": 2,
    "another reading behind the amounts": 5,
    "another entry in the log's proof": 4,
}


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """A contract of five days by an independent writer, in the compact form of `laycan evidence`."""
    made = Evidence(tmp_path, tmp_path / "kubeconfig", "laycan-system", tmp_path / "logs")
    made.trust.write_text(json.dumps(trust()))
    story = Story(gpus=2, lot_gpus=1).days(5)
    (tmp_path / "c.json").write_text(json.dumps(story.bundle(), separators=(",", ":")))
    return made


def test_it_holds(evidence: Evidence) -> None:
    """Untouched it is believed, and says what was checked."""
    code, lines = evidence.verify([evidence.folder / "c.json"])
    assert (code, lines[-1]) == (0, "What was checked holds.")


def test_each_lie_is_found(evidence: Evidence) -> None:
    """One byte, and the verdict names the lie; all places that the demo changes are there."""
    good = evidence.folder / "c.json"
    found = {}
    for what, copy in lies(good):
        assert sum(a != b for a, b in zip(good.read_bytes(), copy.read_bytes(), strict=True)) == 1
        verdict = evidence.verify([copy])
        assert verdict.reason.startswith("REFUSED")
        found[what] = verdict.code
    assert found == CODES
    assert {what for what, _ in LIES} == set(CODES)
