"""Why a node does not serve a lot through a window: the first of a few plain facts that holds, for each node of the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from .eligible import Demand
from .model import Binding, Node, Scope
from .occupancy import Occupancy
from .spans import peak


class Why(StrEnum):
    """In the order in which they are looked at; ROOM: nothing is in the way."""

    WRONG_GRADE = "WrongGrade"  # neither the product's nor an equivalent that the contract admits
    UNUSABLE = "Unusable"  # not Ready, or quarantined
    TOO_FEW_GPUS = "TooFewGpus"  # fewer healthy GPUs than a lot
    CORDONED = "Cordoned"  # takes nothing new
    OUTAGE = "Outage"  # in an outage at some time of the window
    HELD = "Held"  # handed over whole to another holder, or to a reserve, turnaround included
    SERVING = "Serving"  # serves the contract already and has no room for one more lot
    TAKEN = "Taken"  # others leave fewer GPUs than a lot at some time of the window
    TOPOLOGY = "Topology"  # has room, but not where scope and spread allow the lots asked for
    ROOM = "Room"


class Reasons:
    """Of every node for `lots` more lots of a contract through [start, end). With `alone`, as if the contract had nothing yet."""

    def __init__(self, occupancy: Occupancy, demand: Demand, start: int, end: int, lots: int, *, alone: bool = False) -> None:
        self.occupancy, self.demand, self.start, self.end, self.lots = occupancy, demand, start, end, lots
        self.contract = demand.contract
        self.options = occupancy.options(demand)
        self.without = self.contract.key if alone else ""
        self.least: dict[str, int] = {}  # node -> GPUs free throughout, of those that have room
        self.of = {n.name: self._first(n) for n in occupancy.nodes.values()}
        self.own = [] if alone else self._own()
        self._domain_lots: dict[str, int] | None = None
        for name in [name for name, why in self.of.items() if why is Why.ROOM] if demand.scoped or demand.spread else ():
            if not self._allowed(occupancy.nodes[name], lots):
                self.of[name] = Why.TOPOLOGY

    def _first(self, node: Node) -> Why:
        occupancy, lot = self.occupancy, self.contract.lot_gpus
        if node.grade not in self.options:
            return Why.WRONG_GRADE
        if not node.usable:
            return Why.UNUSABLE
        if node.gpus < lot:
            return Why.TOO_FEW_GPUS
        if node.cordoned:
            return Why.CORDONED
        if any(a < self.end and self.start < b for a, b in occupancy.dark.get(node.name, ())):
            return Why.OUTAGE
        if occupancy.keepers(self.contract, node, self.start, self.end):
            return Why.HELD
        least = occupancy.least(node, self.start, self.end, self.without)
        if least < lot:
            own = any(b.contract == self.contract.key for b in occupancy.there(node.name, self.start, self.end, self.without))
            return Why.SERVING if own else Why.TAKEN
        self.least[node.name] = least
        return Why.ROOM

    def _own(self) -> list[Binding]:
        """What serves the contract in the window."""
        key = self.contract.key
        return [b for on in self.occupancy.on.values() for b in on if b.contract == key and b.start < self.end and self.start < b.end]

    def domain(self, node: Node, level: Scope) -> str:
        """Name of the node's domain at a level; all nodes are in one at level ANY."""
        return node.domains[level - 1] if level else ""

    def _allowed(self, node: Node, lots: int) -> bool:
        """Where the contract is served already, its scope domain and room in the spread domain; else a domain with room for all lots."""
        scope, spread, nodes = self.contract.scope, self.contract.spread_level, self.occupancy.nodes
        if not self.own:
            return self.room_in_domains().get(self.domain(node, scope), 0) >= lots
        if any(self.domain(nodes[b.node], scope) != self.domain(node, scope) for b in self.own):
            return False
        within = [b for b in self.own if self.domain(nodes[b.node], spread) == self.domain(node, spread)]
        return not spread or most_at_once(within, self.start, self.end) // self.contract.lot_gpus < self.demand.per_domain

    def room_in_domains(self) -> Mapping[str, int]:
        """Scope domain -> lots for which it has room, no spread domain beyond its share."""
        if self._domain_lots is None:
            self._domain_lots = self.lots_in_domains({n: least // self.contract.lot_gpus for n, least in self.least.items()})
        return self._domain_lots

    def lots_in_domains(self, lots: Mapping[str, int]) -> dict[str, int]:
        """The same of any lots per node."""
        scope, spread, nodes = self.contract.scope, self.contract.spread_level, self.occupancy.nodes
        inner: Counter[tuple[str, str]] = Counter()
        for name, n in lots.items():
            inner[self.domain(nodes[name], scope), self.domain(nodes[name], spread)] += n
        found: Counter[str] = Counter()
        for (outer, _), n in inner.items():
            found[outer] += min(n, self.demand.per_domain) if spread else n
        return dict(found)

    def able(self) -> dict[str, int]:
        """Node -> lots that it would serve through the window if it were empty; without those that could serve none."""
        never = {Why.WRONG_GRADE, Why.UNUSABLE, Why.TOO_FEW_GPUS, Why.CORDONED, Why.OUTAGE}
        return {name: self.occupancy.nodes[name].gpus // self.contract.lot_gpus for name, why in self.of.items() if why not in never}

    def counts(self) -> dict[Why, int]:
        found = Counter(self.of.values())
        return {why: found[why] for why in Why if found[why]}


def most_at_once(bindings: list[Binding], start: int, end: int) -> int:
    """Most GPUs of these bindings at one instant of [start, end)."""
    return peak((max(b.start, start), min(b.end, end), b.gpus) for b in bindings)
