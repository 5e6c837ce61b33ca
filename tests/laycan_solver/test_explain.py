"""Explanations: every claim is looked up again in the problem and the plan, with the checker's eyes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_solver.check import _apart, _capacity, _holders
from laycan_solver.check_contract import binding_faults, contract_faults, steps
from laycan_solver.check_facts import Facts
from laycan_solver.explain import Choice, Elsewhere, Explanation, Here, Outcome, Remedy, explain
from laycan_solver.model import Binding, Contract, Level, Node, Plan, Problem, Scope
from laycan_solver.occupancy import Occupancy
from laycan_solver.planner import plan
from laycan_solver.reasons import Reasons, Why
from laycan_solver.shortages import shortages
from tests.laycan_solver import small
from tests.laycan_solver.instances import TINY, Shape
from tests.laycan_solver.instances import problem as random_problem
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node, outage, product

MIDDLE = Shape(nodes=14, contracts=24, steps=10, whole_nodes=0.5, trouble=0.3)
NEVER = {Why.WRONG_GRADE, Why.UNUSABLE, Why.TOO_FEW_GPUS, Why.CORDONED, Why.OUTAGE}


def mixed(seed: int, shape: Shape) -> Problem:
    """A random problem of contracts, candidates and reserves, some without a holder."""
    p = random_problem(seed, shape)
    ran = {b.contract for b in p.previous}
    contracts = list[Contract]()
    for i, c in enumerate(p.contracts):
        spare = i % 5 == 3
        accepted = spare or i % 3 > 0 or c.key in ran
        contracts.append(replace(c, reserve=spare, accepted=accepted, admission_order=(str(i), "", ""), holder=c.holder if i % 4 else ""))
    return replace(p, contracts=tuple(contracts))


class Judge:
    """What the checker says of one more lot, and what others would have to leave for it."""

    def __init__(self, p: Problem, found: Plan) -> None:
        self.plan, self.facts = found, Facts(p)

    def on(self, name: str, without: str = "") -> list[Binding]:
        return [b for b in self.plan.bindings if b.node == name and b.contract != without]

    def own(self, c: Contract, start: int, end: int) -> list[Binding]:
        return [b for b in self.plan.bindings if b.contract == c.key and b.start < end and start < b.end]

    def whys(self, c: Contract, n: Node, start: int, end: int, alone: bool) -> set[Why]:
        """The reasons that may be given. TOPOLOGY and ROOM are told apart only where the contract is served already."""
        product = self.facts.options(c).get(n.grade, ("none", 0))[0]
        more = Binding(c.key, n.name, product, c.lot_gpus, start, end)
        if n.grade not in self.facts.options(c):
            return {Why.WRONG_GRADE}
        if not n.usable or n.gpus < c.lot_gpus or n.cordoned:
            return {Why.UNUSABLE if not n.usable else Why.TOO_FEW_GPUS if n.gpus < c.lot_gpus else Why.CORDONED}
        if list(_capacity(self.facts, n, [more])):
            return {Why.OUTAGE}
        there = self.on(n.name, c.key if alone else "")
        if n.level is Level.NODE and list(_holders(self.facts, n.name, [*there, more])):
            return {Why.HELD}
        mine = [] if alone else self.own(c, start, end)
        if list(_capacity(self.facts, n, [*there, more])):
            return {Why.SERVING if any(b.node == n.name for b in mine) else Why.TAKEN}
        assert list(binding_faults(self.facts, c, [more])) == []
        if not mine:
            return {Why.ROOM, Why.TOPOLOGY} if c.scope or c.spread_level else {Why.ROOM}
        codes = {code for code, _ in contract_faults(self.facts, c, list(steps(c, start, [*mine, more], ())))}
        return {Why.TOPOLOGY} if codes & {"Scope", "Spread"} else {Why.ROOM}

    def free(self, c: Contract, n: Node, start: int, end: int, alone: bool) -> int:
        """GPUs of the node that nobody has at any time of the window."""
        there = self.on(n.name, c.key if alone else "")
        times = {start, *(b.start for b in there if start < b.start < end)}
        return n.gpus - max(sum(b.gpus for b in there if b.start <= t < b.end) for t in times)

    def lots_in_domains(self, c: Contract, lots: dict[str, int]) -> Counter[str]:
        """Scope domain -> lots of these that spread allows there."""
        inner: Counter[tuple[str, str]] = Counter()
        for name, n in lots.items():
            inner[domain(self.facts.nodes[name], c.scope), domain(self.facts.nodes[name], c.spread_level)] += n
        found: Counter[str] = Counter()
        for (outer, _), n in inner.items():
            found[outer] += min(n, -(-c.lots // c.spread_domains)) if c.spread_level else n
        return found

    def to_leave(self, c: Contract, n: Node, lots: int, start: int, end: int) -> int | None:
        """GPU-seconds that others have too much of; None = the node cannot, whoever leaves."""
        if self.whys(c, n, start, end, alone=False) & NEVER:
            return None
        if n.level is Level.NODE and list(_holders(self.facts, n.name, [Binding(c.key, n.name, "", c.lot_gpus, start, end)])):
            return None
        total, others = 0, list[Binding]()
        for b in self.on(n.name):
            other = self.facts.contracts[b.contract]
            turnarounds = [self.facts.products[x.product].turnaround_seconds for x in (c, other)]
            pad = 0 if c.reserve or other.reserve else max(turnarounds)
            if n.level is Level.NODE and _apart(c, other):
                total += b.gpus * max(0, min(b.end, end + pad) - max(b.start, start - pad, self.facts.now))
            else:
                others.append(b)
        for t, then in pairwise(sorted({start, end, *(t for b in others for t in (b.start, b.end) if start < t < end)})):
            used = Counter[bool]()
            for b in others:
                used[b.contract == c.key] += b.gpus if b.start <= t < b.end else 0
            if used[True] + lots * c.lot_gpus > n.gpus:
                return None
            total += max(0, used.total() + lots * c.lot_gpus - n.gpus) * (then - t)
        return total


def domain(n: Node, level: Scope) -> str:
    return n.domains[level - 1] if level else ""


def verify_reasons(judge: Judge, c: Contract, reasons: Reasons, lots: int, alone: bool) -> None:
    """The reason of every node is the first that holds."""
    start, end, nodes = reasons.start, reasons.end, judge.facts.nodes
    for name, why in reasons.of.items():
        assert why in judge.whys(c, nodes[name], start, end, alone), f"{c.key} on {name} in [{start}, {end}): {why}"
    open_ = {name: judge.free(c, nodes[name], start, end, alone) for name, why in reasons.of.items() if why in (Why.ROOM, Why.TOPOLOGY)}
    assert reasons.least == open_
    room = judge.lots_in_domains(c, {name: gpus // c.lot_gpus for name, gpus in open_.items()})
    assert reasons.room_in_domains() == room
    if (c.scope or c.spread_level) and (alone or not judge.own(c, start, end)):
        for name in open_:
            assert (reasons.of[name] is Why.ROOM) == (room[domain(nodes[name], c.scope)] >= lots)


def verify_here(judge: Judge, p: Problem, c: Contract, reasons: Reasons, h: Here) -> None:
    """The node is bound so, and is what the choice says among those that had room."""
    nodes, announced = judge.facts.nodes, [b for b in p.previous if b.contract == c.key and b.node == h.node]
    assert Binding(c.key, h.node, h.product, h.gpus, h.start, h.end) in judge.plan.bindings
    start = max(h.start, judge.facts.begin(c))
    others = {n: free for n, free in reasons.least.items() if n != h.node and domain(nodes[n], c.scope) == domain(nodes[h.node], c.scope)}
    cost = {n: judge.facts.cost(c, nodes[n].grade) or 0 for n in (*others, h.node)}
    alike = [free for n, free in others.items() if cost[n] <= cost[h.node]]
    assert (h.others, h.next_free) == (len(others), min(others.values(), default=0))
    assert h.free == judge.free(c, nodes[h.node], start, h.end, alone=True) >= h.gpus
    kept = any(b.start < h.end and start < b.end for b in announced)
    tightest = h.free <= min(alike, default=h.free)
    first = [Choice.KEPT] * kept + [Choice.ONLY] * (not others) + [Choice.CHEAPEST] * (not alike) + [Choice.TIGHTEST] * tightest
    assert h.choice is [*first, Choice.ROOM][0]
    whole = [d for d, lots in reasons.room_in_domains().items() if lots >= c.lots and d != domain(nodes[h.node], c.scope)]
    assert h.rivals == (len(whole) if c.scope else 0)


def verify_elsewhere(judge: Judge, c: Contract, reasons: Reasons, e: Elsewhere) -> None:
    """Counts and examples are those of the nodes, and takers have what they are said to have."""
    assert e.counts == Counter(reasons.of.values())
    assert all(reasons.of[name] is why for why, name in e.examples.items())
    out = [n for n, why in reasons.of.items() if why is Why.OUTAGE]
    dark = [(a, b) for n in out for a, b in judge.facts.dark[n] if a < e.end and e.start < b]
    assert e.outages == ((min(a for a, _ in dark), max(b for _, b in dark)) if dark else None)
    taken = {n for n, why in reasons.of.items() if why in (Why.HELD, Why.TAKEN)}
    there = [b for b in judge.plan.bindings if b.node in taken and b.contract != c.key and b.start < e.end and e.start < b.end]
    assert e.all_takers == len({b.contract for b in there})
    for t in e.takers:
        mine = [(b.node, b.gpus, max(b.start, e.start), min(b.end, e.end)) for b in there if b.contract == t.contract]
        assert (t.nodes, t.gpu_seconds) == (len({n for n, *_ in mine}), sum(g * (b - a) for _, g, a, b in mine))
        assert (t.start, t.end) == (min(a for *_, a, _ in mine), max(b for *_, b in mine))


def verify_remedy(judge: Judge, p: Problem, c: Contract, r: Remedy) -> None:
    """No way to place the lots takes fewer GPU-seconds from others, and the one that is named takes so many and is legal."""
    own, nodes, per_domain = judge.own(c, r.start, r.end), judge.facts.nodes, -(-c.lots // c.spread_domains)
    cost = {n: [judge.to_leave(c, nodes[n], k, r.start, r.end) for k in range(1, r.lots + 1)] for n in sorted(nodes)}
    able = [n for n in cost if cost[n][0] is not None]

    def price(lots: Counter[str]) -> int | None:
        costs = [cost[n][k - 1] for n, k in lots.items()]
        outer = {domain(nodes[n], c.scope) for n in lots} | {domain(nodes[b.node], c.scope) for b in own}
        inner: Counter[str] = Counter()
        for n, k in lots.items():
            inner[domain(nodes[n], c.spread_level)] += k
        full = [d for d, k in inner.items() if c.spread_level and k + most_at_once(judge, c, own, d, r) > per_domain]
        return None if len(outer) > 1 or full or None in costs else sum(x for x in costs if x)

    prices = [x for way in combinations_with_replacement(able, r.lots) if (x := price(Counter(way))) is not None]
    assert r.gpu_seconds == min(prices, default=None)
    if r.gpu_seconds is not None:
        named = Counter({f.node: f.lots for f in r.freed})
        assert named.total() == r.lots
        assert price(named) == r.gpu_seconds
        assert all(f.gpu_seconds == cost[f.node][f.lots - 1] for f in r.freed)
        for f in r.freed:
            assert {b.contract for b in judge.on(f.node)} >= set(f.contracts)
            assert bool(f.contracts) == (f.gpu_seconds > 0)
    proved = [s for s in shortages(p, judge.plan.certificate) if judge.facts.cost(c, s.grade) is not None]
    assert r.prices == tuple(s for s in proved if s.start < r.end and r.start < s.end)


def most_at_once(judge: Judge, c: Contract, own: list[Binding], within: str, r: Remedy) -> int:
    """Lots that the contract has in a spread domain at one time."""
    mine = [b for b in own if domain(judge.facts.nodes[b.node], c.spread_level) == within]
    times = {r.start, *(b.start for b in mine if r.start < b.start)}
    return max(sum(b.gpus for b in mine if b.start <= t < b.end) for t in times) // c.lot_gpus


def verify(p: Problem, found: Plan, c: Contract) -> Explanation:
    e, judge, occupancy = explain(p, found, c.key), Judge(p, found), Occupancy(p, found)
    assert json.loads(json.dumps(asdict(e)))["contract"] == c.key
    assert c.key in e.summary()
    demand = occupancy.demand(c.key)
    if demand is None:
        assert e.outcome is Outcome.NOTHING_DUE
        return e
    gaps = [u for u in found.undelivered if u.contract == c.key]
    served = Outcome.SHORT if gaps else Outcome.SERVED
    assert e.outcome is (Outcome.REFUSED if any(u.refused for u in gaps) else served)
    assert [(r.start, r.end, r.lots * c.lot_gpus) for r in e.remedies] == [(u.start, u.end, u.gpus) for u in gaps]
    for there in e.elsewhere:
        reasons = Reasons(occupancy, demand, there.start, there.end, there.lots)
        verify_reasons(judge, c, reasons, there.lots, alone=False)
        verify_elsewhere(judge, c, reasons, there)
    assert len(e.here) == len(judge.own(c, demand.start, demand.end))
    for h in e.here:
        reasons = Reasons(occupancy, demand, max(h.start, demand.start), h.end, c.lots, alone=True)
        verify_reasons(judge, c, reasons, c.lots, alone=True)
        verify_here(judge, p, c, reasons, h)
    for r in e.remedies:
        verify_remedy(judge, p, c, r)
    return e


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_claim_holds(seed: int, whole_nodes: float) -> None:
    """Reasons, choices, takers and remedies of every contract of small random problems are what brute force finds."""
    p = mixed(seed, replace(TINY, whole_nodes=whole_nodes, load=1.5))
    found = plan(p, 5)
    for c in p.contracts:
        verify(p, found, c)


@given(st.integers(0, 10**6))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_every_claim_holds_on_more_nodes(seed: int) -> None:
    """The same with racks of several nodes, for contracts of few lots."""
    p = mixed(seed, MIDDLE)
    found = plan(p, 5)
    for c in p.contracts:
        if c.lots <= 3:
            verify(p, found, c)


def test_served() -> None:
    """The fuller of two nodes with room was chosen, and both are said."""
    nodes = [node("a"), node("b"), node("z", grade="H200")]
    p = small.problem(nodes, [contract("x", 0, 10, 4), contract("y", 0, 10, 4)], previous=[binding("x", "a", 0, 10, 4)])
    found = plan(p)
    e = verify(p, found, p.contracts[1])
    assert e.outcome is Outcome.SERVED
    assert [(h.node, h.choice, h.free, h.others, h.next_free) for h in e.here] == [("a", Choice.TIGHTEST, 4, 1, 8)]
    assert e.elsewhere[0].counts == {Why.WRONG_GRADE: 1, Why.SERVING: 1, Why.ROOM: 1}
    assert e.remedies == ()
    assert verify(p, found, p.contracts[0]).here[0].choice is Choice.KEPT


def test_short_for_others() -> None:
    """Two nodes are taken, by whom and when; the one of which less has to be freed is named, with the proved price of its hours."""
    nodes = [node("a"), node("b"), node("c", cordoned=True)]
    dear = {"price_micros": 9_000_000}
    p = small.problem(nodes, [contract("x", 0, 10), contract("l", 0, 8, **dear), contract("r", 0, 10, **dear)])
    found = plan(p)
    e = verify(p, found, p.contracts[0])
    assert e.outcome is Outcome.SHORT
    there, remedy = e.elsewhere[0], e.remedies[0]
    assert there.counts == {Why.CORDONED: 1, Why.TAKEN: 2}
    assert [(t.contract, t.nodes, t.gpu_seconds) for t in there.takers] == [("desk/l", 1, 64 * HOUR), ("desk/r", 1, 64 * HOUR)]
    assert (remedy.gpu_seconds, remedy.lots) == (64 * HOUR, 1)
    assert [s.micros for s in remedy.prices] == [1_000_000]
    assert "at least 64.0 GPU-hours" in e.summary()
    assert "proved" in e.summary()


def test_refused_for_its_rack() -> None:
    """Enough nodes are free, but not in one rack: how many each has, and what would have to leave one of them."""
    nodes = [node("a", rack="r0"), node("b", rack="r0"), node("c", rack="r1"), node("d", rack="r1")]
    wide = contract("w", 0, 10, 16, scope=Scope.RACK, all_or_nothing=True, accepted=False)
    held = [contract("x", -1, 5), contract("y", -1, 9)]
    p = small.problem(nodes, [wide, *held], previous=[binding("x", "a", -1, 5), binding("y", "c", -1, 9)])
    e = verify(p, plan(p), wide)
    assert e.outcome is Outcome.REFUSED
    assert e.elsewhere[0].counts == {Why.TAKEN: 2, Why.TOPOLOGY: 2}
    assert e.elsewhere[0].room == (("r0", 1), ("r1", 1))
    assert [(f.node, f.gpu_seconds, f.contracts) for f in e.remedies[0].freed] == [("a", 40 * HOUR, ("desk/x",)), ("b", 0, ())]


def test_outage_and_turnaround() -> None:
    """A node in an outage and one that another holder leaves too late are told apart; the second can be freed in part."""
    nodes = [node("a"), node("b", level=Level.NODE)]
    red, blue = contract("x", 0, 6, holder="red"), contract("y", 6, 10, holder="blue", accepted=False)
    p = small.problem(nodes, [red, blue], outages=[outage("a", 0, 8)], products=[product(turnaround_seconds=HOUR)])
    e = verify(p, plan(p), blue)
    assert e.elsewhere[0].counts == {Why.OUTAGE: 1, Why.HELD: 1}
    assert e.elsewhere[0].outages == (NOW, NOW + 8 * HOUR)
    assert [(f.node, f.gpu_seconds, f.contracts) for f in e.remedies[0].freed] == [("b", 8 * HOUR, ("desk/x",))]


def test_turnaround_from_the_past() -> None:
    """Who left a node before now keeps it for the turnaround; nobody can be asked to leave earlier than that."""
    nodes, products = [node("a", level=Level.NODE)], [product(turnaround_seconds=2 * HOUR)]
    red, blue = contract("x", -9, -1, holder="red"), contract("y", 0, 10, holder="blue")
    p = small.problem(nodes, [red, blue], previous=[binding("x", "a", -9, -1)], products=products)
    e = verify(p, plan(p), blue)
    assert [(r.start, r.end, r.gpu_seconds) for r in e.remedies] == [(NOW, NOW + HOUR, None)]
    assert (e.elsewhere[0].counts, e.elsewhere[0].takers) == ({Why.HELD: 1}, ())


def test_more_than_any_fleet() -> None:
    """Where nothing could be freed, because the contract has all that there is or there is nothing, that is said."""
    for nodes in ([node("a")], []):
        p = small.problem(nodes, [contract("x", 0, 10, 16)])
        e = verify(p, plan(p), p.contracts[0])
        assert (e.remedies[0].gpu_seconds, e.remedies[0].freed) == (None, ())
        assert "no node can be freed" in e.summary()


def test_unknown_contract() -> None:
    """A contract that the problem does not have cannot be explained."""
    p = small.problem([node("a")], [contract("x", 0, 10)])
    with pytest.raises(ValueError, match="is not in this problem"):
        explain(p, plan(p), "desk/none")
