"""Making good takes no GPU-second from what was sold: real plans, judged by the independent checker and by plans without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control.makegood import Extension, as_planned, hinders
from laycan.resources.times import format_time
from laycan_solver.check import check
from laycan_solver.model import Contract, Level, Node, NodeGone, Plan, Problem
from laycan_solver.planner import Planner, plan
from tests.laycan.control.planning import decided, planning
from tests.laycan.control.test_makegood import TestPlanned
from tests.laycan.control.town import HOUR, world
from tests.laycan.control.town import NOW as TODAY
from tests.laycan.control.town import contract as traded
from tests.laycan_solver.small import NOW, contract, node, problem

UNIT, LOT = 300, 4
Terms = dict[str, Any]
sold = st.fixed_dictionaries(
    {
        "begin": st.integers(-12, 12),
        "length": st.integers(1, 24),
        "gpus": st.sampled_from([4, 8, 16]),
        "price_micros": st.sampled_from([0, 100, 2_000_000]),
        "multiple_ppm": st.sampled_from([0, 1, 1_000_000]),
        "notice": st.sampled_from(["firm", None, 0, 600]),
    }
)
late = st.builds(
    lambda begin, intervals, lots: Extension(NOW + begin * UNIT, NOW + (begin + intervals) * UNIT, lots),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(1, 2),
)


def trade(name: str, terms: Terms) -> Contract:
    """A contract that was sold: Firm, Interruptible, or Interruptible with the right of curtailment at so many seconds' notice."""
    start, notice = NOW + terms["begin"] * UNIT, terms["notice"]
    right = {"notice_seconds": notice, "curtailable_seconds": 36_000} if isinstance(notice, int) else {}
    made = contract(name, 0, 1, gpus=terms["gpus"], lot_gpus=LOT, holder="acme", delivering=start <= NOW, firm=notice == "firm", **right)
    end = max(NOW + UNIT, start + terms["length"] * UNIT)
    return replace(made, start=start, end=end, price_micros=terms["price_micros"], multiple_ppm=terms["multiple_ppm"])


def fleet(number: int, level: Level) -> list[Node]:
    return [node(f"n{i}", level=level) for i in range(number)]


def missing(found: Plan, key: str) -> int:
    """GPU-seconds that what was sold is short, while and where the contract `key` makes good."""
    mine = [b for b in found.bindings if b.contract == key]
    return sum(
        max(0, min(b.end, u.end) - max(b.start, u.start)) * min(b.gpus, u.gpus)
        for b in mine
        for u in found.undelivered
        if u.contract != key
    )


@given(st.lists(sold, min_size=1, max_size=4), late, st.integers(1, 3), st.sampled_from(Level))
@settings(max_examples=60, deadline=None)
def test_takes_no_second_of_what_was_sold(terms: list[Terms], owed: Extension, nodes: int, level: Level) -> None:
    """Whatever class, price, damages and right; thoroughly planned, and where a node fails under it: it is left out, or none is short."""
    trades = [trade(f"c{i}", each) for i, each in enumerate(terms)]
    extra = as_planned(contract("late", -2, -1, gpus=8, lot_gpus=LOT, holder="beta", delivering=True), owed)
    before = plan(problem(fleet(nodes + 1, level), trades), effort=20)
    office = Planner(problem(fleet(nodes + 1, level), [*trades, extra], previous=list(before.bindings)), effort=20)
    left_out(office.problem, office.plan, extra.key)
    office.update([NodeGone(f"n{nodes}")])
    left_out(office.problem, office.plan, extra.key)


def left_out(of: Problem, found: Plan, key: str) -> None:
    """The plan is legal, and nothing is short where it makes good, or that is noticed."""
    assert check(of, found) == []
    assert hinders(of, found, None, {key}) == (missing(found, key) > 0)


@pytest.mark.parametrize("right", [None, {"noticeSeconds": 60, "maxHours": 100}], ids=["", "curtailable"])
@pytest.mark.parametrize(("amount", "multiple"), [("0.00", 1_000_000), ("0.0001", 1_000_000), ("2.00", 0), ("2.00", 1_000_000)])
@pytest.mark.parametrize("firm", ["Firm", "Interruptible"])
def test_what_was_sold_for_nothing(firm: str, amount: str, multiple: int, right: Any) -> None:
    """No price, no damages, a right to curtail: a lot whose node fails gets the one on which another contract makes good."""
    if firm == "Firm" and right:
        return
    terms: Terms = {"firmness": {"class": firm} | ({"interruption": right} if right else {})}
    terms["price"] = {"amount": amount, "currency": "USD", "shortfallMultiplePpm": multiple}
    times = {"delivery_start": format_time(TODAY - HOUR), "delivery_end": format_time(TODAY + HOUR)}
    row = {"product": "h100", "gpus": 8, "level": "Node", "start": times["delivery_start"], "end": times["delivery_end"]}
    other = traded("a", created=TODAY - 2 * HOUR, status={"phase": "Delivering", "bindings": [{"node": "n2", **row}]}, **times, **terms)
    owing = TestPlanned().owing()
    making = {"node": "n1", "product": "h100", "gpus": 8, "level": "Node", "boundAt": format_time(TODAY), "lots": [0]}
    making |= {"start": format_time(TODAY + 240), "end": format_time(TODAY + 1140)}
    owing = replace(owing, status={**owing.status, "bindings": [*owing.status["bindings"], making]})
    made = world([owing, other])

    async def test(office: Any) -> None:
        await office.step()
        assert [b.node for b in decided(office)["desk/late"].bindings] == ["n1"]
        made.drop("nodes", "n2")
        await office.step()
        assert [(b.node, b.end) for b in decided(office)["desk/a"].bindings] == [("n1", TODAY + HOUR)]
        assert decided(office)["desk/late"].bindings == ()

    planning(made, test)
