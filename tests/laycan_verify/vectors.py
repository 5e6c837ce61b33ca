"""Evidence that is checked in, with what the verifier says of it: for those who write or verify it elsewhere.

`python -m tests.laycan_verify.vectors` writes the files anew; the tests fail where they would differ, because then a format has changed.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from laycan_verify.dsse import pae
from tests.laycan_verify.writer import DAY, HEADS, IN_TOTO, JSON, WITNESS, Loss, Story, at, canonical, digest, mth, trust

FOLDER = Path(__file__).with_name("vectors")
START = at("2027-01-04T00:00:00")
CASES: list[JSON] = [
    {"files": ["plain.json"], "code": 0},
    {"files": ["plain.json"], "cosignatures": 2, "code": 4},
    {"files": ["withheld.json"], "code": 3},
    {"files": ["flipped.json"], "code": 2},
    {"files": ["rewritten.json"], "code": 5},
    {"files": ["plain.json", "other-history.json"], "code": 4},
    {"files": ["plain.json", "same-device.json"], "code": 6},
    {"files": ["without-readings.json"], "code": 0},
    {"files": ["without-readings.json"], "requireReadings": True, "code": 7},
    {"files": ["trust.json"], "code": 1},
]


def cards(lot: int, _start: int) -> list[str]:
    return [hashlib.sha256(b"salt" + f"GPU-{lot}".encode()).hexdigest()]


def story(losses: list[Loss], **others: Any) -> Story:
    return Story(gpus=2, lot_gpus=1, end=START + 2 * DAY, losses=losses, devices=cards, **others)


def plain() -> Story:
    """Two lots of one GPU for two days; an outage in the first that is longer than grace, and is corrected to half an hour."""
    told = story([Loss((1,), START + 3600, START + 7200)]).days()
    told.correct(1, START + 3 * DAY, [Loss((1,), START + 3600, START + 5400)])
    return told


def files() -> dict[str, Any]:
    good = plain().bundle()
    body = good["receipts"][1]["body"]
    withheld, without, rewritten = plain().bundle(), plain().bundle(), plain().bundle()
    del withheld["receipts"][0], without["readings"]
    next(iter(rewritten["readings"].values()))[0]["end"] = "2027-01-04T23:59:59Z"
    place = body.index('"payload":"') + 200
    flipped = plain().bundle()
    flipped["receipts"][1]["body"] = body[:place] + ("A" if body[place] != "A" else "B") + body[place + 1 :]
    other = story([Loss((1,), START + 3600, START + 7200), Loss((0,), START + DAY, START + DAY + 60, "Excused:Grace")]).days()
    return {
        "trust.json": trust(),
        "cases.json": CASES,
        "values.json": values(),
        "plain.json": good,
        "withheld.json": withheld,
        "flipped.json": flipped,
        "rewritten.json": rewritten,
        "without-readings.json": without,
        "other-history.json": other.bundle(),
        "same-device.json": same_device(),
    }


def same_device() -> JSON:
    """Another contract in the same log, on the same GPUs."""
    told = story([], contract_id="D-2027-01", log=plain().log)
    return told.days(1).bundle()


def values() -> JSON:
    """What stands between the terms and the signed head of plain.json, step by step."""
    told = plain()
    bundle = told.bundle()
    event = json.loads(bundle["receipts"][0]["body"])
    envelope = event["data"]["change"]["envelope"]
    payload = b64decode(envelope["payload"])
    rows = bundle["readings"][told.receipts[0]["meter"]["rootSha256"]]
    commitments = sorted(cards(lot, 0)[0] for lot in range(2))
    text = bundle["checkpoints"][0]["note"].split("\n\n")[0] + "\n"
    return {
        "termsDigest": digest(told.terms),
        "productDigest": digest(told.product),
        "healthPolicyDigest": digest(told.policy),
        "commitments": commitments,
        "commitmentRoot": mth([bytes.fromhex(each) for each in commitments]).hex(),
        "readingLeaves": [canonical(row).decode() for row in rows],
        "readingsRoot": mth([canonical(row) for row in rows]).hex(),
        "payload": payload.decode(),
        "payloadDigest": digest(payload),
        "preAuthenticationEncodingSha256": hashlib.sha256(pae(IN_TOTO, payload)).hexdigest(),
        "signature": envelope["signatures"][0]["sig"],
        "logLeaves": [entry.decode() for entry in told.log.entries[:2]],
        "logRoots": [mth(told.log.entries[:size]).hex() for size in range(7)],
        "checkpointText": text,
        "keyIds": {
            "log": hashlib.sha256(told.log.origin.encode() + b"\n\x01" + HEADS.public).hexdigest()[:8],
            "witness": hashlib.sha256(WITNESS.name.encode() + b"\n\x04" + WITNESS.public).hexdigest()[:8],
        },
        "cosignedText": f"cosignature/v1\ntime {START + DAY + 90}\n{text}",
    }


def text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, value in files().items():
        (FOLDER / name).write_text(text(value))
