"""Whatever is held, taken, given back and broken in whatever order: each second of each lot is counted as a clock of seconds counts it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.kube.meter_views import MeterView
from laycan.resources.verdict import Found
from tests.laycan.control.acts import done
from tests.laycan.control.desk import T0, Desk

SECONDS = 240
ROUGH = {"graceSeconds": 0, "cureSeconds": 60}
NAMES = ("a", "b")
Event = tuple[str, str]
events = st.tuples(st.sampled_from(["Suspend", "Resume", "take", "give", "break", "mend"]), st.sampled_from(NAMES))
storms = st.dictionaries(st.integers(1, SECONDS - 1), events, min_size=1, max_size=14)


def fresh() -> Desk:
    """Two lots on two nodes with agents, no grace, a card is well the second after its fault; handed over before the start."""
    desk = Desk(seconds=SECONDS, tolerance=ROUGH)
    known = desk.world.products["h100"]["spec"]
    desk.world.products["h100"] = {"spec": {**known, "health": {"version": "now", "cleanSeconds": 0}}}
    desk.nodes(*NAMES)
    desk.bind(T0 - 100, *((name, T0, desk.end) for name in NAMES))
    desk.at(T0 - 100)
    desk.hand_over(*NAMES)
    report(desk, T0 - 30, {})
    desk.at(T0 - 30)
    return desk


def report(desk: Desk, now: int, faults: dict[str, list[list[int | None]]]) -> None:
    """The agents' latest sample is of this second."""
    for name in NAMES:
        found = tuple(Found(f"GPU-{name}-3", "Xid", 79, 0, start or 0, end) for start, end in faults.get(name, ()))
        gpus = frozenset(f"GPU-{name}-{i}" for i in range(8))
        desk.world.meters[name] = MeterView(name, now, f"uid-{name}", T0 - 9_000, now, T0 - 9_000, 60, gpus, found, (), 0, 0)


@given(storms)
@settings(max_examples=40, deadline=None)
def test_second_by_second(storm: dict[int, Event]) -> None:
    """Delivered: had, fit, and not held. The buyer's: held. Short: all the rest."""
    desk, held, taken = fresh(), False, set[str]()
    faults: dict[str, list[list[int | None]]] = {}
    expected = {"delivered": 0, "buyerCaused": 0, "shortfall": 0}
    for second in range(SECONDS):
        now, (what, name) = T0 + second, storm.get(second, ("", ""))
        if what == "break" and not any(end is None for _, end in faults.get(name, ())):
            faults.setdefault(name, []).append([now, None])
        elif what == "mend" and faults.get(name) and faults[name][-1][1] is None:
            faults[name][-1][1] = now
        elif what in ("take", "give"):
            (taken.add if what == "take" else taken.discard)(name)
            desk.hand_over(name, holder="somebody-else" if what == "take" else "acme-train")
        report(desk, now, faults)
        if what in ("Suspend", "Resume") and done(desk, what, now) == "Applied":
            held = what == "Suspend"
        desk.at(now)
        for each in NAMES:
            broken = any(end is None for _, end in faults.get(each, ()))
            kind = "buyerCaused" if held else "shortfall" if each in taken or broken else "delivered"
            expected[kind] += 8
    for later in range(desk.end, desk.end + 200, 10):
        report(desk, later, faults)
        desk.at(later)
    assert desk.quantities == {"contracted": 16 * SECONDS, **{kind: amount for kind, amount in expected.items() if amount}}
