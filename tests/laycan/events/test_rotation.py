"""An announcement: once in each log, signed by the old key, whatever happens in between."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from laycan.events.rotation import announce, announced
from laycan.ledger.log import Entry
from laycan.ledger.sqlite import create_log, open_log
from tests.laycan.events.test_evidence_keys import raw_key, whole

NOW = 1_800_000_000


def test_once_in_each_log(tmp_path: Path) -> None:
    """A crash between two logs, or before the Secret is tidied up: each log has it once, with the time of the first."""
    keys = whole(receipts_next_key=raw_key(9))
    (rotation,) = keys.rotations
    one, two = create_log(tmp_path / "1.sqlite", "op/desk/one"), create_log(tmp_path / "2.sqlite", "op/desk/two")
    assert announce(one, keys.rotations, "urn:laycan:1", "op", NOW)
    assert (announced(one, rotation), announced(two, rotation)) == (True, False)
    one.close()
    one = open_log(tmp_path / "1.sqlite")
    for log in (one, two, one, two):
        announce(log, keys.rotations, "urn:laycan:1", "op", NOW + 100)
    assert [log.size for log in (one, two)] == [1, 1]
    assert json.loads(one.entries(-1, 1)[0].body)["time"] == "2027-01-15T08:00:00Z"


def test_what_it_says(tmp_path: Path) -> None:
    """The event names both keys, and who trusts the old one can check the new one."""
    keys = whole(receipts_next_key=raw_key(9))
    log = create_log(tmp_path / "1.sqlite", "op/desk/one", [Entry("u/1", b"before")])
    (name,) = announce(log, keys.rotations, "urn:laycan:1", "op", NOW)
    event = json.loads(log.entries(0, 1)[0].body)
    new = keys.rotations[0].new
    assert (event["id"], event["type"], event["subject"]) == (name, "dev.laycan.key.rotated.v1", "op")
    data = event["data"]
    assert (data["use"], data["oldKeyId"], data["newKeyId"]) == ("receipts", keys.receipts.key_id, new.key_id)
    assert base64.b64decode(data["newPublicKey"]) == new.public_key
    Ed25519PublicKey.from_public_bytes(keys.receipts.public_key).verify(base64.b64decode(data["signature"]), new.public_key)


def test_there_and_back(tmp_path: Path) -> None:
    """A second change, and one back to a former key, are announced too."""
    log = create_log(tmp_path / "1.sqlite", "op/desk/one")
    for old, new in ((1, 9), (9, 11), (11, 1)):
        keys = whole(receipts_key=raw_key(old), receipts_next_key=raw_key(new))
        assert len(announce(log, keys.rotations, "urn:laycan:1", "op", NOW)) == 1
    assert log.size == 3
