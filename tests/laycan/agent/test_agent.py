"""Rounds of an agent before an API server that comes and goes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from controlplane.waiting import until
from laycan.agent.account import NO_DRIVER
from laycan.agent.agent import Agent
from laycan.agent.report import Author, meter
from laycan.agent.sample import NodeSample, NoLibraryError, NvmlError, StaleLibraryError, XidEvent
from laycan.resources.times import format_time
from tests.laycan.agent.cards import NOON, begun, card, name, node, told
from tests.laycan.agent.cluster import Machine, OneNode, agent_of

Story = Callable[[Agent, OneNode, Machine], Awaitable[None]]


def play(story: Story, api: OneNode | None = None, machine: Machine | None = None, *, learnt: bool = True, **options: Any) -> OneNode:
    """Tells a story of an agent; the API server as it is afterwards."""
    known, there = api or OneNode(), machine or Machine()

    async def go() -> None:
        async with agent_of(known, there, **options) as agent:
            if learnt:
                await agent.learn()
            await story(agent, known, there)

    asyncio.run(go())
    return known


async def later(agent: Agent, machine: Machine, seconds: int = 10) -> None:
    machine.now += seconds
    await agent.round()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's pauses between attempts."""
    monkeypatch.setattr("laycan.kube.client._LONGEST_PAUSE", 0.01)


class TestBeginning:
    def test_creates_and_then_patches(self) -> None:
        """The first report makes the object, the Node its owner; later ones change it."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            assert await agent.publisher.write()
            await later(agent, machine)
            assert await agent.publisher.write()

        api = play(story)
        assert api.writes == ["PATCH", "POST", "PATCH"]
        assert api.meter is not None
        assert (api.meter["spec"]["since"], api.meter["spec"]["at"]) == (format_time(NOON), format_time(NOON + 10))
        assert [owner["uid"] for owner in api.meter["metadata"]["ownerReferences"]] == ["uid-1"]

    def test_goes_on_from_the_object(self) -> None:
        """A new pod has no file: registers and findings go on, and the time between is missed."""
        api = OneNode()
        account = begun(card(0), card(1))
        account.hear(name(0), 79)
        api.meter = meter(account, Author("n1", "0.0.9", 300))

        async def story(agent: Agent, _: OneNode, machine: Machine) -> None:
            await later(agent, machine, 7)
            assert agent.account is not None
            assert [(each.start, each.end, each.same_boot) for each in agent.account.missed] == [(NOON, NOON + 7, True)]
            assert told(agent.account) == [("Xid", 79, 0, 1, 0, None)]
            await agent.publisher.write()

        play(story, api)
        assert api.writes == ["PATCH"]

    def test_goes_on_from_its_file_where_that_is_newer(self, tmp_path: Path) -> None:
        """What was sampled and not yet reported is in the file."""
        api = OneNode()

        async def first(agent: Agent, _: OneNode, machine: Machine) -> None:
            await agent.round()
            await agent.publisher.write()
            await later(agent, machine)
            agent.hear([XidEvent(name(1), 48)])

        async def second(agent: Agent, _: OneNode, __: Machine) -> None:
            assert agent.account is not None
            assert agent.account.at == NOON + 10
            assert told(agent.account) == [("Xid", 48, 0, 1, 10, None)]

        machine = Machine()
        play(first, api, machine, state=tmp_path / "state")
        play(second, api, machine, state=tmp_path / "state")

    @pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"spec": {}}', b"\xff"])
    def test_a_torn_file_is_none(self, tmp_path: Path, torn: bytes) -> None:
        """The object is gone on from instead."""
        (tmp_path / "state").write_bytes(torn)
        api = OneNode()
        api.meter = meter(begun(), Author("n1", "0.0.9", 300))

        async def story(agent: Agent, _: OneNode, __: Machine) -> None:
            assert agent.account is not None
            assert agent.account.restarted

        play(story, api, state=tmp_path / "state")

    def test_a_file_is_enough_while_the_api_server_is_away(self, tmp_path: Path) -> None:
        """Samples count at once, and are reported when it is back."""
        (tmp_path / "state").write_bytes(orjson.dumps(meter(begun(card(0), card(1)), Author("n1", "0.1.0", 300))))

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            api.away = True
            await agent.learn()
            await later(agent, machine)
            assert not await agent.publisher.write()
            api.away = False
            assert await agent.publisher.write()
            assert api.meter is not None
            assert (api.meter["spec"]["since"], api.meter["spec"]["at"]) == (format_time(NOON), format_time(NOON + 10))

        play(story, learnt=False, state=tmp_path / "state")

    def test_a_node_that_is_made_anew(self) -> None:
        """Somebody deletes the Node and its kubelet registers it again: it is the same machine, with the same XIDs."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            agent.hear([XidEvent(name(0), 79)])
            await agent.publisher.write()
            api.uid, api.meter = "uid-2", None
            await later(agent, machine)
            assert await agent.publisher.write()
            assert api.meter is not None
            spec = api.meter["spec"]
            assert (spec["nodeUid"], spec["since"], [each["code"] for each in spec["findings"]]) == ("uid-2", format_time(NOON), [79])

        play(story)

    def test_another_machine_of_this_name(self) -> None:
        """Its meter begins anew."""
        api = OneNode()
        api.meter, api.uid = meter(begun(), Author("n1", "0.0.9", 300)), "uid-2"

        async def story(agent: Agent, _: OneNode, machine: Machine) -> None:
            await later(agent, machine)
            assert agent.account is not None
            assert (agent.account.since, agent.account.missed) == (NOON + 10, [])
            assert await agent.publisher.write()

        machine = Machine()
        machine.boot = "boot-of-another"
        play(story, api, machine)

    def test_samples_before_the_api_server_has_answered_do_not_count(self) -> None:
        """Nobody knows yet what they would go on from; an XID that is heard meanwhile is kept."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            agent.hear([XidEvent(name(0), 79)])
            assert agent.account is None
            assert agent.status.driver
            await agent.learn()
            await later(agent, machine)
            assert agent.account is not None
            assert told(agent.account) == [("Xid", 79, 0, 1, 10, None)]

        play(story, learnt=False)


class TestDriver:
    def test_a_node_that_never_had_one(self) -> None:
        """Has no meter, and is asked again every minute; the agent is well."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            machine.sample = NO_DRIVER
            await agent.round()
            assert (agent.account, agent.period, agent.status.driver, agent.troubles()) == (None, 60, False, [])
            assert await agent.publisher.write()
            machine.sample = node(card(0))
            await later(agent, machine)
            assert agent.period == 10
            assert await agent.publisher.write()

        assert play(story).writes == ["PATCH", "POST"]

    def test_a_node_that_had_one(self) -> None:
        """Lost its GPUs, and is asked for them as often as before."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            machine.sample = NO_DRIVER
            await later(agent, machine)
            assert agent.account is not None
            assert told(agent.account) == [("Missing", 0, 0, 1, 0, None)] * 2
            assert agent.period == 10
            await later(agent, machine)
            assert machine.asked == [True, True, False]

        play(story)

    def test_blind(self) -> None:
        """Without NVML's library nothing is found, and nothing sampled: the meter stays as it is, and its `at` goes no further."""

        def blind() -> NodeSample:
            raise NoLibraryError("NVML Shared Library Not Found")

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            before = agent.meter()
            machine.sample = blind
            for _ in range(4):
                await later(agent, machine)
            assert agent.meter() == before
            assert (agent.status.driver, agent.status.samples["missed"]) == (False, 4)

        play(story)

    def test_another_library_needs_another_process(self) -> None:
        """The round ends the agent."""

        def stale() -> NodeSample:
            raise StaleLibraryError("Driver/library version mismatch")

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            machine.sample = stale
            with pytest.raises(StaleLibraryError):
                await agent.round()

        play(story)

    def test_no_sample(self) -> None:
        """NVML that fails gives missed samples, and after two and a half periods nothing is known of any GPU."""

        def fails() -> NodeSample:
            raise NvmlError("Unknown Error")

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            machine.sample = fails
            for _ in range(3):
                await later(agent, machine)
            assert agent.account is not None
            assert told(agent.account) == [("Unreadable", 0, 0, 1, 0, None)] * 2
            assert (agent.status.samples["missed"], agent.status.hangs) == (3, 0)

        play(story)


def test_a_call_that_hangs() -> None:
    """Costs its own sample and those until it returns, is counted once, and what it says then is not taken; the agent goes on."""
    release = threading.Event()

    def hangs() -> NodeSample:
        release.wait(20)
        return node(card(0))

    async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
        await agent.round()
        machine.sample = hangs
        for _ in range(4):
            await later(agent, machine, 1)
        assert agent.account is not None
        assert (agent.status.hangs, agent.status.samples["missed"]) == (1, 4)
        assert told(agent.account) == [("Unreadable", 0, 0, 1, 0, None)] * 2
        assert await agent.publisher.write()
        machine.sample = node(card(0), card(1))
        release.set()
        await asyncio.to_thread(until, "the call has returned", lambda: agent.worker.ended > agent.worker.begun)
        await later(agent, machine, 1)
        assert [each[0] for each in told(agent.account)] == ["Unreadable", "Unreadable"]
        assert [(each.start, each.end) for each in agent.account.missed] == [(NOON, NOON + 5)]

    play(story, sample_seconds=1)


class TestPublishing:
    def test_another_agent_has_written(self) -> None:
        """Where the object's history began otherwise, or its reading is later, that is gone on with, and written the next time."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            await agent.publisher.write()
            assert api.meter is not None
            api.meter["spec"]["since"] = format_time(NOON - 1000)
            assert not await agent.publisher.write()
            assert agent.account is not None
            assert agent.account.since == NOON - 1000
            await later(agent, machine)
            assert await agent.publisher.write()
            assert [(each.start, each.end) for each in agent.account.missed] == [(NOON, NOON + 10)]

        play(story)

    def test_made_anew_when_it_is_gone(self) -> None:
        """Somebody deleted the meter: the next report has everything that is kept."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            await agent.publisher.write()
            agent.hear([XidEvent(name(0), 79)])
            api.meter = None
            assert await agent.publisher.write()
            assert api.meter is not None
            assert [each["code"] for each in api.meter["spec"]["findings"]] == [79]

        play(story)

    @pytest.mark.parametrize("fault", [403, 500, "lose"])
    def test_a_write_that_failed_is_carried_by_the_next(self, fault: str | int) -> None:
        """Nothing waits in a queue: the next report has what the failed one had."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            await agent.publisher.write()
            agent.hear([XidEvent(name(0), 79)])
            api.fault = fault
            assert not await agent.publisher.write()
            api.fault = ""
            await later(agent, machine)
            assert await agent.publisher.write()
            assert api.meter is not None
            assert [each["code"] for each in api.meter["spec"]["findings"]] == [79]
            assert agent.publisher.outcomes == {"written": 2, "failed": 1}

        play(story)

    def test_the_clock(self) -> None:
        """Each report tells how far the clock is from the API server's, which is this machine's own here."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            await agent.round()
            await agent.publisher.write()

        api = play(story)
        assert api.meter is not None
        assert abs(api.meter["spec"]["clock"]["offsetMilliseconds"]) < 1500


class TestStrangers:
    POD = "0e8a3b1c-1f2d-4c55-9a6b-0123456789ab"

    def folder(self, where: Path, namespace: str) -> Path:
        (where / "proc" / "77").mkdir(parents=True)
        slice_ = f"kubepods-pod{self.POD.replace('-', '_')}.slice"
        (where / "proc" / "77" / "cgroup").write_text(f"0::/../../kubepods.slice/{slice_}/cri-containerd-abc.scope\n")
        (where / "pods" / f"{namespace}_trainer-0_{self.POD}").mkdir(parents=True)
        return where

    def test_nobody_is_accused_by_an_old_holder(self, tmp_path: Path) -> None:
        """Before a process is called a stranger the API server is asked who holds the node now; once called one it is not asked again."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            api.holder = "acme"
            await agent.look()
            machine.sample = node(card(0, pids=(77,)))
            api.holder, asked = "beta", api.looks
            await agent.round()
            assert agent.account is not None
            assert (agent.account.gpus[name()].strangers, api.looks) == (0, asked + 1)
            api.holder = "gamma"
            await agent.look()
            await later(agent, machine)
            await later(agent, machine)
            assert (agent.account.gpus[name()].strangers, api.looks) == (1, asked + 3)

        play(story, folder=self.folder(tmp_path, "beta"))

    def test_nobody_is_accused_while_the_api_server_is_away(self, tmp_path: Path) -> None:
        """The holder may have changed; who was a stranger before stays one."""

        async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
            api.holder = "acme"
            await agent.look()
            machine.sample = node(card(0, pids=(77,)))
            api.away = True
            await agent.round()
            assert agent.account is not None
            assert agent.account.gpus[name()].strangers == 0
            api.away = False
            await later(agent, machine)
            api.away = True
            await later(agent, machine)
            assert agent.account.gpus[name()].strangers == 1

        play(story, folder=self.folder(tmp_path, "beta"))


def test_the_probe() -> None:
    """It fails when the loop has not come round, or NVML has not returned, for ten periods."""

    async def story(agent: Agent, api: OneNode, machine: Machine) -> None:
        await agent.round()
        assert agent.troubles() == []
        agent.worker.ended -= 101
        assert "NVML has not answered" in agent.troubles()[0]
        agent.status.ticked -= 101
        assert "loop" in agent.troubles()[0]

    play(story)
