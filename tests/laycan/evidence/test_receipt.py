"""A receipt fits into its event, however much went wrong in its day."""

from __future__ import annotations

import json

from laycan.evidence.receipt import Content, Incident, Leaf, Subject, predicate, sealed, statement
from laycan_verify.classes import Class, Counters
from tests.laycan.control.desk import T0
from tests.laycan.control.test_receipts import DAY, Signer

DIGEST = "sha256:" + "0" * 64
SUBJECT = Subject("GCX-1", "uid-1", DIGEST, DIGEST, DIGEST, T0, T0 + DAY, 8, "h100", None)
LOTS = range(0, 512, 2)


def test_a_day_of_many_outages() -> None:
    """4,096 GPUs of which every other lot is out each ten minutes, each for another time on another grade: the rest is counted."""
    found = [Incident(at, at + 301, Class.SHORTFALL, "NodeNotReady", lot) for at in range(T0, T0 + DAY, 600) for lot in LOTS]
    rows = [Leaf(lot, T0 + lot, T0 + DAY, "Delivered", False, "h200", ()) for lot in range(512)]
    made = predicate(SUBJECT, Content(T0, T0 + DAY, Counters(T0 + DAY), Counters(T0 + DAY), found, rows, "agent", 0), {"id": "op"})
    envelope, _ = sealed(statement(SUBJECT, made, 1, ""), Signer())
    assert len(json.dumps(envelope)) < 50_000  # of the 64 kB of an event
    assert made["leftOut"] == 144 - len(made["incidents"]) + 512 - len(made["substitutions"])
    assert len(made["incidents"]) > 10
    assert len(made["substitutions"]) > 50


def test_a_day_with_few() -> None:
    """Where all is listed nothing is said to be left out."""
    found = [Incident(T0, T0 + 301, Class.SHORTFALL, "NodeNotReady", 0)]
    made = predicate(SUBJECT, Content(T0, T0 + DAY, Counters(T0 + DAY), Counters(T0 + DAY), found, [], "agent", 0), {"id": "op"})
    assert "leftOut" not in made
    assert len(made["incidents"]) == 1
