"""The problem as the checker sees it: what a node can serve at an instant, as which product, and what ran at `now`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from laycan_solver.model import Binding, Contract, OutageType, Problem


class Facts:
    """The problem, indexed."""

    def __init__(self, problem: Problem) -> None:
        self.now = problem.now
        self.nodes = {n.name: n for n in problem.nodes}
        self.products = {p.name: p for p in problem.products}
        self.contracts = {c.key: c for c in problem.contracts}
        self.dark: dict[str, list[tuple[int, int]]] = defaultdict(list)  # node -> outages
        self.faults: dict[str, list[tuple[int, int]]] = defaultdict(list)  # node -> those of them that nobody planned
        self.planned: dict[str, list[tuple[int, int]]] = defaultdict(list)  # node -> the others
        for outage in problem.outages:
            kind = self.faults if outage.type is OutageType.FORCED else self.planned
            for name in outage.nodes:
                self.dark[name].append((outage.start, outage.end))
                kind[name].append((outage.start, outage.end))
        self.previous: dict[str, list[Binding]] = defaultdict(list)  # contract -> announced bindings
        self.ran: dict[str, Counter[str]] = defaultdict(Counter)  # contract -> node -> lots that run at now; a reserve never runs
        self.history: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings that began before now
        self.staying: dict[str, list[Binding]] = defaultdict(list)  # node -> bindings that run at now
        for b in problem.previous:
            if (c := self.contracts.get(b.contract)) is None:
                continue
            self.previous[b.contract].append(b)
            if b.start < problem.now and not c.reserve:
                self.history[b.node].append(b)
                if b.end > problem.now:
                    self.ran[b.contract][b.node] += b.gpus // c.lot_gpus
                    self.staying[b.node].append(b)
        self.overfull = {name for name, bs in self.staying.items() if sum(b.gpus for b in bs) > self.gpus_at(name, problem.now)}
        self._options: dict[tuple[str, bool], dict[str, tuple[str, int]]] = {}
        self._windows: dict[tuple[str, bool, bool], set[tuple[int, int]]] = {}

    def begin(self, c: Contract) -> int:
        """First second that is due."""
        return max(c.start, c.due_from, self.now)

    def whole(self, c: Contract) -> bool:
        """All lots or none, as nothing of it has been delivered yet."""
        return c.all_or_nothing and not c.delivering and all(b.start >= self.now for b in self.previous.get(c.key, ()))

    def gpus_at(self, name: str, t: int) -> int:
        node = self.nodes.get(name)
        dark = node is None or not node.usable or any(a <= t < b for a, b in self.dark.get(name, ()))
        return 0 if dark or node is None else node.gpus

    def options(self, c: Contract) -> Mapping[str, tuple[str, int]]:
        """Hardware grade -> product as which it serves the contract, micros per GPU-hour on top. Its own wins, then the cheapest."""
        key = c.product, c.substitution
        if key not in self._options:
            own = self.products[c.product]
            others = sorted((cost, name) for name, cost in own.equivalents.items() if c.substitution and name in self.products)
            found = self._options[key] = {}
            for cost, name in ((0, own.name), *others):
                for grade in self.products[name].grades:
                    found.setdefault(grade, (name, cost))
        return self._options[key]

    def cost(self, c: Contract, grade: str) -> int | None:
        """Micros per GPU-hour on top, when this grade delivers it; None: it cannot."""
        option = self.options(c).get(grade)
        return option[1] if option else None

    def serves_on(self, c: Contract, name: str, t: int) -> bool:
        """Could lots of the contract that were on the node just before t have stayed there?"""
        if self.gpus_at(name, t) < c.lot_gpus or self.nodes[name].grade not in self.options(c):
            return False
        if t == self.now:
            return name not in self.overfull
        return not self.nodes[name].cordoned or any(b.contract == c.key and b.end > t for b in self.staying.get(name, ()))

    def gone(self, c: Contract, name: str) -> bool:
        """The node cannot serve the contract, now and later, whatever else lies on it."""
        node = self.nodes.get(name)
        return node is None or not node.usable or node.gpus < c.lot_gpus

    def shrunk(self, c: Contract, name: str) -> bool:
        """The node has fewer GPUs than run on it, among them some of the contract."""
        return name in self.ran.get(c.key, ()) and sum(b.gpus for b in self.staying[name]) > self.nodes[name].gpus

    def windows(self, c: Contract, *, planned: bool) -> set[tuple[int, int]]:
        """All outages, that somebody or that nobody planned, of usable nodes of grades that may serve the contract."""
        key = c.product, c.substitution, planned
        if key not in self._windows:
            among, grades = self.planned if planned else self.faults, self.options(c)
            names = [n for n in among if n in self.nodes and self.nodes[n].usable and self.nodes[n].grade in grades]
            self._windows[key] = {span for name in names for span in among[name]}
        return self._windows[key]


def overlaps(spans: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return any(a < end and start < b for a, b in spans)
