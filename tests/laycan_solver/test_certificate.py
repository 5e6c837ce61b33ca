"""What a certificate proves: the planner and the checker read it alike, and no change to it proves more than is true."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from laycan_solver.bound import Proof, prove
from laycan_solver.certificate import unavoidable
from laycan_solver.check import check
from laycan_solver.check_certificate import proven_bounds
from laycan_solver.check_facts import Facts
from laycan_solver.eligible import Demands, Fleet
from laycan_solver.model import Binding, Contract, Plan, Problem, Scope
from laycan_solver.planner import plan
from laycan_solver.topology import Topology
from tests.draws import seeds
from tests.laycan_solver import small
from tests.laycan_solver.exact import Exact
from tests.laycan_solver.instances import TINY, Shape, problem
from tests.laycan_solver.sliced import Sliced, plan_of
from tests.laycan_solver.small import HOUR, NOW, contract, node, outage
from tests.laycan_solver.truth import Truth, truth

RACKS = Shape(nodes=16, contracts=30)
STEP = 6


def proof_of(p: Problem) -> Proof:
    """The bound where a plan serves nothing, so that every slice is looked at."""
    fleet = Fleet(p)
    demands = Demands(p, fleet)
    return prove(Topology(fleet, p.now), [d for i in range(len(p.contracts)) if (d := demands.demand(i))], {})


def recomputed(p: Problem, found: Plan) -> tuple[int, int]:
    refused = {u.contract for u in found.undelivered if u.refused}
    proven, wrong = proven_bounds(Facts(p), found.certificate, [c for c in p.contracts if c.key not in refused])
    assert wrong == ""
    return proven["firm"], proven["total"]


def racks(seed: int) -> Problem:
    """Two or three racks of one grade each, and contracts many of which must come whole into one of them."""
    rng = random.Random(seed)
    grades = ("H100", "H100", rng.choice(("H100", "H200")))[: rng.choice((2, 3))]
    nodes = [node(f"n{r}{i}", 8, grade=g, rack=f"r{r}") for r, g in enumerate(grades) for i in range(3)]
    nodes[0] = replace(nodes[0], gpus=rng.choice((6, 8)), cordoned=rng.random() < 0.3)
    contracts = []
    for i in range(10):
        start, lots = STEP * rng.choice((-1, 0, 0, 1, 2)), rng.choice((1, 2, 2, 2, 3))
        lot, scope = rng.choice((*((8, Scope.RACK),) * 5, (4, Scope.RACK), (4, Scope.ANY), (8, Scope.ANY), (3, Scope.ANY)))
        more = {"product": rng.choice(("h100", "h100", "h100", "h200")), "substitution": rng.random() < 0.3}
        whole = rng.random() < 0.9 if scope else rng.random() < 0.2
        right = rng.random() < 0.2
        contracts.append(
            contract(
                f"c{i}", start, start + STEP * rng.choice((1, 2, 4)), lots * lot, lot_gpus=lot, scope=scope, all_or_nothing=whole,
                firm=not right and rng.random() < 0.8, price_micros=10_000 * rng.randint(100, 400),
                notice_seconds=STEP * HOUR if right else None, curtailable_seconds=STEP * HOUR if right else 0, **more,
            )
        )  # fmt: skip
    outages = [outage(nodes[1].name, STEP * rng.choice((0, 1)), STEP * 2)] if rng.random() < 0.5 else []
    products = [small.product(equivalents={"h200": 80_000}), small.product("h200", "H200")]
    running = [c for c in contracts if c.start < NOW and c.lots == 1 and c.lot_gpus < 8 and c.product == "h100"][:1]
    previous = [Binding(c.key, nodes[0].name, "h100", c.gpus, c.start, c.end) for c in running]
    contracts = [c for c in contracts if c.end > NOW]
    return small.problem(nodes, contracts, products=products, outages=outages, previous=[b for b in previous if b.end > NOW])


@cache
def solved(kind: str, seed: int) -> tuple[Problem, Truth]:
    """The least that any plan owes, also one that is legal only where what has begun need not stay whole."""
    p = problem(seed, TINY) if kind == "tiny" else racks(seed)
    return p, truth(p, loose=True)


SOLVED = [*(("tiny", seed) for seed in seeds(6)), *(("racks", seed) for seed in seeds(16))]


@pytest.mark.parametrize(("shape", "seed"), [*((TINY, seed) for seed in range(60)), *((RACKS, seed) for seed in range(8))])
def test_checker_agrees(shape: Shape, seed: int) -> None:
    """What is published is exactly what the checker derives, so that neither reads capacity, topology or rounding differently."""
    p = problem(seed, shape)
    found = plan(p, 5)
    assert (found.bound.firm_micros, found.bound.total_micros) == recomputed(p, found)


@pytest.mark.parametrize(("kind", "seed"), SOLVED)
def test_bound_is_below_the_optimum(kind: str, seed: int) -> None:
    """Where all slices are priced, the bound is what the checker derives, and no more than the optimum of either family."""
    p, best = solved(kind, seed)
    proof = proof_of(p)
    proven, wrong = proven_bounds(Facts(p), proof.certificate, p.contracts)
    assert (proven, wrong) == ({"firm": proof.firm_micros, "total": proof.total_micros}, "")
    assert proof.firm_micros <= best.firm
    assert proof.total_micros <= best.total


def changed(p: Problem, row: list[object], rng: random.Random) -> Iterator[list[object]]:
    """The row with one field after the other changed, and whether that fits or not."""
    grades = [*sorted({n.grade for n in p.nodes}), "none"]
    for field, value in enumerate(row):
        if isinstance(value, str):
            others: list[object] = [*grades, *(level.label for level in Scope), 1]
        else:
            assert isinstance(value, int)
            others = [value + rng.choice((-1, 1)) * rng.choice((1, HOUR, STEP * HOUR, 1 << 70)), value * 2, value // 2, 0, -value, True]
            others += [1, 2, 3, 4, 5, 8, 16] if field not in (0, 1) else [p.now, p.now - 1, p.now + 100 * HOUR]
        for other in others:
            yield [*row[:field], other, *row[field + 1 :]]
    yield [*row, 1]
    yield row[:-1]


def mutants(p: Problem, certificate: dict[str, list[list[object]]], rng: random.Random) -> Iterator[dict[str, object]]:
    """Certificates that differ in one thing."""
    for name, rows in certificate.items():
        other = "total" if name == "firm" else "firm"
        yield {**certificate, name: certificate[other], other: rows}  # families swapped
        yield {**certificate, name: rows[::-1]}
        yield {**certificate, "scale": rng.choice((1, 3_600_000, 0, "3600000000"))}
        for i, row in enumerate(rows):
            yield {**certificate, name: rows[:i] + rows[i + 1 :]}
            yield {**certificate, name: sorted([*rows, row])}
            for forged in changed(p, row, rng):
                try:
                    yield {**certificate, name: sorted([*rows[:i], forged, *rows[i + 1 :]])}
                except TypeError:
                    yield {**certificate, name: [*rows[:i], forged, *rows[i + 1 :]]}


@pytest.mark.parametrize(("kind", "seed"), SOLVED)
def test_no_mutant_proves_too_much(kind: str, seed: int) -> None:
    """Whatever one changes in a certificate, the checker refuses it or derives a bound that is still true."""
    (p, best), rng = solved(kind, seed), random.Random(seed)
    facts, whole = Facts(p), dict(proof_of(p).certificate)
    assert whole.pop("scale") == 3_600_000_000
    tried = 0
    for forged in mutants(p, whole, rng):  # type: ignore[arg-type]
        proven, wrong = proven_bounds(facts, forged, p.contracts)
        assert not wrong or proven == {"firm": 0, "total": 0}
        assert proven["firm"] <= best.firm, forged
        assert proven["total"] <= best.total, forged
        tried += 1
        if tried == 400:
            break
    assert tried >= 6


@pytest.mark.parametrize("seed", seeds(16))
def test_no_random_prices_prove_too_much(seed: int) -> None:
    """What prices out of the blue prove stays below the optimum, too."""
    (p, best), rng = solved("racks", seed), random.Random(seed)
    facts, top = Facts(p), max(c.rate * c.gpus for c in p.contracts)
    grades = sorted({n.grade for n in p.nodes})
    for _ in range(20):
        end = p.now + HOUR * rng.randint(1, 40)
        rows = sorted([p.now, end, rng.choice((1, 2, 3, 4, 8)), g, rng.randint(1, top) >> rng.randint(0, 6)] for g in grades)
        proven, wrong = proven_bounds(facts, {"firm": rows, "total": rows}, p.contracts)
        assert wrong == ""
        assert proven["firm"] <= best.firm
        assert proven["total"] <= best.total


@pytest.mark.parametrize("seed", range(6))
def test_no_more_than_is_proven(seed: int) -> None:
    """A plan that claims one micro more than its certificate proves is refused."""
    p = racks(seed)
    sliced = Sliced(p)
    best = plan_of(sliced, Exact(sliced).solve(0).table)
    proof = proof_of(p)
    for firm, total in ((0, 0), (1, 0), (0, 1)):
        bound = replace(best.bound, firm_micros=proof.firm_micros + firm, total_micros=proof.total_micros + total)
        codes = {v.code for v in check(p, replace(best, bound=bound, certificate=proof.certificate))}
        assert ("Certificate" in codes) == bool(firm or total)


def test_begins_whole() -> None:
    """Nothing is in reach before all lots are; from then on a part is, though the checker asks for all of them at every instant."""
    whole = contract("c", 0, 12, 16, scope=Scope.RACK, all_or_nothing=True)
    p = small.problem([node("a"), node("b")], [whole], outages=[outage("b", 0, 3), outage("b", 9, 12)])
    loose = (16 * 3 + 8 * 3) * 1_000_000
    assert loose - 1 <= proof_of(p).firm_micros <= loose == truth(p, loose=True).firm < truth(p).firm == 16 * 6 * 1_000_000
    table = {(whole.key, "a"): [0, 1, 1, 1], (whole.key, "b"): [0, 1, 1, 0]}
    assert {v.code for v in check(p, plan_of(Sliced(p), table))} == {"AllOrNothing"}
    begun = replace(p, contracts=(replace(whole, delivering=True),))
    assert proof_of(begun).firm_micros <= 8 * 6 * 1_000_000 == truth(begun).firm


CASES = [
    ("capacity", [contract("x", 0, 10, 32)], 16),
    ("uneven lots", [contract("x", 0, 10, 15, lot_gpus=5)], 5),
    ("nothing serves", [contract("x", 0, 10, 18, lot_gpus=9)], 18),
    ("a domain is too small", [contract("x", 0, 10, 16, scope=Scope.RACK, all_or_nothing=True)], 16),
    ("spread", [contract("x", 0, 10, 16, lot_gpus=4, spread_level=Scope.RACK, spread_domains=4)], 8),
    ("outage", [contract("x", 0, 10, 16)], 0),
]


@pytest.mark.parametrize(("contracts", "gpus"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_counting_proves(contracts: list[Contract], gpus: int) -> None:
    """On two nodes in two racks so many GPUs are owed whatever is done, and the plan owes no more."""
    found = plan(small.problem([node("a", rack="r0"), node("b", rack="r1")], contracts))
    owed = gpus * 10 * 1_000_000
    assert found.totals.owed_micros == owed
    assert owed - 2 <= found.bound.total_micros <= owed


def test_outage_in_the_bound() -> None:
    """An outage that nothing can replace is owed, and the bound knows."""
    found = plan(small.problem([node("a")], [contract("x", 0, 10)], outages=[outage("a", 3, 5)]))
    assert found.totals.owed_micros == 2 * 8 * 1_000_000
    assert found.bound.firm_micros >= 2 * 8 * 1_000_000 - 1


def test_curtailment_is_not_in_the_bound() -> None:
    """What may be curtailed by right is owed to nobody: bound and plan leave it out alike."""
    lent = contract("x", 0, 10, 16, firm=False, notice_seconds=2 * 3600, curtailable_seconds=5 * 3600)
    found = plan(small.problem([], [lent]))
    assert found.totals.owed_micros == 5 * 16 * 1_000_000
    assert 0 <= found.totals.owed_micros - found.bound.total_micros <= 2
    assert plan(small.problem([], [replace(lent, firm=True)])).totals.owed_micros == 10 * 16 * 1_000_000


@pytest.mark.parametrize(("kind", "seed"), SOLVED)
def test_unavoidable(kind: str, seed: int) -> None:
    """What is owed for want of room is owed at the optimum, too: less in sum than the least total."""
    p, best = solved(kind, seed)
    fleet = Fleet(p)
    demands = Demands(p, fleet)
    owed = unavoidable(Topology(fleet, p.now), [d for i in range(len(p.contracts)) if (d := demands.demand(i))])
    assert sum(owed.values()) <= best.total * 3_600_000_000


def test_unavoidable_outage() -> None:
    """An outage of the only node is owed to who needs all of it, and not to who needs it later."""
    p = small.problem([node("a")], [contract("x", 0, 10), contract("y", 6, 10)], outages=[outage("a", 3, 5)])
    fleet = Fleet(p)
    demands = Demands(p, fleet)
    owed = unavoidable(Topology(fleet, p.now), [d for i in range(2) if (d := demands.demand(i))])
    assert owed == {0: 2 * HOUR * 8 * p.contracts[0].rate, 1: 0}
