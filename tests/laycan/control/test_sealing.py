"""Receipts need readings from the first second, on the disk before a status cites them; delivery waits for neither keys nor disk."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laycan.control.gate import Gate
from laycan.control.receipts import Seal
from laycan.control.requests import Requests
from laycan.control.sealing import Receipts
from laycan.control.writer import Authority, Writer
from laycan.kube.views import ContractView
from laycan.ledger.ledgers import Beginning, Ledgers, Place
from laycan.ledger.log import DiskFullError
from laycan.ledger.sqlite import SqliteLog
from laycan.resources.constants import FINALIZER
from laycan.resources.times import format_time
from laycan_verify import merkle
from tests.laycan.control.apiserver import Contracts
from tests.laycan.control.desk import SETTINGS, T0, Desk
from tests.laycan.control.test_receipts import DAY, desk, quarter_hours, receipts, seal
from tests.laycan.control.test_status_agent import meter
from tests.laycan.events.house import until
from tests.laycan.kube.scripted import serving

GCX = Place("desk", "gcx")


def of(contract: ContractView, *seals: Seal | None) -> Seal | None:
    """What a contract gets after the keys were so, one after the other."""
    made = Desk()
    keys: list[Seal | None] = [None]
    found = Receipts(lambda: keys[0], made.world, Ledgers(Path("nowhere"), lambda place: Beginning("op/x")))
    last = None
    for keys[0] in seals:
        last = found.of(contract)
    return last


def issues(found: Seal | None) -> bool:
    return found is not None and found.trusted_clock("", ())


class TestWho:
    def contract(self, **status: Any) -> ContractView:
        return replace(Desk().contract, status=status)

    def test_from_the_start_or_never(self) -> None:
        """A contract whose metering began without keys has no readings of that time: it gets no receipts, whatever comes later."""
        fresh, metered = self.contract(), self.contract(meter={"until": format_time(T0 + 60)})
        just_begun = self.contract(meter={"until": format_time(T0)})
        assert issues(of(fresh, seal()))
        assert issues(of(just_begun, seal()))
        assert of(metered, seal()) is None
        assert of(fresh, None) is None

    def test_keys_that_go_away(self) -> None:
        """Readings go on being kept, nothing is issued, until they are back; also where they were gone before this process began."""
        begun = self.contract(meter={"until": format_time(T0 + 60)}, receipts={"readings": []} | {"sequence": 1})
        for contract, before in ((begun, [None]), (begun, [seal(), None]), (self.contract(), [seal(), None])):
            found = of(contract, *before)
            assert found is not None
            assert not issues(found)
            assert issues(of(contract, *before, seal()))

    @pytest.mark.parametrize("handed_over", [False, True])
    def test_a_window_that_begins_late(self, handed_over: bool) -> None:
        """Where nothing was delivered in the first metered minutes, there are no readings of them; receipts come all the same."""
        made = Desk()
        made.seal = seal()
        made.nodes("a", "b")
        made.bind(T0 - 7000, ("a", T0, made.end), ("b", T0, made.end))
        if handed_over:
            made.hand_over("a", "b")
        for now in (T0 - 7000, T0 - 30, T0, T0 + 300):
            made.at(now)
        assert made.status["quantities"]["deliveredGpuSeconds"] > 0 or not handed_over
        assert made.status["quantities"]["contractedGpuSeconds"] > 0
        assert issues(of(replace(made.contract, status=made.status), seal()))

    def test_each_look_has_its_own_readings(self) -> None:
        """What one contract's status cites is not mixed with another's."""
        shared = seal()
        first, second = of(self.contract(), shared), of(self.contract(), shared)
        assert first is not None
        assert second is not None
        assert first.kept is not second.kept is not shared.kept


class Town:
    """A writer at the end of a contract's first day, with a log that may fail, and an API server that looks into the log at each write."""

    def __init__(self, folder: Path, made: Desk) -> None:
        self.made, self.now = made, T0 + DAY + 900
        self.full = False
        contract = made.contract
        meta = {"namespace": "desk", "name": "c1", "uid": contract.uid, "generation": 1, "resourceVersion": "5", "finalizers": [FINALIZER]}
        raw = {"metadata": {**meta, "creationTimestamp": format_time(contract.created)}, "spec": contract.spec, "status": contract.status}
        self.api = Contracts({"c1": raw})
        self.ledgers = Ledgers(folder, lambda place: Beginning(f"op/{place}"))
        self.cited: list[tuple[str, bool]] = []  # root of each receipt when it was written, and whether the log had its readings

    async def handle(self, request: web.Request) -> web.StreamResponse:
        found = await self.api.handle(request)
        if request.method == "PATCH":
            for root in self.roots():
                stored = await self.ledgers.use(GCX, lambda log, root=root: log.readings(bytes.fromhex(root)))  # type: ignore[misc]
                self.cited.append((root, stored is not None and root in {r["meter"]["rootSha256"] for r in receipts(self.heard())}))
        return found

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.api.objects["c1"]["status"])

    def heard(self) -> Desk:
        self.made._hear(self.status)
        return self.made

    def roots(self) -> list[str]:
        bodies = [json.loads(entry["body"]) for entry in self.status.get("outbox", ())]
        return [r["meter"]["rootSha256"] for r in receipts(self.heard())] if bodies else []

    async def run(self, test: Callable[[Writer], Awaitable[None]]) -> None:
        async with serving(self.handle) as client:
            world = self.made.world
            self.api.show(world)
            receipts_of = Receipts(lambda: self.made.seal, world, self.ledgers, lambda: float(self.now))
            requests = Requests(client, world, Gate(world, lambda: None), lambda: True)
            writer = Writer(world, Authority(SETTINGS, "urn:laycan:8a1c", 3), lambda: self.now, requests, sealing=receipts_of)
            writer.start()
            task = asyncio.create_task(writer.run())
            try:
                await test(writer)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self.ledgers.close()


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    made = desk(seconds=2 * DAY)
    quarter_hours(made, T0, T0 + DAY - 900, "a", "b")
    assert receipts(made) == []
    quarter_hours_seen(made)
    found = Town(tmp_path, made)
    keep = SqliteLog.keep_readings

    def limited(log: SqliteLog, *readings: Any) -> list[bytes]:
        if found.full:
            raise DiskFullError("no room")
        return keep(log, *readings)

    monkeypatch.setattr(SqliteLog, "keep_readings", limited)
    return found


def quarter_hours_seen(made: Desk) -> None:
    """The agents report beyond midnight, and nobody has looked at the contract since."""
    for name in ("a", "b"):
        meter(made, name, T0 + DAY + 900)


def test_readings_are_there_before_the_receipt(town: Town) -> None:
    """When the API server gets the status with the receipt, the log has its readings already."""

    async def test(writer: Writer) -> None:
        await until(lambda: len(receipts(town.heard())) == 1)

    asyncio.run(town.run(test))
    assert town.cited
    assert all(kept for _, kept in town.cited)


def test_without_a_disk_all_but_the_receipt_is_written(town: Town) -> None:
    """The meter goes on and a lost node is noticed; the receipt follows once there is room, and lacks nothing."""
    town.full = True

    async def test(writer: Writer) -> None:
        before = town.status["meter"]["until"]
        await until(lambda: town.status["meter"]["until"] > before)
        assert receipts(town.heard()) == []
        town.made.fail("a", at=town.now)
        writer.world.changed("nodes", "a")
        await until(lambda: "delivery.interrupted" in town.heard().news)
        assert receipts(town.heard()) == []
        town.full = False
        town.now += 31
        writer.touch_all()
        await until(lambda: len(receipts(town.heard())) == 1)

    asyncio.run(town.run(test))
    (said,) = receipts(town.made)
    assert said["quantities"]["deliveredGpuSeconds"] == DAY * 16


Keep = Callable[[int], Awaitable[None]]
Test = Callable[[Keep, Receipts, Ledgers], Awaitable[None]]


class TestTogether:
    """The readings of contracts whose day ends at once come to the disk in few commits, and nobody goes on before his are there."""

    @pytest.fixture
    def commits(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many receipts' readings each transaction held."""
        found: list[int] = []
        keep = SqliteLog.keep_readings

        def counted(log: SqliteLog, *readings: Any) -> list[bytes]:
            found.append(len(readings))
            return keep(log, *readings)

        monkeypatch.setattr(SqliteLog, "keep_readings", counted)
        return found

    def run(self, folder: Path, test: Test) -> None:
        made = Desk()

        async def main() -> None:
            ledgers = Ledgers(folder, lambda place: Beginning(f"op/{place}"))
            found = Receipts(lambda: None, made.world, ledgers)

            async def keep(number: int) -> None:
                """What the writer does with one contract: its readings are there when it is told so."""
                line = str(number).encode()
                await found.keep(made.contract, {merkle.root([line]).hex(): b"[" + line + b"]"})
                assert await ledgers.use(GCX, lambda log: log.readings(merkle.root([line]))) == [line]

            try:
                await test(keep, found, ledgers)
            finally:
                await ledgers.close()

        asyncio.run(main())

    def test_few_commits(self, commits: list[int], tmp_path: Path) -> None:
        async def test(keep: Keep, found: Receipts, ledgers: Ledgers) -> None:
            await asyncio.gather(*map(keep, range(64)))
            await asyncio.gather(*map(keep, range(64, 96)))

        self.run(tmp_path, test)
        assert sum(commits) == 96
        assert commits[:2] == [1, 63]
        assert len(commits) == 4

    def test_one_who_is_cancelled(self, commits: list[int], tmp_path: Path) -> None:
        """He was to make the commit of all that came together: the next one makes it."""

        async def test(keep: Keep, found: Receipts, ledgers: Ledgers) -> None:
            gates = [threading.Event(), threading.Event()]
            busy = [asyncio.ensure_future(ledgers.use(GCX, lambda log: gates[0].wait(10)))]
            await asyncio.sleep(0)
            tasks = [asyncio.ensure_future(keep(number)) for number in range(5)]
            await until(lambda: bool(found._gathering))  # behind the first commit
            busy.append(asyncio.ensure_future(ledgers.use(GCX, lambda log: gates[1].wait(10))))
            await asyncio.sleep(0)
            gates[0].set()
            await until(lambda: not found._gathering)  # the second commit stands behind the second gate
            tasks[1].cancel()
            gates[1].set()
            await asyncio.gather(*busy)
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(end) for end in ended] == [type(None), asyncio.CancelledError, *[type(None)] * 3]

        self.run(tmp_path, test)

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody is told that his are there; once there is room they are."""

        async def test(keep: Keep, found: Receipts, ledgers: Ledgers) -> None:
            def full(log: SqliteLog, *readings: Any) -> list[bytes]:
                raise DiskFullError("no room")

            with monkeypatch.context() as patch:
                patch.setattr(SqliteLog, "keep_readings", full)
                ended = await asyncio.gather(*map(keep, range(5)), return_exceptions=True)
            assert [type(end) for end in ended] == [DiskFullError] * 5
            await asyncio.gather(*map(keep, range(5)))

        self.run(tmp_path, test)
