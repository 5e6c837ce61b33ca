"""Silence of kubelets: what is proof of it, and what is only our own deafness."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.faults.heartbeats import RENEWAL_SECONDS, Heartbeats, renewal
from laycan.delivery.metering.gaps import find_gaps, possessed
from laycan.delivery.metering.reading import Reading
from laycan.delivery.metering.served import Bound
from laycan.delivery.nodes.situation import Situation
from laycan.kube.world import World
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

WIDE = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})
NAMES = [f"n{i}" for i in range(10)]


BACKOFF = (1, 1, 2, 4, 7)  # seconds between a kubelet's attempts while it cannot renew


class Cluster:
    """Ten kubelets that renew one second apart, every ten seconds, and somebody who listens each second."""

    def __init__(self) -> None:
        self.now = 0
        self.dead: set[str] = set()
        self.heartbeats = Heartbeats(lambda: self.now)
        self._due = {name: 1 + i for i, name in enumerate(NAMES)}
        self._tries = dict.fromkeys(NAMES, 0)
        self._unread: dict[str, int] = {}  # renewals that nobody has seen yet
        for name in NAMES:
            self.heartbeats.put("leases", f"kube-node-lease/{name}", -1)

    def run(self, until: int, *, renewing: bool = True, connected: bool = True) -> dict[str, int]:
        """When each node was first found silent for 15 s."""
        found: dict[str, int] = {}
        while self.now < until:
            self.now += 1
            for name in NAMES:
                if self._due[name] <= self.now and name not in self.dead:
                    self._renew(name, renewing)
            if connected:
                for name, renewed in self._unread.items():
                    self.heartbeats.put("leases", f"kube-node-lease/{name}", renewed)
                self._unread.clear()
            self.heartbeats.look(connected, self.now)
            for each in NAMES:
                if self.heartbeats.silent(each, 15):
                    found.setdefault(each, self.now)
        return found

    def _renew(self, name: str, possible: bool) -> None:
        if possible:
            self._unread[name] = self.now
            self._due[name], self._tries[name] = self.now + 10, 0
        else:
            self._due[name] = self.now + BACKOFF[min(self._tries[name], 4)]
            self._tries[name] += 1


def test_one_dies() -> None:
    """A kubelet that stops is found by the time since its last renewal was seen: 15 s, and as soon as others prove that it could renew."""
    seen = Cluster()
    assert seen.run(60) == {}
    seen.dead = {"n3"}  # renewed at 54
    assert seen.run(80) == {"n3": 72}
    assert seen.heartbeats.renewed["n3"] == 54
    assert seen.heartbeats.silent_since("n3") == 54


def test_rack_dies() -> None:
    """So are three of ten together."""
    seen = Cluster()
    seen.run(60)
    seen.dead = {"n1", "n2", "n3"}
    assert seen.run(80) == {"n1": 72, "n2": 72, "n3": 72}


@pytest.mark.parametrize("seconds", [3, 6, 9, 15, 100])
def test_stall(seconds: int) -> None:
    """While nobody can renew, for whatever reason, nobody is taken for dead, nor in the time that kubelets take to come back."""
    seen = Cluster()
    seen.run(60)
    assert seen.run(60 + seconds, renewing=False) == {}
    assert seen.run(200 + seconds) == {}


def test_broken_watch() -> None:
    """After a broken stream everybody gets the full time again, whoever died meanwhile is found after it."""
    seen = Cluster()
    seen.run(60)
    seen.dead = {"n3"}
    assert seen.run(64, connected=False) == {}
    assert seen.run(100) == {"n3": 83}  # as of 65 on


def test_most_of_the_cluster() -> None:
    """Where most fall silent at once it may be our ears: that is left to the Ready condition."""
    seen = Cluster()
    seen.run(60)
    seen.dead = set(NAMES[:7])
    assert seen.run(300) == {}


def test_nobody_is_judged_before_it_was_heard() -> None:
    """Renewals that were written before the watch began prove nothing: everybody gets the full time."""
    seen = Cluster()
    seen.dead = {"n3"}
    assert min(seen.run(60).values()) >= 15


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=12))
def test_the_living_are_never_silent(stretches: list[tuple[int, bool, bool]]) -> None:
    """Through any sequence of stalls and broken streams no kubelet that renews whenever it can is found silent."""
    seen = Cluster()
    for seconds, renewing, connected in stretches:
        assert seen.run(seen.now + seconds, renewing=renewing, connected=connected) == {}
    assert seen.run(seen.now + 60) == {}


def test_renewal() -> None:
    """A Lease tells with microseconds; one that tells nothing, or nonsense, is no heartbeat."""
    assert renewal({"spec": {"renewTime": "2027-01-15T08:00:00.123456Z"}}) == T0
    assert renewal({"spec": {"renewTime": "soon"}}) is None
    assert renewal({}) is None


@pytest.mark.parametrize("minutes", ["06", "59"], ids=["late", "early"])
def test_renewal_by_the_clock_of_the_api_server(minutes: str) -> None:
    """A kubelet's clock that is wrong makes no outage longer or shorter; who else wrote the Lease says nothing of its kubelet."""

    def entry(manager: str, field: str, time: str) -> dict[str, Any]:
        return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:spec": {field: {}}}}

    managed = [entry("kubelet", "f:renewTime", "2027-01-15T08:00:00Z"), entry("somebody", "f:holderIdentity", "2027-01-15T09:00:00Z")]
    lease = {"metadata": {"managedFields": managed}, "spec": {"renewTime": f"2027-01-15T07:{minutes}:00.123456Z"}}
    assert renewal(lease) == T0


class TestFailure:
    """From silence to a failed node, while its Ready condition still says True."""

    def scene(self, **product: int) -> tuple[World, Situation, list[int]]:
        """Acme has n0 of ten nodes, all Ready and heard at T0; the clock stands in the list."""
        nodes = [node(name, holder="acme" if name == "n0" else "") for name in NAMES]
        detection = {"detection": {"seconds": 40, **product}}
        seen = world(nodes, [contract("a", "acme", [binding("n0", 0, 10_000)])], {"n0": "acme"}, detection)
        situation, clock = Situation(seen, WIDE, lambda: None), [T0]
        situation.health.heartbeats = Heartbeats(lambda: clock[0])
        self.renew(situation, T0, NAMES)
        situation.health.heartbeats.look(True, T0)
        situation.look(T0, full=True)
        return seen, situation, clock

    def renew(self, situation: Situation, now: int, names: list[str]) -> None:
        for name in names:
            situation.health.heartbeats.put("leases", f"kube-node-lease/{name}", now - 5)  # by the kubelet's clock, which is late

    def at(self, situation: Situation, clock: list[int], now: int) -> None:
        """Some of the others renew, and somebody looks."""
        clock[0] = now
        self.renew(situation, now, NAMES[5:] if now == T0 + 12 else NAMES[1:5])
        situation.health.heartbeats.look(True, now)
        situation.look(now)

    def test_fails(self) -> None:
        """It fails at the second that its product names; the planner, the meter and a restart of its pods know it as dead."""
        seen, situation, clock = self.scene(heartbeatSeconds=20)
        assert situation.wants_heartbeats()
        self.at(situation, clock, T0 + 12)
        self.at(situation, clock, T0 + 19)
        assert (situation.verdict.failed, seen.silent) == ({}, {})
        assert situation.wake is not None
        assert situation.wake <= T0 + 20
        self.at(situation, clock, T0 + 20)
        assert situation.verdict.failed["n0"].reason == "NoHeartbeat"
        assert situation.unusable(T0 + 20) == {"n0"}
        assert not seen.alive(seen.nodes["n0"])
        assert seen.last_seen["n0"] == T0 - 5

    def test_quiet_cluster(self) -> None:
        """Somebody looks every second though nothing happens, from the moment that a product asks: silence wakes nobody."""
        _, situation, _ = self.scene(heartbeatSeconds=20)
        assert situation.wake == T0 + 1
        situation.look(T0 + 1)
        assert situation.wake == T0 + 2

    def test_not_asked_for(self) -> None:
        """Without the product's word nobody listens, and nobody fails."""
        _, situation, clock = self.scene()
        assert not situation.wants_heartbeats()
        for now in (T0 + 12, T0 + 24, T0 + 100):
            self.at(situation, clock, now)
        assert situation.verdict.failed == {}

    def test_meter(self) -> None:
        """The outage begins with the last renewal, although the node is Ready and still the holder's."""
        seen, situation, clock = self.scene(heartbeatSeconds=20)
        bound = Bound("n0", "h100", 8, (0,), T0 - 100, T0 + 10_000, T0 - 100, handed_over_at=T0 - 100)
        assert possessed(seen, bound, "acme", 8, "desk/a", T0 + 5) == (0,)
        for now in (T0 + 12, T0 + 20):
            self.at(situation, clock, now)
        assert possessed(seen, bound, "acme", 8, "desk/a", T0 + 20) == ()
        (gap,) = find_gaps(seen, [bound], Reading(), "acme", 8, "desk/a", T0 + 20)
        assert (gap.start, gap.end) == (T0 - 5, None)

    def test_back(self) -> None:
        """A kubelet that speaks again is alive at once, and its node leaves quarantine after the hysteresis from there."""
        seen, situation, clock = self.scene(heartbeatSeconds=20)
        for now in (T0 + 12, T0 + 20):
            self.at(situation, clock, now)
        assert seen.fence is not None
        seen.fence.nodes["n0"] = "quarantine.uid-a"  # type: ignore[index]
        clock[0] = T0 + 30
        self.renew(situation, T0 + 30, ["n0"])
        self.at(situation, clock, T0 + 31)
        assert seen.alive(seen.nodes["n0"])
        situation.look(T0 + 31, full=True)
        assert situation.verdict.recovered == frozenset()
        situation.look(T0 + 31 + 899, full=True)
        assert situation.verdict.recovered == frozenset()
        situation.look(T0 + 31 + 900, full=True)
        assert situation.verdict.recovered == {"n0"}


def test_renewal_time_is_that_of_kubelets() -> None:
    """What counts as late leaves a kubelet its ten seconds."""
    seen = Cluster()
    seen.run(60)
    assert RENEWAL_SECONDS > 10
    assert seen.heartbeats.late() == set()
