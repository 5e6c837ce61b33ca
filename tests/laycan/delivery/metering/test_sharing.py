"""Nodes of one holder with several bindings: together they are counted for as many GPUs as are fit, at every instant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from laycan.delivery.metering.gaps import find_gaps, possessed
from laycan.delivery.metering.proof import unproven
from laycan.delivery.metering.reading import Gap, Reading
from laycan.delivery.metering.served import Bound
from laycan.delivery.metering.sharing import Sharing, asked_for
from laycan.kube.meter_views import MeterView
from laycan.kube.views import ContractView, FenceView, NodeView
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.resources.verdict import Found, Policy

T = 1_798_000_000
GPUS = tuple(f"GPU-{i}" for i in range(8))
POLICY = Policy.of({"version": "1", "cleanSeconds": 0})
BROKEN = Found(GPUS[0], "Xid", 79, 0, T + 50, T + 150)


def bound(*lots: int, start: int = 0, end: int = 1000) -> Bound:
    """Lots of four GPUs on node `a`, which has eight."""
    return Bound("a", "h100", 4 * len(lots), lots, T + start, T + end, T - 100, T + start, metered_since=T + start)


def world(*found: Found, gpus: int = 8, built_in: int = 8, **contracts: Any) -> World:
    """`contracts`: name -> their statuses."""
    raw = {"status": {"capacity": {"nvidia.com/gpu": str(built_in)}}}
    node = NodeView("a", "uid", 1, raw, True, True, T - 9000, gpus, "acme", {})
    view = MeterView("a", 1, "uid", T - 50, T + 2000, T - 50, 60, frozenset(GPUS[:built_in]), found, (), 0, 0)
    seen = World(nodes={"a": node}, meters={"a": view}, fence=FenceView(1, {"a": "acme"}, {}))
    for name, status in contracts.items():
        seen.put("contracts", f"desk/{name}", ContractView("desk", name, name, 1, 1, T, False, (), {}, {}, status))
    return seen


def status(*bounds: Bound, until: int | None = None) -> dict[str, Any]:
    meter = {} if until is None else {"meter": {"until": format_time(T + until)}}
    return {"bindings": [each.dump() for each in bounds], **meter}


def lost(seen: World, own: tuple[Bound, ...], key: str = "desk/d") -> list[Gap]:
    sharing = Sharing(seen, own, key)
    return [gap for each in own for gap in unproven(seen, each, POLICY, 4, sharing, 0, T + 500)]


class TestUnfit:
    def test_who_comes_first_was_there_at_the_time(self) -> None:
        """Another contract had four GPUs until a moment inside the outage: whenever it is looked at, until then there were too few."""
        assert lost(world(BROKEN, c=status(bound(0, end=100))), (bound(0),)) == [Gap("a", T + 50, T + 100, (0,))]
        assert lost(world(BROKEN, c=status(bound(0, start=120))), (bound(0),)) == [Gap("a", T + 120, T + 150, (0,))]
        assert lost(world(BROKEN, e=status(bound(0))), (bound(0),)) == [], "who comes later takes nothing away"

    def test_two_bindings_of_one_contract(self) -> None:
        """They share the node like those of two contracts."""
        assert lost(world(BROKEN), (bound(0), bound(1))) == [Gap("a", T + 50, T + 150, (1,))]
        assert lost(world(BROKEN), (bound(0, end=80), bound(1))) == [Gap("a", T + 50, T + 80, (1,))]

    def test_fewer_cards_since_a_reboot(self) -> None:
        """Nothing is reported as broken where a card is gone for good: it is missing all the same."""
        assert lost(world(built_in=7, c=status(bound(0))), (bound(0),)) == [Gap("a", T, None, (0,))]


class TestPossession:
    def test_two_bindings_of_one_contract(self) -> None:
        """Seven GPUs that are left are one lot of four, not one for each binding."""
        own = bound(0), bound(1)
        assert find_gaps(world(gpus=7), own, Reading(), "acme", 4, "desk/d", T + 70) == (Gap("a", T + 70, None, (1,)),)

    def test_fewer_cards_since_a_reboot(self) -> None:
        """A node that registers fewer GPUs than were sold on it is not whole because all of them are healthy."""
        seen = world(gpus=6, built_in=6, c=status(bound(0)))
        assert possessed(seen, bound(0), "acme", 4, "desk/d", T + 70) == ()
        assert possessed(seen, bound(0), "acme", 4, "desk/c", T + 70) == (0,)


def test_kept_for_who_comes_after() -> None:
    """A binding that is over stays until the contracts that come after have read the time in which they shared its node."""
    mine = bound(0, end=100)
    assert asked_for(world(d=status(bound(0), until=60)), mine, "desk/c")
    assert not asked_for(world(d=status(bound(0), until=100)), mine, "desk/c")
    assert not asked_for(world(d=status(bound(0, start=100), until=60)), mine, "desk/c"), "one that began later"
    assert not asked_for(world(d=status(bound(0), until=60)), mine, "desk/e"), "one that comes before"
    assert not asked_for(world(d=status(replace(bound(0), node="b"), until=60)), mine, "desk/c")
