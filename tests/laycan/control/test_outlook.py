"""A contract is at risk before anything fails: when too few nodes are spare for its target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.control.outlook import rounded_up
from laycan.events.changes import RiskRaised
from laycan.resources.times import format_time
from laycan_solver.model import Undelivered
from laycan_solver.risk import Risk
from tests.laycan.control.desk import T0, Desk, accepted, short


def promised(target: int | None = 100) -> Desk:
    """Two lots, accepted an hour before the start, of a product with this target."""
    desk = accepted()
    set_target(desk, target)
    return desk


def set_target(desk: Desk, target: int | None) -> None:
    raw = desk.world.products["h100"]
    desk.world.products["h100"] = {**raw, "spec": {**raw["spec"], **({"target": {"shortfallPpm": target}} if target else {"target": None})}}


def plan(desk: Desk, now: int, ppb: int | None, *missing: Undelivered) -> None:
    """A plan that serves all but what is missing, thorough where it brings a figure."""
    desk.bind(now, ("a", T0, desk.end), ("b", T0, desk.end), short=missing)
    risk = None if ppb is None else Risk(ppb, 1, 4, True)
    assert desk.decision is not None
    desk.decision = replace(desk.decision, risk=risk)
    desk.at(now)


def told(desk: Desk) -> list[str]:
    kinds = (event["type"].removeprefix("dev.laycan.").removesuffix(".v1") for event in desk.told)
    return [kind for kind in kinds if kind.startswith("risk.")]


def last_change(desk: Desk) -> dict[str, Any]:
    return next(e["data"]["change"] for e in reversed(desk.told) if e["type"].startswith("dev.laycan.risk."))


def test_raised_and_cleared() -> None:
    """At the target it is raised, with both numbers and what helps; clearly below it is over. Each is told once."""
    desk = promised()
    plan(desk, T0 - 3000, 99_000)
    assert desk.condition("AtRisk") is None
    plan(desk, T0 - 2900, 920_500)
    assert desk.condition("AtRisk") == ("True", "Reserve")
    change = last_change(desk)
    RiskRaised.model_validate(change)
    assert (change["shortfallProbabilityPpm"], change["targetPpm"], change["gpus"]) == (930, 100, 16)
    assert change["window"] == {"start": format_time(T0), "end": format_time(desk.end)}
    for words in ("930 ppm", "target 100 ppm", "1 spare node ", "add some"):
        assert words in change["message"]
    plan(desk, T0 - 2800, 63_000)
    assert desk.condition("AtRisk") == ("False", "Planned")
    assert told(desk) == ["risk.raised", "risk.cleared"]


def test_no_target() -> None:
    """Then a figure raises nothing; and one that was raised is over when the target is taken away."""
    desk = promised(None)
    plan(desk, T0 - 3000, 900_000_000)
    assert desk.condition("AtRisk") is None
    set_target(desk, 100)
    plan(desk, T0 - 2900, 900_000_000)
    set_target(desk, None)
    plan(desk, T0 - 2800, 900_000_000)
    assert told(desk) == ["risk.raised", "risk.cleared"]


def test_no_flapping() -> None:
    """Plans that only followed bring no figure, and a figure that moves about the target is one risk."""
    desk = promised()
    for number, ppb in enumerate((100_000, None, 99_000, None, 101_000, 95_000, None)):
        plan(desk, T0 - 3000 + number, ppb)
        assert desk.condition("AtRisk") == ("True", "Reserve")
    assert told(desk) == ["risk.raised"]


def test_a_restart_is_quiet() -> None:
    """Whoever reads the status goes on from it: neither a plan that follows nor the first thorough one tells it again."""
    desk = promised()
    plan(desk, T0 - 3000, 920_000)
    desk.decision = None
    assert desk.at(T0 - 2990) is None or desk.condition("AtRisk") == ("True", "Reserve")
    plan(desk, T0 - 2980, 920_400)
    assert told(desk) == ["risk.raised"]


def test_what_is_short_comes_first() -> None:
    """A planned shortfall is stated in its place, and the figure again when it is over; it was at risk all the time."""
    desk = promised()
    plan(desk, T0 - 3000, 920_000)
    plan(desk, T0 - 2900, 920_000, short(T0, T0 + 600))
    assert desk.condition("AtRisk") == ("True", "PoolShort")
    plan(desk, T0 - 2800, 920_000)
    assert desk.condition("AtRisk") == ("True", "Reserve")
    assert told(desk) == ["risk.raised"]


def test_the_end() -> None:
    """With its window the risk is over."""
    desk = promised()
    plan(desk, T0 - 3000, 920_000)
    desk.at(desk.end + 1)
    assert desk.condition("AtRisk") == ("False", "WindowOver")


@given(st.integers(0, 1_000_000))
def test_rounded_up(ppm: int) -> None:
    """Never less than it is, by less than a tenth more, and with two digits that count."""
    found = rounded_up(ppm)
    assert ppm <= found <= max(ppm + ppm // 10 + 1, ppm)
    assert len(str(found).rstrip("0")) <= 2


@pytest.mark.parametrize(("ppm", "expected"), [(0, 0), (7, 7), (63, 63), (101, 110), (920, 920), (999_999, 1_000_000)])
def test_rounded_up_examples(ppm: int, expected: int) -> None:
    assert rounded_up(ppm) == expected
