"""What a contract's segments cost: owed, interrupted, substituted, curtailed; and which cuts are allowed."""

from __future__ import annotations

from typing import Any

import pytest

from laycan_solver.eligible import Demands, Fleet
from laycan_solver.model import Binding, Outage
from laycan_solver.objective import SCALE, Segment, Verdict, micros, within_limit
from tests.laycan_solver import small
from tests.laycan_solver.reference import judge, missing_profile
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node, outage

DAY = 86_400


def verdict(
    segments: list[tuple[int, int, int, int]],
    gpus: int = 16,
    outages: list[Outage] | None = None,
    previous: list[Binding] | None = None,
    **more: Any,
) -> Verdict:
    start = -5 if previous else 0
    p = small.problem([node(n) for n in "abcd"], [contract("x", start, 100, gpus, **more)], outages=outages or [], previous=previous or [])
    fleet = Fleet(p)
    demand = Demands(p, fleet).demand(0)
    assert demand
    return judge(demand, fleet, NOW, [Segment(c, NOW + a * HOUR, NOW + b * HOUR, n) for c, a, b, n in segments])


def test_owed_is_what_is_missing() -> None:
    """16 GPUs for 100 hours at 1.00, half of it served: 800."""
    assert micros(verdict([(0, 0, 100, 1)]).owed) == 800 * 10**6
    assert micros(verdict([]).owed) == 1600 * 10**6
    assert verdict([(0, 0, 100, 1), (1, 0, 100, 1)]).due == 0


@pytest.mark.parametrize(
    ("segments", "instants"),
    [
        ([(0, 0, 50, 1), (1, 50, 100, 1)], 1),  # a change of node
        ([(0, 0, 50, 2), (1, 50, 100, 1), (2, 50, 100, 1)], 1),  # two lots at once are one interruption
        ([(0, 0, 50, 1), (0, 50, 100, 1)], 0),  # no change
        ([(0, 0, 50, 1), (1, 51, 100, 1)], 0),  # a gap is owed, not interrupted
        ([(0, 0, 50, 1), (1, 50, 100, 1), (1, 0, 50, 1), (0, 50, 100, 1)], 0),  # two lots that swap change nothing
        ([(0, 0, 20, 1), (1, 20, 60, 1), (2, 60, 100, 1)], 2),
    ],
)
def test_interruptions_are_counted_by_instant(segments: list[tuple[int, int, int, int]], instants: int) -> None:
    """An instant at which lots leave and arrive costs a quarter of an hour of all 16 GPUs, once."""
    found = verdict(segments)
    assert len(found.instants) == instants
    assert found.interruption == instants * 900 * 16 * 10**12
    assert found.interruption == instants * 4 * 10**6 * SCALE


def test_forced_cuts_do_not_count_against_the_limit() -> None:
    """An outage interrupts, but is no planned cut."""
    chain = [(0, 0, 50, 1), (1, 50, 100, 1)]
    assert verdict(chain).planned == (NOW + 50 * HOUR,)
    assert verdict(chain, outages=[outage("a", 50, 60)]).planned == ()
    assert not verdict(chain, forced_moves_only=True).legal
    assert verdict(chain, forced_moves_only=True, outages=[outage("a", 50, 60)]).legal


def test_now_is_free_only_where_the_node_is_lost() -> None:
    """Leaving a good node at now interrupts; leaving one in an outage does not."""
    ran = [binding("x", "a", -5, 100)]
    assert len(verdict([(1, 0, 100, 1)], previous=ran).instants) == 1
    assert verdict([(1, 0, 100, 1)], previous=ran, outages=[outage("a", -1, 3)]).instants == ()
    assert verdict([(0, 0, 100, 1), (1, 0, 100, 1)], previous=ran).instants == ()
    assert (verdict([], previous=ran).moved, verdict([], previous=ran).changes) == (1, 1)


def test_curtailment_by_right() -> None:
    """Seconds after the notice are not owed up to the budget of the lots; before it they are."""
    right: dict[str, Any] = {"firm": False, "notice_seconds": 10 * HOUR, "curtailable_seconds": 20 * HOUR}
    assert micros(verdict([(0, 0, 100, 1)], gpus=8, **right).owed) == 0
    assert micros(verdict([(0, 10, 90, 1)], gpus=8, **right).owed) == 10 * 8 * 10**6
    assert micros(verdict([(0, 0, 70, 1)], gpus=8, **right).owed) == 10 * 8 * 10**6
    assert verdict([(0, 0, 70, 1)], gpus=8, **right).tiers[0] == 0


def test_limit_of_planned_cuts() -> None:
    """At most so many in any 30 days; none where the limit is nought."""
    assert within_limit([0, DAY, 2 * DAY, 3 * DAY], 4)
    assert not within_limit([0, DAY, 2 * DAY, 3 * DAY, 29 * DAY], 4)
    assert within_limit([0, DAY, 2 * DAY, 3 * DAY, 31 * DAY], 4)
    assert within_limit([], 0)
    assert not within_limit([5], 0)


def test_missing_profile() -> None:
    """Where lots are missing, and how many, cut only where the number changes."""
    p = small.problem([node("a"), node("b")], [contract("x", 0, 100, 16)])
    demand = Demands(p, Fleet(p)).demand(0)
    assert demand
    segments = [
        Segment(0, NOW, NOW + 50 * HOUR, 1),
        Segment(1, NOW + 50 * HOUR, NOW + 80 * HOUR, 1),
        Segment(0, NOW + 60 * HOUR, NOW + 70 * HOUR, 1),
    ]
    hours = [((a - NOW) // HOUR, (b - NOW) // HOUR, n) for a, b, n in missing_profile(demand, segments)]
    assert hours == [(0, 60, 1), (70, 80, 1), (80, 100, 2)]


def test_rounded_half_up_once() -> None:
    """Half a micro is one."""
    assert [micros(n) for n in (0, SCALE // 2 - 1, SCALE // 2, SCALE, 3 * SCALE // 2)] == [0, 0, 1, 1, 2]
