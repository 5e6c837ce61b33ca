"""What a buyer finds in his namespace: evidence that verifies, written when it changes and not otherwise."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web

from laycan.control import handouts
from laycan.control.handouts import AGAIN_SECONDS, Handouts
from laycan.kube.client import Client
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError, Log
from laycan.resources.evidence_bundle import EvidenceBundle
from tests.laycan.control.apiserver import merged
from tests.laycan.control.desk import T0
from tests.laycan.evidence.story import DAY, Told, checkpoint, deliver, objects, story
from tests.laycan.evidence.test_bundle import KEYS, said
from tests.laycan.kube.scripted import serving

T = TypeVar("T")
SETTLE = 120
FOLDER = "/apis/laycan.dev/v1alpha1/namespaces/acme/evidencebundles"


class Open:
    """The ledgers: one log that is open already, and may fail."""

    def __init__(self, made: Told) -> None:
        self.made, self.failing = made, False

    def has(self, place: Place) -> bool:
        return True

    async def use(self, place: Place, work: Callable[[Log], T]) -> T:
        assert place == ("desk", "gcx")
        if self.failing:
            raise LedgerError("the disk is gone")
        return work(self.made.log)


class Buyer:
    """The API server's part: the objects of the handover namespace."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.writes, self.refuse = 0, 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self.refuse:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=self.refuse)
        if request.method == "GET":
            return web.json_response(self.objects[path]) if path in self.objects else web.json_response({}, status=404)
        body, self.writes = await request.json(), self.writes + 1
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
        self.objects[path] = merged(self.objects.get(path), body)
        assert path.startswith(FOLDER)
        EvidenceBundle.model_validate(self.objects[path])
        return web.json_response(self.objects[path])

    @property
    def spec(self) -> dict[str, Any]:
        [found] = self.objects.values()
        return cast(dict[str, Any], found["spec"])


class Office:
    """A contract with its log, and what hands its evidence out. `at` is the clock."""

    def __init__(self, root: Path, api: Buyer, client: Client) -> None:
        self.made, self.api, self.now = story(root), api, T0
        self.made.world.products["h100"] = objects(self.made)[1]
        self.ledgers = Open(self.made)
        self.client = client
        self.begin()

    def begin(self) -> None:
        self.handouts = Handouts(self.client, self.made.world, cast(Ledgers, self.ledgers), lambda: self.now, 60, SETTLE)

    async def look(self, *instants: int) -> int:
        """How often was written meanwhile."""
        before = self.api.writes
        for self.now in instants:
            self.made.world.contracts[self.made.contract.key] = self.made.contract
            await self.handouts.step()
        return self.api.writes - before

    def day(self, number: int, *, cosigned: bool = True) -> int:
        """Delivers that day, and returns when its receipt stands under a checkpoint."""
        end = T0 + (number + 1) * DAY + 900
        deliver(self.made, T0 + number * DAY, end)
        checkpoint(self.made.log, KEYS, end if cosigned else None)
        return end


def office(tmp_path: Path, test: Callable[[Office], Any]) -> None:
    async def main() -> None:
        api = Buyer()
        async with serving(api.handle) as client:
            await test(Office(tmp_path, api, client))

    asyncio.run(main())


def verdict(spec: dict[str, Any]) -> int:
    return said(json.loads(gzip.decompress(base64.b64decode(spec["bundle"]))))[0]


def test_one_write_for_each_receipt(tmp_path: Path) -> None:
    """The buyer can verify it alone; nothing is written before there are receipts, twice for one, or again after a restart."""

    async def test(made: Office) -> None:
        assert await made.look(T0, T0 + 3600) == 0
        end = made.day(0)
        assert await made.look(end, end + SETTLE - 1) == 0, "the exchange has time to cosign"
        assert await made.look(end + SETTLE, end + SETTLE + 60, end + 7200) == 1
        assert (made.api.spec["receipts"], made.api.spec["complete"], verdict(made.api.spec)) == (1, True, 0)
        end = made.day(1)
        assert await made.look(end, end + SETTLE, end + SETTLE + 60) == 1
        assert (made.api.spec["receipts"], verdict(made.api.spec)) == (2, 0)
        made.begin()
        assert await made.look(end + 9000, end + 9000 + SETTLE) == 0

    office(tmp_path, test)


def test_a_late_cosignature_completes_it(tmp_path: Path) -> None:
    """Without one the buyer gets what there is, with words; once there is one, the whole."""

    async def test(made: Office) -> None:
        end = made.day(0, cosigned=False)
        assert await made.look(end, end + SETTLE) == 1
        assert not made.api.spec["complete"]
        assert "operator's word" in made.api.spec["message"]
        checkpoint(made.made.log, KEYS, end + 300)
        assert await made.look(end + 600, end + SETTLE + AGAIN_SECONDS, end + 9000) == 1
        assert (made.api.spec["complete"], "message" in made.api.spec, verdict(made.api.spec)) == (True, False, 0)

    office(tmp_path, test)


def test_faults_are_tried_again(tmp_path: Path) -> None:
    """A log that fails, a namespace that refuses, a product that is gone: later it is written all the same."""

    async def test(made: Office) -> None:
        end = made.day(0)
        await made.look(end)
        made.ledgers.failing = True
        assert await made.look(end + SETTLE) == 0
        made.ledgers.failing, made.api.refuse = False, 403
        assert await made.look(end + SETTLE + AGAIN_SECONDS) == 0
        made.api.refuse = 0
        product = made.made.world.products.pop("h100")
        assert await made.look(end + SETTLE + 2 * AGAIN_SECONDS) == 0
        made.made.world.products["h100"] = product
        assert await made.look(end + SETTLE + 3 * AGAIN_SECONDS) == 1
        assert verdict(made.api.spec) == 0

    office(tmp_path, test)


def test_too_long_for_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the object says how much there is, and who has it."""
    monkeypatch.setattr(handouts, "MOST_CHARACTERS", 1000)

    async def test(made: Office) -> None:
        end = made.day(0)
        assert await made.look(end, end + SETTLE) == 1
        assert "bundle" not in made.api.spec
        assert "laycan evidence desk/c1" in made.api.spec["message"]

    office(tmp_path, test)


def test_another_contract_of_that_name(tmp_path: Path) -> None:
    """The evidence of the one before stays."""

    async def test(made: Office) -> None:
        end = made.day(0)
        await made.look(end, end + SETTLE)
        again = replace(made.made.contract, uid="9" * 36, status={})
        made.made.world.contracts[again.key] = again
        await made.handouts.step()
        assert len(made.api.objects) == 1
        assert made.api.spec["uid"] == made.made.contract.uid

    office(tmp_path, test)
