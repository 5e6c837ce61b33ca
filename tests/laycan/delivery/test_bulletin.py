"""When a node that is not heard was last well: read at once, asked again until it is answered, and once for each loss."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from laycan.delivery.bulletin import Bulletin
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import ApiError
from laycan.resources.times import format_time
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world


class Leases:
    """An API server that has nothing else."""

    def __init__(self) -> None:
        self.renewed = T0
        self.error: ApiError | None = None
        self.asked = 0

    async def get(self, path: str) -> dict[str, Any]:
        assert path.endswith("/kube-node-lease/leases/n")
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {"spec": {"renewTime": format_time(self.renewed)}}


class Scene:
    """Acme has node n of two; its product lets it be NotReady for 40 seconds."""

    def __init__(self) -> None:
        self.leases = Leases()
        nodes = [node(name, holder="acme" if name == "n" else "") for name in ("n", "idle")]
        self.world = world(nodes, [contract("a", "acme", [binding("n", 0, 10_000)])], {"n": "acme"}, {"detection": {"seconds": 40}})
        self.situation = Situation(self.world, SETTINGS, lambda: None)
        self.bulletin = Bulletin(self.leases, self.world)  # type: ignore[arg-type]
        self.situation.look(T0, full=True)

    def turn(self, name: str, *, ready: bool, at: int) -> None:
        old = self.world.nodes[name]
        self.world.put("nodes", name, replace(old, ready=ready, ready_since=at, resource_version=old.resource_version + 1))

    def look(self, now: int) -> int | None:
        """What is known after it of when n was last well."""
        touched = self.situation.look(now)
        asyncio.run(self.bulletin.failures(self.situation, {}, touched))
        return self.world.heard_last(self.world.nodes["n"])


def test_before_it_counts_as_failed() -> None:
    """A kubelet that is back within the detection time has renewed its Lease: what it said before must be known by then."""
    scene = Scene()
    scene.leases.renewed = T0 + 60
    for name in ("n", "idle"):
        scene.turn(name, ready=False, at=T0 + 100)
    assert scene.look(T0 + 101) == T0 + 60
    assert scene.situation.verdict.failed == {}
    scene.leases.renewed = T0 + 138
    assert scene.look(T0 + 141) == T0 + 60, "it was asked for this loss already, also now that it counts as failed"
    assert scene.situation.verdict.failed.keys() == {"n"}
    assert scene.leases.asked == 1


def test_the_next_loss() -> None:
    """Of another loss nothing is known before its own answer."""
    scene = Scene()
    scene.turn("n", ready=False, at=T0 + 100)
    assert scene.look(T0 + 101) == T0
    scene.turn("n", ready=True, at=T0 + 110)
    assert scene.look(T0 + 111) is None
    scene.turn("n", ready=False, at=T0 + 200)
    assert scene.world.heard_last(scene.world.nodes["n"]) is None
    scene.leases.renewed = T0 + 160
    assert scene.look(T0 + 201) == T0 + 160


def test_asked_until_it_is_answered() -> None:
    """An API server that does not answer is asked at each pass, and the contracts on the node are looked at again with the answer."""
    scene = Scene()
    scene.turn("n", ready=False, at=T0 + 100)
    scene.leases.error = ApiError(0, "AnswerLost", "on purpose")
    assert scene.look(T0 + 101) is None
    assert scene.look(T0 + 141) is None
    assert scene.situation.verdict.failed.keys() == {"n"}
    scene.leases.error = None
    told: list[tuple[str, str]] = []
    scene.world.listeners.append(lambda *change: told.append(change))
    assert scene.look(T0 + 142) == T0
    assert ("nodes", "n") in told


def test_asked_when_the_contract_has_left_it() -> None:
    """What is metered later needs the answer, though nobody has the node any more."""
    scene = Scene()
    scene.turn("n", ready=False, at=T0 + 100)
    scene.leases.error = ApiError(0, "AnswerLost", "on purpose")
    assert scene.look(T0 + 101) is None
    scene.world.put("contracts", "desk/a", replace(scene.world.contracts["desk/a"], status={"phase": "Terminated"}, resource_version=9))
    scene.leases.error = None
    assert scene.look(T0 + 102) == T0
    assert not scene.situation.claims.on("n")


def test_no_lease() -> None:
    """A node without one is not asked for it again; what an earlier loss left says nothing."""
    scene = Scene()
    scene.turn("n", ready=False, at=T0 + 100)
    assert scene.look(T0 + 101) == T0
    scene.turn("n", ready=False, at=T0 + 200)
    scene.leases.error = ApiError(404, "NotFound", "on purpose")
    assert scene.look(T0 + 201) is None
    assert scene.look(T0 + 241) is None
    assert scene.leases.asked == 2
