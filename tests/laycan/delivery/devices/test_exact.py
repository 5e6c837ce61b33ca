"""Which cards a lot is promised, and whether its holder has them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.delivery.devices.exact import choose, claim_name, gives_devices, has_devices
from laycan.delivery.metering.served import Bound
from laycan.kube.device_views import DeviceView, ResourceClaimView, ResourceSliceView
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan.resources.verdict import Found
from tests.laycan.delivery.worlds import SETTINGS, T0, contract, meter, node

LEAD = 5
QUICK = SETTINGS.model_copy(update={"lead_seconds": LEAD})


def cards(count: int, *unfit: int, minor: int = 0) -> ResourceSliceView:
    """A node of so many GPUs; `minor` shifts the names of the same cards."""
    found = [DeviceView(f"gpu-{(i + minor) % count}", f"U{i}", "H100", "gpu.nvidia.com/xid" if i in unfit else "") for i in range(count)]
    return ResourceSliceView("s", 1, "n1", 1, 1, tuple(found))


def town(count: int = 4) -> World:
    return World(nodes={"n1": node("n1")}, resource_slices={"s": cards(count)}, no_devices="")


def lot(number: int, start: int, end: int, *devices: str, gpus: int = 1) -> Bound:
    return Bound("n1", "h100", gpus, (number,), T0 + start, T0 + end, T0, level="Device", devices=devices)


def put(world: World, name: str, *bounds: Bound) -> None:
    world.put("contracts", f"desk/{name}", contract(name, "acme", [bound.dump() for bound in bounds], end=format_time(T0 + 100)))


class TestChoice:
    """`choose`"""

    def test_only_in_the_lead(self) -> None:
        """Before its lead a lot has no cards; what is over gets none any more."""
        world, bounds = town(), (lot(0, 10, 20), lot(1, 30, 40), lot(2, -9, 0))
        assert choose(world, "desk/a", bounds, QUICK, T0 + 10 - LEAD - 1) == bounds
        assert [b.devices for b in choose(world, "desk/a", bounds, QUICK, T0 + 10 - LEAD)] == [("U0",), (), ()]

    def test_others_cards_are_not_taken(self) -> None:
        """Not for the time in which another contract has them; those that a stranger's claim uses come last."""
        world = town()
        put(world, "b", lot(0, 0, 50, "U0"), lot(1, 0, 10, "U1"))
        users = ResourceClaimView("beta", "x", "u", 1, "", False, True, frozenset({("n1", "gpu-1")}), (("p", "u"),), ())
        world.put("resource_claims", users.key, users)
        made = choose(world, "desk/a", (lot(0, 10, 20, gpus=2), lot(1, 10, 20)), QUICK, T0 + 8)
        assert [b.devices for b in made] == [("U2", "U3"), ("U1",)]

    def test_a_card_that_was_given_twice(self) -> None:
        """Whose lot began later gets another; the first keeps what he has."""
        world, first, second = town(), lot(0, 0, 50, "U0", "U1", gpus=2), lot(0, 5, 50, "U1", "U2", gpus=2)
        put(world, "a", first)
        put(world, "b", second)
        assert choose(world, "desk/a", (first,), QUICK, T0 + 9) == (first,)
        assert choose(world, "desk/b", (second,), QUICK, T0 + 9)[0].devices == ("U2", "U3")

    def test_a_card_stays_while_it_is_well(self) -> None:
        """A lot with an unfit card gets another for that one only, on its node; where none is free it keeps what it has."""
        world, bounds = town(), (lot(0, 0, 50, "U2", "U3", gpus=2),)
        assert choose(world, "desk/a", bounds, QUICK, T0 + 9) == bounds
        world.put("resource_slices", "s", replace(cards(4, 3), resource_version=2))
        assert choose(world, "desk/a", bounds, QUICK, T0 + 9)[0].devices == ("U2", "U0")
        put(world, "b", lot(0, 0, 50, "U0"), lot(1, 0, 50, "U1"))
        assert choose(world, "desk/a", bounds, QUICK, T0 + 9) == bounds
        world.drop("resource_slices", "s")
        assert choose(world, "desk/a", bounds, QUICK, T0 + 9) == bounds, "no driver, no news"

    def test_a_card_that_the_agent_calls_unfit(self) -> None:
        """It is not chosen, and a lot leaves it, under the policy of the lot's own contract; what has no dwell left counts, too."""
        world, lax = town(), {"version": "1", "fatalXids": [13], "acceptDegraded": [], "cleanSeconds": 0, "degradedSharePpm": 0}
        silent = Found("U1", "Unreadable", 0, 0, T0 - QUICK.dwell_seconds, None)
        world.put("meters", "n1", meter("n1", Found("U0", "Xid", 79, 0, T0, None), silent, gpus=("U0", "U1", "U2", "U3")))
        assert choose(world, "desk/a", (lot(0, 0, 50),), QUICK, T0)[0].devices == ("U2",)
        assert choose(world, "desk/a", (lot(0, 0, 50, "U0", "U3", gpus=2),), QUICK, T0)[0].devices == ("U3", "U2")
        too_many = (lot(0, 0, 50, "U0", "U1", "U2", gpus=3),)
        assert choose(world, "desk/a", too_many, QUICK, T0) == too_many, "it waits for the plan"
        put(world, "a", lot(0, 0, 50, "U0"))
        world.contracts["desk/a"] = replace(world.contracts["desk/a"], status={"phase": "Delivering", "healthPolicy": lax})
        assert choose(world, "desk/a", (lot(0, 0, 50, "U0"),), QUICK, T0)[0].devices == ("U0",)

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 25), st.integers(1, 3)), max_size=12), st.integers(0, 2**16))
    @settings(max_examples=200, deadline=None)
    def test_what_fits_by_count_gets_cards(self, asked: list[tuple[int, int, int]], order: int) -> None:
        """Lots that fit a node of four by count at every instant all have cards when they begin, nobody else's, and keep them."""
        world = town()
        lots: list[Bound] = []
        for start, length, gpus in asked:
            new = lot(0, start, start + length, gpus=gpus)
            if all(sum(b.gpus for b in (*lots, new) if b.start <= T0 + t < b.end) <= 4 for t in range(70)):
                lots.append(new)
        for i, bound in enumerate(lots):
            put(world, f"c{i}", bound)
        for now in range(-LEAD, 70):
            for i in sorted(range(len(lots)), key=lambda i: hash((i, order))):  # integers hash to themselves: any order, the same each time
                (made,) = choose(world, f"desk/c{i}", (lots[i],), QUICK, T0 + now)
                assert not lots[i].devices or made == lots[i]
                lots[i] = made
                put(world, f"c{i}", made)
            running = [b for b in lots if b.running(T0 + now)]
            assert all(len(b.devices) == b.gpus for b in running)
        for a, b in itertools.combinations(lots, 2):
            assert a.end <= b.start or b.end <= a.start or not set(a.devices) & set(b.devices)


def claim(*devices: str, uid: str = "uid-a", keeper: str = "uid-a", deleting: bool = False, name: str = "") -> ResourceClaimView:
    kept = (("laycan.dev/computecontracts", "a", keeper),) if keeper else ()
    places = frozenset(("n1", device) for device in devices)
    return ResourceClaimView("acme", name or claim_name("a", 0), "u", 1, uid, deleting, bool(devices), places, (), kept)


class TestHas:
    """`has_devices`"""

    def test_as_promised(self) -> None:
        """The claim has exactly the cards, under whatever names they have, and is kept for the contract."""
        world = town()
        world.put("resource_claims", "acme/laycan-a-0", claim("gpu-1", "gpu-2"))
        assert has_devices(world, lot(0, 0, 9, "U2", "U1", gpus=2), "acme", "a", "uid-a")

    @pytest.mark.parametrize(
        "found",
        [
            None,
            claim(),
            claim("gpu-1"),
            claim("gpu-1", "gpu-3"),
            claim("gpu-1", "gpu-2", keeper=""),
            claim("gpu-1", "gpu-2", keeper="other"),
            claim("gpu-1", "gpu-2", uid=""),
            claim("gpu-1", "gpu-2", deleting=True),
        ],
    )
    def test_anything_less(self, found: ResourceClaimView | None) -> None:
        """No claim, no allocation, fewer or other cards, kept for nobody or somebody else, a stranger's, one that goes: not delivered."""
        world = town()
        if found is not None:
            world.put("resource_claims", "acme/laycan-a-0", found)
        assert not has_devices(world, lot(0, 0, 9, "U2", "U1", gpus=2), "acme", "a", "uid-a")

    def test_another_card_under_the_name(self) -> None:
        """After a reboot the names may mean other cards: what the claim says is no longer what was promised."""
        world = town()
        world.put("resource_claims", "acme/laycan-a-0", claim("gpu-1"))
        bound = lot(0, 0, 9, "U1")
        assert has_devices(world, bound, "acme", "a", "uid-a")
        world.put("resource_slices", "s", replace(cards(4, minor=1), resource_version=2))
        assert not has_devices(world, bound, "acme", "a", "uid-a")

    def test_a_card_that_is_unfit_or_also_anothers(self) -> None:
        """A tainted card is not delivered; nor is one that a second claim was given, whoever's that is."""
        world, bound = town(), lot(0, 0, 9, "U1")
        world.put("resource_claims", "acme/laycan-a-0", claim("gpu-1"))
        world.put("resource_claims", "beta/x", replace(claim("gpu-1", uid=""), namespace="beta", name="x"))
        assert not has_devices(world, bound, "acme", "a", "uid-a")
        world.drop("resource_claims", "beta/x")
        assert has_devices(world, bound, "acme", "a", "uid-a")
        world.put("resource_slices", "s", replace(cards(4, 1), resource_version=2))
        assert not has_devices(world, bound, "acme", "a", "uid-a")


def test_a_node_gives_devices_where_the_cluster_can() -> None:
    """Never where something is lacking, however many GPUs the driver publishes; and not without uuids."""
    world = town()
    assert gives_devices(world, "n1")
    assert not gives_devices(world, "n2")
    world.no_devices = "the claim guard is not installed"
    assert not gives_devices(world, "n1")
