"""What a buyer finds in his namespace: evidence that verifies, written when it changes and not otherwise."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import Mock

import pytest
from aiohttp import web

from laycan.control import handouts
from laycan.control.handouts import AGAIN_SECONDS, Handouts
from laycan.evidence.bundle import bundle
from laycan.kube.client import Client
from laycan.kube.views import namespace_view
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError, Log
from laycan.ledger.sqlite import create_log, open_log
from laycan.resources.evidence_bundle import EvidenceBundle
from tests.laycan.control.apiserver import merged
from tests.laycan.control.desk import T0
from tests.laycan.evidence.story import DAY, Told, checkpoint, deliver, objects, story
from tests.laycan.evidence.test_bundle import KEYS, said
from tests.laycan.kube.scripted import serving

T = TypeVar("T")
SETTLE = 120
FOLDER = "/apis/laycan.dev/v1alpha1/namespaces/acme-train/evidencebundles"


class Open:
    """The ledgers: one log that is open already, and may fail."""

    def __init__(self, made: Told) -> None:
        self.made, self.failing, self.uses = made, False, 0

    def has(self, place: Place) -> bool:
        return True

    async def use(self, place: Place, work: Callable[[Log], T]) -> T:
        assert place == ("desk", "gcx")
        self.uses += 1
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
        assert path.startswith(f"{FOLDER}/")
        after = merged(self.objects.get(path), body)
        EvidenceBundle.model_validate(after)
        self.objects[path] = after
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
        self.made.world.namespaces["acme-train"] = namespace_view({"metadata": {"name": "acme-train"}})
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


def test_a_lost_log_takes_nothing_from_the_buyer(tmp_path: Path) -> None:
    """What he has is all that is left of its receipts: it stays and verifies, with words about those in the new log."""

    async def test(made: Office) -> None:
        made.day(0)
        end = made.day(1)
        await made.look(end, end + SETTLE)
        had = made.api.spec["bundle"]
        made.made.log = create_log(tmp_path / "new.sqlite", "op/desk/gcx/2")
        deliver(made.made, T0 + 2 * DAY, T0 + 2 * DAY + 4500)
        end = T0 + 2 * DAY + 4500
        checkpoint(made.made.log, KEYS, end)
        assert await made.look(end, end + SETTLE, end + SETTLE + AGAIN_SECONDS) == 1
        assert (made.api.spec["bundle"] == had, made.api.spec["complete"], verdict(made.api.spec)) == (True, False, 0)
        assert "number 3" in made.api.spec["message"]

    office(tmp_path, test)


def test_a_log_with_less_takes_nothing_either(tmp_path: Path) -> None:
    """As where the disk gave an older copy back."""

    async def test(made: Office) -> None:
        made.day(0)
        older = Path(str(shutil.copytree(tmp_path, tmp_path / "older"))) / "desk" / "gcx.sqlite"
        end = made.day(1)
        await made.look(end, end + SETTLE)
        made.made.log = open_log(older)
        made.begin()
        assert await made.look(end + 600, end + 600 + SETTLE) == 0
        assert (made.api.spec["receipts"], verdict(made.api.spec)) == (2, 0)

    office(tmp_path, test)


def test_a_receipt_that_waits_for_the_log(tmp_path: Path) -> None:
    """The status has it and the log has not (its disk is full): it is handed out once it is there, though it be the last."""

    async def test(made: Office) -> None:
        made.day(0)
        append, full = made.made.log.append, Mock(return_value={})
        made.made.log.append = full  # type: ignore[method-assign]
        end = made.day(1)
        assert await made.look(end, end + SETTLE) == 1
        assert (made.api.spec["receipts"], made.api.spec["complete"]) == (1, False)
        assert "1 of 2 receipts" in made.api.spec["message"]
        for call in full.call_args_list:
            append(*call.args)
        checkpoint(made.made.log, KEYS, end + 900)
        assert await made.look(end + SETTLE + AGAIN_SECONDS, end + SETTLE + 2 * AGAIN_SECONDS) == 1
        assert (made.api.spec["receipts"], made.api.spec["complete"], verdict(made.api.spec)) == (2, True, 0)

    office(tmp_path, test)


def test_an_exchange_that_never_cosigns_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle is made once for each receipt; each hour only the log is asked whether there is a cosignature."""
    making = Mock(side_effect=bundle)
    monkeypatch.setattr(handouts, "bundle", making)

    async def test(made: Office) -> None:
        end = made.day(0, cosigned=False)
        assert await made.look(end, *(end + SETTLE + hour * AGAIN_SECONDS for hour in range(24))) == 1
        assert (making.call_count, made.ledgers.uses) == (1, 24)

    office(tmp_path, test)


def test_a_namespace_that_is_gone(tmp_path: Path) -> None:
    """Nobody is there to be given anything: nothing is asked for, and nothing is logged each hour for years."""

    async def test(made: Office) -> None:
        space = made.made.world.namespaces.pop("acme-train")
        end = made.day(0)
        assert await made.look(end, end + SETTLE) == 0
        assert made.ledgers.uses == 0
        made.made.world.namespaces["acme-train"] = space
        assert await made.look(end + SETTLE + AGAIN_SECONDS) == 1

    office(tmp_path, test)


def test_what_cannot_be_read_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A product whose health policy is of a shape that nobody knows: an error in the log, and the operator lives."""

    async def test(made: Office) -> None:
        end = made.day(0)
        made.made.world.products["h100"]["spec"]["health"] = {"fatalXids": 79}
        assert await made.look(end, end + SETTLE) == 0
        assert "cannot be made" in caplog.text

    office(tmp_path, test)


def test_all_of_them_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many contracts that etcd would not hold all bundles: each gets its share, and longer ones are told of only."""
    monkeypatch.setattr(handouts, "ALL_CHARACTERS", 9_000)

    async def test(made: Office) -> None:
        end = made.day(0)
        assert await made.look(end, end + SETTLE) == 1
        assert len(made.api.spec["bundle"]) > 3_000
        others = {f"desk/c{i}": replace(made.made.contract, name=f"c{i}", uid=f"{i}" * 36) for i in (2, 3)}
        made.made.world.contracts |= others
        end = made.day(1)
        assert await made.look(end, end + SETTLE) == 1
        assert "bundle" not in made.api.spec
        assert "too long" in made.api.spec["message"]

    office(tmp_path, test)


@pytest.mark.parametrize("name", ["c1", "x" * 253, "x" * 239 + ".y", "x" * 239 + "-y"])
def test_names(name: str, tmp_path: Path) -> None:
    """Whatever a contract may be called, the object's name is one."""

    async def test(made: Office) -> None:
        found = handouts.object_name(replace(made.made.contract, name=name, uid="0123456789"))
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", found)
        assert len(found) <= 253

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
