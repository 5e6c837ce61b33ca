"""What the verifier says of evidence as JSON values, for tests."""

from __future__ import annotations

import json
from typing import Any

from laycan_verify.cli import verify
from tests.laycan_verify.writer import JSON, Story, trust


def judged(*evidence: Story | JSON | bytes, trusted: JSON | None = None, **asked: Any) -> tuple[int, str]:
    """Exit code and everything said, of one file per piece of evidence: a.json, b.json, …"""
    files = {}
    for name, each in zip("abcdefgh", evidence, strict=False):
        value = each.bundle() if isinstance(each, Story) else each
        files[f"{name}.json"] = value if isinstance(value, bytes) else json.dumps(value).encode()
    code, lines = verify(files, json.dumps(trust() if trusted is None else trusted).encode(), **asked)
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert (code == 0) == (lines[-1] == "What was checked holds.")
    return code, "\n".join(lines)


def reason(*evidence: Story | JSON | bytes, trusted: JSON | None = None, **asked: Any) -> tuple[int, str]:
    """Exit code and the last line: why, where it is not 0."""
    code, said = judged(*evidence, trusted=trusted, **asked)
    return code, said.splitlines()[-1]
