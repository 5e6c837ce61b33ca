"""What an ExchangeEndpoint's status says, and how often it is written."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from aiohttp import web

from laycan.control.endpoints import EVERY_SECONDS, EndpointReporter, endpoint_status
from laycan.kube.client import Client
from laycan.ledger.log import LedgerError
from laycan.resources.exchange import EndpointStatus
from laycan.resources.times import format_time, parse_time
from tests.laycan.control.apiserver import merged
from tests.laycan.events.clockwork import LeapingDatetime, leap, unix
from tests.laycan.events.exchange import Exchange, answer
from tests.laycan.events.house import GCX, House, key, until
from tests.laycan.kube.scripted import serving


@pytest.fixture(autouse=True)
def _receiver_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", LeapingDatetime)


class Endpoints:
    """The API server's part: the endpoint `gcx`, which a test's house sees."""

    def __init__(self, house: House) -> None:
        self.house, self.writes = house, list[tuple[float, dict[str, Any]]]()
        self.refuse = 0  # so many writes

    async def handle(self, request: web.Request) -> web.StreamResponse:
        patch = await request.json()
        raw = self.house.world.endpoints["desk/gcx"]
        if self.refuse:
            self.refuse -= 1
            return web.json_response({"reason": "Conflict", "message": "the object has been modified"}, status=409)
        assert request.path == "/apis/laycan.dev/v1alpha1/namespaces/desk/exchangeendpoints/gcx/status"
        patch["metadata"] = {}
        made = merged(raw, patch)
        EndpointStatus.model_validate(made["status"])
        self.writes.append((asyncio.get_running_loop().time(), made["status"]))
        return web.json_response(made)

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in self.writes[-1][1]["conditions"]}


async def reporting(house: House, client: Client, trouble: str = "") -> asyncio.Task[None]:
    reporter = EndpointReporter(client, house.world, house.sender, house.ledgers, lambda: trouble, unix)
    return asyncio.create_task(reporter.run())


def test_an_exchange_that_comes_and_goes(tmp_path: Path) -> None:
    """Flips are written at once, all else twice a minute at most, and nothing while nothing changes."""

    async def main() -> None:
        exchange = Exchange()
        async with exchange.open():
            house = House(exchange, tmp_path, checkpoints=key(1))
            api = Endpoints(house)
            house.say("c", 2)
            async with serving(api.handle) as client, house.running():
                task = await reporting(house, client)
                await house.all_sent()
                await asyncio.sleep(2 * EVERY_SECONDS)
                status = api.writes[-1][1]
                assert api.conditions() == {"Reachable": ("True", "Acknowledged"), "Evidence": ("True", "Signed")}
                assert (status["pendingEvents"], status["log"]) == (0, {"origin": "op/desk/gcx", "size": 2})
                assert abs(unix() - 2 * EVERY_SECONDS - parse_time(status["lastAcknowledgedAt"])) < 60
                quiet = len(api.writes)
                await asyncio.sleep(3600)
                assert len(api.writes) == quiet, "heartbeats alone change nothing"
                await goes_away(exchange, house, api)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def goes_away(exchange: Exchange, house: House, api: Endpoints) -> None:
        exchange.faults = [answer(503)] * 10_000
        house.say("c", 3)
        await until(lambda: api.conditions()["Reachable"] == ("False", "Failing"))
        await asyncio.sleep(600)
        assert api.writes[-1][1]["pendingEvents"] == 3
        assert api.writes[-1][1]["conditions"][-1]["message"] == "HTTP 503"
        exchange.faults = []
        await until(lambda: api.conditions()["Reachable"][0] == "True")
        await house.all_sent()
        for _ in range(100):
            house.say("d", 1)
            await house.all_taken()
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert api.writes[-1][1]["pendingEvents"] == 0
        for before, after in pairwise(api.writes):
            states = [{c["type"]: c["status"] for c in status["conditions"]} for _, status in (before, after)]
            assert states[0] != states[1] or after[0] - before[0] >= EVERY_SECONDS - 1

    leap(main())


def test_why_nothing_is_signed(tmp_path: Path) -> None:
    """Missing keys and a log that cannot be used stand in the condition Evidence, with what to do."""

    async def main() -> None:
        exchange = Exchange(url="http://127.0.0.1:9/")
        house = House(exchange, tmp_path)
        async with house.running():
            await until(lambda: house.channel.opened.is_set())
            raw = {"metadata": {"generation": 7}}
            found = endpoint_status(raw, house.channel, house.ledgers, "the Secret is not there", 1_800_000_000)
            assert found["observedGeneration"] == 7
            (evidence,) = found["conditions"]
            assert (evidence["type"], evidence["status"], evidence["reason"], evidence["message"], evidence["observedGeneration"]) == (
                "Evidence",
                "False",
                "NoKeys",
                "the Secret is not there",
                7,
            )
            house.ledgers.troubles[GCX] = LedgerError("the disk is full")
            (evidence,) = endpoint_status(raw, house.channel, house.ledgers, "", 1_800_000_000)["conditions"]
            assert (evidence["status"], evidence["reason"], evidence["message"]) == ("False", "NoLog", "the disk is full")

    asyncio.run(main())


def test_what_was_known_before_a_restart_stays(tmp_path: Path) -> None:
    """The last acknowledgement is not forgotten, a condition keeps its time until it flips."""

    async def main() -> None:
        house = House(Exchange(url="http://127.0.0.1:9/"), tmp_path)
        async with house.running():
            await until(lambda: house.channel.opened.is_set())
            then = format_time(1_700_000_000)
            old = {"type": "Reachable", "status": "True", "reason": "Acknowledged", "message": "", "lastTransitionTime": then}
            raw = {"metadata": {"generation": 1}, "status": {"lastAcknowledgedAt": then, "conditions": [old]}}
            found = endpoint_status(raw, house.channel, house.ledgers, "", 1_800_000_000)
            assert found["lastAcknowledgedAt"] == then
            assert next(c for c in found["conditions"] if c["type"] == "Reachable") == old

    asyncio.run(main())


@pytest.mark.parametrize("status", [None, 7, {"conditions": None}])
def test_a_status_of_another_shape(status: Any, tmp_path: Path) -> None:
    """What an older version or a hand left there is replaced."""

    async def main() -> None:
        house = House(Exchange(url="http://127.0.0.1:9/"), tmp_path)
        async with house.running():
            await until(lambda: house.channel.opened.is_set())
            found = endpoint_status({"metadata": {}, "status": status}, house.channel, house.ledgers, "", 1_800_000_000)
            EndpointStatus.model_validate(found)

    asyncio.run(main())


def test_a_rival_is_no_trouble(tmp_path: Path) -> None:
    """Somebody changed the endpoint meanwhile: written at the next turn."""

    async def main() -> None:
        exchange = Exchange()
        async with exchange.open():
            house = House(exchange, tmp_path)
            api = Endpoints(house)
            api.refuse = 1
            house.say("c", 1)
            async with serving(api.handle) as client, house.running():
                task = await reporting(house, client, "no keys")
                await house.all_sent()
                await until(lambda: bool(api.writes))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    leap(main())
