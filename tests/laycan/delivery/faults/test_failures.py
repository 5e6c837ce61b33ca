"""What counts as failed, when, and when a person must look first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.faults.failures import Verdict, judge, unusable
from laycan.delivery.faults.health import Health
from laycan.delivery.nodes.desired import claims_of_world
from laycan.kube.views import NodeView
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.settings import Settings
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

WIDE = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})


def held(name: str, **more: Any) -> NodeView:
    """A node that acme holds."""
    return node(name, **{"holder": "acme", **more})


def acme(nodes: list[NodeView], owner: str = "acme", **more: Any) -> World:
    """A contract that is delivered on all of these nodes since T0."""
    bound = contract("a", "acme", [binding(each.name, 0, 10_000) for each in nodes], annotations=more.pop("paused", {}))
    return world(nodes, [bound], {each.name: owner for each in nodes}, **more)


def verdict(seen: World, at: int, health: Health | None = None, settings: Settings = WIDE) -> Verdict:
    """Judged so many seconds after T0, by somebody who looks at all nodes now."""
    health = health or Health()
    claims = claims_of_world(seen, settings)
    for name in seen.nodes.keys() | (seen.fence.nodes.keys() if seen.fence else set()):
        health.observe(name, seen.nodes.get(name), sum(c.gpus for c in claims.on(name)), settings, T0 + at)
    return judge(seen, claims, health, settings, T0 + at)


class TestReadiness:
    """NotReady for longer than the product's detection time."""

    @pytest.mark.parametrize(("product", "seconds"), [({}, 40), ({"detection": {"seconds": 7}}, 7)])
    def test_detection(self, product: dict[str, Any], seconds: int) -> None:
        """A node fails at the very second, which is also the wake, and its onset is the change of readiness."""
        seen = acme([held("n", ready=False, since=T0 + 10)], product=product)
        before = verdict(seen, 10 + seconds - 1)
        assert (before.failed, before.wake) == ({}, T0 + 10 + seconds)
        failed = verdict(seen, 10 + seconds).failed
        assert (failed["n"].reason, failed["n"].onset) == ("NotReady", T0 + 10)

    def test_cordon(self) -> None:
        """A cordon is no failure: delivery does not even see it."""
        cordoned = held("n")
        cordoned.raw["spec"]["unschedulable"] = True
        assert verdict(acme([cordoned]), 10_000).failed == {}

    def test_usable_until_it_failed(self) -> None:
        """The planner moves nothing away before the detection time, but puts nothing on an idle node that is NotReady."""
        bound, idle = held("bound", ready=False, since=T0), node("idle", ready=False, since=T0)
        seen = acme([bound])
        seen.nodes["idle"] = idle
        assert unusable(seen, WIDE, T0 + 39) == {"idle"}
        assert unusable(seen, WIDE, T0 + 40) == {"idle", "bound"}

    def test_paused(self) -> None:
        """Where delivery is paused nothing is given up."""
        paused = {"laycan.dev/paused": "true"}
        down = held("n", ready=False, since=T0)
        assert verdict(acme([down], paused=paused), 1000).failed == {}
        assert verdict(acme([held("n", ready=False, since=T0, annotations=paused)]), 1000).failed == {}
        assert verdict(acme([down], annotations=paused), 1000).failed == {}
        assert verdict(acme([down]), 1000, settings=WIDE.model_copy(update={"pause_all": True})).failed == {}


class TestMovedAway:
    """The plan may move a contract off a failed node before the quarantine is in the fence, which may be down just then."""

    def test_not_ready(self) -> None:
        """The node stays failed: it must not be opened and given to the next while its kubelet may still run the old pods."""
        down = held("n", ready=False, since=T0 + 10)
        moved = contract("a", "acme", [binding("n", 0, 18), binding("m", 18, 10_000)], phase="Delivering")
        seen = world([down, node("m")], [moved], {"n": "acme"}, {"detection": {"seconds": 7}})
        assert set(verdict(seen, 18).failed) == {"n"}

    def test_gpus_lost(self) -> None:
        """So does a node that lost GPUs; one that is whole is simply opened."""
        health = Health()
        few, whole = held("n", gpus=5), held("w")
        seen = world(
            [held("n"), whole], [contract("a", "acme", [binding("n", 0, 10_000), binding("w", 0, 10_000)])], {"n": "acme", "w": "acme"}
        )
        verdict(seen, 10, health)
        seen.nodes["n"] = few
        verdict(seen, 20, health)
        cut = contract("a", "acme", [binding("n", 0, 141), binding("w", 0, 141), binding("m", 141, 10_000)], phase="Delivering")
        seen.contracts["desk/a"] = cut
        assert set(verdict(seen, 145, health).failed) == {"n"}


class TestIdentity:
    """Deleted, and made anew under the same name."""

    def test_deleted(self) -> None:
        """A held node whose object is gone has failed at once."""
        seen = acme([held("n")])
        del seen.nodes["n"]
        assert verdict(seen, 5).failed["n"].reason == "Deleted"

    def test_recreated(self) -> None:
        """Another machine under the name of a held node is no delivery; a label that somebody took off the same machine is."""
        health = Health()
        assert verdict(acme([held("n")]), 0, health).failed == {}
        assert verdict(acme([held("n", holder="")]), 1, health).failed == {}
        assert verdict(acme([held("n", holder="", uid="new")]), 2, health).failed["n"].reason == "Recreated"

    def test_recreated_while_nobody_looked(self) -> None:
        """After a restart the missing label tells: the protocol never hands over a node without one."""
        assert verdict(acme([held("n", holder="")]), 2).failed["n"].reason == "Recreated"


class TestGpus:
    """Fewer healthy GPUs than are bound, for longer than the dwell of 120 s."""

    def test_dwell(self) -> None:
        """A restart of the device plugin moves nothing; a loss that lasts is a failure from its onset."""
        health, whole, none = Health(), acme([held("n")]), acme([held("n", gpus=0)])
        assert verdict(whole, 0, health).failed == {}
        waiting = verdict(none, 10, health)
        assert (waiting.failed, waiting.wake) == ({}, T0 + 131)
        assert verdict(none, 130, health).failed == {}
        lost = verdict(none, 131, health).failed["n"]
        assert (lost.reason, lost.onset) == ("GpusLost", T0 + 10)

    def test_back_in_time(self) -> None:
        """GPUs that come back end the dwell; the next drop has one of its own."""
        health, whole, seven = Health(), acme([held("n")]), acme([held("n", gpus=7)])
        for seen, at in ((whole, 0), (seven, 10), (whole, 100), (seven, 150)):
            assert verdict(seen, at, health).failed == {}
        assert verdict(seven, 270, health).failed == {}
        assert verdict(seven, 271, health).failed["n"].onset == T0 + 150

    def test_further_loss(self) -> None:
        """On a node that has long had fewer GPUs, the next loss has a dwell of its own."""
        health, bound = Health(), contract("a", "acme", [binding("n", 0, 10_000, gpus=6)])
        counts = [(0, 8), (10, 7), (500, 7), (600, 5)]
        for at, gpus in counts:
            assert verdict(world([held("n", gpus=gpus)], [bound], {"n": "acme"}), at, health).failed == {}
        five = held("n", gpus=5)
        seen = world([five], [bound], {"n": "acme"})
        assert [health.gpus(five, SETTINGS, T0 + at) for at in (600, 720, 721)] == [7, 7, 5]
        assert verdict(seen, 720, health).failed == {}
        assert verdict(seen, 721, health).failed["n"].onset == T0 + 600

    def test_plans_count_on_them_meanwhile(self) -> None:
        """The planner sees the usual number during the dwell, also right after a restart, and the real one after it."""
        health, seven = Health(), held("n", gpus=7)
        verdict(acme([seven]), 10, health)
        counts = [health.gpus(seven, SETTINGS, T0 + at) for at in (10, 130, 131)]
        assert counts == [8, 8, 7]

    def test_enough_left(self) -> None:
        """A node that lost GPUs which nobody was sold has not failed."""
        seven = held("n", gpus=7)
        bound = contract("a", "acme", [binding("n", 0, 10_000, gpus=4)])
        assert verdict(world([seven], [bound], {"n": "acme"}), 1000).failed == {}


class TestQuarantine:
    """How a node comes back."""

    def test_hysteresis(self) -> None:
        """It must be Ready for the whole hysteresis; the wake names the second."""
        back = held("n", holder="quarantine.uid-a", since=T0)
        seen = world([back], [], {"n": "quarantine.uid-a"})
        early = verdict(seen, 899)
        assert (early.recovered, early.wake) == (frozenset(), T0 + 900)
        assert verdict(seen, 900).recovered == {"n"}

    @pytest.mark.parametrize("sick", [{"ready": False}, {"gpus": 7}, {"gpus": 0, "capacity": 0}, {"managed": False}])
    def test_not_well(self, sick: dict[str, Any]) -> None:
        """NotReady, GPUs missing or unhealthy, or taken out of the fleet: it stays."""
        seen = world([held("n", **sick)], [], {"n": "quarantine.uid-a"})
        assert verdict(seen, 100_000).recovered == frozenset()

    def test_healthy_again(self) -> None:
        """GPUs that were away count from their return, although the node was Ready all the time."""
        health = Health()
        quarantine = {"n": "quarantine.uid-a"}
        verdict(world([held("n", gpus=7)], [], quarantine), 0, health)
        whole = world([held("n")], [], quarantine)
        assert verdict(whole, 500, health).recovered == frozenset()
        assert verdict(whole, 1399, health).recovered == frozenset()
        assert verdict(whole, 1400, health).recovered == {"n"}

    def test_gone_for_good(self) -> None:
        """The entry of a node that was deleted and bound nowhere is struck after the hysteresis."""
        health, seen = Health(), world([], [], {"n": "quarantine.uid-a"})
        assert verdict(seen, 0, health).recovered == frozenset()
        assert verdict(seen, 900, health).recovered == {"n"}

    def test_never_usable(self) -> None:
        """No plan uses a node in quarantine, well or not."""
        assert unusable(world([held("n")], [], {"n": "quarantine.uid-a"}), WIDE, T0 + 10_000) == {"n"}


class TestBreaker:
    """No more than 5 % of the fleet in ten minutes."""

    def test_half_the_fleet(self) -> None:
        """Of 40 nodes 20 fail within a minute: the first two are given up, the rest keeps what it holds, for good."""
        nodes = [held(f"n{i:02}", ready=i >= 20, since=T0 + i if i < 20 else T0 - 1000) for i in range(40)]
        for at in (100, 9_999):
            found = verdict(acme(nodes), at, settings=SETTINGS)
            assert sorted(found.failed) == ["n00", "n01"]
            assert sorted(found.withheld) == [f"n{i:02}" for i in range(2, 20)]
            assert unusable(acme(nodes), SETTINGS, T0 + at) == {"n00", "n01"}

    def test_reset(self) -> None:
        """A person's word up to an instant lets everything go that failed by then, and nothing later."""
        nodes = [held(f"n{i:02}", ready=i >= 20, since=T0 + i if i < 20 else T0 - 1000) for i in range(40)]
        reset = {"laycan.dev/breaker-reset": format_time(T0 + 9)}
        found = verdict(acme(nodes, annotations=reset), 100, settings=SETTINGS)
        assert sorted(found.failed) == [f"n{i:02}" for i in range(12)]  # ten by word, two by the limit
        unreadable = verdict(acme(nodes, annotations={"laycan.dev/breaker-reset": "yes"}), 100, settings=SETTINGS)
        assert len(unreadable.failed) == 2

    def test_small_fleet(self) -> None:
        """Where the share is less than one node, one may still fail."""
        nodes = [held("a", ready=False, since=T0), held("b", ready=False, since=T0), held("c")]
        assert sorted(verdict(acme(nodes), 100, settings=SETTINGS).failed) == ["a"]

    def test_those_in_quarantine_count(self) -> None:
        """What was given up a minute ago leaves no room now; ten minutes later it does."""
        old = held("old", holder="quarantine.uid-x", ready=False, since=T0)
        for since, expected in ((60, []), (600, ["new"])):
            seen = acme([held("new", ready=False, since=T0 + since)])
            seen.nodes["old"] = old
            assert seen.fence is not None
            seen.fence.nodes["old"] = "quarantine.uid-x"  # type: ignore[index]
            assert sorted(verdict(seen, 2000, settings=SETTINGS).failed) == expected, since

    @given(st.lists(st.integers(0, 3000), min_size=1, max_size=30), st.integers(10_000, 1_000_000))
    def test_no_window_holds_more(self, onsets: list[int], share_ppm: int) -> None:
        """Whatever fails when: nothing is lost from sight, and no ten minutes hold more given-up onsets than the limit."""
        settings = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": share_ppm})})
        nodes = [held(f"n{i}", ready=False, since=T0 + onset) for i, onset in enumerate(onsets)]
        found = verdict(acme(nodes), 10_000, settings=settings)
        assert found.failed.keys() | found.withheld.keys() == {each.name for each in nodes}
        limit = max(1, len(nodes) * share_ppm // 1_000_000)
        given_up = sorted(failure.onset for failure in found.failed.values())
        assert all(b - a >= 600 for a, b in zip(given_up, given_up[limit:], strict=False))
        assert found.failed


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 8)), max_size=8))
def test_dwell_never_shortens(changes: list[tuple[int, int]]) -> None:
    """Through any sequence of GPU counts a node fails only if its count was below the bound for the whole dwell before."""
    health, at, last = Health(), 0, 8
    below_since: int | None = None
    verdict(acme([held("n")]), 0, health)
    for wait, gpus in changes:
        at += wait
        if below_since is not None:
            lost = verdict(acme([held("n", gpus=last)]), at, health).failed
            assert bool(lost) == (at - below_since > 120)
            if lost:
                return
        verdict(acme([held("n", gpus=gpus)]), at, health)
        below_since = (at if below_since is None else below_since) if gpus < 8 else None
        last = gpus
