"""The daily statement finds what was lost between the operator and the exchange, and is silent where nothing was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.examples.exchange.kit import Exchange

DAY = "statement/oper-1/desk/gcx/2027-01-04"


def differs(exchange: Exchange, *parts: list[dict[str, Any]], **changed: Any) -> list[str]:
    """What the exchange answers to the statement of the day; its parts are taken, and each sentence is an alarm."""
    said: list[str] = []
    for index in exchange.office.state(*parts, **changed):
        status, reply = exchange.send(index)
        assert status == 200, reply
        said += reply.get("differs", [])
    assert exchange.ledger.alarms() == said
    return said


def test_all_is_here(exchange: Exchange) -> None:
    """Every contract stands where it should, in one part, in two, and where nothing was said of one yet."""
    for uid in ("c1", "c2", "c1"):
        exchange.say(uid)
    assert differs(exchange) == []
    office = exchange.office
    assert (
        differs(exchange, [office.line("c1"), office.line("c3", phase="")], [office.line("c2"), office.line("warm-up")], day="2027-01-05")
        == []
    )


def test_an_event_that_is_not_here(exchange: Exchange) -> None:
    """The last one, or one before it, by whatever way it was lost: the statement names contract and event."""
    exchange.say("c1")
    exchange.say("c2")
    office = exchange.office
    ahead, behind = office.line("c1", sequence=2), office.line("c2")
    exchange.ledger._db.execute("UPDATE event SET id = 'elsewhere' WHERE id = 'c2/1'")
    assert differs(exchange, [ahead, behind, office.line("warm-up")]) == [
        f"{DAY}/1: contract C1 stands at event 2, which is not here",
        f"{DAY}/1: contract C1: 1 of its first 2 events are not here",
        f"{DAY}/1: contract C2 stands at event 1, which is not here",
        f"{DAY}/1: contract C2: 1 of its first 1 events are not here",
    ]


def test_one_in_the_middle(exchange: Exchange) -> None:
    for _ in range(12):
        exchange.say("c1")
    exchange.ledger._db.execute("UPDATE event SET id = 'elsewhere' WHERE id = 'c1/2'")
    assert differs(exchange) == [f"{DAY}/1: contract C1: 1 of its first 12 events are not here"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"headDigest": "sha256:" + "1" * 64}, "contract C1: its event 1 has other bytes here"),
        ({"headDigest": "none"}, "contract C1: its event 1 has other bytes here"),
        ({"phase": "Settled"}, "contract C1 is Settled, and Accepted by its event 1"),
    ],
)
def test_a_line_that_says_something_else(exchange: Exchange, changed: dict[str, Any], why: str) -> None:
    exchange.say("c1")
    assert differs(exchange, [exchange.office.line("c1", **changed), exchange.office.line("warm-up")]) == [f"{DAY}/1: {why}"]


def test_a_contract_that_is_not_in_it(exchange: Exchange) -> None:
    """One that runs must be; one that began later, and one that is over, need not."""
    exchange.say("c1")
    exchange.say("c2", data={"change": {}, "contract": {"phase": "Settled"}})
    (index,) = exchange.office.state([exchange.office.line("warm-up")])
    exchange.say("c3")
    said = [f"{DAY}: contract C1 is Accepted by its event 1, and not in it"]
    assert exchange.send(index) == (200, {"differs": said})
    assert exchange.send(index) == (200, {"differs": said})
    assert exchange.ledger.alarms() == said


def test_parts_that_do_not_belong_together(exchange: Exchange) -> None:
    """The digest is of all lines: with the last part that comes it must be right."""
    first, last = exchange.office.state([exchange.office.line("c1")], [], digest="sha256:" + "1" * 64)
    assert exchange.send(last)[0] == 200
    status, reply = exchange.send(first)
    assert (status, reply["error"]) == (422, f"{DAY}: its parts have another digest than they say")


@pytest.mark.parametrize("changed", [{"lines": 7}, {"lines": [{"uid": "c1"}]}, {"part": "1"}, {"digest": None}])
def test_one_that_cannot_be_read(exchange: Exchange, changed: dict[str, Any]) -> None:
    (index,) = exchange.office.state(**changed)
    assert exchange.send(index)[0] == 400
    assert exchange.ids == ["warm-up/1"]
