"""Figures of promises against an independent count, and what admission with targets makes of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product

import pytest

from laycan_solver.check import check
from laycan_solver.model import Binding, Contract, ContractChanged, Problem, Product, Reliability
from laycan_solver.planner import Planner, plan
from laycan_solver.risk import Risk, risks_of
from tests.laycan_solver import small
from tests.laycan_solver.instances import NOW, PRODUCTS, STEP, Shape, problem
from tests.laycan_solver.risk_by_slices import Figures, Slices, figures

NOTHING = plan(small.problem([], []))
LONG = Shape(nodes=9, contracts=14, load=0.7, steps=200, whole_nodes=0.2)
SHORT = Shape(nodes=12, contracts=14, load=0.6, steps=16)


def fragile(seed: int, target: int | None = None) -> tuple[Product, ...]:
    """The products of the instances, with failures so frequent that a few nodes make a difference."""
    rng = random.Random(seed)
    return tuple(
        replace(p, reliability=Reliability(rng.choice((2_000, 6_500, 40_000)), rng.choice((8_000, 86_400, 400_000)), STEP, target))
        for p in PRODUCTS
    )


def agree(found: Risk, expected: Figures) -> bool:
    same = (found.spare_nodes, found.largest_domain, found.survives_domain)
    exact = same == (expected.spare_nodes, expected.largest_domain, expected.survives_domain)
    return exact and expected.chance * 1e9 * (1 - 1e-9) - 1e-6 <= found.ppb <= expected.chance * 1e9 * (1 + 1e-9) + 1.000001


@pytest.mark.parametrize("shape", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("seed", range(12))
def test_figures(seed: int, shape: Shape) -> None:
    """M, N and s in every slice, hence the chance of the worst 30 days, are those of a count that shares no code."""
    p = problem(seed, shape)
    contracts = tuple(replace(c, reserve=i % 7 == 6, accepted=i % 5 != 4) for i, c in enumerate(p.contracts))
    p = replace(p, contracts=contracts, products=fragile(seed))
    found = plan(p, 30)
    risks, expected = risks_of(p, found), figures(p, found)
    assert risks.keys() == expected.keys()
    for key, risk in risks.items():
        assert agree(risk, expected[key]), (key, risk, expected[key])


def decided(planner: Planner, candidate: Contract) -> str:
    """Takes the candidate in, or says why not."""
    refused = {u.contract: u.message for u in planner.update([ContractChanged(candidate)]).undelivered if u.refused}
    return refused.get(candidate.key, "")


def kept(before: dict[str, Figures], after: dict[str, Figures], target: float, *, new: str = "") -> bool:
    """Nobody's chance is at or above the target who was below it or is new, nor higher than it was above it."""
    slack = 1 + 1e-9
    return all(
        f.chance < target * slack or (key != new and key in before and f.chance <= before[key].chance * slack) for key, f in after.items()
    )


def stream(seed: int) -> Counter[str]:
    """Candidates decided one by one, every one of them checked; what became of them."""
    p, rng = problem(seed, SHORT if seed % 2 else LONG), random.Random(seed)
    p = replace(p, products=fragile(seed, 60_000))
    accepted = p.contracts[: len(p.contracts) // 3]
    known = {c.key for c in accepted}
    planner = Planner(replace(p, contracts=accepted, previous=tuple(b for b in p.previous if b.contract in known)), effort=20)
    outcomes: Counter[str] = Counter()
    before = figures(planner.problem, planner.plan)
    for c in p.contracts[len(accepted) :]:
        new = replace(c, accepted=False, start=max(c.start, NOW), end=max(c.end, NOW + STEP), priority=rng.choice((0, 900)))
        message = decided(planner, new)
        after = figures(planner.problem, planner.plan)
        assert kept(before, after, 0.06, new="" if message else c.key), (seed, c.key, message)
        outcomes[kind_of(message)] += 1
        before = after
    assert check(planner.problem, planner.plan) == []
    return outcomes


def kind_of(message: str) -> str:
    """Why a candidate was refused, as far as targets are concerned."""
    words = {"": "accepted", "would rise from": "others", "the loss of a rack": "rack", "has a chance of": "own"}
    return next((kind for said, kind in words.items() if (said in message if said else not message)), "count")


def test_targets_are_kept() -> None:
    """Whatever is asked for in turn, no accepted Firm contract is brought to its target or above, nor raised further above it."""
    outcomes: Counter[str] = sum((stream(seed) for seed in range(30)), Counter())
    assert min(outcomes[kind] for kind in ("accepted", "others", "rack", "own", "count")) > 1, outcomes


def arrangements(p: Problem, contracts: Sequence[Contract]) -> Iterator[tuple[Binding, ...]]:
    """Every way to serve these contracts in full and uncut, lot by lot on nodes that they admit, throughout their windows."""
    slices = Slices(replace(p, contracts=tuple(contracts)), NOTHING)
    ways = []
    for c in contracts:
        admitted = [n.name for n in p.nodes if n.grade in slices.grades(c)]
        ways.append([Counter(some) for some in combinations_with_replacement(admitted, c.lots)])
    size = {n.name: n.gpus for n in p.nodes}
    for chosen in product(*ways):
        pairs = zip(contracts, chosen, strict=True)
        rows = tuple(Binding(c.key, n, c.product, k * c.lot_gpus, c.start, c.end) for c, lots in pairs for n, k in lots.items())
        edges = {b.start for b in rows}
        if all(sum(b.gpus for b in rows if b.node == n and b.start <= t < b.end) <= size[n] for n in size for t in edges):
            yield rows


def crowded(rng: random.Random) -> tuple[Problem, Contract]:
    """Three accepted contracts on four nodes of one or two grades, and a candidate."""
    grades = rng.choice((("H100",) * 4, ("H100", "H100", "H200", "H200")))
    nodes = [small.node(f"n{i}", rng.choice((8, 8, 8, 6)), rack=f"r{i % 2}", grade=g) for i, g in enumerate(grades)]
    sure = Reliability(rng.choice((6_500, 60_000)), target_ppm=rng.choice((300, 3_000, 30_000)))
    products = [
        small.product(reliability=sure, equivalents={"h200": 1} if len(set(grades)) > 1 else {}),
        small.product("h200", "H200", reliability=sure),
        small.product("plain", reliability=replace(sure, target_ppm=None)),
    ]
    asked = []
    for i in range(4):
        start, length, gpus = rng.randrange(40), rng.randrange(20, 80), rng.choice((4, 4, 8, 8, 12))
        which = rng.choice(("h100", "h100", "h200")) if len(set(grades)) > 1 else "h100"
        asked.append(small.contract(f"c{i}", start, start + length, gpus, lot_gpus=4, product=which, substitution=rng.random() < 0.5))
    last = replace(asked[3], product="plain") if rng.random() < 0.5 and asked[3].product == "h100" else asked[3]
    return small.problem(nodes, asked[:3], products=products), last


def proof(seed: int) -> tuple[str, bool]:
    """What became of a candidate, and whether that was proved; if so, every placement of all that is accepted is tried."""
    p, asked = crowded(random.Random(seed))
    planner = Planner(p, effort=20)
    if planner.plan.undelivered:
        return "short", False
    before = figures(planner.problem, planner.plan)
    message = decided(planner, replace(asked, accepted=False))
    target = p.products[0].reliability.target_ppm
    assert target is not None
    if "(proved)" in message and kind_of(message) != "count":
        for rows in arrangements(p, (*p.contracts, asked)):
            after = figures(replace(p, contracts=(*p.contracts, asked)), replace(planner.plan, bindings=rows, undelivered=()))
            if asked.product == "plain":
                del after[asked.key]
            assert not kept(before, after, target / 1e6, new=asked.key), (seed, message, rows)
    return kind_of(message), "(proved)" in message


def test_what_is_proved_is_refused_everywhere() -> None:
    """If a refusal for a target is proved, no placement of all that is accepted beside the candidate would keep the targets."""
    outcomes = Counter(proof(seed) for seed in range(80))
    assert min(outcomes[kind, True] for kind in ("own", "others")) > 1, outcomes
    assert outcomes["own", False] > 0, outcomes
