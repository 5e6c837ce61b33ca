"""From outboxes into logs: each event once and in order, whatever happens to the contract or to the disk meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from laycan.events.appender import BATCH
from laycan.ledger.ledgers import LOCAL, Place
from laycan.ledger.log import DiskFullError
from laycan.ledger.sqlite import SqliteLog, create_log, open_log, path_of
from laycan_verify.notes import read_note, signed
from tests.laycan.events.exchange import Exchange
from tests.laycan.events.house import GCX, House, key, until

ALONE = {"terms": {"contractId": "C"}}  # no exchange


def with_house(folder: Path, test: Callable[[House], Awaitable[None]], **more: Any) -> None:
    """The appender runs; nobody listens at the exchange."""

    async def main() -> None:
        house = House(Exchange(url="http://127.0.0.1:9/"), folder, **more)
        async with house.running():
            await test(house)

    asyncio.run(main())


def ids(folder: Path, place: Place = GCX) -> list[str]:
    """What the log holds, in order, after everything in it was verified."""
    log = open_log(path_of(folder, *place))
    assert log.verify() == []
    found = [entry.id for entry in log.entries(-1, 10_000)]
    log.close()
    return found


def test_each_log_gets_its_own(tmp_path: Path) -> None:
    """By exchange; what has none, or one that never was, goes into the local log."""

    async def test(house: House) -> None:
        house.say("c", 2)
        house.say("alone", 1, ALONE)
        house.say("astray", 1, {"exchangeRef": {"name": "never-was"}, "terms": {"contractId": "A"}})
        await house.all_taken()

    with_house(tmp_path, test)
    assert ids(tmp_path) == ["uid-c/1", "uid-c/2"]
    assert sorted(ids(tmp_path, LOCAL)) == ["uid-alone/1", "uid-astray/1"]


def test_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that the log has is not brought again, though the outbox shows it for long and the contract changes meanwhile."""
    appended: list[int] = []
    append = SqliteLog.append

    def count(log: SqliteLog, entries: Any) -> Any:
        appended.append(len(entries))
        return append(log, entries)

    monkeypatch.setattr(SqliteLog, "append", count)

    async def test(house: House) -> None:
        monkeypatch.setattr(house, "drop", lambda *_: None)
        house.say("c", 3)
        await until(lambda: len(house.taken) == 3)
        for i in range(20):
            house.put("c", {**house.world.contracts["desk/c"].status, "epoch": i})
            await asyncio.sleep(0.002)
        house.say("c", 1)
        await until(lambda: len(house.taken) == 4)

    with_house(tmp_path, test)
    assert appended == [3, 1]


def test_a_contract_that_goes_at_once(tmp_path: Path) -> None:
    """Its events are taken as they were seen: it is gone in the same turn."""

    async def test(house: House) -> None:
        house.say("c", 2)
        house.world.drop("contracts", "desk/c")
        house.say("d", 1)
        await until(lambda: house.taken == ["uid-d/1"])
        await until(lambda: house.appender.age() == 0)

    with_house(tmp_path, test)
    assert sorted(ids(tmp_path)) == ["uid-c/1", "uid-c/2", "uid-d/1"]


def test_many_at_once(tmp_path: Path) -> None:
    """A thousand contracts decided together are a few transactions."""
    took: list[float] = []

    async def test(house: House) -> None:
        house.appender._observe = took.append
        for i in range(1000):
            house.say(f"c{i}", 2)
        await house.all_taken()

    with_house(tmp_path, test)
    assert len(ids(tmp_path)) == 2000
    assert len(took) <= 1000 / BATCH + 2


def test_a_receipt_makes_a_checkpoint(tmp_path: Path) -> None:
    """At once, over the receipt, in the local log too, which has no heartbeat; other events make none."""

    def latest() -> Any:
        log = open_log(path_of(tmp_path, *LOCAL), read_only=True)
        found = log.latest_checkpoint()
        log.close()
        return found

    async def test(house: House) -> None:
        house.say("alone", 2, ALONE)
        await house.all_taken()
        assert latest() is None
        house.say("alone", 1)
        status = house.world.contracts["desk/alone"].status
        (entry,) = status["outbox"]
        house.put("alone", {**status, "outbox": [{**entry, "type": "dev.laycan.receipt.issued.v1"}]}, ALONE)
        await house.all_taken()
        assert latest().size == 3
        assert signed(read_note(latest().note), "op/local", key(1).public_key)

    with_house(tmp_path, test, checkpoints=key(1))


def test_no_disk_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be opened: entries stay in the outboxes with an alarm that is raised once, and are said in order once there is a disk."""
    monkeypatch.setattr("laycan.events.appender.LONGEST_PAUSE_SECONDS", 0.05)
    folder = tmp_path / "volume"
    folder.write_text("not mounted")

    async def test(house: House) -> None:
        house.say("c", 2)
        house.say("alone", 1, ALONE)
        await until(lambda: len(house.ledgers.troubles) == 2)
        await asyncio.sleep(0.3)
        assert house.taken == []
        assert house.appender.age() >= 0.3
        house.say("c", 2)
        folder.unlink()
        await house.all_taken()
        assert house.ledgers.troubles == {}
        assert house.appender.age() == 0

    with_house(folder, test)
    assert ids(folder) == [f"uid-c/{n}" for n in range(1, 5)]
    alarms = [r for r in caplog.records if r.levelno == logging.ERROR and "ALARM the log of" in r.message]
    assert len(alarms) == 2
    assert any("the log of desk/gcx can be used again" in r.message for r in caplog.records)


def test_one_log_fails_alone(tmp_path: Path) -> None:
    """Another process writes the exchange's log: the local one goes on, and the exchange's once it is free."""
    rival = create_log(path_of(tmp_path, *GCX), "op/desk/gcx")

    async def test(house: House) -> None:
        house.say("c", 1)
        house.say("alone", 1, ALONE)
        await until(lambda: house.taken == ["uid-alone/1"])
        assert "written by another process" in str(house.ledgers.troubles[GCX])
        rival.close()
        await house.all_taken()

    with_house(tmp_path, test)
    assert ids(tmp_path) == ["uid-c/1"]


def test_a_full_disk_can_still_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log has is sent while nothing can be added to it; the log is not opened anew for that."""
    full = [False]
    append = SqliteLog.append

    def limited(log: SqliteLog, entries: Any) -> Any:
        if full[0]:
            raise DiskFullError("no room")
        return append(log, entries)

    monkeypatch.setattr(SqliteLog, "append", limited)
    monkeypatch.setattr("laycan.events.appender.LONGEST_PAUSE_SECONDS", 0.05)

    async def main() -> None:
        exchange = Exchange()
        async with exchange.open():
            house = House(exchange, tmp_path)
            async with house.running():
                house.say("c", 2)
                await house.all_sent()
                opened = house.ledgers._logs[GCX]
                full[0] = True
                house.say("c", 1)
                await until(lambda: GCX in house.ledgers.troubles)
                assert await house.ledgers.use(GCX, lambda log: log.size) == 2
                assert GCX in house.ledgers.troubles, "reading is no sign of room"
                assert house.ledgers._logs[GCX] is opened
                full[0] = False
                await house.all_sent()
                assert house.ledgers.troubles == {}

    asyncio.run(main())
