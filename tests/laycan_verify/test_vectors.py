"""The evidence that is checked in means what it meant."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from typing import Any

import pytest

from laycan_verify import merkle, notes
from laycan_verify.cli import verify
from laycan_verify.dsse import pae, verifies
from laycan_verify.strict import canonical, digest
from tests.laycan_verify.vectors import CASES, FOLDER, files, text
from tests.laycan_verify.writer import HEADS, IN_TOTO, RECEIPTS, WITNESS

VALUES: dict[str, Any] = json.loads((FOLDER / "values.json").read_text())
PLAIN: dict[str, Any] = json.loads((FOLDER / "plain.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{'+'.join(case['files'])}-{case['code']}")
def test_verdicts(case: dict[str, Any]) -> None:
    """Each case ends with its exit code."""
    assert case in json.loads((FOLDER / "cases.json").read_text())
    data = {name: (FOLDER / name).read_bytes() for name in case["files"]}
    code, lines = verify(data, (FOLDER / "trust.json").read_bytes(), case.get("cosignatures"), case.get("requireReadings", False))
    assert code == case["code"], lines


def test_nothing_moved() -> None:
    """The writer still makes the same files, to the byte, and no other file is there."""
    assert {name: text(value) for name, value in files().items()} == {file.name: file.read_text() for file in FOLDER.iterdir()}


def test_values() -> None:
    """The verifier's primitives give the values in between."""
    for part, name in (("terms", "termsDigest"), ("product", "productDigest"), ("healthPolicy", "healthPolicyDigest")):
        assert digest(canonical(PLAIN[part], part)) == VALUES[name]
    payload = VALUES["payload"].encode()
    assert digest(payload) == VALUES["payloadDigest"]
    assert hashlib.sha256(pae(IN_TOTO, payload)).hexdigest() == VALUES["preAuthenticationEncodingSha256"]
    assert verifies(RECEIPTS.public, b64decode(VALUES["signature"]), pae(IN_TOTO, payload))
    assert merkle.root(leaf.encode() for leaf in VALUES["readingLeaves"]).hex() == VALUES["readingsRoot"]
    assert merkle.root(map(bytes.fromhex, VALUES["commitments"])).hex() == VALUES["commitmentRoot"]
    assert merkle.root(leaf.encode() for leaf in VALUES["logLeaves"]).hex() == VALUES["logRoots"][2]
    origin = VALUES["checkpointText"].split("\n")[0]
    assert notes.head(origin, 2, bytes.fromhex(VALUES["logRoots"][2])).decode() == VALUES["checkpointText"]
    assert notes.key_id(origin, notes.LOG, HEADS.public).hex() == VALUES["keyIds"]["log"]
    assert notes.key_id(WITNESS.name, notes.WITNESS, WITNESS.public).hex() == VALUES["keyIds"]["witness"]
    seconds = int(VALUES["cosignedText"].split("\n")[1].removeprefix("time "))
    assert notes.cosigned(seconds, VALUES["checkpointText"].encode()).decode() == VALUES["cosignedText"]
