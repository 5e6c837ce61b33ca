"""What each node is to become, at every instant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.nodes.attempt import entry_for
from laycan.delivery.nodes.desired import LINGER_SECONDS, Target, Want, claims_of_world, desired
from laycan.kube.views import ContractView, NodeView
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

NONE: frozenset[str] = frozenset()


def target(seen: World, at: int, name: str = "n", failed: frozenset[str] = NONE, recovered: frozenset[str] = NONE) -> Target | None:
    """The target of one node so many seconds after T0."""
    targets, _ = desired(seen, claims_of_world(seen, SETTINGS), failed, recovered, SETTINGS, T0 + at)
    return targets.get(name)


def one(owner: str, *contracts: ContractView, **more: Any) -> World:
    """One node with this fence entry and label."""
    return world([node("n", holder=owner, **more)], contracts, {"n": owner} if owner else {})


A = contract("a", "acme", [binding("n", 100, 200)])
B = contract("b", "beta", [binding("n", 200, 300)])


def suspended(name: str, holder: str, *bindings: dict[str, Any]) -> ContractView:
    view = contract(name, holder, bindings)
    return replace(view, status={**view.status, "instructions": {"suspendedSince": format_time(T0 + 50)}})


class TestSuspended:
    """acme's window from 100 to 200, suspended by its exchange."""

    @pytest.mark.parametrize(("at", "owner"), [(40, ""), (120, "acme"), (120, "frozen.uid-a"), (120, ""), (199, "acme")])
    def test_closed_to_everybody(self, at: int, owner: str) -> None:
        """Its node is emptied and stays closed, the holder's pods included; nobody else is let in either."""
        found = target(one(owner, suspended("a", "acme", binding("n", 100, 200))), at)
        assert found == Target(Want.PREPARE, "uid-a")
        assert entry_for(owner, owner, found) == "frozen.uid-a"

    def test_by_another_contract(self) -> None:
        """What the holder has by a contract that is not suspended he keeps."""
        held = suspended("a", "acme", binding("n", 100, 200))
        other = contract("z", "acme", [binding("n", 110, 200)])
        for owner in ("acme", "frozen.uid-a", ""):
            found = target(one(owner, held, other), 120)
            assert found is not None
            assert (found.want, found.uid, found.holder) == (Want.HOLD, "uid-z", "acme")

    def test_after_its_window(self) -> None:
        """The next holder gets the node as ever."""
        found = target(one("frozen.uid-a", suspended("a", "acme", binding("n", 100, 200)), B), 200)
        assert found is not None
        assert (found.want, found.holder) == (Want.HOLD, "beta")

    def test_a_failure_is_one(self) -> None:
        """A node that fails meanwhile goes into quarantine."""
        found = target(one("frozen.uid-a", suspended("a", "acme", binding("n", 100, 200))), 120, failed=frozenset({"n"}))
        assert found is not None
        assert found.want is Want.QUARANTINE


class TestWindows:
    """One node, one contract: acme's from 100 to 200, lead 60."""

    @pytest.mark.parametrize(
        ("at", "owner", "want"),
        [
            (39, "", None),
            (40, "", Want.PREPARE),
            (99, "frozen.uid-a", Want.PREPARE),
            (100, "frozen.uid-a", Want.HOLD),
            (100, "", Want.HOLD),
            (199, "acme", Want.HOLD),
            (200, "acme", Want.OPEN),
            (200, "end.uid-a", Want.OPEN),
            (200, "", None),
        ],
    )
    def test_life(self, at: int, owner: str, want: Want | None) -> None:
        """A window is prepared from its lead on, held from its first second to its last, and opened after it."""
        found = target(one(owner, A), at)
        assert (found and found.want) == want

    @pytest.mark.parametrize(("had", "keep"), [(False, ""), (True, "acme")])
    def test_his_own_pods_stay(self, had: bool, keep: str) -> None:
        """Where entry and label of a delivered node are both gone it is closed anew, and emptied of strangers only."""
        row = binding("n", 100, 200) | ({"handedOverAt": format_time(T0 + 101)} if had else {})
        found = target(one("", contract("a", "acme", [row])), 150)
        assert found is not None
        assert (found.want, found.keep) == (Want.HOLD, keep)

    def test_turnaround_is_a_lead(self) -> None:
        """A product that keeps nodes free for longer than the lead has them frozen as long."""
        seen = world([node("n")], [A], {}, {"turnaroundSeconds": 90})
        assert target(seen, 9) is None
        found = target(seen, 10)
        assert found is not None
        assert found.want is Want.PREPARE

    def test_terminated_and_not_yet_over(self) -> None:
        """A contract that was ended by an instruction gives its node back while its last samples are waited for."""
        view = contract("a", "acme", [binding("n", 100, 150)], phase="Delivering", end=format_time(T0 + 200))
        found = target(one("acme", replace(view, status={**view.status, "endedAt": format_time(T0 + 150)})), 150)
        assert found is not None
        assert found.want is Want.OPEN

    @pytest.mark.parametrize("change", [{"phase": "Terminated"}, {"phase": "Delivered"}, {"phase": "Rejected"}, {"deleting": True}])
    def test_only_live_contracts_hold(self, change: dict[str, Any]) -> None:
        """A contract that is over, or is being deleted, gets nothing and loses what it has."""
        over = contract("a", "acme", [binding("n", 100, 200)], **change)
        assert target(one("", over), 150) is None
        found = target(one("acme", over), 150)
        assert found is not None
        assert found.want is Want.OPEN

    def test_deadlines(self) -> None:
        """Budgets hold until the window begins; after a re-bind, and at the end of a window, for the drain time."""
        planned = target(one("", contract("a", "acme", [binding("n", 100, 200, bound_at=-500)])), 40)
        rebound = target(one("", contract("a", "acme", [binding("n", 100, 200, bound_at=150)])), 150)
        ended = target(one("acme", A), 205)
        assert [found.deadline - T0 for found in (planned, rebound, ended) if found] == [100, 180, 230]


class TestHolders:
    """From one holder to the next."""

    def test_next_holder_follows_at_once(self) -> None:
        """Where the next window's lead has begun, the node goes from the holder to it, never through free."""
        found = target(one("acme", A, B), 200)
        assert found == Target(Want.HOLD, "uid-b", "beta", T0 + 200)
        assert found is not None
        assert entry_for("acme", "acme", found) == "frozen.uid-b"

    def test_running_window_is_not_disturbed(self) -> None:
        """While one holder's window runs, the next one's lead changes nothing."""
        found = target(one("acme", A, B), 199)
        assert found is not None
        assert (found.want, found.holder) == (Want.HOLD, "acme")
        assert entry_for("acme", "acme", found) == "acme"

    def test_same_holder_goes_on(self) -> None:
        """The same holder's next contract on the node drains nothing, also over a gap shorter than the lead."""
        follows = contract("c", "acme", [binding("n", 230, 300)])
        for at in (199, 200, 229, 230):
            found = target(one("acme", A, follows), at)
            assert found is not None
            assert found.want is Want.HOLD
            assert entry_for("acme", "acme", found) == "acme", at

    def test_passing_to_another_contract_of_the_holder(self) -> None:
        """A node whose binding a new plan cut is not emptied at once: the holder's other contract, which gets it, is written next."""
        cut = contract("a", "acme", [binding("n", 100, 150)], end=format_time(T0 + 200))
        assert target(one("acme", cut), 150) is None
        found, wake = desired(one("acme", cut), claims_of_world(one("acme", cut), SETTINGS), NONE, NONE, SETTINGS, T0 + 150)
        assert (found, wake) == ({}, T0 + 150 + LINGER_SECONDS)
        late = target(one("acme", cut), 150 + LINGER_SECONDS)
        assert late is not None
        assert late.want == Want.OPEN
        other = target(one("acme", cut, contract("b", "beta", [binding("n", 160, 300)])), 150)
        assert other is not None
        assert (other.want, other.holder) == (Want.PREPARE, "beta"), "nobody else waits for it"

    def test_double_booking(self) -> None:
        """Should two statuses claim a node for the same second, whoever has it keeps it; nobody is evicted for a planner's defect."""
        late, early = contract("z", "acme", [binding("n", 120, 200)]), contract("b", "beta", [binding("n", 100, 200)])
        kept, fresh = target(one("acme", early, late), 150), target(one("", early, late), 150)
        assert [found.holder for found in (kept, fresh) if found] == ["acme", "beta"]

    def test_a_longer_gap_ends_it(self) -> None:
        """Beyond the lead even the same holder has no right to the node in between."""
        later = contract("c", "acme", [binding("n", 261, 300)])
        found = target(one("acme", A, later), 200)
        assert found is not None
        assert entry_for("acme", "acme", found) == "end.uid-a"

    def test_cut_before_it_began(self) -> None:
        """A node that was frozen for a window that is planned elsewhere now is opened, not handed over."""
        moved = contract("a", "acme", [binding("other", 100, 200)])
        found = target(one("frozen.uid-a", moved), 90)
        assert found is not None
        assert found.want is Want.OPEN


class TestOthers:
    """Failure, quarantine, pauses, and nodes that are not ours."""

    def test_failed_and_held(self) -> None:
        """A failed node is put into quarantine on its contract's account, and stays there when it is well but not for long."""
        found = target(one("acme", A), 150, failed=frozenset({"n"}))
        assert found == Target(Want.QUARANTINE, "uid-a")
        assert target(one("quarantine.uid-a", A), 150) == Target(Want.QUARANTINE, "uid-a")

    def test_failed_and_free(self) -> None:
        """A failed node that nobody holds is left alone, and not frozen for anybody."""
        assert target(one("", A), 150, failed=frozenset({"n"})) is None

    def test_recovered(self) -> None:
        """Only what the health record calls recovered is opened."""
        found = target(one("quarantine.uid-a"), 150, recovered=frozenset({"n"}))
        assert found == Target(Want.OPEN, "uid-a")

    def test_pauses(self) -> None:
        """A paused contract freezes and takes nothing more, but keeps what it has; a paused node is not touched at all."""
        paused = contract("a", "acme", [binding("n", 100, 200)], annotations={"laycan.dev/paused": "true"})
        assert target(one("", paused), 150) is None
        assert target(one("frozen.uid-a", paused), 150) is None
        held = target(one("acme", paused), 150)
        assert held is not None
        assert held.want is Want.HOLD
        still = node("n", annotations={"laycan.dev/paused": "true"}, holder="acme")
        assert target(world([still], [A], {"n": "acme"}), 300) is None

    def test_unmanaged(self) -> None:
        """A node that is not of the fleet is not touched, whatever a status or an old label says; only our own fence entry goes."""
        alien = node("n", managed=False, holder="acme")
        assert target(world([alien], [A], {}), 150) is None
        assert target(world([alien], [A], {"n": "acme"}), 150) is None
        left = target(world([alien], [], {"n": "acme"}), 150)
        assert left is not None
        assert left.want is Want.OPEN

    def test_lost_entry(self) -> None:
        """A label without a fence entry closes the node again as it was, before anything else is decided."""
        seen = world([node("n", holder="acme")], [A], {})
        found = target(seen, 150)
        assert found is not None
        assert entry_for("", "acme", found) == "acme"


@st.composite
def schedules(draw: st.DrawFn) -> list[ContractView]:
    """Contracts of three holders that follow each other on node n, with gaps from none to more than the lead."""
    contracts, at = [], draw(st.integers(0, 100))
    for number in range(draw(st.integers(1, 6))):
        start = at + draw(st.sampled_from([0, 0, 1, 30, 59, 60, 61, 200]))
        at = start + draw(st.integers(1, 150))
        contracts.append(contract(f"c{number}", draw(st.sampled_from(["acme", "beta", "gamma"])), [binding("n", start, at)]))
    return contracts


def settle(seen: World, owner: str, at: int, settings: Settings = SETTINGS) -> list[str]:
    """Fence entries in the order in which an undisturbed protocol would make them, ending with the one that stays."""
    trace: list[str] = []
    while True:
        seen = one(owner, *seen.contracts.values())
        found = target(seen, at)
        if found is None:
            return trace
        entry = entry_for(owner, owner, found)
        if entry == owner:
            entry = {Want.HOLD: found.holder, Want.PREPARE: owner, Want.QUARANTINE: owner, Want.OPEN: ""}[found.want]
        if entry == owner:
            return trace
        trace.append(entry)
        owner = entry


class TestSchedules:
    """Whole lives of a node, by an executor that does what the targets say."""

    @given(schedules())
    def test_right_holder_at_every_second(self, contracts: list[ContractView]) -> None:
        """In each window its holder has the node and nobody else ever does; where a lead has begun it is never free in between."""
        windows = [(c, T0, *_window(c)) for c in contracts]
        owner = ""
        for at in range(max(end for *_, end in windows) + 2):
            trace = settle(one(owner, *contracts), owner, at)
            near = [c for c, _, start, end in windows if start - SETTINGS.lead_seconds <= at < end]
            if near and owner:
                assert "" not in trace, (at, owner, trace)
            owner = trace[-1] if trace else owner
            running = [c for c, _, start, end in windows if start <= at < end]
            if running:
                assert owner == _holder(running[0]), (at, owner)
            elif "." not in owner and owner:
                assert owner == _holder(near[0]), (at, owner)
        assert owner == ""

    @given(schedules(), st.integers(0, 600), st.sampled_from(["", "acme", "frozen.uid-c0", "end.uid-c0", "quarantine.uid-c1"]))
    def test_nothing_changes_before_the_wake(self, contracts: list[ContractView], at: int, owner: str) -> None:
        """With the world unchanged, the targets stay the same until the instant that `desired` names."""
        seen = one(owner, *contracts)
        claims = claims_of_world(seen, SETTINGS)
        now, wake = desired(seen, claims, NONE, NONE, SETTINGS, T0 + at)
        assert wake is None or wake > T0 + at
        for later in range(at, at + 300 if wake is None else wake - T0):
            again, _ = desired(seen, claims_of_world(seen, SETTINGS), NONE, NONE, SETTINGS, T0 + later)
            assert again == now, later

    @given(schedules(), st.integers(0, 600), st.booleans(), st.booleans(), st.sampled_from(["", "acme", "frozen.uid-c0"]))
    def test_unmanaged_nodes_have_no_target(self, contracts: list[ContractView], at: int, labelled: bool, failed: bool, owner: str) -> None:
        """Whatever the statuses say, a node outside the fleet is at most struck from our own fence."""
        alien: NodeView = node("n", managed=False, holder=owner if labelled else "")
        seen = world([alien], contracts, {"n": owner} if owner else {})
        found = target(seen, at, failed=frozenset({"n"}) if failed else NONE)
        assert found is None or (found.want is Want.OPEN and owner)


def _window(view: ContractView) -> tuple[int, int]:
    claims = claims_of_world(world([], [view]), SETTINGS).on("n")
    return claims[0].start - T0, claims[0].end - T0


def _holder(view: ContractView) -> str:
    return str(view.spec["terms"]["delivery"]["handover"]["namespace"])
