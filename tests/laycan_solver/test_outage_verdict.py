"""Verdicts on outages: scenario 10 with its numbers, retirements, and outages that the plan has already."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from laycan_solver.model import FOREVER, Contract, Outage, OutageChanged, OutageType, Reliability, Scope, TimePassed
from laycan_solver.outage_verdict import Cover, Verdict, judge
from laycan_solver.planner import Planner
from laycan_solver.standing import Gap
from tests.laycan_solver import small
from tests.laycan_solver.instances import STEP, TINY, Shape, problem
from tests.laycan_solver.small import HOUR, NOW, contract, node, product
from tests.laycan_solver.test_undo import state

DAY = 24 * HOUR
START, END = NOW + 11 * DAY + 2 * HOUR, NOW + 11 * DAY + 6 * HOUR  # 2027-01-12T02..06Z
TARGET = Reliability(failures_ppm=6_500, repair_seconds=86_400, target_ppm=100)


def fleet(committed: int = 58, reliability: Reliability = TARGET) -> Planner:
    """64 nodes of 8; so many sold Firm, whole, from 2027-01-04 to 02-03."""
    nodes = [node(f"n{i:02}", rack=f"r{i // 8}") for i in range(64)]
    contracts = [contract(f"c{i:02}", 72, 72 + 720) for i in range(committed)]
    return Planner(small.problem(nodes, contracts, products=[product(reliability=reliability)]), effort=20)


def out(nodes: range, start: int = START, end: int = END, kind: OutageType = OutageType.PLANNED) -> Outage:
    return Outage("maintenance", kind, frozenset(f"n{i:02}" for i in nodes), start, end)


class TestScenario10:
    """58 of 64 nodes are committed; lambda 6.5e-3, repair of a day, target 1e-4."""

    def test_eight_nodes_are_blocked(self) -> None:
        """56 are left for 58 lots: two lots short, for these four hours, and whose."""
        verdict = judge(fleet(), out(range(8)))
        assert verdict.cover is Cover.BLOCKED
        assert verdict.lots_short == 2
        assert verdict.worst == Gap(START, END, 2)
        assert [(h.lots, h.gpu_seconds, h.start) for h in verdict.harms] == [(1, 4 * 8 * HOUR, START)] * 2
        assert len(verdict.contracts) == 2
        assert verdict.since == START

    def test_four_nodes_are_at_risk(self) -> None:
        """60 are left, two of them spare: 60 x 6.5e-3 x 4/24 x P(Poisson(0.39) >= 2) = 3.83e-3, above the target; nobody is short."""
        verdict = judge(fleet(), out(range(4)))
        assert verdict.cover is Cover.AT_RISK
        assert verdict.lots_short == 0
        worst = verdict.exposures[0]
        assert (worst.spare_nodes, worst.target_ppb, worst.missed) == (2, 100_000, True)
        assert 3_820_000 < worst.ppb == verdict.ppb < 3_840_000
        assert worst.before_ppb < 100_000
        assert verdict.contracts == ("desk/c00",)

    def test_after_the_contracts_end_it_is_covered(self) -> None:
        """Nothing is due after 02-03, and nothing is at risk."""
        for nodes in (range(8), range(4)):
            verdict = judge(fleet(), out(nodes, START + 30 * DAY, END + 30 * DAY))
            assert (verdict.cover, verdict.lots_short, verdict.ppb, verdict.contracts) == (Cover.COVERED, 0, 0, ())

    def test_two_nodes_with_a_target_that_is_kept(self) -> None:
        """Four spares for four hours keep the target: covered, with the chance shown."""
        verdict = judge(fleet(), out(range(2)))
        assert verdict.cover is Cover.COVERED
        assert 0 < verdict.ppb < 100_000

    def test_without_a_target_the_chance_is_shown(self) -> None:
        """The same four nodes are covered where no target is set."""
        verdict = judge(fleet(reliability=replace(TARGET, target_ppm=None)), out(range(4)))
        assert verdict.cover is Cover.COVERED
        assert verdict.exposures[0].ppb > 3_000_000

    def test_what_misses_its_target_anyway_is_not_the_outages_doing(self) -> None:
        """With 62 committed the target is missed for months; an outage of a node without lots in a far week changes nothing of that."""
        plan = fleet(62)
        assert judge(plan, out(range(62, 63))).cover is Cover.AT_RISK
        spare = Outage("elsewhere", OutageType.PLANNED, frozenset({"nowhere"}), START, END)
        assert judge(plan, spare).cover is Cover.COVERED


class TestRetirement:
    """An outage without end."""

    def test_says_what_it_breaks_and_from_when(self) -> None:
        """Retired before the contracts begin: two lots short from their first second on, to their last."""
        verdict = judge(fleet(), out(range(8), NOW + DAY, FOREVER, OutageType.RETIREMENT))
        assert verdict.cover is Cover.BLOCKED
        assert (verdict.lots_short, verdict.since) == (2, NOW + 3 * DAY)
        assert [h.gpu_seconds for h in verdict.harms] == [8 * 30 * DAY] * 2

    def test_breaks_nothing_after_the_last_contract(self) -> None:
        """Nodes that go when all is delivered are missed by nobody."""
        assert judge(fleet(), out(range(64), NOW + 33 * DAY, FOREVER, OutageType.RETIREMENT)).cover is Cover.COVERED

    def test_its_worst_month_counts(self) -> None:
        """Four nodes gone for the whole term: the chance is that of 30 days with two spares."""
        verdict = judge(fleet(), out(range(4), NOW, FOREVER, OutageType.RETIREMENT))
        assert verdict.cover is Cover.AT_RISK
        assert verdict.ppb > 500_000_000


def same(one: Verdict, other: Verdict) -> bool:
    """But for moves, which are made already in one of them."""
    return (one.cover, one.worst, one.exposures, len(one.harms)) == (other.cover, other.worst, other.exposures, len(other.harms))


@pytest.mark.parametrize("nodes", [range(8), range(4), range(2)])
def test_an_outage_that_is_planned_already(nodes: range) -> None:
    """The verdict on it is what it was before it was planned, and the plan stays as it is."""
    plan = fleet()
    first = judge(plan, out(nodes))
    plan.update([OutageChanged(out(nodes))])
    before, live = plan.plan, state(plan.kept().book)
    assert same(judge(plan, out(nodes)), first)
    assert same(judge(plan.kept(), out(nodes)), first)
    assert plan.plan == before
    assert state(plan.kept().book) == live


def test_one_that_is_shifted() -> None:
    """Another time for a known outage is judged without its old time."""
    plan = fleet()
    plan.update([OutageChanged(out(range(8)))])
    assert judge(plan, out(range(8), START + 30 * DAY, END + 30 * DAY)).cover is Cover.COVERED


@pytest.mark.parametrize("seed", range(20))
def test_random_plans(seed: int) -> None:
    """Blocked exactly where somebody is short more; nothing changes by judging."""
    p = problem(seed, Shape(nodes=8, contracts=14, steps=8, trouble=0.3))
    plan = Planner(p, effort=20)
    before = state(plan.kept().book)
    some = Outage("some", OutageType.PLANNED, frozenset(n.name for n in p.nodes[:3]), p.now + 6 * HOUR, p.now + 18 * HOUR)
    verdict = judge(plan, some)
    assert (verdict.cover is Cover.BLOCKED) == bool(verdict.effect.harmed) == (verdict.lots_short > 0)
    assert state(plan.kept().book) == before


def test_time_that_has_passed() -> None:
    """A kept plan whose contracts were not looked at since: the verdict is of what is still due."""
    plan = fleet()
    plan.update([TimePassed(NOW + 10 * DAY)])
    verdict = judge(plan.kept(), out(range(8)))
    assert (verdict.cover, verdict.lots_short) == (Cover.BLOCKED, 2)
    assert verdict.effect.before.contracted_gpu_seconds == 58 * 8 * 23 * DAY


def test_contracts_are_plain() -> None:
    """A contract that is not Firm has no exposure."""
    lent: Contract = contract("lent", 0, 720, firm=False)
    plan = Planner(small.problem([node("a"), node("b")], [lent], products=[product(reliability=TARGET)]), effort=20)
    assert judge(plan, Outage("o", OutageType.PLANNED, frozenset({"b"}), NOW + HOUR, NOW + 2 * HOUR)).exposures == ()


@pytest.mark.parametrize("seed", [10, 33, 57, 87])
def test_what_goes_ahead_is_not_called_off_by_itself(seed: int) -> None:
    """Judged, planned, planned thoroughly, judged again, as the operator does it, with contracts about that are short anyway.

    The search serves some of these as soon as the outage is taken away, and would serve them with it back in place as well.
    """
    rng = Random(seed)
    asked = problem(seed, Shape(nodes=8, contracts=14, steps=8, trouble=0.3) if seed % 2 else TINY)
    first = Planner(asked, effort=20).plan
    refused = {u.contract for u in first.undelivered if u.refused}
    sold = tuple(replace(c, accepted=True) for c in asked.contracts if c.key not in refused)
    book = replace(asked, contracts=sold, previous=first.bindings)
    names = sorted(n.name for n in book.nodes)
    nodes = frozenset(rng.sample(names, rng.randint(1, len(names) // 2)))
    start = book.now + rng.randint(1, 6) * STEP + rng.choice([0, STEP // 2])
    maintenance = Outage("maintenance", OutageType.PLANNED, nodes, start, start + rng.randint(1, 4) * STEP)
    plan = Planner(book, effort=20)
    assert judge(plan, maintenance).cover is Cover.COVERED
    plan.update([OutageChanged(maintenance)])
    for _ in range(2):
        plan = Planner(replace(book, outages=(*book.outages, maintenance), previous=plan.plan.bindings), effort=20)
        assert judge(plan, maintenance).cover is Cover.COVERED


def test_a_contract_that_has_left_its_rack_by_then() -> None:
    """It looks for spares in the rack where it is while the outage lasts; where it was before is none of that, and has no figure."""
    asked = problem(167, TINY)
    plan = Planner(asked, effort=5)
    racks = {n.name: n.domains[Scope.RACK - 1] for n in asked.nodes}
    start = asked.now + 15 * HOUR
    mine = sorted(b for b in plan.plan.bindings if b.contract == "desk/c006")
    assert [racks[b.node] for b in mine if b.end <= start] != [racks[b.node] for b in mine if b.end > start]
    verdict = judge(plan, Outage("later", OutageType.PLANNED, frozenset({"n000"}), start, start + 18 * HOUR))
    assert "desk/c006" in {e.contract for e in verdict.exposures}
