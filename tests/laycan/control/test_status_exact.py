"""A contract delivered by exact GPUs: cards in the status at the lead, access by the lots' claims, a lost card metered by its lot."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from laycan.control.decision import Decision, PlannedBinding
from laycan.kube.device_views import DeviceView, ResourceClaimView, ResourceSliceView
from laycan.resources.times import format_time
from laycan.resources.verdict import Found
from tests.laycan.control.desk import HOLDER, T0, Desk
from tests.laycan.control.test_receipts import readings, receipts, seal
from tests.laycan.delivery.worlds import meter

LEAD = 60


def exact_desk() -> Desk:
    """Two lots of two GPUs, planned on node a of four; claims are what the test makes them."""
    desk = Desk(gpus=4, lot_gpus=2)
    desk.nodes("a", gpus=4)
    desk.world.no_devices = ""
    desk.world.contracts[desk.contract.key] = desk.contract
    show(desk)
    desk.decision = Decision(True, T0 - 3600, None, (PlannedBinding("a", "h100", 4, T0, desk.end, "Device"),))
    desk.at(T0 - 3600)
    return desk


def show(desk: Desk, *unfit: str, version: int = 1) -> None:
    """The driver's slice: six cards, these of them unfit."""
    cards = tuple(DeviceView(f"gpu-{i}", f"U{i}", "H100", "xid" if f"U{i}" in unfit else "") for i in range(6))
    desk.world.put("resource_slices", "s", ResourceSliceView("s", version, "a", 1, 1, cards))


def give(desk: Desk, lot: int, *devices: str, version: int = 1) -> None:
    """The lot's claim, with these devices."""
    places = frozenset(("a", device) for device in devices)
    kept = (("laycan.dev/computecontracts", "c1", "uid-1"),)
    claim = ResourceClaimView(HOLDER, f"laycan-c1-{lot}", "u", version, "uid-1", False, True, places, (), kept)
    desk.world.put("resource_claims", claim.key, claim)


def cards(desk: Desk) -> dict[int, list[str]]:
    """lot -> cards, of what runs."""
    return {b["lots"][0]: b.get("devices", []) for b in desk.status["bindings"] if b["end"] == format_time(desk.end)}


def test_from_acceptance_to_delivery() -> None:
    """Bound without cards at first; with cards from the lead on; handed over when each lot's claim has its own."""
    desk = exact_desk()
    assert {b["level"] for b in desk.status["bindings"]} == {"Device"}
    assert cards(desk) == {0: [], 1: []}
    desk.run(T0 - 3600, T0 - LEAD)
    assert cards(desk) == {0: ["U0", "U1"], 1: ["U2", "U3"]}
    give(desk, 0, "gpu-0", "gpu-1")
    desk.at(T0)
    assert desk.condition("HandedOver") == ("False", "Incomplete")
    give(desk, 1, "gpu-2", "gpu-3")
    desk.at(T0 + 1)
    assert desk.condition("HandedOver") == ("True", "Complete")
    desk.run(T0 + 1, desk.end + 60)
    assert desk.quantities == {"contracted": 14_400, "delivered": 14_400 - 2, "excused": 2}


def test_a_lost_card_is_its_lots_outage() -> None:
    """The lot gets another card of its node; it is out until its claim has that one, and the other lot loses nothing."""
    desk = exact_desk()
    desk.run(T0 - 3600, T0 - LEAD)
    give(desk, 0, "gpu-0", "gpu-1")
    give(desk, 1, "gpu-2", "gpu-3")
    desk.run(T0, T0 + 600)
    show(desk, "U3", version=2)
    desk.at(T0 + 610)
    assert cards(desk) == {0: ["U0", "U1"], 1: ["U2", "U4"]}
    assert desk.told[-1]["data"]["change"]["lots"] == [1]
    give(desk, 1, "gpu-2", "gpu-4", version=2)
    desk.at(T0 + 630)
    assert desk.condition("HandedOver") == ("True", "Complete")
    desk.run(T0 + 631, desk.end + 60)
    assert desk.quantities == {"contracted": 14_400, "delivered": 14_400 - 2 * 20, "excused": 40}


def test_the_cards_that_were() -> None:
    """A receipt names the cards that a lot had when it had them: one that it got later may have been another's until then."""
    desk = exact_desk()
    desk.seal = seal()
    desk.run(T0 - 3600, T0 - LEAD)
    give(desk, 0, "gpu-0", "gpu-1")
    give(desk, 1, "gpu-2", "gpu-3")
    desk.run(T0, T0 + 600)
    show(desk, "U3", version=2)
    desk.at(T0 + 610)
    give(desk, 1, "gpu-2", "gpu-4", version=2)
    desk.at(T0 + 630)
    desk.run(T0 + 631, desk.end + 60)
    names = {sha256(f"salt of desk/gcxU{number}".encode()).hexdigest(): f"U{number}" for number in range(6)}
    (said,) = receipts(desk)
    rows = [(row["lot"], row["start"], sorted(names[each] for each in row["devices"])) for row in readings(desk, said)]
    assert rows == [
        (0, format_time(T0), ["U0", "U1"]),
        (1, format_time(T0), ["U2", "U3"]),
        (1, format_time(T0 + 630), ["U2", "U4"]),
    ]


def test_one_lots_outage_hides_no_other() -> None:
    """While nobody looked a lot got its claim back, and their node was away: the other lot's time without the node is counted too."""
    desk = exact_desk()
    desk.run(T0 - 3600, T0 - LEAD)
    give(desk, 0, "gpu-0", "gpu-1")
    give(desk, 1, "gpu-2", "gpu-3")
    desk.run(T0, T0 + 160)
    show(desk, "U0", version=2)
    desk.at(T0 + 170)
    desk.world.nodes["a"] = replace(desk.world.nodes["a"], ready_since=T0 + 200)
    desk.world.last_seen["a"] = T0 + 180
    give(desk, 0, "gpu-1", "gpu-4", version=2)
    desk.at(T0 + 210)
    desk.run(T0 + 211, desk.end + 60)
    outages = {0: 30, 1: 20}  # from the lost card until the node was back; from the last heartbeat until then
    assert desk.quantities == {"contracted": 14_400, "delivered": 14_400 - 2 * sum(outages.values()), "excused": 2 * sum(outages.values())}


def test_a_card_that_the_agent_calls_unfit() -> None:
    """Its lot gets another card of the node, the others keep theirs, and the buyer is told why; the choice needs no plan."""
    desk = exact_desk()
    desk.run(T0 - 3600, T0 - LEAD)
    give(desk, 0, "gpu-0", "gpu-1")
    give(desk, 1, "gpu-2", "gpu-3")
    desk.at(T0)
    desk.world.meters["a"] = meter("a", Found("U3", "Xid", 79, 0, T0 + 50, None), gpus=("U0", "U1", "U2", "U3", "U4", "U5"))
    desk.at(T0 + 60)
    assert cards(desk) == {0: ["U0", "U1"], 1: ["U2", "U4"]}
    change = desk.told[-1]["data"]["change"]
    assert (desk.news[-1], change["lots"], change["cause"]) == ("delivery.interrupted", [1], "Xid79")
    assert "U3" not in str(desk.told[-1])


def metered_by_agents() -> Desk:
    """Handed over in the lead, and the node has an agent."""
    desk = exact_desk()
    desk.run(T0 - 3600, T0 - LEAD)
    give(desk, 0, "gpu-0", "gpu-1")
    give(desk, 1, "gpu-2", "gpu-3")
    report(desk, T0 - 40)
    desk.at(T0 - 30)
    desk.at(T0)
    return desk


def report(desk: Desk, at: int, *found: Found) -> None:
    desk.world.meters["a"] = meter("a", *found, at=at, gpus=tuple(f"U{i}" for i in range(6)))


def test_each_second_is_judged_by_the_cards_of_its_time() -> None:
    """A card broke while nobody looked: its lot was out from then on, whatever card it is given at the first look."""
    desk = metered_by_agents()
    report(desk, T0 + 300, Found("U3", "Xid", 79, 0, T0 + 100, None))
    desk.at(T0 + 300)
    assert cards(desk) == {0: ["U0", "U1"], 1: ["U2", "U4"]}
    assert desk.told[-1]["data"]["change"]["since"] == format_time(T0 + 100)
    give(desk, 1, "gpu-2", "gpu-4", version=2)
    desk.at(T0 + 320)
    report(desk, T0 + 4000, Found("U3", "Xid", 79, 0, T0 + 100, None))
    desk.run(T0 + 321, desk.end + 60)
    assert desk.quantities == {"contracted": 14_400, "delivered": 14_400 - 2 * 220, "shortfall": 2 * 220}


def test_an_old_fault_of_a_new_card() -> None:
    """The card that a lot is given may have been broken before: that takes nothing from the time in which it had another."""
    desk = metered_by_agents()
    old = Found("U4", "Xid", 79, 0, T0 - 2000, T0 - 1100)  # clean until 200 s before
    report(desk, T0 + 100, old, Found("U4", "Unreadable", 0, 0, T0 + 40, T0 + 60))
    desk.at(T0 + 100)
    report(desk, T0 + 110, *desk.world.meters["a"].findings, Found("U3", "Xid", 79, 0, T0 + 105, None))
    desk.at(T0 + 110)
    assert cards(desk)[1] == ["U2", "U4"]
    give(desk, 1, "gpu-2", "gpu-4", version=2)
    desk.at(T0 + 120)
    report(desk, T0 + 4000, *desk.world.meters["a"].findings)
    desk.run(T0 + 121, desk.end + 60)
    assert desk.quantities == {"contracted": 14_400, "delivered": 14_400 - 2 * 15, "excused": 2 * 15}
