"""When the daily statement is made: once a day for each endpoint, whole or not at all, whatever is killed or fails meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from laycan.control.statements import Statements
from laycan.events import statement as stating
from laycan.kube.world import World
from laycan.ledger import tree
from laycan.ledger.ledgers import Beginning, Ledgers, Place
from laycan.ledger.log import DiskFullError, Logged, origin_of
from laycan.ledger.sqlite import open_log, path_of
from laycan.resources.times import format_time, parse_time
from tests.laycan.control.town import contract

GCX, TWO = Place("desk", "gcx"), Place("desk", "two")
MONDAY = parse_time("2027-01-04T00:00:00Z")
DAY = 86_400


class Office:
    """A World with two endpoints of long ago, a folder of logs, and a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.world = folder, MONDAY + 3600, World()
        self.grown: list[Place] = []
        for name in ("gcx", "two"):
            self.point(name, MONDAY - DAY)

    def point(self, name: str, created: int) -> None:
        meta = {"name": name, "namespace": "desk", "creationTimestamp": format_time(created)}
        self.world.endpoints[f"desk/{name}"] = {"metadata": meta, "spec": {}}

    def trade(self, name: str, exchange: str = "gcx", namespace: str = "desk", waiting: int = 0, **status: Any) -> None:
        outbox = [{"id": f"uid-{name}/{n}", "sequence": n, "type": "t", "body": f'{{"n":{n}}}'} for n in range(1, waiting + 1)]
        spec = {"exchangeRef": {"name": exchange}} if exchange else {}
        made = contract(name, namespace=namespace, spec=spec, status={"phase": "Accepted", "outbox": outbox, **status})
        self.world.contracts[made.key] = made

    def run(self, *steps: Callable[[], None]) -> None:
        """A process: a look at first, and one after each step."""

        async def live(look: Callable[[], Awaitable[None]]) -> None:
            await look()
            for step in steps:
                step()
                await look()

        async def main() -> None:
            ledgers = Ledgers(self.folder, lambda place: Beginning(origin_of("op", *place)))
            try:
                await live(Statements(self.world, ledgers, self.grown.append, "urn:laycan:k", lambda: self.now).look)
            finally:
                await ledgers.close()

        asyncio.run(main())

    def passes(self, seconds: int) -> Callable[[], None]:
        def step() -> None:
            self.now += seconds

        return step

    def log(self, place: Place = GCX) -> list[Logged]:
        if not path_of(self.folder, *place).is_file():
            return []
        found = open_log(path_of(self.folder, *place))
        try:
            return found.entries(-1, 999)
        finally:
            found.close()

    def days(self, place: Place = GCX) -> list[str]:
        """Whose statements the log has, each part once."""
        return [entry.id.split("/")[-2] for entry in self.log(place) if entry.id.startswith("statement/")]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    made.trade("a")
    return made


def test_once_a_day(office: Office) -> None:
    """At the first look of each UTC day, in each endpoint's log, also where there is no contract; the sender hears of each once."""
    office.now = MONDAY + DAY - 30
    office.run(*[office.passes(30)] * (2 * DAY // 30))
    assert office.days() == office.days(TWO) == ["2027-01-04", "2027-01-05", "2027-01-06"]
    assert office.grown == [GCX, TWO] * 3
    times = [json.loads(entry.body)["time"] for entry in office.log()]
    assert times == ["2027-01-04T23:59:30Z", "2027-01-05T00:00:00Z", "2027-01-06T00:00:00Z"]


def test_restarts(office: Office) -> None:
    """A day that is in the log stays as it was said; one that began without an operator is told late, one that passed is not."""
    office.run()
    before = office.log()
    office.trade("b")
    office.now += 3600
    office.run(office.passes(600))
    assert office.log() == before
    office.now = MONDAY + DAY + 50_000
    office.run()
    office.now = MONDAY + 4 * DAY - 1
    office.run()
    assert office.days() == ["2027-01-04", "2027-01-05", "2027-01-07"]
    office.now = MONDAY + DAY
    office.run()
    assert len(office.days()) == 3, "nor is one told twice where the clock was put back"


def test_not_on_its_first_day(office: Office) -> None:
    """An endpoint that was made today gets its first statement tomorrow; one that nobody can date gets none."""
    office.point("new", MONDAY)
    office.world.endpoints["desk/odd"] = {"spec": {}}
    office.run(office.passes(DAY))
    assert office.days(Place("desk", "new")) == ["2027-01-05"]
    assert office.days(Place("desk", "odd")) == []


def test_whose(office: Office) -> None:
    """Contracts of this endpoint of this namespace, but those that strayed before it was there: their events are in the local log."""
    office.trade("x", exchange="")
    office.trade("y", exchange="two")
    office.trade("z", namespace="other")
    office.trade("strayed", phase="Rejected", reason={"code": "UnknownExchange", "message": "there is no gcx"})
    office.run()
    assert [[line["uid"] for line in json.loads(entry.body)["data"]["lines"]] for entry in office.log()] == [["uid-a"]]


def test_what_waits_goes_before(office: Office) -> None:
    """Whoever has the log up to the statement has every event that it names."""
    office.trade("b", waiting=3, ledger={"sequence": 3})
    office.run()
    assert [entry.id for entry in office.log()] == ["uid-b/1", "uid-b/2", "uid-b/3", "statement/op/desk/gcx/2027-01-04/1"]


def test_an_edited_outbox(office: Office) -> None:
    """What the log says of it stands, and the day has its statement all the same."""
    office.trade("b", waiting=1)
    office.run()
    office.trade("b", waiting=2)
    office.world.contracts["desk/b"].status["outbox"][0]["body"] = '{"forged":1}'
    office.now += DAY
    office.run()
    assert [entry.id.split("/")[-2] for entry in office.log()] == ["uid-b", "2027-01-04", "uid-b", "2027-01-05"]
    assert office.log()[0].body == b'{"n":1}'


@pytest.mark.parametrize("last", range(1, 7))
def test_killed_between_parts(office: Office, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """All parts or none: whatever was written before the disk was full is gone, and the next process says it as it is then."""
    monkeypatch.setattr(stating, "PART_BYTES", 100)
    for name in "bcde":
        office.trade(name, waiting=1 if name == "b" else 0)
    grow, left = tree.grow, [last]

    def dies(*arguments: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise DiskFullError("the disk is full")
        return grow(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tree, "grow", dies)
        office.run()
    assert office.log() == []
    assert office.days(TWO) == ["2027-01-04"], "the other endpoint's is made"
    office.now += 30
    office.run()
    assert office.days() == ["2027-01-04"] * 5
    bodies = [json.loads(entry.body) for entry in office.log()[1:]]
    assert {(body["time"], body["data"]["parts"]) for body in bodies} == {(format_time(office.now), 5)}
