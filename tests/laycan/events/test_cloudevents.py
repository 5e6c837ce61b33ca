"""Events are CloudEvents that others can read, in canonical bytes, numbered in the contract's own outbox."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from laycan.events.cloudevents import NAMES, event_body, event_type
from laycan.events.outbox import CAPACITY, TIDY_SECONDS, Outbox

DATA = {"contract": {"phase": "Accepted", "conditions": ["Ready"]}, "change": {"phase": "Accepted", "from": "Received"}}


def body(**changed: Any) -> str:
    given = {
        "uid": "u-1",
        "sequence": 7,
        "name": "contract.accepted",
        "source": "urn:laycan:8a1c",
        "contract_id": "GCX-1",
        "time": 1_798_000_000,
    }
    return event_body(**{**given, **changed}, data=DATA)


def test_another_library_reads_it() -> None:
    """The `cloudevents` library takes the bytes as a structured event and finds every attribute."""
    event = from_http_event(HTTPMessage({"content-type": "application/cloudevents+json"}, body().encode()))
    attributes = event.get_attributes()
    assert attributes | {"time": attributes["time"].isoformat()} == {
        "specversion": "1.0",
        "id": "u-1/7",
        "source": "urn:laycan:8a1c",
        "type": "dev.laycan.contract.accepted.v1",
        "subject": "GCX-1",
        "time": "2026-12-23T04:26:40+00:00",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000007",
    }
    assert event.get_data() == DATA


def test_canonical_bytes() -> None:
    """The body is its own RFC 8785 form: whoever parses and canonicalises it gets the same bytes."""
    assert rfc8785.dumps(json.loads(body())).decode() == body()


def test_sequence_sorts_as_text() -> None:
    """Twenty digits: text order is number order."""
    assert sorted(json.loads(body(sequence=n))["sequence"] for n in (10, 9, 100)) == [f"{n:020d}" for n in (9, 10, 100)]


def test_only_names_of_the_catalogue() -> None:
    """A misspelt event never leaves the house."""
    assert event_type("risk.raised") == "dev.laycan.risk.raised.v1"
    with pytest.raises(ValueError, match=r"contract\.acepted"):
        event_type("contract.acepted")
    assert {name.split(".")[0] for name in NAMES} == {
        "contract",
        "delivery",
        "shortfall",
        "makegood",
        "risk",
        "outage",
        "receipt",
        "key",
        "log",
        "statement",
    }


class TestOutbox:
    def open(self, status: dict[str, Any] | None = None, *, taken: frozenset[str] = frozenset(), hurried: bool = False) -> Outbox:
        return Outbox.open(status or {}, uid="u-1", contract_id="GCX-1", source="urn:laycan:8a1c", taken=taken, hurried=hurried)

    def status(self, outbox: Outbox) -> dict[str, Any]:
        return {"outbox": outbox.entries, "ledger": {"sequence": outbox.sequence, "headDigest": outbox.head_digest}}

    def filled(self, count: int) -> Outbox:
        outbox = self.open()
        for i in range(count):
            assert outbox.say("risk.raised" if i % 2 else "risk.cleared", {})
        outbox.seal({}, 1_798_000_000)
        return outbox

    def test_numbers_go_on(self) -> None:
        """Entries that the log has leave, the rest keep their bytes, new ones get the next numbers."""
        first = self.filled(3)
        later = self.open(self.status(first), taken=frozenset({"u-1/1", "u-1/2"}))
        assert later.entries == first.entries[2:]
        later.say("contract.delivered", {})
        later.seal({}, 1_798_000_100)
        assert [entry["id"] for entry in later.entries] == ["u-1/3", "u-1/4"]
        assert later.head_digest == "sha256:" + hashlib.sha256(later.entries[-1]["body"].encode()).hexdigest()

    def test_full_is_full(self) -> None:
        """The ninth event is not taken, and nothing about it is remembered."""
        outbox = self.open(self.status(self.filled(CAPACITY)))
        assert not outbox.say("risk.raised", {})
        outbox.seal({}, 1_798_000_000)
        assert (len(outbox.entries), outbox.sequence) == (CAPACITY, CAPACITY)

    def test_hurried(self) -> None:
        """What cannot wait takes every step; the latest news are kept, as many as there is room for, and numbered without a gap."""
        outbox = self.open(self.status(self.filled(CAPACITY - 2)), hurried=True)
        assert all(outbox.say("contract.delivered" if i == 49 else "risk.raised", {"i": i}) for i in range(50))
        outbox.seal({}, 1_798_000_000)
        assert [(e["sequence"], json.loads(e["body"])["data"]["change"]["i"]) for e in outbox.entries[-2:]] == [(7, 48), (8, 49)]
        full = self.open(self.status(outbox), hurried=True)
        assert full.say("contract.settled", {})
        full.seal({}, 1_798_000_000)
        assert (full.entries, full.sequence) == (outbox.entries, CAPACITY)

    @pytest.mark.parametrize("body", ["{}", "not json", '{"time":7}', '{"time":"2026-12-23T04:26:40Z"}'])
    def test_untidy(self, body: str) -> None:
        """An entry that the log has is worth a write of its own once it is old, or was edited by hand."""
        outbox = self.open({"outbox": [{"id": "u-1/1", "body": body}]}, taken=frozenset({"u-1/1"}))
        assert outbox.untidy(1_798_000_000 + TIDY_SECONDS)
        assert outbox.untidy(1_798_000_000 + TIDY_SECONDS - 1) is not body.startswith('{"time":"')
        assert not self.open({"outbox": [{"id": "u-1/1", "body": body}]}).untidy(1_900_000_000)

    def test_same_news_same_bytes(self) -> None:
        """Made twice from the same status, as after a lost answer, an event is the same to the byte."""
        assert self.filled(4).entries == self.filled(4).entries
