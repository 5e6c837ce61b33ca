"""Which nodes are down by nobody's plan: what the record of failures is made of."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.delivery.faults.downtime import Downtime, downtime
from laycan.delivery.faults.failures import judge
from laycan.delivery.faults.health import Health
from laycan.delivery.nodes.desired import claims_of_world
from laycan.kube.views import NodeView
from laycan.kube.world import World
from laycan.resources.constants import PAUSE_ANNOTATION
from laycan.resources.times import format_time
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world


def found(seen: World, at: int, asked: tuple[str, ...] = ()) -> Downtime:
    """So many seconds after T0, by somebody who looks at all nodes now."""
    claims, health = claims_of_world(seen, SETTINGS), Health()
    for name, view in seen.nodes.items():
        health.observe(name, view, sum(c.gpus for c in claims.on(name)), SETTINGS, T0 + at)
    return downtime(seen, claims, health, judge(seen, claims, health, SETTINGS, T0 + at), SETTINGS, T0 + at, asked)


def bound(*nodes: NodeView, owner: str = "acme", **more: Any) -> World:
    """A contract of acme that is delivered on all of these."""
    made = contract("a", "acme", [binding(each.name, 0, 100_000) for each in nodes])
    return world(nodes, [made], {each.name: owner for each in nodes}, **more)


def held(name: str, **more: Any) -> NodeView:
    return node(name, **{"holder": "acme", **more})


OUT: dict[str, Any] = {"ready": False, "since": T0 + 10}


class TestDown:
    def test_failed(self) -> None:
        """A held node from its detection on, at its onset; until then it is up."""
        seen = bound(held("n", **OUT), held("m"))
        assert (found(seen, 40).down, set(found(seen, 40).up)) == ({}, {"n", "m"})
        assert (found(seen, 50).down, set(found(seen, 50).up)) == ({"n": T0 + 10}, {"m"})

    def test_quarantine(self) -> None:
        """As long as it lasts, though the node is Ready by now."""
        seen = bound(held("n", since=T0 + 500))
        seen.fence = type(seen.fence)(1, {"n": "quarantine.uid-a"}, {}) if seen.fence else None
        assert found(seen, 600).down == {"n": T0 + 500}

    def test_idle(self) -> None:
        """One with nothing bound there is judged by the clock that the others have."""
        seen = world([node("n", **OUT), node("m")])
        assert found(seen, 49).up == {"n", "m"}
        assert found(seen, 50).down == {"n": T0 + 10}

    def test_deleted(self) -> None:
        """One that is held, for the product that was bound there; a free one was taken away by a person."""
        seen = bound(held("n"))
        seen.drop("nodes", "n")
        assert (found(seen, 60).down, dict(found(seen, 60).gone)) == ({"n": T0 + 60}, {"n": frozenset({"h100"})})
        free = world([node("n")])
        free.drop("nodes", "n")
        assert found(free, 60) == Downtime()


class TestNotDown:
    def test_cordoned(self) -> None:
        cordoned = held("n")
        cordoned.raw["spec"]["unschedulable"] = True
        assert found(bound(cordoned), 500).up == {"n"}

    def test_withheld(self) -> None:
        """The breaker gives one of twenty up in its window; the others are neither down nor up."""
        seen = bound(*(held(f"n{i}", **OUT) for i in range(3)))
        assert (found(seen, 60).down, found(seen, 60).up) == ({"n0": T0 + 10}, frozenset())

    def test_idle_together(self) -> None:
        """A rack without power has one cause: as few count as the breaker would give up, those beside failed ones none."""
        assert found(world([node(f"n{i}", **OUT) for i in range(3)]), 60).down == {"n0": T0 + 10}
        seen = bound(held("n", **OUT))
        seen.nodes["idle"] = node("idle", **OUT)
        assert found(seen, 60).down == {"n": T0 + 10}

    @pytest.mark.parametrize("managed", [True, False], ids=["bound", "idle"])
    def test_paused(self, managed: bool) -> None:
        """By the node's annotation, whoever has it."""
        paused = {PAUSE_ANNOTATION: "true"}
        seen = bound(held("n", annotations=paused, **OUT)) if managed else world([node("n", annotations=paused, **OUT)])
        assert found(seen, 600) == Downtime(fleet=frozenset({"n"}))

    def test_all_paused(self) -> None:
        assert found(world([node("n", **OUT)], annotations={PAUSE_ANNOTATION: "true"}), 600).down == {}

    def test_not_of_the_fleet(self) -> None:
        assert found(world([node("n", managed=False, **OUT)]), 600) == Downtime()

    @pytest.mark.parametrize(("kind", "counts"), [("Planned", False), ("Retirement", False), ("Forced", True)])
    @pytest.mark.parametrize("idle", [True, False])
    def test_announced(self, kind: str, counts: bool, idle: bool) -> None:
        """What goes down under an outage that was announced is nobody's failure, also when it is late to come back."""
        seen = world([node("n", **OUT)]) if idle else bound(held("n", **OUT))
        spec = {"type": kind, "nodes": ["n"], "start": format_time(T0), "end": format_time(T0 + 1000)}
        seen.outages["o"] = {"metadata": {"name": "o"}, "spec": spec}
        for at in (600, 2000):
            assert bool(found(seen, at).down) is counts
        assert found(seen, 600).up == frozenset()

    def test_down_before_the_outage(self) -> None:
        """It had failed before anybody planned for it."""
        seen = bound(held("n", **OUT))
        spec = {"type": "Planned", "nodeSelector": {}, "nodes": ["n"], "start": format_time(T0 + 100), "end": format_time(T0 + 1000)}
        seen.outages["o"] = {"metadata": {"name": "o"}, "spec": spec}
        assert found(seen, 600).down == {"n": T0 + 10}


class TestWell:
    def test_hysteresis(self) -> None:
        """Sound for as long as delivery asks for, counted from its return."""
        seen = world([node("n", since=T0 + 100)])
        assert found(seen, 999, ("n",)).well == {}
        assert found(seen, 1000, ("n",)).well == {"n": T0 + 1000}
        assert found(seen, 5000, ("n",)).well == {"n": T0 + 1000}
        assert found(seen, 5000).well == {}, "only of those that were asked for"

    def test_not_ready_for_a_moment(self) -> None:
        """Up, but not well."""
        assert found(world([node("n", **OUT)]), 20, ("n",)).well == {}
