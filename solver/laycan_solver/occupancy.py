"""Who is on which node when, read from a finished plan: what explanations are made of.

Plain dictionaries over bindings, apart from the planner's arrays: an explanation says what is so in the problem and the plan, not what
the search saw on its way there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from .eligible import Demand, Demands, Option
from .fleet import Fleet
from .model import Binding, Contract, Level, Node, Plan, Problem


class Occupancy:
    """A problem and its plan, by node."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        self.problem, self.now = problem, problem.now
        self.nodes = {n.name: n for n in problem.nodes}
        self.contracts = {c.key: c for c in problem.contracts}
        self.pause = {p.name: p.turnaround_seconds for p in problem.products}
        self.longest_pause = max(self.pause.values(), default=0)
        self._fleet = Fleet(problem)
        self._demands = Demands(problem, self._fleet)
        self.on: dict[str, list[Binding]] = {}  # node -> bindings of the plan
        for b in plan.bindings:
            self.on.setdefault(b.node, []).append(b)
        self.past: dict[str, list[Binding]] = {}  # node handed over whole -> who had it before now, until then
        for b in problem.previous:
            node, contract = self.nodes.get(b.node), self.contracts.get(b.contract)
            if node and contract and not contract.reserve and node.level is Level.NODE and b.start < self.now:
                self.past.setdefault(b.node, []).append(b._replace(end=min(b.end, self.now)))
        self.dark: dict[str, list[tuple[int, int]]] = {}  # node -> outages
        for outage in problem.outages:
            for name in outage.nodes:
                self.dark.setdefault(name, []).append((outage.start, outage.end))

    def demand(self, key: str) -> Demand | None:
        """The contract as the planner sees it; None when nothing is due any more."""
        return self._demands.demand(self.problem.contracts.index(self.contracts[key]))

    def options(self, demand: Demand) -> Mapping[str, Option]:
        """Grade -> how the contract is delivered there."""
        return {self._fleet.grades[grade]: option for grade, option in demand.options.items()}

    def there(self, node: str, start: int, end: int, without: str = "") -> list[Binding]:
        """Bindings on the node in [start, end), but those of the contract `without`."""
        return [b for b in self.on.get(node, ()) if b.start < end and start < b.end and b.contract != without]

    def free(self, node: Node, start: int, end: int, there: list[Binding]) -> list[tuple[int, int, int]]:
        """(start, end, GPUs) that these bindings leave free of a node, in time order."""
        if not there:
            return [(start, end, node.gpus)]
        changes: Counter[int] = Counter()
        for b in there:
            changes[max(b.start, start)] -= b.gpus
            changes[min(b.end, end)] += b.gpus
        times = sorted({start, end, *changes})
        steps, gpus = [], node.gpus
        for t, then in pairwise(times):
            gpus += changes[t]
            steps.append((t, then, gpus))
        return steps

    def least(self, node: Node, start: int, end: int, without: str = "") -> int:
        """GPUs that are free on the node throughout."""
        return min(gpus for _, _, gpus in self.free(node, start, end, self.there(node.name, start, end, without)))

    def keepers(self, contract: Contract, node: Node, start: int, end: int) -> list[Binding]:
        """What keeps a node that is handed over whole from the contract in [start, end), turnarounds included."""
        if node.level is Level.DEVICE:
            return []
        pad = self.longest_pause
        found = [
            b for b in self.on.get(node.name, ()) if b.start - pad < end and start < b.end + pad and self._keeps(contract, b, start, end)
        ]
        if not contract.reserve:
            found += [b for b in self.past.get(node.name, ()) if self._keeps(contract, b, start, end)]
        return found

    def _keeps(self, contract: Contract, b: Binding, start: int, end: int) -> bool:
        other, pad = self.contracts[b.contract], self.pause_after(contract, b)
        alone = contract.reserve or other.reserve
        apart = contract.key != other.key if alone else contract.holder != other.holder and "" not in (contract.holder, other.holder)
        return apart and b.start - pad < end and start < b.end + pad

    def pause_after(self, contract: Contract, b: Binding) -> int:
        """Seconds that such a node stays empty between the two: nobody has to be drained from a reserve."""
        other = self.contracts[b.contract]
        return 0 if contract.reserve or other.reserve else max(self.pause[contract.product], self.pause[other.product])
