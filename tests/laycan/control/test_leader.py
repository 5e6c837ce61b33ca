"""When a lease may be taken, and when a contract may vanish."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.control.claims import Claims, claims_of
from laycan.control.decision import Decision
from laycan.control.finalizer import finalizers_wanted
from laycan.control.leader import LEASE_SECONDS, Identity, may_take
from laycan.kube.views import ContractView, FenceView, NamespaceView
from laycan.kube.world import World
from laycan.resources.constants import FINALIZER
from tests.laycan.control.town import HOUR, NOW, SETTINGS, bound, contract, world

ME = Identity("laycan-0", "f00d")


@pytest.mark.parametrize(
    ("holder", "unchanged", "free"),
    [
        ("", 0.0, True),  # nobody's, or handed back
        ("other-1_beef", LEASE_SECONDS - 0.1, False),
        ("other-1_beef", float(LEASE_SECONDS), True),
        ("laycan-0_dead", 0.0, True),  # our own pod's last container: it is dead, or we were not started
        ("laycan-01_dead", 0.0, False),  # a pod whose name only begins like ours
    ],
)
def test_a_lease_is_free_when_its_holder_is_silent_for_its_whole_duration(holder: str, unchanged: float, free: bool) -> None:
    """By our own clock: the holder's timestamps prove nothing."""
    assert may_take({"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS}, ME, unchanged) is free


def test_outside_of_pods_nobody_takes_a_short_cut() -> None:
    """Without a pod's name two processes cannot know each other's fate."""
    assert not may_take({"holderIdentity": "_beef", "leaseDurationSeconds": LEASE_SECONDS}, Identity("", "f00d"), 0.0)


def wanted(found: ContractView, made: World, decision: Decision | None = None, taken: frozenset[str] = frozenset()) -> list[str] | None:
    claims = Claims()
    for key, other in made.contracts.items():
        claims.observe(key, claims_of(other, other.status, lambda _: 0))
    return finalizers_wanted(found, made, claims, decision, taken, SETTINGS, NOW)


def gone(**more: object) -> ContractView:
    meta = {"deletionTimestamp": "2027-01-01T00:00:00Z", "finalizers": ["other/one", FINALIZER]}
    return contract("a", meta=meta, **more)  # type: ignore[arg-type]


def test_a_promise_gets_the_finalizer_and_nothing_else_does() -> None:
    """A contract that is refused, or waits, may be deleted without us."""
    assert wanted(contract("a", meta={"finalizers": ["other/one"]}), world(), Decision(True, NOW)) == ["other/one", FINALIZER]
    assert wanted(contract("a", status=bound("n1")), world()) == [FINALIZER]
    assert wanted(contract("a"), world(), Decision(False, NOW)) is None
    assert wanted(contract("a", meta={"finalizers": [FINALIZER]}, status={"phase": "Rejected"}), world()) == []


def test_a_contract_vanishes_once_it_is_wound_up() -> None:
    """Cancelled or terminated, its nodes given back."""
    over = gone(status=bound("n1", start=NOW - HOUR, phase="Terminated"))
    assert wanted(gone(status=bound("n1")), world()) is None, "it is still a promise"
    for owner in ("acme", "frozen.uid-a", "end.uid-a"):
        held = world([over])
        held.fence = FenceView(1, {"n1": owner}, {})
        assert wanted(over, held) is None, owner
    for owner in ("beta", "frozen.uid-b", "quarantine.uid-a"):
        free = world([over])
        free.fence = FenceView(1, {"n1": owner}, {})
        assert wanted(over, free) == ["other/one"], owner


@pytest.mark.parametrize("spec", [{"exchangeRef": {"name": "gcx"}}, {}])
def test_it_waits_until_its_last_event_is_in_the_log(spec: dict[str, Any]) -> None:
    """With and without an exchange, whether or not that has it; a namespace that is being removed must not be kept."""
    events = [{"id": f"uid-a/{n}", "sequence": n, "type": "dev.laycan.contract.cancelled.v1", "body": "{}"} for n in (2, 3)]
    over = gone(spec=spec, status={"phase": "Cancelled", "outbox": events})
    assert wanted(over, world([over])) is None
    assert wanted(over, world([over]), taken=frozenset({"uid-a/2"})) is None
    assert wanted(over, world([over]), taken=frozenset({"uid-a/2", "uid-a/3"})) == ["other/one"]
    leaving = world([over])
    leaving.namespaces["desk"] = NamespaceView("desk", {}, True)
    assert wanted(over, leaving) == ["other/one"]


def test_a_node_that_the_holder_keeps_by_another_contract_is_not_waited_for() -> None:
    """From one contract to the next of the same holder nothing is drained."""
    over = gone(status=bound("n1", start=NOW - HOUR, phase="Terminated"))
    soon = contract("b", status=bound("n1", start=NOW + SETTINGS.lead_seconds))
    later = contract("b", status=bound("n1", start=NOW + SETTINGS.lead_seconds + 1))
    for other, expected in ((soon, ["other/one"]), (later, None)):
        made = world([over, other])
        made.fence = FenceView(1, {"n1": "acme"}, {})
        assert wanted(over, made) == expected
