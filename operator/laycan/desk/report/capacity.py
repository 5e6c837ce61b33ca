"""What each product's nodes hold over time: GPUs there, GPUs bound, and nodes to spare in each zone.

A node is spare while it is Ready, neither cordoned nor in an outage, has all GPUs of a whole node of its grade, and nothing is bound
to it that cannot be cleared in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from laycan.desk.report.racks import outages_of, whole_gpus, zones_of
from laycan.desk.report.scale import Scale
from laycan.desk.report.strips import Ints, Span, dark_times, spread
from laycan_solver.ground import clearing
from laycan_solver.model import Binding, Node, Plan, Problem, Product
from laycan_solver.spans import union


@dataclass(frozen=True, slots=True)
class Spares:
    """Whole nodes to spare in a zone, the fewest of each bin from now on; `least` of all, first at `least_at`."""

    zone: str
    nodes: int
    fewest: tuple[int, ...]
    first_bin: int
    now: int
    least: int
    least_at: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A product's own nodes. Series are GPUs per bin, rounded half up: Firm and Interruptible bindings, and all there is."""

    product: str
    grades: tuple[str, ...]
    nodes: int
    usable: int
    gpus: int
    firm: tuple[int, ...]
    interruptible: tuple[int, ...]
    there: tuple[int, ...]
    spares: tuple[Spares, ...]
    peak_ppm: int  # most of the GPUs there that are bound in any bin


def pools_of(problem: Problem, plan: Plan, scale: Scale) -> tuple[Pool, ...]:
    """One for each product that has nodes."""
    here: dict[str, list[Binding]] = defaultdict(list)
    for b in plan.bindings:
        here[b.node].append(b)
    fleet = _Fleet(problem, scale, here)
    return tuple(fleet.pool(p) for p in sorted(problem.products, key=lambda p: p.name) if fleet.of(p))


class _Fleet:
    def __init__(self, problem: Problem, scale: Scale, here: Mapping[str, list[Binding]]) -> None:
        self.scale, self.outages, self.here = scale, outages_of(problem), here
        self.contracts = {c.key: c for c in problem.contracts}
        self.clearing = {c.key: clearing(c) for c in problem.contracts}
        self.whole = whole_gpus(problem)
        self.zone = {n.name: z.name for z in zones_of(problem) for r in z.racks for n in r.nodes}
        self.nodes = problem.nodes

    def of(self, product: Product) -> list[Node]:
        return [n for n in self.nodes if n.grade in product.grades]

    def pool(self, product: Product) -> Pool:
        nodes, scale = self.of(product), self.scale
        rows = spread(scale, 3, self._spans(nodes))
        width = scale.bin_seconds
        firm, interruptible, dark = ((rows[i] + width // 2) // width for i in range(3))
        gpus = sum(n.gpus for n in nodes)
        there = gpus - dark
        bound = firm + interruptible
        peak = int((bound * 1_000_000 // np.maximum(there, 1)).max(initial=0))
        return Pool(
            product.name,
            tuple(sorted({n.grade for n in nodes})),
            len(nodes),
            sum(n.usable for n in nodes),
            gpus,
            tuple(firm.tolist()),
            tuple(interruptible.tolist()),
            tuple(there.tolist()),
            tuple(self._spares(product, nodes)),
            peak,
        )

    def _spans(self, nodes: Sequence[Node]) -> Iterator[Span]:
        for n in nodes:
            for b in self.here.get(n.name, ()):
                c = self.contracts[b.contract]
                if not c.reserve:
                    yield Span(0 if c.firm else 1, b.start, b.end, b.gpus)
            for start, end in dark_times(self.outages, n.name, n.usable, self.scale):
                yield Span(2, start, end, n.gpus)

    def _spares(self, product: Product, nodes: Sequence[Node]) -> Iterator[Spares]:
        zones: dict[str, list[Node]] = defaultdict(list)
        for n in nodes:
            zones[self.zone[n.name]].append(n)
        for zone, inside in sorted(zones.items()):
            fewest, first = self._fewest(product, inside)
            least = int(fewest.min())
            at = max(self.scale.now, self.scale.start + (first + int(fewest.argmin())) * self.scale.bin_seconds)
            yield Spares(zone, len(inside), tuple(fewest.tolist()), first, int(fewest[0]), least, at)

    def _commits(self, product: Product, contract: str) -> bool:
        """Whether lots of the contract cannot be cleared in time for a failure."""
        notice, seconds = self.clearing[contract]
        known = product.reliability
        return notice > known.cure_seconds or seconds < known.repair_seconds

    def _fewest(self, product: Product, nodes: Sequence[Node]) -> tuple[Ints, int]:
        """Fewest nodes to spare in each bin from the one of now on, and that bin."""
        scale, able, changes = self.scale, 0, list[tuple[int, int]]()
        for n in nodes:
            if not n.usable or n.cordoned or n.gpus < self.whole[n.grade]:
                continue
            able += 1
            taken = [(b.start, b.end) for b in self.here.get(n.name, ()) if self._commits(product, b.contract)]
            taken += dark_times(self.outages, n.name, True, scale)
            for start, end in union((max(a, scale.now), min(b, scale.end)) for a, b in taken):
                changes += [(start, -1), (end, 1)]
        first = (scale.now - scale.start) // scale.bin_seconds
        edges = [max(scale.now, scale.start + i * scale.bin_seconds) for i in range(first, scale.bins)]
        times = np.array(sorted([*{t for t, _ in changes}, *edges]), dtype=np.int64)
        times = np.unique(times[times < scale.end])
        net = np.zeros(len(times), dtype=np.int64)
        inside = np.array([row for row in changes if row[0] < scale.end], dtype=np.int64).reshape(-1, 2)
        np.add.at(net, np.searchsorted(times, inside[:, 0]), inside[:, 1])
        free = able + np.cumsum(net)
        fewest: Ints = np.minimum.reduceat(free, np.searchsorted(times, np.array(edges, dtype=np.int64)))
        return fewest, first
