"""A planned move is made before it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.delivery.nodes.desired import LINGER_SECONDS, Target, Want, claims_of_world, desired
from laycan.delivery.nodes.situation import Situation
from laycan.kube.views import FenceView
from laycan.kube.world import ONLY, World
from laycan.resources.times import format_time
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

MOVE = [binding("old", 0, 500, lots=[0]), binding("new", 500, 900, lots=[0])]


def moving(new_owner: str = "frozen.uid-a", bindings: list[dict[str, Any]] | None = None, **more: Any) -> World:
    """Acme's lot runs on `old` until 500 and goes on on `new`."""
    a = contract("a", "acme", MOVE if bindings is None else bindings, phase="Delivering", **more)
    owners = {"old": "acme", "new": new_owner} if new_owner else {"old": "acme"}
    return world([node("old", holder="acme"), node("new", holder=new_owner)], [a], owners)


def targets(seen: World, at: int, failed: frozenset[str] = frozenset()) -> dict[str, Target]:
    found, _ = desired(seen, claims_of_world(seen, SETTINGS), failed, frozenset(), SETTINGS, T0 + at)
    return found


def want(seen: World, at: int, name: str) -> Want | None:
    found = targets(seen, at).get(name)
    return found.want if found else None


class TestNewNode:
    """The node to which a lot moves."""

    def test_handed_over_in_the_lead(self) -> None:
        """It is the holder's as soon as it is empty, while the old one still is."""
        assert want(moving(""), 439, "new") is None
        assert want(moving(), 440, "new") == Want.HOLD
        assert want(moving(), 440, "old") == Want.HOLD

    @pytest.mark.parametrize(
        "bindings",
        [
            [binding("old", 0, 500, lots=[0]), binding("new", 500, 900, lots=[1])],
            [binding("old", 0, 450, lots=[0]), binding("new", 500, 900, lots=[0])],
            [binding("old", 0, 500), binding("new", 500, 900)],
        ],
        ids=["another lot", "a gap between", "lots unknown"],
    )
    def test_not_a_move(self, bindings: list[dict[str, Any]]) -> None:
        """Where no lot goes straight over, the window is prepared and begins in its first second."""
        assert want(moving(bindings=bindings), 440, "new") == Want.PREPARE

    def test_paused(self) -> None:
        """Under a pause of the contract nothing is handed over early."""
        assert want(moving(annotations={"laycan.dev/paused": "true"}), 440, "new") is None


class TestOldNode:
    """The node that it leaves."""

    def test_released_after_the_new_one_is_there(self) -> None:
        """At its end it is opened if the new one is the holder's, and else kept for the drain time and no longer."""
        assert want(moving("acme"), 500 + LINGER_SECONDS, "old") == Want.OPEN
        assert want(moving(), 500, "old") is None
        assert want(moving(), 529, "old") is None
        assert want(moving(), 530, "old") == Want.OPEN

    def test_somebody_waits(self) -> None:
        """The next holder's window is not held up by it."""
        seen = moving()
        seen.contracts["desk/b"] = contract("b", "beta", [binding("old", 510, 900)])
        assert targets(seen, 500)["old"].uid == "uid-b"

    def test_outage(self) -> None:
        """Nor is an outage, by name or by label, from its start on."""
        for where in ({"nodes": ["old"]}, {"nodeSelector": {"row": "7"}}):
            seen = moving()
            seen.nodes["old"].raw["metadata"]["labels"]["row"] = "7"
            judged = {"metadata": {"generation": 1}, "status": {"verdict": "Covered", "observedGeneration": 1}}
            seen.outages["work"] = {**judged, "spec": {"type": "Planned", "start": format_time(T0 + 505), **where}}
            assert want(seen, 504, "old") is None
            assert want(seen, 505, "old") == Want.OPEN

    def test_failed(self) -> None:
        """A node that fails meanwhile goes into quarantine."""
        assert targets(moving(), 500, frozenset({"old"}))["old"].want == Want.QUARANTINE

    def test_contract_gone(self) -> None:
        """A contract that is over keeps nothing."""
        seen = moving()
        seen.contracts["desk/a"] = contract("a", "acme", MOVE, phase="Terminated")
        assert want(seen, 500, "old") == Want.OPEN


def test_looking_at_changes_sees_it() -> None:
    """The old node is looked at when the new one is handed over, and when its time is up, without a full look."""
    for handed_over, at in ((True, 505), (False, 530)):
        seen = moving()
        situation = Situation(seen, SETTINGS, lambda: None)
        situation.look(T0 + 490, full=True)
        situation.look(T0 + 500 + LINGER_SECONDS)
        assert "old" not in situation.targets
        assert situation.wake == T0 + 530
        if handed_over:
            seen.put("fence", ONLY, FenceView(2, {"old": "acme", "new": "acme"}, {}))
            situation.look(T0 + 504)
            assert "old" not in situation.targets, "the label is still to come"
            seen.put("nodes", "new", node("new", holder="acme"))
        situation.look(T0 + at)
        assert situation.targets["old"].want == Want.OPEN
