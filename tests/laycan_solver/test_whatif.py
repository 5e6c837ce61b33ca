"""What-ifs: the plan after against the plan before, by contract, in money and lots; and nothing changes by asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from laycan_solver.check import check
from laycan_solver.effect import Effect, effect_of
from laycan_solver.lose_each import lose_each
from laycan_solver.model import ContractChanged, Event, Level, Problem, Reason, Scope
from laycan_solver.planner import Planner
from laycan_solver.standing import Before, Gap
from laycan_solver.whatif import adding, domains, draining, losing, selling, what_if
from tests.laycan_solver import small
from tests.laycan_solver.instances import STEP, TINY, Shape, problem
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node
from tests.laycan_solver.test_undo import state

SMALL = Shape(nodes=8, contracts=14, steps=8, trouble=0.3)
RACKS = [node(f"n{i}", rack=f"r{i // 2}") for i in range(4)]


def planner(*contracts: object, nodes: Sequence[object] = RACKS, **more: object) -> Planner:
    return Planner(small.problem(list(nodes), list(contracts), **more), effort=20)  # type: ignore[arg-type]


def questions(rng: Random, p: Problem) -> list[Event]:
    """One to three things that may happen to different parts of a problem."""
    names = rng.sample([n.name for n in p.nodes], 3)
    start = p.now + rng.randint(0, 5) * STEP // 2
    asked = replace(rng.choice(p.contracts), key="desk/asked", contract_id="asked", accepted=False, delivering=False)
    some: list[list[Event]] = [
        [losing(names[:2], start)],
        [draining(names[2:], start, start + STEP)],
        adding(p, "h100", 2, p.nodes[0].domains[2]) if any(n.grade == "H100" and n.gpus for n in p.nodes) else [],
        [ContractChanged(asked)],
    ]
    return [e for events in rng.sample(some, rng.randint(1, 3)) for e in events]


@pytest.mark.parametrize("seed", range(60))
def test_plans_after_are_legal_and_add_up(seed: int) -> None:
    """The plan after is legal, the sums of both are those of the plans, and the plan before is what it was, byte for byte."""
    p = problem(seed, SMALL if seed % 2 else TINY)
    before = Planner(p, effort=20)
    plan, live = before.plan, state(before.kept().book)
    events = questions(Random(seed), p)
    effect, after = effect_of(Before.of(before), events)
    told = f"seed {seed}, {events}"
    assert check(after.problem, after.plan) == [], told
    for name in ("owed", "firm_owed", "interruption", "substitution"):
        assert getattr(effect.after, f"{name}_micros") == getattr(after.plan.totals, f"{name}_micros"), told
    assert effect.after.bound_gpu_seconds == after.plan.totals.bound_gpu_seconds, told
    assert effect.after.contracted_gpu_seconds == after.plan.totals.contracted_gpu_seconds, told
    assert effect.before.bound_gpu_seconds == plan.totals.bound_gpu_seconds, told
    assert sum(m.gpus for m in effect.moves) == after.plan.totals.moved_gpus, told
    missing = sum(u.gpus * (u.end - u.start) for u in after.plan.undelivered if not u.refused)
    assert effect.after.short_gpu_seconds + effect.after.curtailed_gpu_seconds == missing, told
    assert before.plan == plan
    assert state(before.kept().book) == live
    assert what_if(before, events) == effect


def test_only_who_changes_is_listed() -> None:
    """A lost rack: one contract moves, one goes short, the others are not named; the worst comes first."""
    p = planner(*(contract(name, 1, 11) for name in "abcd"))
    there = {b.node: b.contract for b in p.plan.bindings}
    effect = what_if(p, [losing(["n0", "n1"], NOW)])
    assert {c.contract for c in effect.changes} == {there["n0"], there["n1"]}
    assert (effect.before.lots_short, effect.after.lots_short) == (0, 2)
    assert effect.after.owed_micros == effect.cost_micros == 2 * 10 * 8 * 10**6
    assert effect.after.short_gpu_seconds == 2 * 10 * 8 * HOUR
    assert effect.worst == Gap(NOW + HOUR, NOW + 11 * HOUR, 2)
    assert not effect.safe


def test_who_moves_is_listed_with_lots() -> None:
    """With room elsewhere nobody is short: one lot moves, for nothing before its start."""
    effect = what_if(planner(contract("a", 1, 11), previous=[binding("a", "n0", 1, 11)]), [losing(["n0"], NOW)])
    assert [(c.contract, c.lots_moved, c.cost_micros) for c in effect.changes] == [("desk/a", 1, 0)]
    assert (effect.after.lots_moved, effect.safe, effect.worst.lots) == (1, True, 0)


def test_a_drain_in_mid_term_shows_its_interruption() -> None:
    """Moves at a drain's start count and are shown, and nobody is short: 900 s of 8 GPUs at 1.00."""
    p = planner(contract("a", -1, 11), previous=[binding("a", "n0", -1, 11)])
    effect = what_if(p, [draining(["n0"], NOW + 2 * HOUR, NOW + 4 * HOUR)])
    assert effect.after.interruption_micros == effect.cost_micros == 8 * 10**6 // 4
    assert effect.safe


def test_a_loss_for_a_time() -> None:
    """Only the seconds of the loss are short."""
    full = [contract(name, 1, 11) for name in "abcd"]
    effect = what_if(planner(*full), [losing(["n0"], NOW + 3 * HOUR, NOW + 5 * HOUR)])
    assert effect.after.short_gpu_seconds == 2 * 8 * HOUR


def test_curtailed_by_right_is_not_short() -> None:
    """An Interruptible that may be curtailed is shown as curtailed, and nobody is harmed."""
    lent = contract("lent", 1, 11, 32, firm=False, notice_seconds=0, curtailable_seconds=10 * HOUR)
    effect = what_if(planner(lent), [losing(["n0"], NOW)])
    assert (effect.after.short_gpu_seconds, effect.after.curtailed_gpu_seconds) == (0, 8 * 10 * HOUR)
    assert effect.after.lots_short == 0
    assert effect.safe


class TestAdding:
    """New nodes are like those that there are."""

    def test_serves_who_was_short(self) -> None:
        """Two contracts of four nodes each on four nodes: with four more nobody is short."""
        p = planner(contract("a", 1, 11, 32), contract("b", 1, 11, 32))
        effect = what_if(p, adding(p.problem, "h100", 4))
        assert (effect.before.lots_short, effect.after.lots_short) == (4, 0)
        assert effect.cost_micros == -4 * 8 * 10 * 10**6

    def test_in_a_given_rack(self) -> None:
        """They take its zone and fabric; a contract of one rack that was short fits."""
        p = planner(contract("a", 1, 11, 24, scope=Scope.RACK))
        assert what_if(p, adding(p.problem, "h100", 1, "r1")).after.lots_short == 0
        assert what_if(p, adding(p.problem, "h100", 1)).after.lots_short == 1

    def test_of_a_product_without_nodes(self) -> None:
        """There is nothing for them to be like."""
        with pytest.raises(ValueError, match="no node of b200"):
            adding(planner().problem, "b200", 1)


class TestSelling:
    """A candidate is admitted or refused."""

    def test_admitted(self) -> None:
        """It is the only one that changes."""
        sale = selling(planner(contract("a", 1, 11)), contract("q", 2, 5, 24))
        assert sale.refusal is None
        assert [c.contract for c in sale.effect.changes] == ["desk/q"]

    def test_refused(self) -> None:
        """Nothing changes, and the refusal says why."""
        sale = selling(planner(contract("a", 1, 11)), contract("q", 2, 5, 32))
        assert sale.refusal is not None
        assert sale.refusal.code is Reason.NO_CAPACITY
        assert sale.effect.changes == ()
        assert sale.effect.before == sale.effect.after


class TestLoseEach:
    """One group at a time."""

    def test_racks_by_money(self) -> None:
        """The rack with the dear contract comes first; the free one is harmless, and so is one whose lots find room."""
        lying = [binding("dear", "n0", -1, 11), binding("dear", "n1", -1, 11), binding("cheap", "n2", -1, 11)]
        contracts = [contract("dear", -1, 11, 16, price_micros=5 * 10**6), contract("cheap", -1, 11)]
        p = planner(*contracts, nodes=[*RACKS, node("n4", rack="r2")], previous=lying)
        losses = lose_each(p, domains(p.problem, Scope.RACK), NOW)
        assert [(r.name, r.effect.after.lots_short) for r in losses.rows] == [("r0", 0), ("r1", 0), ("r2", 0)]
        p = planner(*contracts, previous=lying)
        losses = lose_each(p, domains(p.problem, Scope.RACK), NOW)
        assert [(r.name, r.nodes, r.effect.after.lots_short) for r in losses.rows] == [("r0", 2, 1), ("r1", 2, 1)]
        assert [r.effect.cost_micros for r in losses.rows] == [11 * 8 * 10**6, 11 * 8 * 10**6]
        assert losses.harmless == 0

    @pytest.mark.parametrize("seed", range(20))
    def test_each_is_the_same_as_alone(self, seed: int) -> None:
        """Every row is what losing that group by itself does, whatever came before it; groups with nothing on them too."""
        p = Planner(problem(seed, SMALL), effort=20)
        groups = domains(p.problem, None)
        told: list[tuple[int, int]] = []
        losses = lose_each(p, groups, NOW, progress=lambda done, of: told.append((done, of)))
        assert told[-1] == (len(groups), len(groups))
        assert {r.name: r.effect for r in losses.rows} == {name: what_if(p, [losing(nodes, NOW)]) for name, nodes in groups.items()}
        costs = [r.effect.cost_micros for r in losses.rows]
        assert costs == sorted(costs, reverse=True)
        assert losses.harmless == sum(not r.effect.harmed for r in losses.rows)


def test_a_new_outage_is_nobodys_gain() -> None:
    """Who was short before is not looked at because of it: what changes is the outage's doing."""
    nodes, products = [node("n0"), node("n1"), node("n2", grade="A100")], [small.product(), small.product("a100", "A100")]
    contracts = [contract("short", 1, 11, 16, product="a100"), contract("b", 20, 30)]
    p = planner(*contracts, nodes=nodes, products=products, previous=[binding("b", "n1", 20, 30)])
    p.update([draining(["n1"], NOW + 20 * HOUR, NOW + 21 * HOUR)])
    live = p.kept()
    assert {live.contracts[i].key for i in live.announced.touched} == {"desk/b"}


def test_whole_nodes_and_turnarounds_in_the_future() -> None:
    """A what-if at level Node is legal as well, and leaves the history of holders as it was."""
    nodes = [node(f"n{i}", level=Level.NODE) for i in range(3)]
    p = planner(contract("a", -1, 5, holder="red"), contract("b", 5, 9, holder="blue"), nodes=nodes, previous=[binding("a", "n0", -1, 5)])
    before = p.plan
    effect: Effect = what_if(p, [losing(["n0"], NOW + HOUR)])
    assert effect.safe
    assert p.plan == before
