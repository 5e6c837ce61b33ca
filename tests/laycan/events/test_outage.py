"""Hours and days of an exchange's trouble on a loop whose time leaps, with real logs and real connections (scenario 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks.webhooks
from aiohttp import web

from laycan.events.stream import REWIND_SECONDS
from tests.laycan.events.clockwork import LeapingDatetime, leap
from tests.laycan.events.exchange import Arrival, Exchange, Fault, answer
from tests.laycan.events.house import House, key, numbers, run, until

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _receiver_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", LeapingDatetime)


def now() -> float:
    return asyncio.get_running_loop().time()


def always(exchange: Exchange, status: int, **headers: str) -> Fault:
    async def fault(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.append(fault)
        return await answer(status, **headers)(request, handler)

    return fault


def in_leaps(test: Callable[[Exchange], Awaitable[None]]) -> Exchange:
    return run(test, leap)


def test_six_hours_of_503(tmp_path: Path) -> None:
    """37 events of five contracts while the endpoint is away, the operator killed twice: all arrive in order, soon after it is back."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [always(exchange, 503)]
        house = House(exchange, tmp_path, checkpoints=key(1))
        begun, names = now(), ("c", "d", "e", "f", "g")
        for turn in range(3):
            house.begin()
            async with house.running():
                for name in names:
                    house.say(name, 2)
                await house.all_taken()
                await asyncio.sleep(2 * HOUR)
            assert exchange.ledger.events == [], turn
        for name, count in zip(names, (3, 1, 1, 1, 1), strict=True):
            house.say(name, count)
        async with house.restarted():
            await house.all_taken()
            await asyncio.sleep(60)
            exchange.faults.clear()
            back = now()
            await house.all_sent()
        assert back - begun > 6 * HOUR
        assert exchange.events[-1].at - back < 70, "the heartbeat finds it, whatever hour the retries have earned"
        assert len(exchange.ledger.events) == 37

    exchange = in_leaps(test)
    assert [numbers(exchange, name) for name in ("c", "d", "e", "f", "g")] == [list(range(1, n + 1)) for n in (9, 7, 7, 7, 7)]
    assert {a.index for a in exchange.events} == set(range(37)), "the stream is contiguous"
    assert exchange.ledger.bad_signatures == 0, "timestamps are those of the attempts"


def test_a_day_without_keys(tmp_path: Path) -> None:
    """Without heartbeats the hourly retry finds the receiver; attempts stay few, and nothing is parked."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [always(exchange, 500)]
        house = House(exchange, tmp_path)
        for name in ("c", "d"):
            house.say(name, 8)
        async with house.running():
            await asyncio.sleep(24 * HOUR)
            assert 2 * 25 < len(exchange.events) < 2 * 42
            assert house.sender.parked == []
            exchange.faults.clear()
            back = now()
            await house.all_sent()
            assert exchange.events[-1].at - back < 1.2 * HOUR + 60

    exchange = in_leaps(test)
    assert (numbers(exchange, "c"), numbers(exchange, "d")) == (list(range(1, 9)), list(range(1, 9)))


def test_retry_after(tmp_path: Path) -> None:
    """120 s are 120 s, for other contracts of the endpoint and for heartbeats, too."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path, checkpoints=key(1))
        async with house.running():
            await until(lambda: len(exchange.checkpoints) == 1)
            exchange.faults = [answer(503, retry_after="120")]
            house.say("c", 2)
            await until(lambda: house.channel.counts.failed == 1)  # the answer has been read: who comes now waits too
            house.say("d", 1)
            await house.all_sent()

    exchange = in_leaps(test)
    failed = exchange.events[0]
    later = [a.at - failed.at for a in exchange.arrivals if a.at > failed.at]
    assert 120 <= min(later) < 125
    stamps = [int(a.headers["webhook-timestamp"]) for a in exchange.events if a.id == failed.id]
    assert stamps[1] - stamps[0] >= 119, "each attempt is stamped anew"


def test_retry_after_to_a_heartbeat(tmp_path: Path) -> None:
    """Who asks to be left alone in answer to a heartbeat is left alone by events, too."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(429, retry_after="120")]
        house = House(exchange, tmp_path, checkpoints=key(1))
        async with house.running():
            await until(lambda: len(exchange.checkpoints) == 1 and house.channel.stream is not None and house.channel.stream.hold > 0)
            house.say("c", 2)
            await house.all_sent()

    exchange = in_leaps(test)
    assert 119 <= exchange.events[0].at - exchange.checkpoints[0].at < 150


def test_a_refused_event_is_parked_after_an_hour(tmp_path: Path) -> None:
    """Those behind it wait for an hour, then go on; it is tried hourly, and taken at last."""
    exchange = Exchange()
    parked_at = [0.0]

    async def refuse(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.append(refuse)
        if request.headers["webhook-id"] == "uid-c/1":
            return web.Response(status=422)
        return await handler(request)  # type: ignore[no-any-return]

    async def main() -> None:
        async with exchange.open():
            exchange.faults = [refuse]
            house = House(exchange, tmp_path)
            house.say("c", 3)
            house.say("d", 1)
            async with house.running():
                await until(lambda: house.sender.parked == ["desk/gcx#0"])
                parked_at[0] = now()
                await asyncio.sleep(5 * HOUR)
                assert house.channel.pending == 1
                assert house.channel.health.reachable
                exchange.faults = []
                await until(lambda: house.channel.pending == 0)

    leap(main())
    assert [e["id"] for e in exchange.ledger.events] == ["uid-d/1", "uid-c/2", "uid-c/3", "uid-c/1"]
    tries = [a.at for a in exchange.events if a.id == "uid-c/1"]
    behind = next(a.at for a in exchange.events if a.id == "uid-c/2")
    assert HOUR <= behind - tries[0] < HOUR + 30
    after = [b - a for a, b in pairwise(tries) if a > behind]
    assert len(after) >= 4
    assert all(0.8 * HOUR <= gap <= 1.2 * HOUR + 1 for gap in after)


class Forgetful:
    """An exchange that says how far it has the stream, and can lose the end of what it has."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.has = exchange, set[int]()
        exchange.says = self.say

    def say(self, arrival: Arrival) -> dict[str, Any]:
        if arrival.index >= 0:
            self.has.add(arrival.index)
        return {"have": next(i for i in range(10**6) if i not in self.has) - 1}

    def lose(self, *indices: int) -> None:
        self.has.difference_update(indices)


def test_a_receiver_that_lost_some(tmp_path: Path) -> None:
    """It lost 412 to 415 and says that it has 411: those and what follows come again, once, in order; the next loss waits for a minute."""

    async def test(exchange: Exchange) -> None:
        house, forgetful = House(exchange, tmp_path), Forgetful(exchange)
        async with house.running():
            for _ in range(13):
                for name in ("c", "d", "e", "f"):
                    house.say(name, 8)
                await house.all_taken()
            await house.all_sent()
            assert len(exchange.events) == 416
            forgetful.lose(412, 413, 414, 415)
            house.say("c", 1)
            await house.all_sent()
            assert house.channel.counts.rewinds == 1
            assert exchange.events[416].index == 416
            assert sorted(a.index for a in exchange.events[417:]) == [412, 413, 414, 415, 416]
            assert forgetful.has == set(range(417))
            second = len(exchange.events)
            forgetful.lose(400)
            house.say("d", 1)
            await house.all_sent()
            assert len(exchange.events) == second + 1, "at most one rewind in a minute"
            await asyncio.sleep(REWIND_SECONDS)
            house.say("d", 1)
            await until(lambda: len(forgetful.has) == 419)
            assert house.channel.counts.rewinds == 2
            assert [a.index for a in exchange.events if a.at > exchange.events[second].at + 1][:2] == [418, 400]

    exchange = in_leaps(test)
    for name in ("c", "d", "e", "f"):
        again = [a.index for a in exchange.events[417:422] if a.id.startswith(f"uid-{name}/")]
        assert again == sorted(again), "in order per contract"


def test_a_receiver_that_begins_anew_gets_everything(tmp_path: Path) -> None:
    """It has -1, and says so in answer to a heartbeat, when nothing else happens."""

    async def test(exchange: Exchange) -> None:
        house, forgetful = House(exchange, tmp_path, checkpoints=key(1)), Forgetful(exchange)
        house.say("c", 8)
        house.say("d", 3)
        async with house.running():
            await house.all_sent()
            forgetful.lose(*range(11))
            await until(lambda: len(exchange.events) == 22)
            await asyncio.sleep(600)
            assert forgetful.has == set(range(11))
            assert len(exchange.events) == 22, "and only once"

    assert numbers(in_leaps(test), "c") == list(range(1, 9))


@pytest.mark.parametrize("have", [10**9, 11, "7", True, None, -2, 1.5])
def test_a_receiver_that_says_nonsense(have: object, tmp_path: Path) -> None:
    """What is beyond the log, or no number, moves nothing: every event comes once."""

    async def test(exchange: Exchange) -> None:
        exchange.says = lambda arrival: {"have": have}
        house = House(exchange, tmp_path)
        async with house.running():
            for _ in range(3):
                house.say("c", 4)
                await house.all_sent()
                await asyncio.sleep(100)

    assert [a.index for a in in_leaps(test).events] == list(range(12))


def test_a_receiver_that_always_says_zero(tmp_path: Path) -> None:
    """It gets the stream again, once a minute at most, and new events all the same."""

    async def test(exchange: Exchange) -> None:
        exchange.says = lambda arrival: {"have": 0}
        house = House(exchange, tmp_path, checkpoints=key(1))
        house.say("c", 5)
        async with house.running():
            await asyncio.sleep(timedelta(minutes=10).total_seconds())
            house.say("d", 1)
            await until(lambda: numbers(exchange, "d") == [1])
            assert 8 <= house.channel.counts.rewinds <= 11
            assert len(exchange.events) <= 11 * 5 + 6

    assert numbers(in_leaps(test), "c") == [1, 2, 3, 4, 5]


def test_an_outage_within_traffic_hurries_nobody(tmp_path: Path) -> None:
    """An event at which the receiver stumbles (500) keeps to its schedule, though all others are acknowledged."""
    exchange = Exchange()

    async def stumble(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.append(stumble)
        if request.headers["webhook-id"] == "uid-c/1":
            return web.Response(status=500)
        return await handler(request)  # type: ignore[no-any-return]

    async def main() -> None:
        async with exchange.open():
            exchange.faults = [stumble]
            house = House(exchange, tmp_path, checkpoints=key(1))
            house.say("c", 1)
            async with house.running():
                for _ in range(30):
                    house.say("d", 1)
                    await house.all_taken()
                    await asyncio.sleep(100)
                assert house.channel.health.reachable
                assert len([a for a in exchange.events if a.id == "uid-c/1"]) <= 9

    leap(main())
