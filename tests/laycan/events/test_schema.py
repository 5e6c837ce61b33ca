"""The published form of the events is what is sent: generated, complete, and as strict as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from laycan.control.beginnings import Beginnings
from laycan.events.cloudevents import NAMES
from laycan.events.outbox import MOST_LOTS, Outbox
from laycan.events.publish import RECEIPT, names, render, schema, with_table
from laycan.events.rotation import announce
from laycan.events.schema import EVENTS, OPERATOR_EVENTS, check, model_of
from laycan.events.statement import statement
from laycan.evidence.schema import Receipt
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import Place
from laycan.ledger.sqlite import create_log
from tests.fixtures.schemas import valid
from tests.laycan.control.desk import T0, delivering
from tests.laycan.events.test_evidence_keys import raw_key, whole

DOCS = Path(__file__).parents[3] / "docs"
NO_SUCH_DAY = "2030-02-30"  # of the fixtures: a schema cannot refuse it, the models do


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from objects(field, f"{path}.{name}")
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")


@pytest.mark.parametrize("name", names())
def test_generated_is_checked_in(name: str) -> None:
    """`make generate` would change nothing."""
    assert (DOCS / "schemas" / f"{name}.v1.json").read_text() == render(name)


def test_the_page_has_the_table() -> None:
    """docs/events.md lists what the models say, and the folder holds their schemas and nothing else."""
    page = (DOCS / "events.md").read_text()
    assert with_table(page) == page
    assert sorted(path.name for path in (DOCS / "schemas").iterdir()) == sorted(f"{name}.v1.json" for name in names())


def test_every_event_has_a_form() -> None:
    """What may be said has a model, and nothing else has."""
    assert {*EVENTS, *OPERATOR_EVENTS} == NAMES
    assert not set(EVENTS) & set(OPERATOR_EVENTS)


@pytest.mark.parametrize("name", names())
def test_every_field_is_described(name: str) -> None:
    """A reader of the schema needs no other page; a field of a later release does not make an event invalid."""
    found = list(objects(schema(name)))
    assert [path for path, field in found if not path.endswith("[]") and not field.get("description")] == []
    assert [path for path, field in found if "additionalProperties" in field or "$ref" in field] == []


@pytest.mark.parametrize("name", names())
def test_schema_and_model_agree(name: str) -> None:
    """What the published schema allows, the model takes: nothing is stricter than it is said to be."""
    model = Receipt if name == RECEIPT else model_of(name)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    @given(valid(schema(name)))
    def agree(value: Any) -> None:
        if NO_SUCH_DAY not in json.dumps(value):
            model.model_validate(value)

    agree()


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return delivering().told


def test_events_about_no_contract(tmp_path: Path) -> None:
    """A key that takes over, and a log that follows a lost one, are said in their form."""
    log = create_log(tmp_path / "1.sqlite", "op/desk/gcx")
    announce(log, whole(receipts_next_key=raw_key(9)).rotations, "urn:laycan:1", "op", T0)
    world = World()
    status = {"phase": "Accepted", "ledger": {"sequence": 3, "headDigest": "sha256:" + "0" * 64}}
    spec = {"exchangeRef": {"name": "gcx"}, "terms": {"contractId": "GCX-1"}}
    world.put("contracts", "desk/c", ContractView("desk", "c", "uid-c", 1, 1, 0, False, (), {}, spec, status))
    follows = Beginnings(world, "op", "urn:laycan:1", lambda: T0)(Place("desk", "gcx"))
    bodies = [*(entry.body for entry in log.entries(-1, 9)), *(entry.body for entry in follows.first)]
    log.close()
    bodies += [body.encode() for _, body in statement(world.contracts.values(), "desk/gcx", log.origin, "urn:laycan:1", T0)]
    said = [json.loads(body) for body in bodies]
    assert {event["type"] for event in said} == {f"dev.laycan.{name}.v1" for name in OPERATOR_EVENTS}
    for event in said:
        check(event)
        with pytest.raises(ValidationError, match="nodeName"):
            check({**event, "data": {**event["data"], "nodeName": "a"}})


class TestStrict:
    """What the desks of all tests hold every event to."""

    def test_a_field_that_nobody_published(self, events: list[dict[str, Any]]) -> None:
        """Wherever it slips in, it is refused."""
        for event in events:
            check(event)
            for place in ((), ("data",), ("data", "change"), ("data", "contract")):
                changed = inner = deepcopy(event)
                for key in place:
                    inner = inner[key]
                inner["nodeName"] = "a"
                with pytest.raises(ValidationError, match="nodeName"):
                    check(changed)

    def test_a_type_that_nobody_published(self, events: list[dict[str, Any]]) -> None:
        """It has no model, and so cannot be told by accident."""
        with pytest.raises(KeyError):
            check({**events[0], "type": "dev.laycan.contract.lost.v1"})

    @given(st.data())
    def test_a_field_that_is_gone(self, events: list[dict[str, Any]], data: st.DataObject) -> None:
        """What the schema requires is required."""
        event = deepcopy(data.draw(st.sampled_from(events)))
        required = schema(event["type"].removeprefix("dev.laycan.").removesuffix(".v1"))["required"]
        del event[data.draw(st.sampled_from(sorted(set(required) - {"type"})))]
        with pytest.raises(ValidationError):
            check(event)


def test_a_great_loss_fits() -> None:
    """However many lots are lost at once, the event has room: the first are named, and their GPUs are all counted."""
    outbox = Outbox.open({}, uid="u" * 36, contract_id="GCX", source="urn:laycan:1", taken=frozenset(), hurried=False)
    outbox.say("delivery.interrupted", {"lots": list(range(65_536)), "gpus": 65_536})
    outbox.seal({"phase": "Delivering"}, T0)
    body = outbox.entries[0]["body"]
    assert len(body.encode()) < 65_536
    assert json.loads(body)["data"]["change"] == {"lots": list(range(MOST_LOTS)), "gpus": 65_536}
