"""Whatever happens to a node and its agent, the account says of each second what a naive record of all looks says."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from laycan.agent.account import Account, Moment
from laycan.agent.publish import said
from laycan.agent.report import Author, meter, newest
from laycan.resources.meter import GpuMeter
from tests.laycan.agent.cards import NOON, card, name, node
from tests.laycan.agent.naive import AWAY, READ, Look, Naive

PERIOD, SLOTS = 10, (0, 1)
AUTHOR = Author("n1", "0.1.0", 300)
STATES = st.sampled_from(["sound", "sound", "sound", "pending", "lost", "absent", "unreadable"])
WAIT = st.one_of(st.integers(8, 12), st.integers(1, 90))

Step = tuple[Any, ...]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("sample"), WAIT, st.tuples(STATES, STATES), st.integers(0, 9)),
        st.tuples(st.just("sample"), st.integers(9, 11), st.just(("sound", "sound")), st.integers(0, 9)),
        st.tuples(st.just("miss"), WAIT),
        st.tuples(st.just("xid"), st.sampled_from(SLOTS), st.sampled_from([13, 79])),
        st.tuples(st.just("reset"), st.sampled_from(SLOTS)),
        st.tuples(st.just("reboot")),
        st.tuples(st.just("publish")),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    max_size=40,
)


@dataclass
class World:
    """A node whose agent lives and dies. `saved` and `published`: the agent's account in the file and the API, and our record of then."""

    now: int = NOON
    boot: int = 0
    energy: list[int] = field(default_factory=lambda: [1000, 1000])
    naive: list[Naive] = field(default_factory=lambda: [Naive(PERIOD) for _ in SLOTS])
    account: Account = field(default_factory=lambda: Account.begin("uid", PERIOD, NOON))
    fresh: bool = False
    published: tuple[dict[str, Any], list[Naive]] | None = None

    def run(self, steps: Iterable[Step]) -> None:
        self.sample(0, ("sound", "sound"), 0)
        self.publish()
        for step, *about in steps:
            getattr(self, step)(*about)
        self.sample(PERIOD, ("sound", "sound"), 1)

    def sample(self, wait: int, states: tuple[str, str], joules: int) -> None:
        self.now += wait
        self.energy = [energy + joules * (slot + 1) for slot, energy in enumerate(self.energy)]
        by_state = {state: tuple(slot for slot in SLOTS if states[slot] == state) for state in ("lost", "unreadable")}
        cards = [
            card(slot, remap_pending=states[slot] == "pending", energy_millijoules=self.energy[slot])
            for slot in SLOTS
            if states[slot] in READ
        ]
        self.account.take(node(*cards, **by_state), self.moment())
        for slot in SLOTS:
            self.naive[slot].looks.append(Look(self.now, states[slot], self.energy[slot], self.boot, self.fresh))
        self.fresh = False

    def miss(self, wait: int) -> None:
        self.now += wait
        self.account.miss(self.moment())
        for naive in self.naive:
            latest = naive.samples()[-1]
            if 2 * (self.now - latest.at) > 5 * PERIOD and latest.state not in AWAY:
                naive.looks.append(Look(self.now, "unreadable", sample=False))

    def xid(self, slot: int, code: int) -> None:
        self.account.hear(name(slot), code)
        self.naive[slot].xids.append((len(self.naive[slot].looks), code))

    def reset(self, slot: int) -> None:
        self.energy[slot] = 0

    def reboot(self) -> None:
        """The agent with it; all GPUs are there again (one that is not is forgotten: test_account.py)."""
        self.now += 60
        self.boot, self.energy = self.boot + 1, [5, 5]
        self.restart(from_file=True)
        self.sample(0, ("sound", "sound"), 0)
        self.publish()

    def publish(self) -> None:
        told = meter(self.account, AUTHOR)
        GpuMeter.model_validate_json(orjson.dumps(said(told)))
        if self.published:
            never_falls(self.published[0], told)
        self.published = told, copy.deepcopy(self.naive)

    def restart(self, from_file: bool) -> None:
        """From the state file, or from what the API server has: then what came after it is forgotten."""
        assert self.published is not None
        told = meter(self.account, AUTHOR)
        if not from_file:
            told, naive = self.published
            self.naive = copy.deepcopy(naive)
        account = newest([told], "uid", "", PERIOD)
        assert account is not None
        self.account, self.fresh = account, True

    def moment(self) -> Moment:
        return Moment(self.now, self.now - NOON + 1000, f"boot-{self.boot}")


def never_falls(before: dict[str, Any], after: dict[str, Any]) -> None:
    """No register, and no reading, is taken back; nothing that was found is forgotten."""
    assert before["spec"]["at"] <= after["spec"]["at"]
    assert before["spec"]["since"] == after["spec"]["since"]
    then = {gpu["uuid"]: gpu["registers"] for gpu in before["spec"]["gpus"]}
    for gpu in after["spec"]["gpus"]:
        assert all(then[gpu["uuid"]][key] <= value for key, value in gpu["registers"].items())
    known = {(each["gpu"], each["signal"], each["start"]) for each in after["spec"]["findings"]}
    assert {(each["gpu"], each["signal"], each["start"]) for each in before["spec"]["findings"]} <= known


def seconds(account: Account, uuid: str, signal: str, code: int = 0) -> set[int]:
    found = set[int]()
    for each in account.findings.listed():
        if (each.gpu, each.signal, each.code) == (uuid, signal, code):
            found |= set(range(each.start, account.at if each.end is None else each.end))
    return found


@given(STEPS)
def test_each_second(steps: list[Step]) -> None:
    """Findings cover the bad looks up to the good ones beside them; every second is sampled or missed; registers are the sums."""
    world = World()
    world.run(steps)
    account = world.account
    assert (account.since, account.complete_since) == (NOON, NOON)
    for slot, naive in enumerate(world.naive):
        gpu = account.gpus[name(slot)]
        for signal in ("Missing", "Unreadable", "RowRemapPending"):
            assert seconds(account, gpu.uuid, signal) == naive.covered(signal, account.at), signal
        for code in (13, 79):
            assert seconds(account, gpu.uuid, "Xid", code) == naive.xid_seconds(code, account.at), code
        assert [(each.start, each.end) for each in account.missed] == naive.missed()
        assert gpu.registers.sampled_seconds == naive.sampled_seconds()
        assert gpu.registers.energy_millijoules == naive.energy()


@given(STEPS)
def test_sampled_or_missed(steps: list[Step]) -> None:
    """Missed stretches and the time that a GPU which was always read was sampled are together all the time there was."""
    world = World()
    world.run([step for step in steps if step[0] != "sample" or step[2] == ("sound", "sound")])
    account = world.account
    missed = sum(each.end - each.start for each in account.missed)
    for gpu in account.gpus.values():
        assert gpu.registers.sampled_seconds + missed == account.at - account.since


@given(STEPS)
def test_a_restart_changes_nothing(steps: list[Step]) -> None:
    """What a new agent reads is what the old one knew, whether from its file or from the API server."""
    world = World()
    world.run(steps)
    told = meter(world.account, AUTHOR)
    account = newest([None, {}, told], "uid", "", PERIOD)
    assert account is not None
    assert account.findings.listed() == world.account.findings.listed()
    account.findings, account.restarted = world.account.findings, False
    assert account == world.account
    assert meter(account, AUTHOR) == told
