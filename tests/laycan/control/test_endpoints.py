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
from laycan.events.sender import was_gone
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
    """Missing keys, an exchange that contradicts and a log that cannot be used stand in the condition Evidence, with what to do."""

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
            house.channel.health.contradicted("there are two histories")
            (evidence,) = endpoint_status(raw, house.channel, house.ledgers, "", 1_800_000_000)["conditions"]
            assert (evidence["status"], evidence["reason"], evidence["message"]) == ("False", "Contradicted", "there are two histories")
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


def test_gone_over_a_restart(tmp_path: Path) -> None:
    """410 to one message, beside which another is taken: the next operator leaves it alone too, by its status, until it is changed."""

    def stored(house: House, generation: int, **more: Any) -> None:
        """As the API server has it."""
        endpoint = house.world.endpoints["desk/gcx"]
        spec = {**endpoint["spec"], **more}
        meta = {"generation": generation, "resourceVersion": "1"}
        house.world.put("endpoints", "desk/gcx", {"metadata": meta, "spec": spec, "status": endpoint.get("status")})

    async def main() -> None:
        exchange = Exchange(faults=[answer(410)])
        async with exchange.open():
            house = House(exchange, tmp_path, checkpoints=key(1))
            stored(house, 3)
            api = Endpoints(house)
            house.say("c", 2)
            async with serving(api.handle) as client:
                for _ in range(3):
                    async with house.restarted():
                        task = await reporting(house, client)
                        await until(lambda: bool(api.writes) and api.conditions()["Reachable"] == ("False", "Gone"))
                        await asyncio.sleep(7200)
                        assert (house.channel.paused, house.channel.pending) == (True, 2)
                        task.cancel()
                        await asyncio.gather(task, return_exceptions=True)
                first = exchange.arrivals[0].at
                assert all(arrival.at < first + 5 for arrival in exchange.arrivals), "only what was in flight beside it"
                stored(house, 4, disputeSeconds=7)
                async with house.restarted():
                    task = await reporting(house, client)
                    await house.all_sent()
                    await until(lambda: api.conditions()["Reachable"] == ("True", "Acknowledged"))
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    leap(main())


def test_gone_at_its_former_address(tmp_path: Path) -> None:
    """410 of the address that was corrected meanwhile pauses nothing."""

    async def main() -> None:
        exchange = Exchange()

        async def corrected(request: web.Request, handler: Any) -> web.StreamResponse:
            house.point(exchange.url, disputeSeconds=7)
            return await answer(410)(request, handler)

        async with exchange.open():
            exchange.faults = [corrected]
            house = House(exchange, tmp_path)
            house.say("c", 2)
            async with house.running():
                await house.all_sent()
                assert not house.channel.paused

    leap(main())


GONE = {"type": "Reachable", "status": "False", "reason": "Gone", "observedGeneration": 3}


@pytest.mark.parametrize(
    ("status", "gone"),
    [
        ({"conditions": [{"type": "Evidence"}, GONE]}, True),
        ({"conditions": [{**GONE, "observedGeneration": 2}]}, False),
        ({"conditions": [{**GONE, "reason": "Failing"}]}, False),
        ({"conditions": [{**GONE, "status": "True"}]}, False),
        ({"conditions": [{**GONE, "type": "Evidence"}]}, False),
        ({"conditions": [7, None]}, False),
        ({"conditions": {"a": 1}}, False),
        (None, False),
        (7, False),
    ],
)
def test_whether_it_was_gone(status: Any, gone: bool) -> None:
    """Only by what was said of this very spec; a status of another shape says nothing."""
    assert was_gone({"metadata": {"generation": 3}, "spec": {}, "status": status}) is gone


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
