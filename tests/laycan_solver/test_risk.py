"""What is promised: the published tables of the formula, what counts as spare and as committed, and admission by a target."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from laycan_solver.model import Contract, ContractChanged, ContractGone, NodeChanged, Plan, Problem, Reason, Reliability, Scope
from laycan_solver.planner import Planner, laid_out, plan
from laycan_solver.risk import Risk, Risks, risks_of
from laycan_solver.spares import Backing
from tests.laycan_solver import small
from tests.laycan_solver.small import NOW, binding, contract, node, outage

DAY, MONTH_HOURS = 86_400, 720
N = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
SPARES = [  # failures per node-day (ppm), seconds of repair; spare nodes for 1e-4, for 1e-2 in 30 days
    (6_500, 7_920, (2, 2, 3, 3, 4, 4, 5, 6, 8), (1, 1, 2, 2, 2, 3, 4, 5, 6)),
    (6_500, DAY, (3, 4, 4, 5, 7, 9, 12, 16, 24), (2, 2, 3, 4, 5, 6, 9, 13, 20)),
    (6_500, 4 * DAY, (5, 5, 7, 9, 11, 16, 24, 37, 59), (3, 3, 4, 6, 9, 13, 19, 31, 52)),
    (3_800, DAY, (3, 3, 4, 4, 5, 7, 9, 12, 18), (2, 2, 2, 3, 4, 5, 7, 10, 14)),
]
SELLABLE = {DAY: {8: 5, 16: 12, 32: 27, 64: 58, 128: 120, 256: 245, 512: 496, 1024: 1000}, 4 * DAY: {8: 3, 64: 53}}


def chance(nodes: int, spare: int, ppm: int = 6_500, repair: int = DAY, seconds: int = 30 * DAY) -> int:
    """Parts per billion."""
    rows = (np.array([n], dtype=np.int64) for n in (nodes * ppm, nodes * ppm * repair, spare, nodes - spare))
    return Backing(np.array([0, seconds]), *rows).worst(0, seconds)


@pytest.mark.parametrize(("ppm", "repair", "rare", "often"), SPARES)
def test_spare_nodes_needed(ppm: int, repair: int, rare: tuple[int, ...], often: tuple[int, ...]) -> None:
    """The least spares beside N committed nodes that bring the chance of 30 days below 1e-4 and 1e-2."""
    for limit, expected in ((10**5, rare), (10**7, often)):
        needed = [next(s for s in count(1) if chance(n + s, s, ppm, repair) < limit) for n in N]
        assert needed == list(expected)


@pytest.mark.parametrize("repair", SELLABLE)
def test_sellable_nodes(repair: int) -> None:
    """Of M nodes, so many can be sold Firm at 1e-4."""
    found = {m: max((n for n in range(1, m) if chance(m, m - n, repair=repair) < 10**5), default=0) for m in SELLABLE[repair]}
    assert found == SELLABLE[repair]


def near(found: int, share: float) -> bool:
    """The same to two digits."""
    return abs(found / 1e9 - share) < 0.06 * share


def test_price_of_greed() -> None:
    """The chance rises more than tenfold with every node sold beyond 58 of 64; and four hours of an outage are a slice of their own."""
    published = {57: 3.7e-6, 58: 6.3e-5, 59: 9.2e-4, 60: 1.1e-2, 62: 0.82}
    assert all(near(chance(64, 64 - sold), share) for sold, share in published.items())
    assert near(chance(60, 2, seconds=14_400), 3.8e-3)


def risks(p: Problem) -> dict[str, Risk]:
    return risks_of(p, plan(p))


def racks(nodes: int, size: int = 8, **more: Any) -> list[Any]:
    return [node(f"n{i:02}", rack=f"r{i // size}", **more) for i in range(nodes)]


def test_of_a_plan() -> None:
    """The figure of a contract is that of the whole pool in its worst 30 days, with the slices of an outage added."""
    nodes, sold = racks(64), contract("x", 0, MONTH_HOURS, 8 * 58)
    assert risks(small.problem(nodes, [sold]))["desk/x"] == Risk(chance(64, 6), 6, 8, False)
    down = [outage(f"n{i:02}", 100, 104) for i in range(60, 64)]
    risk = risks(small.problem(nodes, [sold], outages=down))["desk/x"]
    assert abs(risk.ppb - chance(64, 6, seconds=716 * 3_600) - chance(60, 2, seconds=14_400)) <= 2
    assert (risk.spare_nodes, risk.ppm) == (2, -(-risk.ppb // 1_000))


def test_the_worst_30_days() -> None:
    """A year's contract is judged by its worst month; who ends before that is not touched by it."""
    base, peak = contract("base", 0, 12 * MONTH_HOURS, 8 * 50), contract("peak", 5 * MONTH_HOURS, 6 * MONTH_HOURS, 8 * 8)
    early = contract("early", 0, MONTH_HOURS, 8)
    found = risks(small.problem(racks(64), [base, peak, early]))
    assert found["desk/base"].ppb == found["desk/peak"].ppb == chance(64, 6)
    assert found["desk/early"].ppb == chance(64, 13)


def test_the_worst_30_days_may_begin_anywhere() -> None:
    """They end with the peak: fifteen days of it, and the fifteen before."""
    parts = [contract("base", 0, 60 * 24, 8 * 50), contract("mid", 0, 25 * 24, 8 * 7), contract("peak", 25 * 24, 40 * 24, 8 * 9)]
    found = risks(small.problem(racks(64), parts))["desk/base"]
    assert abs(found.ppb - chance(64, 5, seconds=15 * DAY) - chance(64, 7, seconds=15 * DAY)) <= 2


def test_nothing_committed_nothing_short() -> None:
    """Without anybody on the nodes nobody can fall short; with nobody to spare it is certain to be as often as nodes fail."""
    idle = risks(small.problem([node("a")], [contract("x", 10, 20, 16, all_or_nothing=True)]))
    assert idle["desk/x"].ppb == 0
    full = risks(small.problem([node("a")], [contract("x", 0, 24)]))
    assert full["desk/x"].ppb == 6_500_000


LENT = {"firm": False, "notice_seconds": 14_400, "curtailable_seconds": DAY}


@pytest.mark.parametrize(
    ("changed", "spare"),
    [
        ({}, 1),
        ({"notice_seconds": 14_401}, 0),
        ({"curtailable_seconds": DAY - 1}, 0),
        ({"notice_seconds": None}, 0),
        ({"reserve": True}, 1),
    ],
)
def test_what_counts_as_spare(changed: dict[str, Any], spare: int) -> None:
    """A node is spare if all on it can be cleared within cure, for as long as a repair takes; and where a reserve lies."""
    lent = replace(contract("lent", 0, 48), **(LENT | changed))
    assert risks(small.problem([node("a"), node("b")], [contract("x", 0, 48), lent]))["desk/x"].spare_nodes == spare


@pytest.mark.parametrize(
    ("other", "spare"),
    [(node("b"), 1), (node("b", 7), 0), (node("b", cordoned=True), 0), (node("b", usable=False), 0), (node("b", grade="X"), 0)],
)
def test_only_whole_open_nodes_are_spare(other: Any, spare: int) -> None:
    """A node short of GPUs, cordoned, lost or of another grade is no spare; what is left of one that is sold in part neither."""
    assert risks(small.problem([node("a"), other], [contract("x", 0, 48)]))["desk/x"].spare_nodes == spare
    assert risks(small.problem([node("a")], [contract("x", 0, 48, 4)]))["desk/x"].spare_nodes == 0


def test_substitution_pools() -> None:
    """Who may go to another grade leaves his node to who may not; but never more of them than there is room for."""
    nodes = [*racks(8), *[node(f"m{i}", grade="H200") for i in range(4)]]
    kinds = [small.product(equivalents={"h200": 1}), small.product("h200", "H200")]
    stuck, free = contract("stuck", 0, MONTH_HOURS, 8 * 5), contract("free", 0, MONTH_HOURS, 8 * 3, substitution=True)
    found = risks(small.problem(nodes, [stuck, free], products=kinds))
    assert found["desk/stuck"].ppb == max(chance(8, 3), chance(12, 4))
    assert found["desk/free"].ppb == chance(12, 4)
    tied = risks(small.problem(nodes, [stuck, replace(free, substitution=False)], products=kinds))
    assert tied["desk/stuck"].ppb == chance(8, 0)


def test_scope_splits_the_pool() -> None:
    """A contract that must lie in one rack finds its spares there."""
    wide = contract("wide", 0, MONTH_HOURS, 8 * 6, scope=Scope.RACK, all_or_nothing=True)
    found = risks(small.problem(racks(16), [wide]))
    assert found["desk/wide"] == Risk(chance(8, 2), 2, 8, True)


KIND = small.product(reliability=Reliability(target_ppm=100))


def asked(sizes: list[int], **more: Any) -> list[Contract]:
    """Candidates of so many nodes for a month, in this order."""
    common: dict[str, Any] = {"accepted": False} | more
    return [contract(f"c{i}", 0, MONTH_HOURS, 8 * n, admission_order=(f"{i:02}", "", ""), **common) for i, n in enumerate(sizes)]


def sold(found: Plan) -> int:
    return sum(b.gpus for b in found.bindings) // 8


def refusals(found: Plan) -> list[tuple[str, str]]:
    assert all(u.code is Reason.NO_CAPACITY for u in found.undelivered)
    return [(u.contract.removeprefix("desk/"), u.message) for u in found.undelivered]


def test_sold_up_to_the_target() -> None:
    """Of 64 nodes 58 are sold at 1e-4, and the refusal of the next one says chance, spares, rack, target, and that it is proved."""
    found = plan(small.problem(racks(64), asked([50, 8, 1]), products=[KIND]))
    assert sold(found) == 58
    ((key, message),) = refusals(found)
    assert key == "c2"
    for said in ("918 ppm", "5 spare nodes", "8 nodes in the largest rack", "target is 100 ppm", "(proved)"):
        assert said in message


def test_without_a_target_nothing_changes() -> None:
    """Another product's target or none at all: the plan is the one by count, byte for byte."""
    p = small.problem(racks(64), asked([50, 8, 5, 1]))
    other = small.product("h200", "H200", reliability=Reliability(target_ppm=1))
    reliable = small.product(reliability=Reliability(90_000, 900_000, 1))
    by_count = plan(p)
    assert sold(by_count) == 64
    assert plan(replace(p, products=(reliable, other))) == by_count


def test_the_target_of_others() -> None:
    """A product without a target may not take the spares of one with a target on the same nodes; what is above already may not rise."""
    plain = small.product("plain")
    candidate = asked([1], product="plain")
    p = small.problem(racks(64), [contract("x", 0, MONTH_HOURS, 8 * 58), *candidate], products=[KIND, plain])
    ((_, message),) = refusals(plan(p))
    assert "desk/x would rise from 63 to 918 ppm; its target is 100 ppm (proved)" in message
    above = replace(p, contracts=(contract("x", 0, MONTH_HOURS, 8 * 60), *candidate))
    ((_, message),) = refusals(plan(above))
    assert "from 11192 to" in message
    apart = replace(p, contracts=(contract("x", MONTH_HOURS, 2 * MONTH_HOURS, 8 * 58), *candidate))
    assert refusals(plan(apart)) == []


def test_interruptible_candidates() -> None:
    """What can be cleared in time takes nothing from anybody; what cannot is held to the targets of others."""
    for terms, refused in ((LENT, 0), ({"firm": False}, 1)):
        lent = asked([1], **terms)
        found = plan(small.problem(racks(64), [contract("x", 0, MONTH_HOURS, 8 * 58), *lent], products=[KIND]))
        assert len(refusals(found)) == refused
    above = small.problem(racks(64), [contract("x", 0, MONTH_HOURS, 8 * 60), *asked([1], **LENT)], products=[KIND])
    assert refusals(plan(above)) == []  # what is above its target already does not rise by it


def test_a_hold_that_is_taken_up() -> None:
    """A contract whose chance was judged when it was promised is not judged again."""
    p = small.problem(racks(64), [contract("x", 0, MONTH_HOURS, 8 * 60), *asked([1], judged=True)], products=[KIND])
    assert refusals(plan(p)) == []


@pytest.mark.parametrize(("priority", "accepted"), [(799, True), (800, False)])
def test_the_largest_rack(priority: int, accepted: bool) -> None:
    """What is important needs a spare node outside for every node that the loss of a rack takes."""
    found = plan(small.problem(racks(64), asked([58], priority=priority), products=[KIND]))
    assert (refusals(found) == []) == accepted
    if not accepted:
        assert "the loss of a rack" in refusals(found)[0][1]
    assert refusals(plan(small.problem(racks(64), asked([56], priority=800), products=[KIND]))) == []


def test_a_rack_with_spares_is_looked_for() -> None:
    """Best fit would fill a rack that is half sold; one with spare nodes is taken for the sake of the target."""
    lax = small.product(reliability=Reliability(target_ppm=5_000))
    half = contract("half", 0, MONTH_HOURS, 8 * 4)
    wide = asked([4], scope=Scope.RACK, all_or_nothing=True)
    p = small.problem(racks(24), [half, *wide], products=[lax], previous=[binding("half", f"n{i:02}", 0, MONTH_HOURS) for i in range(4)])
    found = plan(p)
    assert refusals(found) == []
    assert {b.node for b in found.bindings if b.contract == "desk/c0"}.isdisjoint({f"n{i:02}" for i in range(8)})
    full = plan(small.problem(racks(24), asked([8], scope=Scope.RACK, all_or_nothing=True), products=[lax]))
    assert "1000000 ppm" in refusals(full)[0][1]


def test_the_rack_of_another() -> None:
    """A candidate without a target leaves the spares of a rack to the contract that must lie there, and goes to another one."""
    lax = small.product(reliability=Reliability(target_ppm=5_000))
    wide = contract("wide", 0, MONTH_HOURS, 8 * 6, scope=Scope.RACK, all_or_nothing=True)
    pair = asked([2], product="plain", scope=Scope.RACK, all_or_nothing=True)
    previous = [binding("wide", f"n{i:02}", 0, MONTH_HOURS) for i in range(6)]
    found = plan(small.problem(racks(16), [wide, *pair], products=[lax, small.product("plain")], previous=previous))
    assert refusals(found) == []
    assert all(b.node >= "n08" for b in found.bindings if b.contract == "desk/c0")


def test_kept_plans_and_copies() -> None:
    """A kept plan sells up to the target, what goes makes room, a copy decides alike, and neither touches the other."""
    planner = Planner(small.problem(racks(64), asked([57]), products=[KIND]))
    one, two = (replace(c, key=f"desk/{name}") for name, c in zip("ab", asked([1, 1]), strict=True))
    copy = planner.copy()
    assert planner.update([ContractChanged(one)]).undelivered == ()
    assert [u.contract for u in planner.update([ContractChanged(two)]).undelivered] == ["desk/b"]
    assert copy.update([ContractChanged(two)]).undelivered == ()
    assert [u.contract for u in copy.update([ContractChanged(one)]).undelivered] == ["desk/a"]
    assert planner.update([ContractGone("desk/a")]).undelivered == ()
    assert risks_of(planner.problem, planner.plan) == risks_of(copy.problem, copy.plan)


def test_a_node_that_is_lost_is_no_spare() -> None:
    """After the death of a spare node the next candidate is judged by those that are left."""
    planner = Planner(small.problem(racks(64), asked([57]), products=[KIND]))
    planner.update([NodeChanged(replace(node("n63", rack="r7"), usable=False))])
    (refused,) = planner.update([ContractChanged(replace(asked([1])[0], key="desk/a"))]).undelivered
    assert "5 spare nodes" in refused.message


def test_asked_without_a_refresh() -> None:
    """A candidate in a book that was never counted is compared with the same book without it."""
    candidate = replace(asked([1], product="plain")[0], accepted=True)
    p = small.problem(racks(64), [contract("x", 0, MONTH_HOURS, 8 * 58), candidate], products=[KIND, small.product("plain")])
    book, demands = laid_out(p, plan(p).bindings, set())
    found = Risks(book, demands).refusal(book.demands[1])
    assert found is not None
    assert "from 63 to 918 ppm" in found[1]
    assert Risks(book, demands).of(book.demands[0]).ppm == 918
    assert book.now == NOW
