"""Samples of one node, and what the account says of them."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.agent.account import NO_DRIVER, Account
from laycan.agent.missed import Missed
from laycan.agent.sample import Fabric, Pcie
from tests.laycan.agent.cards import NOON, at, begun, card, name, node, told

ILLS: dict[str, tuple[dict[str, Any], tuple[str, int, int]]] = {  # what a sample says -> signal, code, value
    "recovery action": ({"recovery_action": 2}, ("RecoveryAction", 2, 0)),
    "ecc": ({"uncorrectable_ecc": 3}, ("UncorrectableEcc", 0, 3)),
    "remap pending": ({"remap_pending": True}, ("RowRemapPending", 0, 0)),
    "remap failed": ({"remap_failed": True}, ("RowRemapFailed", 0, 0)),
    "nvlink": ({"active_nvlinks": 16}, ("NvLinkDown", 0, 2)),
    "fabric waits": ({"fabric": Fabric(2, 0)}, ("FabricNotReady", 2, 0)),
    "fabric failed": ({"fabric": Fabric(3, 999)}, ("FabricNotReady", 3, 999)),
    "pcie width": ({"pcie": Pcie(8, 16, 5, 5)}, ("PcieDegraded", 5, 8)),
    "pcie generation": ({"pcie": Pcie(16, 16, 1, 5)}, ("PcieDegraded", 1, 16)),
}


class TestFindings:
    @pytest.mark.parametrize("ill", ILLS)
    def test_from_the_good_sample_before_to_the_good_one_after(self, ill: str) -> None:
        """What is wrong with a card in two samples is a finding from the one before them to the one after, told at once both times."""
        changes, (signal, code, value) = ILLS[ill]
        account = begun()
        assert not account.take(node(card()), at(10))
        assert account.take(node(card(**changes)), at(20))
        assert told(account) == [(signal, code, value, 1, 10, None)]
        assert not account.take(node(card(**changes)), at(30))
        assert account.take(node(card()), at(40))
        assert told(account) == [(signal, code, value, 1, 10, 40)]

    @pytest.mark.parametrize("silent", [{"recovery_action": None}, {"uncorrectable_ecc": None}, {"active_nvlinks": None}, {"fabric": None}])
    def test_what_is_not_told_stays_as_it_was(self, silent: dict[str, None]) -> None:
        """A question that NVML does not answer in one sample neither opens nor ends a finding."""
        ills: dict[str, Any] = {"recovery_action": 2, "uncorrectable_ecc": 1, "active_nvlinks": 17, "fabric": Fabric(1, 0)}
        account = begun()
        account.take(node(card(**ills)), at(10))
        before = told(account)
        assert not account.take(node(card(**ills | silent)), at(20))
        assert told(account) == before

    def test_another_code_is_another_finding(self) -> None:
        """A recovery action that turns into another ends, and the other begins at the sample that did not know it."""
        account = begun()
        account.take(node(card(recovery_action=1)), at(10))
        account.take(node(card(recovery_action=2)), at(20))
        assert told(account) == [("RecoveryAction", 1, 0, 1, 0, 20), ("RecoveryAction", 2, 0, 1, 10, None)]

    def test_the_worst_count_is_told(self) -> None:
        """Of links that are down, and of errors, a finding tells the most that were seen."""
        account = begun()
        for seconds, links in ((10, 17), (20, 12), (30, 16), (40, 18)):
            account.take(node(card(active_nvlinks=links)), at(seconds))
        assert told(account) == [("NvLinkDown", 0, 6, 1, 0, 40)]

    def test_an_idle_link_says_nothing(self) -> None:
        """PCIe below its maximum is a finding under load only, and an idle link does not end it; one at its maximum does."""
        slow = Pcie(16, 16, 1, 5)
        account = begun()
        account.take(node(card(pcie=slow, busy=False)), at(10))
        account.take(node(card(pcie=slow, busy=None)), at(20))
        assert told(account) == []
        account.take(node(card(pcie=slow)), at(30))
        account.take(node(card(pcie=slow, busy=False)), at(40))
        assert told(account) == [("PcieDegraded", 1, 16, 1, 20, None)]
        account.take(node(card(busy=False)), at(50))
        assert told(account) == [("PcieDegraded", 1, 16, 1, 20, 50)]

    def test_fewer_links_than_ever_since_boot(self) -> None:
        """What counts as all links is the most that were up since the node was started."""
        account = begun(card(active_nvlinks=17))
        account.take(node(card(active_nvlinks=18)), at(10))
        account.take(node(card(active_nvlinks=17)), at(20))
        assert told(account) == [("NvLinkDown", 0, 1, 1, 10, None)]
        account.take(node(card(active_nvlinks=17)), at(300, boot="boot-2", uptime=60))
        assert told(account) == [("NvLinkDown", 0, 1, 1, 10, 300)]


class TestPresence:
    @pytest.mark.parametrize("how", ["lost", "not enumerated"])
    def test_a_missing_gpu(self, how: str) -> None:
        """A known GPU that is lost, or is not there any more, is missing from the last sample that had it until one has it again."""
        account = begun(card(0), card(1))
        gone = node(card(0), lost=(1,)) if how == "lost" else node(card(0))
        assert account.take(gone, at(10))
        assert not account.complete
        assert not account.take(gone, at(20))
        assert account.take(node(card(0), card(1)), at(30))
        assert told(account) == [("Missing", 0, 0, 1, 0, 30)]
        assert account.complete
        assert [account.gpus[name(slot)].registers.sampled_seconds for slot in (0, 1)] == [30, 0]

    def test_unreadable_and_then_lost(self) -> None:
        """Both last until the GPU can be read; what was found before lasts through it."""
        account = begun(card(0, remap_pending=True), card(1))
        account.take(node(card(1), unreadable=(0,)), at(10))
        account.take(node(card(1), lost=(0,)), at(20))
        assert told(account, "Missing", "Unreadable") == [("Missing", 0, 0, 1, 0, None), ("Unreadable", 0, 0, 1, 0, None)]
        account.take(node(card(0), card(1)), at(30))
        assert {each[0]: each[-1] for each in told(account)} == {"Missing": 30, "Unreadable": 30, "RowRemapPending": 30}

    def test_without_a_driver_all_are_missing(self) -> None:
        """A node that had a driver and has none any more has lost all GPUs; with the driver they are back, reset."""
        account = begun(card(0), card(1))
        account.hear(name(0), 79)
        assert account.take(NO_DRIVER, at(10))
        assert [each[0] for each in told(account)] == ["Missing", "Xid", "Missing"]
        assert account.driver == ""
        assert account.take(node(card(0), card(1)), at(20))
        assert {each[-1] for each in told(account)} == {20}

    def test_after_a_reboot_those_that_are_listed(self) -> None:
        """A card that is not there after a reboot was missing until then, and is none of the node's any more; a new one is."""
        account = begun(card(0), card(1))
        assert account.take(node(card(0), card(2)), at(300, boot="boot-2", uptime=100))
        assert list(account.gpus) == [name(0), name(2)]
        assert [(each.gpu, each.end) for each in account.findings.listed()] == [(name(1), NOON + 300)]
        assert told(account) == [("Missing", 0, 0, 1, 0, 300)]

    def test_a_reboot_before_the_driver(self) -> None:
        """After a reboot nothing is given up until there is a driver that lists the cards."""
        account = begun(card(0), card(1))
        account.take(NO_DRIVER, at(300, boot="boot-2", uptime=100))
        assert told(account) == [("Missing", 0, 0, 1, 0, None)] * 2
        account.take(node(card(0)), at(310, boot="boot-2", uptime=110))
        assert told(account) == [("Missing", 0, 0, 1, 0, 310)] * 2
        assert list(account.gpus) == [name(0)]


class TestXids:
    def test_latched_until_the_counter_falls(self) -> None:
        """An XID is a finding from the sample before it, once for each code with a count, until the GPU's counters begin anew."""
        account = begun()
        account.take(node(card()), at(10))
        assert account.hear(name(), 79)
        assert not account.hear(name(), 79)
        assert account.hear(name(), 13)
        account.take(node(card(energy_millijoules=2_000_000)), at(20))
        assert told(account) == [("Xid", 13, 0, 1, 10, None), ("Xid", 79, 0, 2, 10, None)]
        assert account.take(node(card(energy_millijoules=5)), at(30))
        assert told(account) == [("Xid", 13, 0, 1, 10, 30), ("Xid", 79, 0, 2, 10, 30)]

    @pytest.mark.parametrize("reset", ["reboot", "missing and back"])
    def test_until_a_reset(self, reset: str) -> None:
        """A reboot ends it, and so does a GPU that was away; that it could not be read does not."""
        account = begun(card(0), card(1))
        account.hear(name(0), 48)
        account.take(node(card(1), unreadable=(0,)), at(10))
        account.take(node(card(0), card(1)), at(20))
        assert told(account, "Xid") == [("Xid", 48, 0, 1, 0, None)]
        if reset == "reboot":
            account.take(node(card(0), card(1)), at(30, boot="boot-2", uptime=5))
        else:
            account.take(node(card(1)), at(25))
            account.take(node(card(0), card(1)), at(30))
        assert told(account, "Xid") == [("Xid", 48, 0, 1, 0, 30)]

    def test_of_a_gpu_that_nobody_knows(self) -> None:
        """It is not taken."""
        account = begun()
        assert not account.hear("GPU-elsewhere", 79)
        assert told(account) == []


class TestMissed:
    def test_two_and_a_half_periods(self) -> None:
        """Twenty-five seconds between samples of every ten are sampled, twenty-six are not."""
        account = begun()
        assert not account.take(node(card()), at(25))
        assert (account.missed, account.gpus[name()].registers.sampled_seconds) == ([], 25)
        assert account.take(node(card()), at(51))
        assert [(each.start - NOON, each.end - NOON) for each in account.missed] == [(25, 51)]
        assert account.gpus[name()].registers.sampled_seconds == 25

    def test_what_speaks_for_the_gpus(self) -> None:
        """Boot, uptime, and the mean power of the cards that used least and most, rounded against us."""
        account = begun(card(0), card(1))
        used = [card(0, energy_millijoules=1_000_000 + 60_500_000), card(1, energy_millijoules=1_000_000 + 600_500_000)]
        account.take(node(*used), at(1000, uptime=86_400 + 999))
        assert account.missed == [Missed(NOON, NOON + 1000, True, 999, 60, 601)]

    def test_a_driver_that_was_loaded_anew(self) -> None:
        """Counters that began anew in it speak against it, and their new readings still count as used."""
        account = begun(card(0), card(1))
        account.take(node(card(0, energy_millijoules=2_000_000), card(1, energy_millijoules=7000)), at(100))
        assert account.missed == [Missed(NOON, NOON + 100, False, 100, 0, 10)]
        assert account.gpus[name(1)].registers.energy_millijoules == 7000

    def test_a_card_without_energy_counter(self) -> None:
        """Nothing speaks for it."""
        account = begun(card(0), card(1, energy_millijoules=None))
        account.take(node(card(0, energy_millijoules=51_000_000), card(1, energy_millijoules=None)), at(100))
        assert [(each.least_watts, each.most_watts) for each in account.missed] == [(0, 500)]

    def test_nothing_is_known_of_any_gpu(self) -> None:
        """No sample for two and a half periods is told at once, as a finding; with the next sample the stretch is missed as well."""
        account = begun(card(0), card(1))
        assert not account.miss(at(25))
        assert account.miss(at(30))
        assert not account.miss(at(40))
        assert told(account) == [("Unreadable", 0, 0, 1, 0, None)] * 2
        assert account.at == NOON
        assert account.take(node(card(0), card(1)), at(50))
        assert told(account) == [("Unreadable", 0, 0, 1, 0, 50)] * 2
        assert [(each.start, each.end) for each in account.missed] == [(NOON, NOON + 50)]

    def test_by_uptime_where_the_clock_was_set_back(self) -> None:
        """A driver that hangs is told of whatever becomes of the clock."""
        account = begun()
        assert account.miss(at(-3600, uptime=86_400 + 30))
        assert told(account) == [("Unreadable", 0, 0, 1, 0, None)]


class TestTime:
    def test_a_clock_that_is_set_back(self) -> None:
        """Time stands still until the clock is that late again; what is found meanwhile is told, and energy counts."""
        account = begun()
        account.take(node(card(energy_millijoules=1_500_000, remap_pending=True)), at(-600, uptime=86_410))
        assert account.at == NOON
        assert told(account) == [("RowRemapPending", 0, 0, 1, 0, None)]
        assert account.gpus[name()].registers.energy_millijoules == 500_000
        account.take(node(card()), at(10))
        assert (account.missed, account.gpus[name()].registers.sampled_seconds) == ([], 10)

    def test_a_clock_that_is_set_forward(self) -> None:
        """The leap is a missed stretch in which the uptime hardly advanced."""
        account = begun()
        account.take(node(card()), at(3610, uptime=86_410))
        assert [(each.end - each.start, each.uptime_seconds) for each in account.missed] == [(3610, 10)]


class TestStrangers:
    def test_counted_and_timed(self) -> None:
        """How many there are is told at once; time counts from the sample before the first to the one after the last."""
        account = begun()
        assert account.take(node(card()), at(10), {name(): 2})
        assert account.gpus[name()].strangers == 2
        assert not account.take(node(card()), at(20), {name(): 2})
        assert account.take(node(card()), at(30), {})
        account.take(node(card()), at(40))
        assert account.gpus[name()].registers.stranger_seconds == 30

    def test_none_on_a_gpu_that_is_not_there(self) -> None:
        """A GPU that cannot be read has none."""
        account = begun()
        account.take(node(card()), at(10), {name(): 1})
        account.take(node(lost=(0,)), at(20))
        assert account.gpus[name()].strangers == 0


class TestBounds:
    def test_open_findings_are_never_dropped(self) -> None:
        """Of 400 findings the open ones and the newest closed ones stay, 256 in all, and `complete_since` says from when on."""
        account = begun(card(0), card(1))
        account.hear(name(1), 31)
        for number in range(400):
            pending = bool(number % 2 == 0)
            account.take(node(card(0, remap_pending=pending), card(1)), at(10 * number + 10))
        account.hear(name(1), 43)
        account.take(node(card(0), card(1)), at(4010))
        listed = account.findings.listed()
        assert len(listed) <= 256
        assert {each.code for each in listed if each.end is None} == {31, 43}

    def test_dropping_moves_what_is_complete(self) -> None:
        """All findings and missed stretches that ended after `complete_since` are listed."""
        account = begun()
        for number in range(70):
            account.take(node(card()), at(100 * number + 100))
        assert len(account.missed) == 64
        assert account.complete_since == account.missed[0].start
        for number in range(600):
            account.take(node(card(remap_pending=number % 2 == 0)), at(7010 + 10 * number))
        closed = [each for each in account.findings.listed() if each.end is not None]
        assert len(closed) == 256
        assert account.complete_since == NOON + 7010 + 10 * 599 - 20 * 256
        assert min(each.end or 0 for each in closed) > account.complete_since

    def test_begins_complete(self) -> None:
        """From its first sample on, an account lists everything."""
        account = Account.begin("uid", 10, NOON)
        assert (account.since, account.at, account.complete_since) == (NOON, NOON, NOON)
