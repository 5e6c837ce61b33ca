"""The largest safe drain, its bound by counting, and drain orders that break nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest

from laycan_solver.check import check
from laycan_solver.drain import largest_drain
from laycan_solver.drain_order import Order, drain_order
from laycan_solver.model import Binding, Node, Outage, OutageType, Plan, Problem, Scope
from laycan_solver.planner import Planner, plan
from laycan_solver.room import Room, least_rounds, within
from laycan_solver.timegrid import Ints
from laycan_solver.whatif import draining, what_if
from tests.draws import seeds
from tests.laycan_solver import small
from tests.laycan_solver.instances import NOW, STEP, TINY, Shape, problem
from tests.laycan_solver.small import HOUR, binding, contract, node, outage
from tests.laycan_solver.test_undo import state

SMALL = Shape(nodes=8, contracts=14, steps=8, trouble=0.3)
END = NOW + 8 * STEP


def desk(nodes: Sequence[Node], *contracts: object, **more: object) -> Planner:
    return Planner(small.problem(list(nodes), list(contracts), **more), effort=20)  # type: ignore[arg-type]


def spare(of: int, taken: int) -> Planner:
    """So many nodes, with contracts of one node each for ten days on some."""
    return desk([node(f"n{i:02}", rack=f"r{i // 8}") for i in range(of)], *(contract(f"c{i:02}", 0, 240) for i in range(taken)))


def names(planner: Planner) -> list[str]:
    return [n.name for n in planner.problem.nodes]


def short_of(problem: Problem, plan: Plan) -> dict[str, int]:
    """Contract -> GPU-seconds undelivered, what may be curtailed by right included."""
    found = dict.fromkeys((c.key for c in problem.contracts), 0)
    for u in plan.undelivered:
        found[u.contract] += u.gpus * (u.end - u.start)
    return found


class TestLargestDrain:
    """As many nodes as can be out, and the proof that no more can."""

    def test_as_many_as_are_free(self) -> None:
        """Of 64 nodes 58 are sold: six can go, and that is proved."""
        found = largest_drain(spare(64, 58), names(spare(64, 58)), NOW + HOUR, NOW + 5 * HOUR)
        assert (len(found.nodes), found.at_most, found.proved, found.of) == (6, 6, True, 64)
        assert found.effect.safe

    def test_a_rack_whose_lots_find_room(self) -> None:
        """A whole rack of eight sold nodes can go where eight others are free; its lots move."""
        p = spare(24, 16)
        rack = sorted({b.node for b in p.plan.bindings})[:8]
        found = largest_drain(p, rack, NOW + HOUR, NOW + 5 * HOUR)
        assert (len(found.nodes), found.proved) == (8, True)
        assert found.effect.after.lots_moved == 8

    def test_nothing_can_go(self) -> None:
        """All nodes are sold: none, proved; before the contracts begin and after they end, all."""
        p = desk([node("a"), node("b")], contract("x", 10, 20, 16))
        assert [largest_drain(p, ["a", "b"], NOW + t * HOUR, NOW + (t + 5) * HOUR).nodes for t in (5, 6, 19, 20)] == [
            ("a", "b"), (), (), ("a", "b"),
        ]  # fmt: skip
        assert largest_drain(p, ["a", "b"], NOW + 6 * HOUR, NOW + 11 * HOUR).proved

    def test_topology_leaves_an_interval(self) -> None:
        """A contract of one rack cannot leave it: counting allows two nodes and none is found, which is said and not proved."""
        nodes = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1"), node("d", rack="r2")]
        lying = [binding("x", "a", -1, 20), binding("x", "b", -1, 20)]
        p = desk(nodes, contract("x", -1, 20, 16, scope=Scope.RACK), previous=lying)
        found = largest_drain(p, ["a", "b"], NOW + HOUR, NOW + 2 * HOUR)
        assert (found.nodes, found.at_most, found.proved) == ((), 2, False)

    def test_what_is_tied_does_not_keep_the_others(self) -> None:
        """Two nodes carry least and cannot go, as their contract has no other rack; the ten others, which come after them, all can."""
        tied = [node("a0", rack="r0"), node("a1", rack="r0")]
        others = [node(f"n{i}", rack=f"r{i + 1}") for i in range(10)]
        spare = [node(f"s{i}", rack=f"q{i}") for i in range(10)]
        x = contract("x", -1, 6, 16, scope=Scope.RACK)
        lying = [binding("x", "a0", -1, 6), binding("x", "a1", -1, 6)]
        contracts = [contract(f"c{i}", -1, 20) for i in range(10)]
        lying += [binding(f"c{i}", f"n{i}", -1, 20) for i in range(10)]
        p = desk([*tied, *others, *spare], x, *contracts, previous=lying)
        found = largest_drain(p, [n.name for n in (*tied, *others)], NOW + 5 * HOUR, NOW + 9 * HOUR)
        assert found.nodes == tuple(n.name for n in others)
        assert (found.at_most, found.proved) == (10, True) or not found.proved

    def test_what_is_out_anyway_is_free(self) -> None:
        """A node that is in an outage throughout, or lost, can be drained as well."""
        p = desk([node("a"), node("b", usable=False), node("c")], contract("x", 0, 20), outages=[outage("c", 4, 9)])
        found = largest_drain(p, ["a", "b", "c"], NOW + 5 * HOUR, NOW + 8 * HOUR)
        assert (found.nodes, found.proved) == (("b", "c"), True)

    @pytest.mark.parametrize("seed", seeds(6))
    def test_interval_holds_every_drain_that_can_be_found(self, seed: int) -> None:
        """On tiny instances every set of nodes is tried by update and by a cold plan: none that is safe is larger than the bound.

        Where the answer is called proved, no larger set is safe; and the answer is never below what single updates find of its size.
        """
        p = Planner(problem(seed, TINY), effort=20)
        start, end = NOW + STEP, NOW + 3 * STEP
        before = state(p.kept().book)
        found = largest_drain(p, names(p), start, end)
        best = max(len(out) for n in range(len(names(p)) + 1) for out in combinations(names(p), n) if self._safe(p, out, start, end))
        assert len(found.nodes) <= best <= found.at_most, f"seed {seed}"
        assert what_if(p, [draining(found.nodes, start, end)]) == found.effect
        assert state(p.kept().book) == before

    @staticmethod
    def _safe(p: Planner, out: Sequence[str], start: int, end: int) -> bool:
        effect = what_if(p, [draining(out, start, end)])
        if effect.safe or not out:
            return True
        dark = Outage("out", OutageType.PLANNED, frozenset(out), start, end)
        base = p.kept().problem()
        cold = Problem(base.now, base.nodes, base.products, base.contracts, (*base.outages, dark), p.plan.bindings)
        then, now = short_of(base, p.plan), short_of(cold, plan(cold, 20))
        return all(now[key] <= then[key] for key in then)


class TestRoom:
    """The bound by counting."""

    def test_blocks(self) -> None:
        """Lots of 8 need whole nodes: with 4 GPUs broken in each of two of three nodes, one lot leaves both of those and no other."""
        p = desk([node("a", 4), node("b", 4), node("c")], contract("x", 0, 10))
        live = p.kept()
        room = Room(live, NOW, NOW + HOUR, range(3))
        assert room.most().min(axis=1).sum() == 2
        assert largest_drain(p, names(p), NOW, NOW + HOUR).nodes == ("a", "b")

    def test_other_grades_are_free(self) -> None:
        """Nobody admits the other grade: all its nodes can go."""
        nodes = [node("a"), node("b", grade="A100"), node("c", grade="A100")]
        p = desk(nodes, contract("x", 0, 10), products=[small.product(), small.product("a100", "A100")])
        assert largest_drain(p, names(p), NOW, NOW + HOUR).nodes == ("b", "c")

    def test_starts_between_instants_hold_no_more(self) -> None:
        """The most over all starts is the most over the instants at which something changes."""
        p = desk([node(f"n{i}") for i in range(4)], contract("x", 0, 10, 16), contract("y", 5, 20, 8), contract("z", 13, 30, 24))
        room = Room(p.kept(), NOW, NOW + 40 * HOUR, range(4))
        most = {time: int(m.sum()) for time, m in within(room.times, room.most(), NOW + 36 * HOUR, 4 * HOUR)}
        for hour in range(37):
            alone = Room(p.kept(), NOW + hour * HOUR, NOW + (hour + 4) * HOUR, range(4)).most().min(axis=1).sum()
            assert alone <= max(most.values())
            assert most.get(NOW + hour * HOUR, alone) == alone

    def test_least_rounds(self) -> None:
        """The part that takes longest decides, and a part of which nothing can go is never done."""
        rows = within(*self._two_parts(), last=10, seconds=1)
        most = [m for _, m in rows]
        assert least_rounds([5, 3], most) == 3
        assert least_rounds([5, 0], most) == 3
        assert least_rounds([0, 0], most) == 0
        assert least_rounds([1, 1], [m * 0 for m in most]) is None
        assert least_rounds([1], []) is None

    @staticmethod
    def _two_parts() -> tuple[Ints, Ints]:
        return np.array([0, 5]), np.array([[1, 2], [3, 1]])


def as_one_problem(p: Planner, order: Order) -> Problem:
    """The problem before, with a planned outage for each batch."""
    base = p.kept().problem()
    outages = [Outage(f"batch-{i}", OutageType.PLANNED, frozenset(b.nodes), b.start, b.end) for i, b in enumerate(order.batches)]
    return Problem(base.now, base.nodes, base.products, base.contracts, (*base.outages, *outages), p.plan.bindings)


def must_hold(p: Planner, order: Order, seconds: int, start: int, end: int) -> None:
    """What an order promises, read off its batches and off the checker."""
    assert order.faults == ()
    assert order.effect.safe
    had = [n for b in order.batches for n in b.nodes]
    assert len(had) == len(set(had))
    assert all(start <= b.start and b.end == b.start + seconds <= end for b in order.batches)
    assert all(a.end <= b.start for a, b in pairwise(order.batches))
    assert order.at_least is None or not order.complete or len(order.batches) >= order.at_least


class TestDrainOrder:
    """Every node out once, nobody short."""

    def test_in_fewest_batches(self) -> None:
        """64 nodes of which six are free: eleven batches, and no order has fewer; the lots that run are moved once."""
        p = spare(64, 58)
        order = drain_order(p, names(p), NOW + HOUR, NOW + 100 * HOUR, 4 * HOUR)
        must_hold(p, order, 4 * HOUR, NOW + HOUR, NOW + 100 * HOUR)
        assert [len(b.nodes) for b in order.batches] == [6] * 10 + [4]
        assert order.proved
        assert order.effect.after.lots_moved == 58

    def test_waits_for_the_end_of_a_contract(self) -> None:
        """All at once when the contract is over, instead of one by one meanwhile."""
        p = desk([node(f"n{i}") for i in range(4)], contract("x", 0, 20, 24))
        order = drain_order(p, names(p), NOW, NOW + 24 * HOUR, 4 * HOUR)
        assert [(b.start, len(b.nodes)) for b in order.batches] == [(NOW + 20 * HOUR, 4)]

    def test_not_enough_time(self) -> None:
        """Two of four nodes can be had in the window: the other two are left, and no order would have done it with more."""
        p = desk([node(f"n{i}") for i in range(4)], contract("x", 0, 20, 24))
        order = drain_order(p, names(p), NOW, NOW + 8 * HOUR, 4 * HOUR)
        assert (len(order.batches), len(order.left), order.at_least) == (2, 2, 4)
        assert not order.proved

    def test_never(self) -> None:
        """All nodes are sold throughout: no batch, and it is proved that there is none."""
        p = desk([node("a"), node("b")], contract("x", 0, 20, 16))
        order = drain_order(p, names(p), NOW, NOW + 20 * HOUR, 4 * HOUR)
        assert (order.batches, order.left, order.at_least) == ((), ("a", "b"), None)

    def test_a_window_that_is_too_short(self) -> None:
        with pytest.raises(ValueError, match="nothing can be out for 14400 s in a window of 3600 s"):
            drain_order(spare(2, 1), ["n00"], NOW, NOW + HOUR, 4 * HOUR)

    @pytest.mark.parametrize("seed", seeds(6))
    def test_breaks_nothing(self, seed: int) -> None:
        """On random instances: the order keeps its promises, and the problem with its outages, planned anew or by update, is legal.

        The planner's own plan of it shows that nobody need be short; the instance stays as it was.
        """
        p = Planner(problem(seed, SMALL if seed % 2 else TINY), effort=20)
        before = state(p.kept().book)
        order = drain_order(p, names(p), NOW, END, STEP)
        must_hold(p, order, STEP, NOW, END)
        assert state(p.kept().book) == before
        whole = as_one_problem(p, order)
        cold = plan(whole, 50)
        assert check(whole, cold) == []
        update = p.copy()
        update.update([draining(b.nodes, b.start, b.end, name=str(i)) for i, b in enumerate(order.batches)])
        assert check(update.problem, update.plan) == []


def test_bindings_are_plain() -> None:
    """A batch's outage in the problem keeps every binding off its nodes while it lasts."""
    p = spare(6, 4)
    order = drain_order(p, names(p), NOW + HOUR, NOW + 60 * HOUR, 4 * HOUR)
    found: list[Binding] = list(plan(as_one_problem(p, order), 50).bindings)
    for b in order.batches:
        assert not [x for x in found if x.node in b.nodes and x.start < b.end and b.start < x.end]
