"""How a log begins: as the first of its name, unless somebody holds that there was one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from laycan.control.beginnings import HEADS, Beginnings
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.ledger.ledgers import LOCAL, Place
from laycan.ledger.sqlite import create_log
from tests.laycan.control.town import NOW, contract

GCX = Place("desk", "gcx")
DIGEST = "sha256:" + "ab" * 32


def traded(name: str, told: int, waiting: int = 0, exchange: bool = True, **status: Any) -> ContractView:
    """A contract of which so much was decided, and so much of that waits for its log."""
    outbox = [{"id": f"uid-{name}/{n}", "sequence": n, "type": "t", "body": "{}"} for n in range(told - waiting + 1, told + 1)]
    ledger = {"sequence": told, "headDigest": DIGEST} if told else {}
    spec = {"exchangeRef": {"name": "gcx"}} if exchange else {}
    return contract(name, spec=spec, status={"phase": "Accepted", "ledger": ledger, "outbox": outbox, **status})


def beginnings(*contracts: ContractView, **log: Any) -> Beginnings:
    world = World(contracts={each.key: each for each in contracts})
    world.endpoints["desk/gcx"] = {"metadata": {"name": "gcx"}, "spec": {}, "status": {"log": log} if log else {}}
    return Beginnings(world, "op", "urn:laycan:k", lambda: NOW)


@pytest.mark.parametrize(
    "contracts",
    [
        [],
        [traded("a", 0)],
        [traded("a", 2, waiting=2)],
        [traded("a", 5, exchange=False)],
        [traded("a", 2, phase="Rejected", reason={"code": "UnknownExchange", "message": "there is no gcx"})],
    ],
    ids=["nobody", "nothing said", "all of it waits", "said elsewhere", "the exchange came later"],
)
def test_the_first(contracts: list[ContractView]) -> None:
    """Nobody holds that there was a log."""
    made = beginnings(*contracts)(GCX)
    assert (made.origin, list(made.first), made.known_size) == ("op/desk/gcx", [], 0)


def test_after_one_that_is_lost() -> None:
    """Events have left the outboxes, so a log had them: the new one names it, and each contract's last event."""
    found = beginnings(traded("a", 5, waiting=1), traded("b", 2), traded("c", 1, waiting=1), origin="op/desk/gcx", size=6)(GCX)
    assert (found.origin, found.known_origin, found.known_size) == ("op/desk/gcx/2", "op/desk/gcx", 6)
    (entry,) = found.first
    event = json.loads(entry.body)
    assert (entry.id, event["id"], event["type"], event["subject"]) == ("log/2/1", "log/2/1", "dev.laycan.log.replaced.v1", "op/desk/gcx/2")
    assert event["data"] == {
        "origin": "op/desk/gcx/2",
        "replaces": {"origin": "op/desk/gcx", "size": 6},
        "contracts": 2,
        "heads": [{"contract": f"uid-{n}", "sequence": s, "headDigest": DIGEST} for n, s in (("a", 5), ("b", 2))],
    }


def test_known_by_one_side_only() -> None:
    """The endpoint's status alone is enough, and so is one contract, which does not know the name: then it is one that never was."""
    assert beginnings(origin="op/desk/gcx", size=3)(GCX).origin == "op/desk/gcx/2"
    assert beginnings(traded("a", 1))(GCX).origin == f"op/desk/gcx/{NOW}"
    assert beginnings(traded("a", 1, exchange=False))(LOCAL).origin == f"op/local/{NOW}"
    assert beginnings(traded("a", 1))(LOCAL).origin == "op/local"


@pytest.mark.parametrize(
    ("origin", "following"),
    [("op/desk/gcx/2", "op/desk/gcx/3"), ("op/desk/gcx/11", "op/desk/gcx/12"), ("op2/desk/gcx/7", "op/desk/gcx"), ("", "op/desk/gcx")],
)
def test_lives(origin: str, following: str) -> None:
    """Each life has its own number; a log of another operator is not ours."""
    assert beginnings(origin=origin, size=1)(GCX).origin == following


def test_many_contracts(tmp_path: Path) -> None:
    """Entries stay within 64 kB, in a fixed order, and make a log."""
    made = beginnings(*(traded(f"c{i:04}", 3) for i in range(2 * HEADS + 1)))
    found = made(GCX)
    assert [len(json.loads(e.body)["data"]["heads"]) for e in found.first] == [HEADS, HEADS, 1]
    assert all(len(entry.body) < 65_536 for entry in found.first)
    assert made(GCX) == found
    log = create_log(tmp_path / "x.sqlite", found.origin, found.first)
    assert log.size == 3
    log.close()


@pytest.mark.parametrize("status", [None, 7, {"log": 7}, {"log": {"origin": 7, "size": "x"}}, {"log": {"origin": "op/desk/gcx"}}])
def test_a_status_of_another_shape(status: Any) -> None:
    """Whatever stands there stops nobody."""
    made = beginnings()
    made.world.endpoints["desk/gcx"] = {"metadata": {}, "spec": {}, "status": status}
    assert made(GCX).origin in ("op/desk/gcx", "op/desk/gcx/2")
