"""Small random problems with everything in them that makes planning hard; the same seed gives the same problem.

Grades with substitution, racks and zones, dead GPUs, lost and cordoned nodes, outages, a careless history, odd sizes, scopes,
spreads, all-or-nothing, holders on whole nodes, rights of curtailment. Times lie on a grid of six hours and prices in cents, so that
every amount of money is a whole number of micros and the exact optimum has few slices.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from laycan_solver.model import Binding, Contract, Level, MovePolicy, Node, Outage, OutageType, Problem, Product, Scope

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
STEP = 6 * 3_600


@dataclass(frozen=True)
class Shape:
    """How large and how nasty."""

    nodes: int
    contracts: int
    load: float = 1.1  # sold GPU-seconds / those that there are, about
    steps: int = 40  # horizon, in grid steps
    whole_nodes: float = 0.3  # share of nodes at level Node
    trouble: float = 0.15  # share of nodes with an outage; a third of it each: dead GPUs, lost, cordoned


TINY = Shape(nodes=5, contracts=7, steps=8, trouble=0.4)
PART = Shape(nodes=8, contracts=14, steps=8, whole_nodes=0.25)  # a site of `fleet`

PRODUCTS = (
    Product("h100", frozenset({"H100"}), turnaround_seconds=STEP, equivalents={"h200": 80_000}, moves_per_month=2),
    Product("h200", frozenset({"H200"}), equivalents={"b200": 100_000}, move_policy=MovePolicy.ANY),
    Product("b200", frozenset({"B200"}), move_policy=MovePolicy.FORCED),
)


def problem(seed: int, shape: Shape = TINY) -> Problem:
    rng = random.Random(seed)
    nodes = tuple(_node(rng, shape, i) for i in range(shape.nodes))
    outages = tuple(_outage(rng, shape, n.name) for n in nodes if rng.random() < shape.trouble)
    contracts: list[Contract] = []
    sold: Counter[str] = Counter()
    have = Counter[str]()
    for n in nodes:
        have[n.grade.lower()] += n.gpus * shape.steps * STEP
    for i in range(shape.contracts):
        c = _contract(rng, shape, i)
        volume = c.gpus * (min(c.end, NOW + shape.steps * STEP) - max(c.start, NOW))
        if sold[c.product] + volume <= shape.load * have[c.product]:
            sold[c.product] += volume
            contracts.append(c)
    previous = _history(rng, nodes, contracts)
    lost = {n.name for n in nodes if rng.random() < shape.trouble / 3}
    weak = {n.name for n in nodes if rng.random() < shape.trouble / 3}
    shut = {n.name for n in nodes if rng.random() < shape.trouble / 3}
    after = tuple(
        replace(n, usable=n.name not in lost, gpus=n.gpus - (n.name in weak) * rng.randint(1, 2), cordoned=n.name in shut) for n in nodes
    )
    return Problem(NOW, after, PRODUCTS, tuple(contracts), outages, previous)


def _node(rng: random.Random, shape: Shape, i: int) -> Node:
    rack = i * 2 // shape.nodes if shape.nodes < 12 else i // 6
    grade = ("H100", "H100", "H200", "B200")[(rack if shape.nodes >= 12 else i) % 4]
    level = Level.NODE if rng.random() < shape.whole_nodes else Level.DEVICE
    return Node(f"n{i:03}", grade, 4 if grade == "B200" else 8, (f"z{rack // 2}", f"f{rack // 2}", f"r{rack}", f"v{i // 3}"), level=level)


def _outage(rng: random.Random, shape: Shape, node: str) -> Outage:
    start = NOW + STEP * rng.randint(-1, shape.steps - 2)
    return Outage(f"o-{node}", OutageType.PLANNED, frozenset({node}), start, start + STEP * rng.randint(2, 6))


def _contract(rng: random.Random, shape: Shape, i: int) -> Contract:
    product = rng.choices(PRODUCTS, (4, 2, 1))[0]
    node_gpus = 4 if product.name == "b200" else 8
    lot = rng.choice((1, 2, 3, 4, node_gpus, node_gpus))
    lot = min(lot, node_gpus)
    lots = rng.choice((1, 1, 2, 2, 3, 4) if shape.nodes < 12 else (1, 2, 3, 4, 4, 6, 8))
    start = rng.choice((-2, 0, 0, *range(shape.steps - 1))) if rng.random() < 0.8 else -1
    end = max(start + 2, 1) + int((shape.steps - max(start, 0)) * rng.random() ** 2)
    scope = rng.choice((Scope.ANY, Scope.ANY, Scope.ANY, Scope.ZONE, Scope.RACK, Scope.NVLINK_DOMAIN))
    spread = lots >= 2 and scope < Scope.RACK and rng.random() < 0.25
    firm = rng.random() < 0.6
    right = not firm and rng.random() < 0.5
    return Contract(
        key=f"desk/c{i:03}",
        contract_id=f"X-{i}",
        product=product.name,
        start=NOW + start * STEP,
        end=NOW + end * STEP,
        gpus=lots * lot,
        lot_gpus=lot,
        holder=rng.choice(("red", "blue")),
        scope=scope,
        spread_level=Scope.RACK if spread else Scope.ANY,
        spread_domains=2 if spread else 1,
        all_or_nothing=rng.random() < (0.7 if scope or spread else 0.1),
        firm=firm,
        notice_seconds=STEP * rng.randint(0, 2) if right else None,
        curtailable_seconds=STEP * rng.randint(1, 3) if right else 0,
        substitution=rng.random() < 0.4,
        price_micros=10_000 * rng.randint(100, 400),
        multiple_ppm=rng.choice((1_000_000, 1_500_000, 2_000_000)),
        forced_moves_only=rng.random() < 0.2,
    )


def _history(rng: random.Random, nodes: tuple[Node, ...], contracts: list[Contract]) -> tuple[Binding, ...]:
    """What a careless predecessor announced: running contracts on the first nodes that fit by GPUs, some of it incomplete."""
    free = {n.name: n.gpus for n in nodes}
    holder: dict[str, str] = {}
    found: Counter[Binding] = Counter()
    own = {p.name: p.grades for p in PRODUCTS}
    for c in contracts:
        if c.start >= NOW:
            continue
        order = [n for n in nodes if n.grade in own[c.product]]
        rng.shuffle(order)
        domain = None
        for _ in range(c.lots):
            for n in order:
                here = n.domains[c.scope - 1] if c.scope else ""
                held = n.level is Level.NODE and holder.get(n.name, c.holder) != c.holder
                if free[n.name] >= c.lot_gpus and domain in (None, here) and not held and not c.spread_level:
                    free[n.name] -= c.lot_gpus
                    holder[n.name], domain = c.holder, here
                    found[Binding(c.key, n.name, c.product, 0, c.start, c.end)] += c.lot_gpus
                    break
    return tuple(sorted(b._replace(gpus=gpus) for b, gpus in found.items()))


def fleet(seed: int, sites: int = 5, shape: Shape = PART) -> Problem:
    """Several sites with grades of their own, as one problem: larger, and still exactly solvable, as the optimum is the sum of theirs."""
    parts = [_site(problem(sites * seed + i, shape), f"s{i}") for i in range(sites)]
    return Problem(
        NOW,
        tuple(n for p in parts for n in p.nodes),
        tuple(g for p in parts for g in p.products),
        tuple(c for p in parts for c in p.contracts),
        tuple(o for p in parts for o in p.outages),
        tuple(sorted(b for p in parts for b in p.previous)),
    )


def _site(p: Problem, site: str) -> Problem:
    """The same problem under other names."""

    def nodes(n: Node) -> Node:
        zone, fabric, rack, domain = (f"{site}-{d}" for d in n.domains)
        return replace(n, name=f"{site}-{n.name}", grade=f"{site}-{n.grade}", domains=(zone, fabric, rack, domain))

    def products(g: Product) -> Product:
        equivalents = {f"{site}-{name}": cost for name, cost in g.equivalents.items()}
        return replace(g, name=f"{site}-{g.name}", grades=frozenset(f"{site}-{grade}" for grade in g.grades), equivalents=equivalents)

    return Problem(
        p.now,
        tuple(nodes(n) for n in p.nodes),
        tuple(products(g) for g in p.products),
        tuple(replace(c, key=f"{c.key}-{site}", contract_id=f"{c.contract_id}-{site}", product=f"{site}-{c.product}") for c in p.contracts),
        tuple(replace(o, name=f"{site}-{o.name}", nodes=frozenset(f"{site}-{n}" for n in o.nodes)) for o in p.outages),
        tuple(b._replace(contract=f"{b.contract}-{site}", node=f"{site}-{b.node}", product=f"{site}-{b.product}") for b in p.previous),
    )
