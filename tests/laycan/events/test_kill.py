"""`kill -9` anywhere between status write, append, send, acknowledgement and cursor: every event arrives, with one content, in order.

First at each single step of a run, by an operator that stops existing there; then a real process, killed by the kernel at random times.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from laycan.events import channel, retries
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError, Log
from laycan.ledger.sqlite import open_log, path_of
from tests.laycan.events.exchange import Exchange
from tests.laycan.events.house import GCX, House, key, numbers, run, until
from tests.laycan.events.mortal import CONTRACTS, EVENTS

T = TypeVar("T")
NAMES, PER_CONTRACT = ("c", "d", "e"), 4


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAYS", (0.0, 0.01, 0.05))
    monkeypatch.setattr(channel, "SAVE_SECONDS", 0.0)  # more steps at which to die


class Fate:
    """Counts the steps that leave a trace outside of the process, before and after each; at the chosen one it is over."""

    def __init__(self, last: int = -1) -> None:
        self.steps, self._last, self.dead = 0, last, asyncio.Event()

    def step(self) -> bool:
        """Whether the process still lives."""
        self.steps += 1
        if self.steps == self._last:
            self.dead.set()
        return not self.dead.is_set()


class MortalLedgers(Ledgers):
    """What a dead process asks for is not done; what is done when it dies, it never hears of."""

    fate: Fate

    async def use(self, place: Place, work: Callable[[Log], T], *, writes: bool = False) -> T:
        if not self.fate.step():
            raise LedgerError("dead")
        done = await super().use(place, work, writes=writes)
        if not self.fate.step():
            raise LedgerError("dead")
        return done


class MortalHouse(House):
    """Dies at the step that its fate says; `drop` is its status write."""

    fate: Fate

    def __init__(self, exchange: Exchange, folder: Path, fate: Fate) -> None:
        self.fate = fate
        super().__init__(exchange, folder, checkpoints=key(1), heartbeat_seconds=0.05)

    def new_ledgers(self) -> Ledgers:
        made = super().new_ledgers()
        made.__class__ = MortalLedgers
        assert isinstance(made, MortalLedgers)
        made.fate = self.fate
        return made

    def drop(self, key: str, event_id: str) -> None:
        if self.fate.step():
            super().drop(key, event_id)
            self.fate.step()

    def say(self, name: str, count: int = 1, spec: Any = None) -> None:
        if self.fate.step():
            super().say(name, count, spec)
            self.fate.step()

    def told(self, name: str) -> int:
        contract = self.world.contracts.get(f"desk/{name}")
        return contract.status["ledger"]["sequence"] if contract else 0

    async def story(self) -> None:
        """Every contract has its events, two at a time, and all are sent; or the process is dead."""
        async with self.running():
            done = asyncio.create_task(self._tell())
            dead = asyncio.create_task(self.fate.dead.wait())
            await asyncio.wait({done, dead}, return_when=asyncio.FIRST_COMPLETED)
            self.fate.dead.set()
            for task in (done, dead):
                task.cancel()
            await asyncio.gather(done, dead, return_exceptions=True)
            if done.done() and not done.cancelled():
                done.result()

    async def _tell(self) -> None:
        for _ in range(PER_CONTRACT // 2):
            for name in NAMES:
                if self.told(name) < PER_CONTRACT:
                    self.say(name, 2)
                    await asyncio.sleep(0.002)
        await self.all_sent()


def with_deaths(exchange: Exchange, fate: list[Fate]) -> None:
    """The exchange takes an event, and the process dies before it hears that; or it dies before the event has come."""

    async def deadly(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.append(deadly)
        if not fate[0].step():
            raise web.HTTPServiceUnavailable
        answer = await handler(request)
        if not fate[0].step():
            assert request.transport is not None
            request.transport.close()
        return answer  # type: ignore[no-any-return]

    exchange.faults = [deadly]


def live(folder: Path, *deaths: int) -> int:
    """One life after the other, each to its death, and one to the end; how many steps the last took."""
    steps = [0]

    async def test(exchange: Exchange) -> None:
        current: list[Fate] = [Fate()]
        with_deaths(exchange, current)
        world = World()
        for last in (*deaths, -1):
            current[0] = Fate(last)
            house = MortalHouse(exchange, folder, current[0])
            house.world.contracts.update(world.contracts)
            await house.story()
            assert house.appender.conflicts == 0
            world, steps[0] = house.world, current[0].steps
        assert not any(contract.status["outbox"] for contract in world.contracts.values())

    exchange = run(test)
    assert [numbers(exchange, name) for name in NAMES] == [list(range(1, PER_CONTRACT + 1))] * len(NAMES)
    log = open_log(path_of(folder, *GCX))
    assert (log.size, log.verify()) == (len(NAMES) * PER_CONTRACT, [])
    log.close()
    return steps[0]


def test_at_each_step(tmp_path: Path) -> None:
    """A clean run is counted; then the operator dies at each of its steps, and another one goes on."""
    steps = live(tmp_path / "clean")
    assert steps > 80
    for last in range(1, steps, 1 if steps < 150 else 2):
        live(tmp_path / str(last), last)


@pytest.mark.parametrize("seed", range(6))
def test_again_and_again(seed: int, tmp_path: Path) -> None:
    """Five lives, each shorter than the work that is left."""
    chance = random.Random(seed)
    live(tmp_path, *(chance.randrange(1, 60) for _ in range(5)))


def test_by_the_kernel(tmp_path: Path) -> None:
    """A process of its own is killed eight times wherever it is, in a commit too; what it decided and wrote down arrives once."""
    chance = random.Random(3)

    async def test(exchange: Exchange) -> None:
        kills = 0
        for life in range(9):
            argv = [sys.executable, "-m", "tests.laycan.events.mortal", str(tmp_path), exchange.url]
            process = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.PIPE)
            if life < 8:
                await until(lambda count=life: (tmp_path / "lives").exists() and (tmp_path / "lives").stat().st_size > count, 60)  # type: ignore[misc]
                await asyncio.sleep(chance.uniform(0.0, 0.25))
                kills += process.returncode is None
                if process.returncode is None:
                    process.kill()
            _, said = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, said.decode()
        assert kills >= 5

    exchange = run(test)
    assert all(numbers(exchange, f"c{i}") == list(range(1, EVENTS + 1)) for i in range(CONTRACTS))
    log = open_log(path_of(tmp_path / "ledger", *GCX))
    assert (log.size, log.cursor, log.verify()) == (CONTRACTS * EVENTS, CONTRACTS * EVENTS - 1, [])
    log.close()
