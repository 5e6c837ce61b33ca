"""Where nobody but holders may use the fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan.delivery.faults.failures import judge, unusable
from laycan.delivery.faults.health import Health
from laycan.delivery.nodes.attempt import entry_for
from laycan.delivery.nodes.desired import Want, claims_of_world, desired
from laycan.kube.device_views import DeviceView, ResourceSliceView
from laycan.kube.world import World
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

CLOSED = SETTINGS.model_copy(update={"backfill": "Nobody"})
A = contract("a", "acme", [binding("n", 100, 200)])
B = contract("b", "beta", [binding("n", 210, 300)])


def one(owner: str, *contracts: object) -> World:
    return world([node("n", holder=owner)], contracts, {"n": owner} if owner else {})  # type: ignore[arg-type]


def entry(seen: World, at: int, recovered: bool = False) -> str | None:
    """What is to be written for the node's present entry; None: it is left alone."""
    names = frozenset({"n"}) if recovered else frozenset[str]()
    targets, _ = desired(seen, claims_of_world(seen, CLOSED), frozenset(), names, CLOSED, T0 + at)
    owner = seen.fence.nodes.get("n", "") if seen.fence else ""
    found = targets.get("n")
    assert found is None or found.want is not Want.OPEN
    return entry_for(owner, seen.nodes["n"].holder, found) if found else None


@pytest.mark.parametrize(
    ("owner", "at", "expected"),
    [
        ("", 0, "frozen.none"),
        ("frozen.none", 0, "frozen.none"),
        ("frozen.none", 40, "frozen.uid-a"),
        ("acme", 150, "acme"),
        ("acme", 200, "frozen.uid-b"),
        ("beta", 300, "frozen.none"),
        ("end.uid-b", 300, "frozen.none"),
    ],
)
def test_never_free(owner: str, at: int, expected: str) -> None:
    """From closed to a holder, from him to the next and back to closed: no entry is ever taken off."""
    assert entry(one(owner, A, B), at) == expected


def test_quarantine() -> None:
    """A node that has recovered is closed, not opened."""
    assert entry(one("quarantine.uid-a"), 0) == "quarantine.uid-a"
    assert entry(one("quarantine.uid-a"), 0, recovered=True) == "frozen.none"


def test_not_where_it_does_not_belong() -> None:
    """Nodes that are not of the fleet, are paused, or are shared by GPU under DRA stay open."""
    seen = one("")
    assert entry(seen, 0) == "frozen.none"
    for change in ({"managed": False}, {"annotations": {"laycan.dev/paused": "true"}}):
        seen.nodes["n"] = replace(node("n"), **change)
        assert entry(seen, 0) is None
    seen = one("")
    seen.put("resource_slices", "n-gpus", ResourceSliceView("n-gpus", 2, "n", 1, 1, (DeviceView("gpu-0", "GPU-0", "H100", ""),)))
    assert entry(seen, 0) == "frozen.none", "this cluster cannot deliver exact GPUs"
    seen.no_devices = ""
    assert entry(seen, 0) is None


def test_not_while_exact_gpus_of_it_are_held() -> None:
    """Its driver publishes nothing for a moment: closing the node would end the pods of who has GPUs of it."""
    row = binding("n", 0, 10_000, gpus=2, lots=[0]) | {"level": "Device", "devices": ["U0", "U1"]}
    seen = world([node("n")], [contract("a", "acme", [row], phase="Delivering")])
    seen.no_devices = ""
    assert entry(seen, 100) is None


def test_idle_failures_do_not_count() -> None:
    """A closed node that nobody has fails without going into quarantine, so that it leaves the breaker to those that somebody has."""
    dead = [node(f"n{i}", ready=False, since=T0, holder="frozen.none") for i in range(3)]
    seen = world(dead, [contract("a", "acme", [binding("n0", 0, 10_000)])], dict.fromkeys(("n0", "n1", "n2"), "frozen.none"))
    verdict = judge(seen, claims_of_world(seen, CLOSED), Health(), CLOSED, T0 + 500)
    assert (set(verdict.failed), verdict.withheld) == ({"n0"}, {})
    assert unusable(seen, CLOSED, T0 + 500) == {"n0", "n1", "n2"}


def test_everybody() -> None:
    """With backfill again the closed are opened."""
    seen = one("frozen.none")
    targets, _ = desired(seen, claims_of_world(seen, SETTINGS), frozenset(), frozenset(), SETTINGS, T0)
    assert targets["n"].want is Want.OPEN
