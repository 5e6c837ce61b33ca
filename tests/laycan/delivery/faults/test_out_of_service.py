"""When a dead node's pods may be declared dead."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.delivery.faults.health import Health
from laycan.delivery.faults.out_of_service import TAINT, change_wanted
from laycan.kube.device_views import ResourceClaimView
from laycan.kube.world import World
from laycan.resources.times import format_time
from tests.laycan.delivery.worlds import T0, binding, contract, node, world

OWNER = "quarantine.uid-a"
GIVES_UP = {"planning": {"deadNodes": "OutOfService"}}
TERMS = {"terms": {"productRef": {"name": "h100"}, "delivery": {"handover": {"namespace": "acme"}}}}


def dead(product: dict[str, Any], owner: str = OWNER, pause: dict[str, str] | None = None, **state: Any) -> World:
    """Node n, NotReady since T0 and in quarantine on the account of contract a."""
    found = node("n", **{"ready": False, "since": T0, "holder": owner, **state})
    bound = contract("a", "acme", [binding("n", -500, 10)], spec=TERMS, annotations=pause or {})
    return world([found], [bound], {"n": owner}, product)


def wanted(seen: World, at: int = 100, onset: int = 0) -> bool | None:
    return change_wanted(seen, Health(declared={"n": T0 + onset}), "n", T0 + at)


def powered_off(at: int) -> dict[str, Any]:
    return {"annotations": {"laycan.dev/powered-off": format_time(T0 + at)}}


def test_policy() -> None:
    """The product's word is enough, and its silence means to wait."""
    assert wanted(dead(GIVES_UP)) is True
    assert wanted(dead({})) is None
    assert wanted(dead({"planning": {"deadNodes": "Wait"}})) is None


def test_everybody_with_gpus_there_has_a_say() -> None:
    """The pods of all contracts go: one whose product says to wait is enough to wait."""
    seen = dead(GIVES_UP)
    seen.products["careful"] = {"metadata": {"name": "careful"}, "spec": {}}
    terms = {"terms": {"productRef": {"name": "careful"}, "delivery": {"handover": {"namespace": "beta"}}}}
    seen.put("contracts", "desk/b", contract("b", "beta", [], spec=terms))
    has = ResourceClaimView("beta", "laycan-b-0", "u", 1, "uid-b", False, True, frozenset({("n", "gpu-0")}), (), ())
    seen.put("resource_claims", has.key, has)
    assert wanted(seen) is None
    seen.drop("resource_claims", has.key)
    assert wanted(seen) is True


@pytest.mark.parametrize(("at", "expected"), [(-1, None), (5, None), (6, True), (100, True), (101, None)])
def test_confirmed(at: int, expected: bool | None) -> None:
    """A confirmed power-off counts if it is later than the onset of this failure and not in the future."""
    assert wanted(dead({}, **powered_off(at)), onset=5) is expected


def test_unreadable() -> None:
    """A word that is no time confirms nothing."""
    assert wanted(dead({}, annotations={"laycan.dev/powered-off": "yes"})) is None


@pytest.mark.parametrize(
    "state",
    [{"owner": "acme"}, {"owner": ""}, {"holder": "acme"}, {"managed": False}, {"pause": {"laycan.dev/paused": "true"}}],
    ids=["held", "free", "not marked yet", "not of the fleet", "contract paused"],
)
def test_only_in_quarantine(state: dict[str, Any]) -> None:
    """Before the node is closed to everybody, outside the fleet and under a pause nothing is declared."""
    assert wanted(dead(GIVES_UP, **state)) is None


def test_taken_back() -> None:
    """Our taint goes when the node is heard again, whatever set it; somebody else's is left alone, and not doubled."""
    theirs = {**TAINT, "value": "nodeshutdown"}
    assert wanted(dead(GIVES_UP, taints=(TAINT,))) is None
    assert wanted(dead(GIVES_UP, taints=(TAINT, theirs), ready=True)) is False
    assert wanted(dead(GIVES_UP, taints=(theirs,), ready=True)) is None
    assert wanted(dead(GIVES_UP, taints=(theirs,))) is None


def test_silent() -> None:
    """A node that is Ready by name only is dead; so is one that has been declared so already."""
    seen = dead(GIVES_UP, ready=True)
    assert wanted(seen) is None
    seen.silent["n"] = T0
    assert wanted(seen) is True
