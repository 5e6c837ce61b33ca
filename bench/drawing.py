"""Synthetic fleets and books of contracts, drawn from a seed: what the instances of the benchmarks are made of.

The fleet: five grades, one of them a rack-scale NVLink domain of 18 nodes with 4 GPUs; four zones, leaf switches of 32 nodes, 2 % of
nodes with dead GPUs, 1 % cordoned, 3 % with a maintenance window. The book: calendar months and quarters (half), weeks, days and odd
terms; 1 to 4,096 GPUs by a power law; whole nodes, a few GPUs per node and free form; rack, zone and spread; 60 % firm; running
contracts placed by a careless history. `rho` caps the load sold per grade and hour, so the mean load is lower; above 1 is oversold
on purpose. Times are hours from `NOW`. Every draw has its place in the stream of its seed: a reordered line is another instance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]

HORIZON = 8_760  # hours
GRADES = ("a100-sxm4-80g", "h100-sxm5-80g", "h200-sxm-141g", "b200-sxm-180g", "gb200-nvl72")
GPU_PRODUCT = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200", "NVIDIA-B200", "NVIDIA-GB200")
NVLINK_GRADE = 4  # each of its racks is one NVLink domain
NODE_GPUS = np.array([8, 8, 8, 8, 4])
RACK_NODES = np.array([32, 32, 32, 32, 18])
SHARE = np.array([0.15, 0.40, 0.15, 0.15, 0.15])
PRICE = np.array([1000, 2000, 2600, 3500, 4200])  # thousandths of USD per GPU-hour
SUBSTITUTES = {0: ((1, 50),), 1: ((2, 80),), 2: (), 3: (), 4: ()}  # wanted -> (delivered, extra cost, thousandths of USD per GPU-hour)
MONTHS = (0, 744, 1416, 2160, 2880, 3624, 4344, 5088, 5832, 6552, 7296, 8016, 8760)  # first hours of 2027's months, and its end
SIZES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
MOST_FAILURES = 4_000
STRESSES = ("outages", "lost", "odd", "policies", "beyond")


class Place(IntEnum):
    ANY = 0
    RACK = 1
    ZONE = 2
    SPREAD = 3


@dataclass
class DrawnFleet:
    """Columns over nodes, but for `outages`: (node, first hour, hour after the last)."""

    grade: Ints
    zone: Ints
    rack: Ints
    healthy: Ints  # GPUs
    usable: Ints  # the same, 0 where cordoned
    cordoned: Ints
    outages: list[tuple[int, int, int]]
    lost: set[int] = field(default_factory=set)  # nodes that are NotReady


@dataclass
class DrawnContract:
    start: int
    end: int
    gpus: int
    lot: int
    grade: int
    place: Place
    domains: int
    firm: bool
    penalty: int  # thousandths of USD per GPU-hour
    substitution: bool = True
    whole: bool = False  # all or nothing although it may lie anywhere


def draw_fleet(nodes: int, rng: np.random.Generator) -> DrawnFleet:
    grades, zones, racks, rack = [], [], [], 0
    zone_count = 1 if nodes <= 256 else 4
    for g in range(5):
        count = max(1, round(nodes * SHARE[g] / RACK_NODES[g]))
        for j in range(count):
            grades += [g] * int(RACK_NODES[g])
            zones += [j * zone_count // count] * int(RACK_NODES[g])
            racks += [rack] * int(RACK_NODES[g])
            rack += 1
    grade, n = np.array(grades), len(grades)
    healthy = NODE_GPUS[grade].copy()
    cordoned = rng.random(n) < 0.01
    dying = (rng.random(n) < 0.02) & ~cordoned
    healthy[dying] -= rng.integers(1, 3, dying.sum())
    usable = np.where(cordoned, 0, healthy)
    outages = []
    for v in np.nonzero(rng.random(n) < 0.03)[0]:
        first = int(rng.integers(200, HORIZON - 100))
        outages.append((int(v), first, int(first + rng.integers(8, 73))))
    return DrawnFleet(grade, np.array(zones), np.array(racks), healthy, usable, cordoned, outages)


def draw_window(rng: np.random.Generator) -> tuple[int, int]:
    u = rng.random()
    if u < 0.50:
        k = int(rng.choice([1, 1, 1, 3, 3, 6]))
        first = int(rng.integers(-k + 1, 13 - k))
        return (MONTHS[first] if first >= 0 else 720 * first), MONTHS[min(12, first + k)]
    if u < 0.75:
        k, unit, horizon = int(rng.choice([1, 1, 2, 4, 8])), 168, 52
    elif u < 0.90:
        k, unit, horizon = int(rng.choice([1, 3, 5, 10, 30, 90])), 24, 365
    else:
        length = int(np.exp(rng.uniform(np.log(6), np.log(4000))))
        start = int(rng.integers(-length + 1, HORIZON - length))
        return start, start + length
    first = int(rng.integers(-k + 1, horizon - k))
    return first * unit, (first + k) * unit


def draw_shape(g: int, gpus: int, rng: np.random.Generator) -> tuple[int, Place, int]:
    """(GPUs per lot, where the lots must lie, domains of a spread)."""
    size = int(NODE_GPUS[g])
    if gpus < size:
        return gpus, Place.ANY, 1
    v = rng.random()
    lot = size if v < 0.75 else int(rng.choice([1, 2, 4])) if v < 0.93 else 1
    if lot == size and size < gpus <= RACK_NODES[g] * size and rng.random() < 0.45:
        return lot, Place.RACK, 1
    if gpus >= 64 and rng.random() < 0.5:
        return lot, Place.ZONE, 1
    if lot < size and v < 0.93 and gpus // lot >= 8 and rng.random() < 0.4:
        return lot, Place.SPREAD, int(rng.choice([2, 4]))
    return lot, Place.ANY, 1


def draw_contracts(count: int, rho: float, fleet: DrawnFleet, rng: np.random.Generator) -> list[DrawnContract]:
    """Up to `count` contracts; fewer where nothing more fits under rho. `whole` counts what needs nodes without dead GPUs."""
    capacity = np.array([fleet.usable[fleet.grade == g].sum() for g in range(5)])
    intact = np.array([(fleet.usable[fleet.grade == g] == NODE_GPUS[g]).sum() * NODE_GPUS[g] for g in range(5)])
    load, whole = np.zeros((5, HORIZON), np.int64), np.zeros((5, HORIZON), np.int64)
    weight = SIZES**-0.55 * np.where(SIZES < 8, 0.5, 1.0)
    weight /= weight.sum()
    drawn: list[DrawnContract] = []
    failures = 0
    while len(drawn) < count and failures < MOST_FAILURES:
        g = int(rng.choice(5, p=capacity / capacity.sum()))
        gpus = int(rng.choice(SIZES, p=weight))
        start, end = draw_window(rng)
        if gpus > capacity[g] // 6 or end <= 0 or end > HORIZON:
            failures += gpus > capacity[g] // 6
            continue
        hours = slice(max(0, start), end)
        if (load[g, hours] + gpus > rho * capacity[g]).any():
            failures += 1
            continue
        failures = 0 if failures < MOST_FAILURES // 2 else failures
        lot, place, domains = draw_shape(g, gpus, rng)
        if lot == NODE_GPUS[g]:
            if (whole[g, hours] + gpus > rho * intact[g]).any():
                continue
            whole[g, hours] += gpus
        load[g, hours] += gpus
        firm = bool(rng.random() < 0.6)
        penalty = int(PRICE[g] * (rng.uniform(1.5, 3) if firm else rng.uniform(0.3, 1)))
        drawn.append(DrawnContract(start, end, gpus, lot, g, place, domains, firm, penalty))
    return drawn


def draw_history(contracts: list[DrawnContract], fleet: DrawnFleet, rng: np.random.Generator) -> dict[int, list[tuple[int, int]]]:
    """Contract -> (node, GPUs) of those that already run: placed in start order, each on random nodes that still fit it."""
    free = fleet.usable.copy()
    first_outage = np.full(len(fleet.grade), HORIZON + 1)
    for v, first, _ in fleet.outages:
        first_outage[v] = min(first_outage[v], first)
    history: dict[int, list[tuple[int, int]]] = {}
    for i in sorted((i for i, c in enumerate(contracts) if c.start < 0), key=lambda i: contracts[i].start):
        c = contracts[i]
        nodes = np.nonzero((fleet.grade == c.grade) & (free >= c.lot) & (first_outage >= c.end))[0]
        if c.place in (Place.RACK, Place.ZONE) and len(nodes):
            domain = fleet.rack if c.place is Place.RACK else fleet.zone
            fits = np.nonzero(np.bincount(domain[nodes], free[nodes] // c.lot) >= c.gpus // c.lot)[0]
            nodes = nodes[domain[nodes] == rng.choice(fits)] if len(fits) else nodes[:0]
        rng.shuffle(nodes)
        taken = _take(c, nodes, free, fleet.rack)
        for v, gpus in taken:
            free[v] -= gpus
        if taken:
            history[i] = taken
    return history


def _take(c: DrawnContract, nodes: Ints, free: Ints, rack: Ints) -> list[tuple[int, int]]:
    """(node, GPUs) for the whole contract in the order of the nodes, or nothing."""
    left = c.gpus // c.lot
    per_rack = -(-left // c.domains) if c.place is Place.SPREAD else left
    taken: list[tuple[int, int]] = []
    in_rack: dict[int, int] = {}
    for v in nodes.tolist():
        lots = min(left, int(free[v]) // c.lot, per_rack - in_rack.get(int(rack[v]), 0))
        if lots > 0:
            taken.append((v, lots * c.lot))
            in_rack[int(rack[v])] = in_rack.get(int(rack[v]), 0) + lots
            left -= lots
        if not left:
            return taken
    return []


def add_stress(kinds: frozenset[str], contracts: list[DrawnContract], fleet: DrawnFleet, rng: np.random.Generator) -> None:
    """Roughens a drawn instance, so that the plain instance of a seed stays what it was.

    outages: also under running lots, and whole racks; lost: nodes NotReady with running lots on them; odd: lots and sizes that are no
    powers of two; policies: no substitution, all or nothing anywhere; beyond: windows past the horizon.
    """
    if "outages" in kinds:
        for v in np.nonzero(rng.random(len(fleet.grade)) < 0.03)[0]:
            first = int(rng.integers(1, HORIZON - 100))
            fleet.outages.append((int(v), first, int(first + rng.integers(4, 200))))
        racks = np.unique(fleet.rack)
        for r in rng.choice(racks, max(1, len(racks) // 40), replace=False):
            first = int(rng.integers(1, HORIZON - 100))
            fleet.outages += [(int(v), first, first + 12) for v in np.nonzero(fleet.rack == r)[0]]
    if "lost" in kinds:
        fleet.lost = {int(v) for v in np.nonzero(rng.random(len(fleet.grade)) < 0.01)[0]}
    for c in contracts:
        u = rng.random()
        if "odd" in kinds and u < 0.10 and c.start >= 0 and c.place is not Place.SPREAD:
            c.lot = int(rng.choice([3, 5, 6])) if NODE_GPUS[c.grade] == 8 and u < 0.05 else c.lot
            c.gpus = c.lot * int(rng.choice([1, 3, 5, 9, 11]))
        if "policies" in kinds and 0.10 < u < 0.25:
            c.substitution = False
        if "policies" in kinds and 0.25 < u < 0.35 and c.place is Place.ANY:
            c.whole = True
        if "beyond" in kinds and u > 0.95:
            c.end += int(rng.integers(24, 4000))
