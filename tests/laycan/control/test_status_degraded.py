"""What a contract says of its GPUs by the word of agents: Degraded, the cause of an interruption, and the policy that decides both."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.control.status import next_wake
from laycan.resources.contract import HealthPolicy
from laycan.resources.digest import digest
from laycan.resources.verdict import Found
from tests.laycan.control.desk import T0, Desk, accepted, delivering
from tests.laycan.delivery.worlds import meter

ACCEPTS = {"version": "2", "acceptDegraded": ["PcieDegraded", "Slowdown"]}


def slow(start: int = 10, end: int | None = None, gpu: str = "GPU-3") -> Found:
    return Found(gpu, "PcieDegraded", 0, 8, T0 + start, None if end is None else T0 + end)


def sold(health: dict[str, Any] | None = ACCEPTS) -> Desk:
    """A contract of two nodes, a and b, that is delivered; accepted under this policy of its product."""
    desk = Desk()
    change_policy(desk, health)
    desk.nodes("a", "b", "c")
    desk.bind(T0 - 3600, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 3600)
    desk.hand_over("a", "b")
    desk.at(T0)
    return desk


def change_policy(desk: Desk, health: dict[str, Any] | None) -> None:
    """The product's, from now on."""
    spec = {key: value for key, value in desk.world.products["h100"]["spec"].items() if key != "health"}
    desk.world.products["h100"] = {"spec": spec | ({"health": health} if health else {})}


def report(desk: Desk, node: str, *findings: Found, at: int = 0) -> None:
    desk.world.meters[node] = meter(node, *findings, at=T0 + at)


class TestDegraded:
    """Delivered, and yet something is wrong that the contract's policy accepts."""

    def test_one_flip_one_event(self) -> None:
        """Told once with the lots, GPUs, reasons and onset, and no node or card; another reason shows in the condition; recovered once."""
        desk = sold()
        report(desk, "a", slow(), at=20)
        desk.at(T0 + 20)
        assert desk.condition("Degraded") == ("True", "PcieDegraded")
        assert desk.told[-1]["data"]["change"] == {
            "condition": "Degraded", "status": "True", "reason": "PcieDegraded", "message": "1 of 16 GPUs: PcieDegraded",
            "lots": [0], "gpus": 1, "reasons": ["PcieDegraded"], "since": "2027-01-04T00:00:10Z",
        }  # fmt: skip
        assert "GPU-3" not in str(desk.told[-1])
        report(desk, "a", slow(), Found("GPU-4", "Slowdown", 0, 60_000, T0, T0 + 300), at=301)
        desk.at(T0 + 301)
        report(desk, "a", slow(10, 400), Found("GPU-4", "Slowdown", 0, 60_000, T0, T0 + 300), at=400)
        desk.run(T0 + 302, T0 + 700)
        assert desk.condition("Degraded") == ("False", "Recovered")
        assert desk.news[4:] == ["delivery.degraded", "delivery.recovered"]
        assert desk.quantities["delivered"] == desk.quantities["contracted"]

    def test_the_clock_alone(self) -> None:
        """A slowdown of which no more is heard ends by itself, at an instant that the contract asked to be woken at."""
        desk = sold()
        report(desk, "a", Found("GPU-4", "Slowdown", 0, 60_000, T0, T0 + 300), at=301)
        desk.at(T0 + 301)
        assert desk.condition("Degraded") == ("True", "Slowdown")
        wake: int | None = T0 + 301
        while wake is not None and wake < T0 + 630:
            wake = next_wake(desk.contract, wake, desk.world, desk.settings)
        assert wake == T0 + 630

    def test_the_policy_of_acceptance(self) -> None:
        """What the product accepts by now is nothing to a contract that was sold before; it is not delivered Degraded but not at all."""
        desk = sold(None)
        change_policy(desk, ACCEPTS)
        report(desk, "a", slow())
        desk.at(T0 + 20)
        assert desk.condition("Degraded") is None

    def test_lost_besides(self) -> None:
        """A lot that the buyer does not have is not Degraded."""
        desk = sold()
        report(desk, "a", slow())
        desk.at(T0 + 20)
        desk.fail("a", at=T0 + 30)
        desk.at(T0 + 30)
        assert desk.condition("Degraded") == ("False", "Recovered")
        assert desk.news[4:] == ["delivery.degraded", "delivery.interrupted", "delivery.recovered"]

    def test_no_room(self) -> None:
        """While the outbox is full the condition waits with its event, as it was told last."""
        desk = sold()
        desk.deaf = True
        for at in range(20, 40, 2):
            report(desk, "a", *(() if at % 4 else (slow(),)))
            desk.at(T0 + at)
        assert len(desk.status["outbox"]) == 8
        last = desk.told[-1]["data"]["change"]
        assert (last["condition"], desk.condition("Degraded")) == ("Degraded", (last["status"], last["reason"]))


class TestCause:
    """Why the buyer lost lots, where an agent knows."""

    def test_told_and_shown(self) -> None:
        """In the event and in the condition's message, also when the lot is bound elsewhere by then."""
        desk = sold()
        report(desk, "b", Found("GPU-3", "Xid", 79, 0, T0 + 90, None), Found("GPU-3", "NvLinkDown", 0, 4, T0 + 95, None))
        desk.bind(T0 + 100, ("a", T0, desk.end), ("c", T0 + 100, desk.end))
        desk.at(T0 + 100)
        change = desk.told[-1]["data"]["change"]
        assert (desk.news[-1], change["lots"], change["cause"], change["message"]) == (
            "delivery.interrupted", [1], "Xid79", "1 of 2 lots: Xid79",
        )  # fmt: skip

    def test_another_lot(self) -> None:
        """What is wrong with a node of another lot is no cause."""
        desk = sold()
        report(desk, "a", Found("GPU-3", "Unreadable", 0, 0, T0 + 99, None))
        desk.fail("b", at=T0 + 100)
        desk.at(T0 + 100)
        assert "cause" not in desk.told[-1]["data"]["change"]


class TestPinned:
    """The policy that stays with a contract."""

    @pytest.mark.parametrize("health", [None, ACCEPTS])
    def test_at_acceptance(self, health: dict[str, Any] | None) -> None:
        """All of it stands in the status, with every default said; its digest is the one beside it; a later policy changes neither."""
        desk = accepted() if health is None else sold(health)
        pinned = desk.status["healthPolicy"]
        HealthPolicy.model_validate(pinned)
        assert digest(pinned) == desk.status["healthPolicyDigest"]
        assert pinned["acceptDegraded"] == ([] if health is None else health["acceptDegraded"])
        change_policy(desk, {"version": "9"})
        desk.hand_over("a", "b")
        desk.at(T0 + 5)
        assert desk.status["healthPolicy"] == pinned

    def test_before_it_was_pinned(self) -> None:
        """A contract that was accepted by an older operator goes on without one."""
        desk = delivering()
        desk.contract.status.pop("healthPolicy")  # type: ignore[attr-defined]
        desk.at(T0 + 5)
        assert "healthPolicy" not in desk.status
