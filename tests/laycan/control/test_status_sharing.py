"""Two contracts of one holder on one node, with small lots: a GPU that breaks is one of them short, to the last second."""

from __future__ import annotations

from dataclasses import replace

from laycan.kube.meter_views import MeterView
from laycan.resources.verdict import Found
from tests.laycan.control.desk import T0, Desk

GPUS = frozenset(f"GPU-{i}" for i in range(8))


def both() -> tuple[Desk, Desk]:
    """A lot of four GPUs each on node `a`, from the same second to the same."""
    one, two = Desk(seconds=600, gpus=4, lot_gpus=4), Desk(seconds=600, gpus=4, lot_gpus=4)
    two.world = one.world
    two.contract = replace(two.contract, name="c2", uid="uid-2")
    one.nodes("a")
    for each in (one, two):
        each.bind(T0 - 3600, ("a", T0, each.end), gpus=4)
    look(T0 - 3600, one, two)
    one.hand_over("a")
    report(one, T0 - 40)
    look(T0 - 30, one, two)
    return one, two


def look(now: int, *desks: Desk) -> None:
    for desk in desks:
        desk.at(now)
        desk.world.put("contracts", desk.contract.key, desk.contract)


def report(desk: Desk, at: int, *found: Found) -> None:
    desk.world.meters["a"] = MeterView("a", at, "uid-a", T0 - 9_000, at, T0 - 9_000, 60, GPUS, found, (), 0, 0)


def test_one_of_them_is_short() -> None:
    """Seven fit GPUs are one lot of four. That the other's window is over when it is read makes no more of them."""
    one, two = both()
    for now in range(T0, T0 + 600, 60):
        report(one, now)
        look(now, one, two)
    broken = Found("GPU-3", "Xid", 79, 0, one.end - 30, None)
    report(one, one.end - 28, broken)
    look(one.end - 28, one, two)
    assert (one.condition("HandedOver"), two.condition("HandedOver")) == (("True", "Complete"), ("False", "Interrupted"))
    for late in range(2, 200, 2):
        report(one, one.end + late, broken)
        look(one.end + late, *((one, two) if late % 4 else (two, one)))
    assert (one.phase, two.phase) == ("Delivered", "Delivered")
    assert one.quantities == {"contracted": 2400, "delivered": 2400}
    assert two.quantities == {"contracted": 2400, "delivered": 2400 - 120, "excused": 120}
