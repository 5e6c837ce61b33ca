"""Receipts wait for keys and for clocks, of all contracts or of those that are concerned, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any, cast

from laycan.control.evidence import Evidence
from laycan.control.software import software_digest
from laycan.events.evidence_keys import Rotation
from laycan.kube.client import ApiError, Client
from laycan.kube.meter_views import MeterView
from laycan.kube.world import World
from laycan.settings import Settings
from tests.laycan.events.test_evidence_keys import WHOLE, Server, raw_key

NOW = 1_800_000_000.0
METER = MeterView("a", 1, "uid", 0, 0, 0, 300, frozenset(), (), (), 0, 0)


class Api(Server):
    """With a clock `behind` ours by so many seconds."""

    def __init__(self, behind: float = 0) -> None:
        super().__init__()
        self.behind = behind

    @property
    def dated(self) -> tuple[float, float, str]:
        return NOW - 0.01, NOW, formatdate(int(NOW - self.behind), usegmt=True)


def evidence(api: Api, world: World | None = None, announced: Callable[[Rotation], bool] = lambda each: False) -> Evidence:
    made = Evidence(cast(Client, api), world or World(), Settings(), "op", announced, lambda: NOW)
    asyncio.run(made.look())
    return made


def whole(behind: float = 0, receipts_next: bytes = b"") -> Api:
    api = Api(behind)
    api.hold(1, {**WHOLE, **({"receipts.next.key": receipts_next} if receipts_next else {})})
    return api


def test_current() -> None:
    """With keys and a clock that is right nothing waits, and a receipt names operator, key and software; each exchange has its salt."""
    made = evidence(whole())
    assert made.waits() == []
    seal = made.seal()
    assert seal is not None
    assert (seal.operator, seal.software_digest) == ("op", software_digest())
    assert seal.signer.key_id.startswith("receipts-")
    assert made.keys is not None
    assert seal.salt("desk/gcx") == made.keys.salt_of("op/desk/gcx")
    assert seal.salt("") == made.keys.salt_of("op/local")
    assert seal.trusted_clock("desk/gcx", {"a"})


def test_without_keys() -> None:
    """Nobody signs, and it is said why; with keys it goes on by itself."""
    api = Api()
    made = evidence(api)
    assert made.seal() is None
    assert made.waits() == [made.keyring.trouble]
    api.hold(1, WHOLE)
    asyncio.run(made.look())
    assert made.seal() is not None
    assert made.waits() == []


def test_own_clock() -> None:
    """Thirty seconds off the API server's: the receipts of all contracts wait."""
    made = evidence(whole(behind=30))
    assert not made.clocks_agree("", ())
    (words,) = made.waits()
    assert "the operator's clock is off the API server's by +" in words


def test_an_exchange_s_clock() -> None:
    """One exchange whose clock is off keeps its own contracts waiting, no others."""
    world = World(endpoints={"desk/gcx": {}, "desk/two": {}})
    made = evidence(whole(), world)
    made.heard("desk/gcx", (NOW - 0.01, NOW, formatdate(int(NOW + 30), usegmt=True)))
    made.heard("desk/two", (NOW - 0.01, NOW, formatdate(int(NOW), usegmt=True)))
    assert not made.clocks_agree("desk/gcx", ())
    assert made.clocks_agree("desk/two", ())
    assert made.clocks_agree("", ())
    (words,) = made.waits()
    assert "exchange desk/gcx" in words


def test_an_agent_s_clock() -> None:
    """A node whose agent is off keeps the contracts on it waiting, no others; a node without contracts is nobody's business."""
    world = World(meters={"a": replace(METER, clock_offset_milliseconds=-1500), "b": replace(METER, clock_offset_milliseconds=900)})
    made = evidence(whole(), world)
    assert not made.clocks_agree("", {"a", "b"})
    assert made.clocks_agree("", {"b", "c"})
    assert made.waits() == []
    world.contracts_on["a"] = {"desk/c1"}
    assert made.waits() == ["the clock of node a is off the API server's by -1.5 s, more than 1 s"]


def test_a_new_key_signs_once_it_is_announced() -> None:
    """Before that the old one does; in `seal` as in `keys`."""
    told: set[str] = set()
    made = evidence(whole(receipts_next=raw_key(9)), announced=lambda rotation: rotation.use in told)
    assert made.keyring.keys is not None
    (rotation,) = made.keyring.keys.rotations
    before = made.seal()
    told.add("receipts")
    after = made.seal()
    assert before is not None
    assert after is not None
    assert (before.signer, after.signer) == (rotation.old, rotation.new)
    assert made.pending() == 0
    told.clear()
    assert made.pending() == 1


def test_the_api_server_away() -> None:
    """A look that fails keeps the keys of the one before."""
    api: Any = whole()
    made = evidence(api)
    api.secret = ApiError(0, "AnswerLost", "no answer")
    asyncio.run(made.look())
    assert made.seal() is not None


def test_operator_id() -> None:
    """The settings' word, else the cluster's uid."""
    assert Settings(operator_id="acme-dc1").operator("8a1c") == "acme-dc1"
    assert Settings().operator("8a1c") == "laycan-8a1c"


def test_software_digest() -> None:
    """The same code has one digest."""
    assert software_digest() == software_digest()
    assert software_digest().startswith("sha256:")
