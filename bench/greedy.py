"""Placing one contract after another: what the planner is measured against.

Contracts come in start order, equals as booked, and every lot keeps one node to its end. All schedulers get the same help, which
their originals lack: only nodes that may serve the contract and have no outage in its window, the tightest domain that holds a scoped
contract, all or nothing where asked, grades in order of cost. Running lots stay; what a lost node or an outage ends is placed again,
once. Nodes are shared GPU by GPU. As contracts are placed by start, what is free now is free for the whole window.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from bench.schedulers import Ints, Rank, rank_among_equals
from laycan_solver.model import FOREVER, Binding, Contract, Move, MoveReason, Node, Problem, Product, Scope

Held = tuple[str, str, str, int, int]  # contract, node, product, start, end of a binding


@dataclass(frozen=True)
class End:
    """Lots of a contract leave their nodes; `cut`: before the contract's end, so that they ask for others."""

    contract: Contract
    lots: Counter[int]  # node -> lots
    cut: bool = False


@dataclass(frozen=True)
class Clear:
    """An outage of a node is over."""

    node: int


@dataclass(frozen=True)
class Arrival:
    """Lots that ask for nodes; `sources`: the nodes that they had to leave."""

    contract: Contract
    lots: int
    sources: tuple[str, ...] = ()


Event = End | Clear | Arrival
ORDER = {Clear: 0, End: 1, Arrival: 2}  # of what happens at the same second


class Greedy:
    """One pass over the book; `bindings` and `moves` are its result."""

    def __init__(self, problem: Problem, rank: Rank) -> None:
        self.problem, self.rank, self.now = problem, rank, problem.now
        self.products = {p.name: p for p in problem.products}
        self.nodes = sorted(problem.nodes, key=lambda n: (n.grade, n.name))
        self.index = {n.name: i for i, n in enumerate(self.nodes)}
        self.healthy: Ints = np.array([n.gpus if n.usable else 0 for n in self.nodes], dtype=np.int64)
        self.free = self.healthy.copy()
        self.open = np.array([n.usable and not n.cordoned for n in self.nodes], dtype=bool)
        self.domain = _domains(self.nodes)
        grades = np.array([n.grade for n in self.nodes])
        self.of_grade = {g: np.flatnonzero(grades == g) for g in sorted(set(grades.tolist()))}
        self.clear_until: Ints = np.full(len(self.nodes), FOREVER, dtype=np.int64)  # start of the outage that lasts or comes next
        self.serving: dict[str, Counter[int]] = {c.key: Counter() for c in problem.contracts}  # contract -> node -> lots
        self.held: Counter[Held] = Counter()  # -> GPUs
        self.moved: Counter[tuple[str, str, str, MoveReason]] = Counter()  # -> GPUs
        self.previous: dict[str, list[Binding]] = defaultdict(list)  # contract -> what was announced
        for b in problem.previous:
            self.previous[b.contract].append(b)
        self.dark: dict[int, list[tuple[int, int]]] = defaultdict(list)  # node -> outages
        for outage in problem.outages:
            for name in outage.nodes & self.index.keys():
                self.dark[self.index[name]].append((outage.start, outage.end))
        self.events: list[tuple[int, int, int, Event]] = []  # (second, order, number, event)
        self.count = 0

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return tuple(sorted(Binding(key, node, product, gpus, start, end) for (key, node, product, start, end), gpus in self.held.items()))

    @property
    def moves(self) -> tuple[Move, ...]:
        return tuple(sorted(Move(key, source, target, gpus, reason) for (key, source, target, reason), gpus in self.moved.items()))

    def run(self) -> Greedy:
        for node, spans in sorted(self.dark.items()):
            self._look_ahead(node, self.now)
            for end in sorted({end for _, end in spans if end > self.now}):
                self._at(end, Clear(node))
        due = sorted((c.start, i) for i, c in enumerate(self.problem.contracts) if self._begin(c) < c.end)
        for _, i in due:
            contract = self.problem.contracts[i]
            left = self._keep(contract)
            missing = contract.lots - self.serving[contract.key].total()
            if missing:
                self._at(self._begin(contract), Arrival(contract, missing, left))
        while self.events:
            time, _, _, event = heapq.heappop(self.events)
            match event:
                case Clear(node):
                    self._look_ahead(node, time)
                case End():
                    self._leave(time, event)
                case Arrival():
                    self._arrive(time, event)
        return self

    def _begin(self, contract: Contract) -> int:
        return max(contract.start, contract.due_from, self.now)

    def _at(self, time: int, event: Event) -> None:
        self.count += 1
        heapq.heappush(self.events, (time, ORDER[type(event)], self.count, event))

    def _look_ahead(self, node: int, time: int) -> None:
        starts = (start for start, end in self.dark[node] if start < end and end > time)
        self.clear_until[node] = min(starts, default=FOREVER)

    def _keep(self, contract: Contract) -> tuple[str, ...]:
        """What runs stays until its node's next outage; returns the nodes of lots that cannot."""
        left: list[str] = []
        if self._begin(contract) > self.now:
            return ()
        for b in self.previous[contract.key]:
            if not b.start < self.now < b.end:
                continue
            i = self.index.get(b.node, -1)
            product = self._delivered_as(contract, self.nodes[i].grade)[0] if i >= 0 else ""
            room = int(self.free[i]) if product and self.clear_until[i] > self.now else 0
            lots = min(b.gpus, room) // contract.lot_gpus
            left += [b.node] * (b.gpus // contract.lot_gpus - lots)
            if lots:
                until = b.end if self.nodes[i].cordoned else contract.end
                self._hold(contract, product, Counter({i: lots}), b.start, min(until, int(self.clear_until[i])))
        return tuple(left)

    def _hold(self, contract: Contract, product: str, lots: Counter[int], start: int, end: int) -> None:
        for i, n in lots.items():
            self.free[i] -= n * contract.lot_gpus
            assert self.free[i] >= 0, f"{self.nodes[i].name} is overbooked by {contract.key}"
            self.held[contract.key, self.nodes[i].name, product, start, end] += n * contract.lot_gpus
        self.serving[contract.key].update(lots)
        self._at(end, End(contract, lots, cut=end < contract.end))

    def _leave(self, time: int, event: End) -> None:
        for i, n in event.lots.items():
            self.free[i] += n * event.contract.lot_gpus
        self.serving[event.contract.key].subtract(event.lots)
        if event.cut:
            sources = tuple(self.nodes[i].name for i in sorted(event.lots.elements()))
            self._at(time, Arrival(event.contract, len(sources), sources))

    def _arrive(self, time: int, arrival: Arrival) -> None:
        contract = arrival.contract
        there = +self.serving[contract.key]
        wanted, placed = arrival.lots, []
        for product, columns in self._options(contract):
            units = self._units(contract, columns)
            lots = Counter(columns[self._choose(contract, columns, units, wanted, there)].tolist())
            if lots and (not contract.scope or not contract.all_or_nothing or lots.total() == wanted or there):
                placed.append((product, lots))
                wanted -= lots.total()
                there = there + lots
                self.free[list(lots)] -= np.array(list(lots.values())) * contract.lot_gpus  # for the next option's view
            if not wanted:
                break
        for _, lots in placed:
            self.free[list(lots)] += np.array(list(lots.values())) * contract.lot_gpus
        if wanted and contract.all_or_nothing and not contract.delivering and all(b.start >= self.now for b in self.previous[contract.key]):
            return
        targets: list[str] = []
        for product, lots in placed:
            self._hold(contract, product, lots, time, contract.end)
            targets += [self.nodes[i].name for i in sorted(lots.elements())]
        for source, target in zip(arrival.sources, targets, strict=False):
            lost = time == self.now and not self._in_outage(source, contract.lot_gpus)
            self.moved[contract.key, source, target, MoveReason.NODE_LOST if lost else MoveReason.OUTAGE] += contract.lot_gpus

    def _in_outage(self, name: str, lot: int) -> bool:
        """The node works, and would have kept what ran on it but for an outage."""
        i = self.index.get(name, -1)
        return i >= 0 and int(self.healthy[i]) >= lot and int(self.clear_until[i]) <= self.now

    def _delivered_as(self, contract: Contract, grade: str) -> tuple[str, int]:
        """As which product a grade serves the contract, and its extra cost per GPU-hour; "" if it does not."""
        own = self.products[contract.product]
        if grade in own.grades:
            return own.name, 0
        others = [(cost, name) for name, cost in own.equivalents.items() if contract.substitution and grade in self._grades(name)]
        return min(((name, cost) for cost, name in sorted(others)), key=lambda o: o[1], default=("", 0))

    def _grades(self, product: str) -> frozenset[str]:
        found: Product | None = self.products.get(product)
        return found.grades if found else frozenset()

    def _options(self, contract: Contract) -> list[tuple[str, Ints]]:
        """(product, nodes) of each grade that may serve the contract, the cheapest first."""
        served = [(self._delivered_as(contract, grade), grade) for grade in self.of_grade]
        return [(product, self.of_grade[grade]) for (product, cost), grade in sorted(served, key=lambda s: (s[0][1], s[1])) if product]

    def _units(self, contract: Contract, columns: Ints) -> Ints:
        """Lots of the contract that each node could take until its end."""
        able = self.open[columns] & (self.clear_until[columns] >= contract.end)
        return np.where(able, self.free[columns] // contract.lot_gpus, 0)

    def _choose(self, contract: Contract, columns: Ints, units: Ints, wanted: int, there: Counter[int]) -> Ints:
        """Indices into columns, one for each lot, at most as many as wanted, within scope and spread."""
        most = -(-contract.lots // contract.spread_domains) if contract.spread_level else contract.lots
        inner = self.domain[contract.spread_level]
        used = np.bincount(inner[list(there)], list(there.values()), len(self.nodes)).astype(np.int64) if there else None
        if contract.scope:
            outer = self.domain[contract.scope]
            room = np.bincount(inner[columns], units, len(self.nodes)).astype(np.int64)
            room = np.minimum(room, most - (used if used is not None else 0)) if contract.spread_level else room
            units = self._tightest(outer[columns], inner[columns], units, room, wanted, {int(outer[i]) for i in there})
        lots = self.rank(self.free[columns], self.healthy[columns], units, contract.lot_gpus)
        if contract.spread_level:
            domains = inner[columns][lots]
            already = used[domains] if used is not None else 0
            lots = lots[rank_among_equals(domains) + already < most]
        return lots[:wanted]

    def _tightest(self, outer: Ints, inner: Ints, units: Ints, room: Ints, wanted: int, fixed: set[int]) -> Ints:
        """Units inside one domain of the scope only: where lots run already, else the one that holds all with the least to spare."""
        first = np.unique(inner, return_index=True)[1] if room.sum() != units.sum() else None
        holds = np.bincount(outer, units) if first is None else np.bincount(outer[first], room[inner[first]])
        if fixed:
            chosen = min(fixed)
        elif (holds >= wanted).any():
            chosen = int(np.where(holds >= wanted, holds, np.inf).argmin())
        else:
            chosen = int(holds.argmax())
        return np.where(outer == chosen, units, 0)


def _domains(nodes: list[Node]) -> list[Ints]:
    """Per level of scope: the domain of every node as a small integer; level ANY is one domain."""
    named = [np.unique([n.domains[level - 1] for n in nodes], return_inverse=True)[1] for level in list(Scope)[1:]]
    return [np.zeros(len(nodes), dtype=np.int64), *named]
