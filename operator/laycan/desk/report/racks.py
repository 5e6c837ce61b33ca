"""The fleet as rows of a chart: zones, the racks in them, and their nodes, each in order of name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from laycan_solver.model import Node, Problem, Scope

UNLABELLED = ""  # domain of nodes without a label of that level


@dataclass(frozen=True, slots=True)
class Rack:
    zone: str
    name: str
    nodes: tuple[Node, ...]

    @property
    def gpus(self) -> int:
        """Healthy GPUs, those of nodes that are down among them."""
        return sum(n.gpus for n in self.nodes)

    @property
    def down(self) -> int:
        return sum(not n.usable for n in self.nodes)

    @property
    def cordoned(self) -> int:
        return sum(n.usable and n.cordoned for n in self.nodes)

    @property
    def grades(self) -> str:
        return ", ".join(sorted({n.grade for n in self.nodes}))


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    racks: tuple[Rack, ...]

    @property
    def nodes(self) -> int:
        return sum(len(r.nodes) for r in self.racks)

    @property
    def gpus(self) -> int:
        return sum(r.gpus for r in self.racks)

    @property
    def down(self) -> int:
        return sum(r.down for r in self.racks)


def zones_of(problem: Problem) -> tuple[Zone, ...]:
    """All nodes of the fleet, each in one rack. Nodes without a label of a level lie together in a domain without a name."""
    racks: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in sorted(problem.nodes, key=lambda n: n.name):
        racks[_domain(node, Scope.ZONE), _domain(node, Scope.RACK)].append(node)
    zones: dict[str, list[Rack]] = defaultdict(list)
    for (zone, name), nodes in sorted(racks.items()):
        zones[zone].append(Rack(zone, name, tuple(nodes)))
    return tuple(Zone(name, tuple(inside)) for name, inside in zones.items())


def _domain(node: Node, level: Scope) -> str:
    """A node that is a domain of its own has no label of that level."""
    name = node.domains[level - 1]
    return UNLABELLED if name == f"node/{node.name}" else name


def whole_gpus(problem: Problem) -> Mapping[str, int]:
    """Grade -> GPUs of a node of it of which none is dead: the most that any has."""
    found: dict[str, int] = defaultdict(int)
    for n in problem.nodes:
        found[n.grade] = max(found[n.grade], n.gpus)
    return found


def outages_of(problem: Problem) -> Mapping[str, list[tuple[int, int]]]:
    """Node -> [start, end) of its outages, of whatever type."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for outage in problem.outages:
        for name in outage.nodes:
            found[name].append((outage.start, outage.end))
    return found
