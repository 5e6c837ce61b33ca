"""From outboxes through a real log to a real HTTP receiver that fails in every way: nothing is lost, order is kept."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laycan.events import retries
from laycan.events.channel import PER_ENDPOINT
from laycan.ledger.sqlite import SqliteLog, open_log, path_of
from tests.laycan.events.exchange import SECRET, Exchange, Fault, answer, break_body, hang, lose_reply, slow
from tests.laycan.events.house import GCX, House, numbers, run, until

FAST = (0.0, 0.01, 0.02, 0.05)  # seconds, in place of hours


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAYS", FAST)


def test_order_per_contract_and_contracts_side_by_side(tmp_path: Path) -> None:
    """Twelve contracts with five events each arrive in order, several contracts at once but never more than eight."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [slow] * 60
        house = House(exchange, tmp_path)
        for i in range(12):
            house.say(f"c{i}", 5)
        async with house.running():
            await house.all_sent()

    exchange = run(test)
    assert all(numbers(exchange, f"c{i}") == [1, 2, 3, 4, 5] for i in range(12))
    assert 2 <= exchange.most_busy <= 8
    assert exchange.ledger.requests == 60
    assert sorted(arrival.index for arrival in exchange.events) == list(range(60)), "the stream is contiguous"


@pytest.mark.parametrize("status", [301, 408, 429, 500, 503, 404])
def test_failures_are_repeated_in_order(status: int, tmp_path: Path) -> None:
    """After three refusals of any kind the same event is tried again before those behind it."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(status, location=exchange.url)] * 3
        house = House(exchange, tmp_path)
        house.say("c", 4)
        async with house.running():
            await house.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3, 4]
    assert [a.id for a in exchange.events] == ["uid-c/1"] * 4 + ["uid-c/2", "uid-c/3", "uid-c/4"]


def test_hang_and_lost_reply(tmp_path: Path) -> None:
    """A receiver that hangs costs a time-out; one that took the event and lost the reply sees it again and knows its id."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [hang, lose_reply]
        house = House(exchange, tmp_path, timeout_seconds=0.2)
        house.say("c", 3)
        async with house.running():
            await house.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3]
    assert exchange.ledger.duplicates == 1


@pytest.mark.parametrize("body", ["", "null", "7", "[1]", '{"have":', '{"have": true}', '{"have": "3"}', '{"have": 1.5}', "x" * 70_000])
def test_the_status_is_the_acknowledgement(body: str, tmp_path: Path) -> None:
    """A 2xx counts whatever its body is; also when the body breaks off."""

    async def test(exchange: Exchange) -> None:
        async def say_so(request: web.Request, handler: Any) -> web.StreamResponse:
            await handler(request)
            return web.Response(text=body, content_type="application/json")

        exchange.faults = [say_so, break_body, say_so]
        house = House(exchange, tmp_path)
        house.say("c", 3)
        async with house.running():
            await house.all_sent()

    exchange = run(test)
    assert numbers(exchange, "c") == [1, 2, 3]
    assert exchange.ledger.duplicates == 0


def test_restart_with_the_cursor(tmp_path: Path) -> None:
    """Who stops in an orderly way sends nothing twice: the cursor is in the log."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.say("c", 3)
        async with house.running():
            await house.all_sent()
        house.say("c", 2)
        async with house.restarted():
            await house.all_sent()

    exchange = run(test)
    assert [a.index for a in exchange.events] == [0, 1, 2, 3, 4]
    log = open_log(path_of(tmp_path, *GCX))
    assert (log.cursor, log.size, log.verify()) == (4, 5, [])
    log.close()


def test_the_cursor_is_written_about_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each acknowledgement: a commit costs more than an event that is sent twice after a crash."""
    moves: list[int] = []
    move = SqliteLog.move_cursor

    def count(log: SqliteLog, index: int) -> None:
        moves.append(index)
        move(log, index)

    monkeypatch.setattr(SqliteLog, "move_cursor", count)

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        for i in range(10):
            house.say(f"c{i}", 8)
        async with house.running():
            await house.all_sent()

    run(test)
    assert len(moves) <= 3
    assert moves[-1] == 79


def test_restarts_during_an_outage(tmp_path: Path) -> None:
    """The endpoint is down, the sender is stopped again and again, events go on: all arrive once, in order."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        exchange.faults = [answer(503)] * 40
        for count in (3, 2, 2, 1):
            for name in ("c", "d", "e", "f", "g"):
                house.say(name, count)
            house.begin()
            async with house.running():
                await asyncio.sleep(0.05)
        exchange.faults.clear()
        async with house.restarted():
            await house.all_sent()
        assert len(exchange.ledger.events) == 40

    exchange = run(test)
    assert all(numbers(exchange, name) == list(range(1, 9)) for name in ("c", "d", "e", "f", "g"))


def test_gone_pauses_until_the_endpoint_is_changed(tmp_path: Path) -> None:
    """410 stops all contracts of the endpoint; changing the endpoint starts them again; nothing is lost."""

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(410)]
        house = House(exchange, tmp_path)
        house.say("c", 2)
        async with house.running():
            await until(lambda: house.channel.paused)
            assert (house.channel.health.reachable, house.channel.health.reason) == (False, "Gone")
            house.say("d", 1)
            await house.all_taken()
            await asyncio.sleep(0.2)
            assert len(exchange.arrivals) == 1
            assert house.channel.pending == 3
            house.point(exchange.url, {"resumed": "2026-11-21"})
            await house.all_sent()
            assert house.channel.health.reachable

    exchange = run(test)
    assert (numbers(exchange, "c"), numbers(exchange, "d")) == ([1, 2], [1])


def refuse(exchange: Exchange, event_id: str) -> Fault:
    """The receiver does not want this event, whenever it comes."""

    async def fault(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.insert(0, fault)
        if request.headers["webhook-id"] == event_id:
            return web.Response(status=422)
        return await handler(request)  # type: ignore[no-any-return]

    return fault


def test_a_parked_event_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is passed by those behind it, known as parked after a restart, and taken once the receiver wants it."""
    monkeypatch.setattr(retries, "PARK_SECONDS", 0.1)
    exchange = Exchange()

    async def main() -> None:
        async with exchange.open():
            exchange.faults = [refuse(exchange, "uid-c/1")]
            house = House(exchange, tmp_path)
            house.say("c", 3)
            async with house.running():
                await until(lambda: [e["id"] for e in exchange.ledger.events] == ["uid-c/2", "uid-c/3"])
                assert house.sender.parked == ["desk/gcx#0"]
                assert house.channel.pending == 1
            log = open_log(path_of(tmp_path, *GCX))
            assert (log.cursor, log.parked()) == (2, {0: "HTTP 422"})
            log.close()
            async with house.restarted():
                await until(lambda: house.sender.parked == ["desk/gcx#0"])
                exchange.faults = []
                exchange.ledger.last.clear()  # what comes now is late by design
                await house.all_sent()
                assert house.sender.parked == []
            log = open_log(path_of(tmp_path, *GCX))
            assert log.parked() == {}
            log.close()

    asyncio.run(main())
    assert [e["id"] for e in exchange.ledger.events] == ["uid-c/2", "uid-c/3", "uid-c/1"]
    assert "ALARM event uid-c/1 is refused by desk/gcx (HTTP 422) and parked" in caplog.text


def test_the_key_is_missing_then_there(tmp_path: Path) -> None:
    """Without its Secret an event waits; nothing unsigned or wrongly signed is ever taken."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.secret = ""
        house.say("c", 2)
        async with house.running():
            await until(lambda: house.sender.channels != {} and house.channel.counts.failed >= 2)
            assert exchange.arrivals == []
            assert house.channel.health.message == "no Secret desk/hook"
            house.secret = SECRET
            await house.all_sent()

    assert numbers(run(test), "c") == [1, 2]


def test_a_changed_key_is_read_again(tmp_path: Path) -> None:
    """The receiver refuses the old key with 401; the new one is read at the next attempt."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.secret = "whsec_" + base64.b64encode(b"the old key, now revoked").decode()
        house.say("c", 1)
        async with house.running():
            await until(lambda: exchange.ledger.bad_signatures >= 1)
            house.secret = SECRET
            await house.all_sent()

    assert numbers(run(test), "c") == [1]


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://gcx.example/", "https://[fe80::1]/"])
def test_forbidden_addresses_are_never_called(url: str, tmp_path: Path) -> None:
    """The event waits in the log while the endpoint points where no webhook may go."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.point(url)
        house.say("c", 1)
        async with house.running():
            await until(lambda: house.channel.counts.failed >= 2)
            assert exchange.arrivals == []
            house.point(exchange.url)
            await house.all_sent()

    assert numbers(run(test), "c") == [1]


def test_a_corrected_endpoint_is_called_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever puts the endpoint right does not wait for the hour that the last failure has earned, nor for what it asked for."""
    monkeypatch.setattr(retries, "DELAYS", (3600.0,))

    async def test(exchange: Exchange) -> None:
        exchange.faults = [answer(503, retry_after="3600")]
        house = House(exchange, tmp_path)
        house.say("c", 2)
        async with house.running():
            await until(lambda: house.channel.counts.failed == 1)
            house.point(exchange.url, {"mended": "yes"})
            await house.all_sent()

    assert numbers(run(test), "c") == [1, 2]


@pytest.mark.parametrize("spec", [{}, {"url": 7}, {"url": "https://x.example"}, {"url": "https://x.example", "secretRef": "hook"}])
def test_an_endpoint_of_an_older_crd(spec: dict[str, Any], tmp_path: Path) -> None:
    """One that cannot be read stops nobody else, and its events wait."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.world.put("endpoints", "desk/old", {"metadata": {}, "spec": spec})
        house.say("c", 1)
        house.say("d", 1, {"exchangeRef": {"name": "old"}, "terms": {"contractId": "D"}})
        async with house.running():
            await until(lambda: house.sender.channels["desk/old"].counts.failed >= 1)
            await house.all_sent()
            assert house.sender.channels["desk/old"].pending == 1

    assert numbers(run(test), "c") == [1]


def test_an_endpoint_that_goes_and_comes_back(tmp_path: Path) -> None:
    """What is decided while it is away goes into its log and is sent when it is there again, from where it was."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.say("c", 2)
        async with house.running():
            await house.all_sent()
            house.world.drop("endpoints", "desk/gcx")
            house.say("c", 2)
            await house.all_taken()
            assert "desk/gcx" not in house.sender.channels
            house.point(exchange.url)
            await house.all_sent()

    assert [a.index for a in run(test).events] == [0, 1, 2, 3]


def test_endpoints_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One hangs, the other is told everything; each has indices of its own."""

    async def test(exchange: Exchange) -> None:
        other = Exchange()
        async with other.open():
            other.faults = [hang] * 20
            house = House(exchange, tmp_path)
            house.world.put("endpoints", "desk/other", {"metadata": {}, "spec": {**house.spec, "url": other.url}})
            for i in range(10):
                house.say(f"c{i}", 3)
                house.say(f"d{i}", 3, {"exchangeRef": {"name": "other"}, "terms": {"contractId": f"D{i}"}})
            async with house.running():
                await house.all_sent()
                assert house.sender.channels["desk/other"].pending == 30
                other.faults.clear()

    exchange = run(test)
    assert sorted(a.index for a in exchange.events) == list(range(30))


def test_a_crowd_that_hangs(tmp_path: Path) -> None:
    """However many receivers keep their connections open without an answer, one that answers is told everything."""

    async def test(exchange: Exchange) -> None:
        silent = Exchange(faults=[hang] * 1000)
        async with silent.open():
            house = House(exchange, tmp_path)
            for number in range(14):
                name = f"silent{number}"
                house.world.put("endpoints", f"desk/{name}", {"metadata": {}, "spec": {**house.spec, "url": silent.url}})
                for lane in range(PER_ENDPOINT):
                    house.say(f"{name}-{lane}", 1, {"exchangeRef": {"name": name}, "terms": {"contractId": "S"}})
            async with house.running():
                await until(lambda: silent.busy == 14 * PER_ENDPOINT)
                house.say("c", 3)
                await house.all_sent()
            silent.faults.clear()

    assert numbers(run(test), "c") == [1, 2, 3]


def test_an_answer_that_is_packed(tmp_path: Path) -> None:
    """It is an acknowledgement; what a small answer would unpack to, perhaps gigabytes, is never looked at."""
    packed = gzip.compress(b'{"have":-1}' + b" " * 1_000_000)

    async def test(exchange: Exchange) -> None:
        async def pack(request: web.Request, handler: Any) -> web.StreamResponse:
            exchange.faults.append(pack)
            assert request.headers["accept-encoding"] == "identity"
            await handler(request)
            return web.Response(body=packed, headers={"content-encoding": "gzip", "content-type": "application/json"})

        exchange.faults = [pack]
        house = House(exchange, tmp_path)
        house.say("c", 3)
        async with house.running():
            await house.all_sent()
            assert house.channel.counts.rewinds == 0

    assert numbers(run(test), "c") == [1, 2, 3]


def test_a_conflict_is_an_alarm_and_what_the_log_says_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody edited an outbox after the log had the event: the edit is never sent, the outbox is emptied, the others go on."""

    async def test(exchange: Exchange) -> None:
        house = House(exchange, tmp_path)
        house.say("c", 1)
        async with house.running():
            await house.all_sent()
        house.say("c", 1)
        status = house.world.contracts["desk/c"].status
        edited = {"id": "uid-c/1", "sequence": 1, "type": "t", "body": '{"forged":true}'}
        house.put("c", {**status, "outbox": [edited, *status["outbox"]]})
        async with house.restarted():
            await house.all_sent()
            assert house.appender.conflicts == 1

    exchange = run(test)
    assert [a.id for a in exchange.events] == ["uid-c/1", "uid-c/2"]
    alarms = [r.levelno for r in caplog.records if "ALARM op/desk/gcx holds other bytes under the id uid-c/1" in r.message]
    assert alarms == [logging.CRITICAL]
