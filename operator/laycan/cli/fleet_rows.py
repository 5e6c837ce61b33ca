"""The fleet by product, at one instant: what is there, what is down, what is bound and what is spare."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from laycan_solver.model import Binding, Level, Node, Problem

NO_PRODUCT = "(no product)"


@dataclass(slots=True)
class Pool:
    """Nodes that are sold as the same products. GPUs are counts; `down` and `out` are names of nodes, of which none is in both."""

    products: str
    nodes: int = 0
    gpus: int = 0
    bound: int = 0
    spare: int = 0  # of nodes that are up, not cordoned and not in an outage
    down: list[str] = field(default_factory=list)  # not Ready, or in quarantine
    out: list[str] = field(default_factory=list)  # in an outage now

    @property
    def utilisation_ppm(self) -> int:
        """Bound of all GPUs, millionths, rounded down."""
        return self.bound * 1_000_000 // self.gpus if self.gpus else 0

    def document(self) -> dict[str, Any]:
        return {
            "products": self.products.split(", ") if self.products != NO_PRODUCT else [],
            "nodes": self.nodes,
            "gpus": self.gpus,
            "downNodes": self.down,
            "outageNodes": self.out,
            "boundGpus": self.bound,
            "spareGpus": self.spare,
            "utilisationPpm": self.utilisation_ppm,
        }


def pools_of(problem: Problem, bindings: Iterable[Binding]) -> list[Pool]:
    """All nodes at `problem.now`, by the names of what they are sold as."""
    sold = defaultdict(list)  # grade -> products
    for product in problem.products:
        for grade in product.grades:
            sold[grade].append(product.name)
    bound: Counter[str] = Counter()  # node -> GPUs
    for b in bindings:
        bound[b.node] += b.gpus if b.start <= problem.now < b.end else 0
    out = {node for o in problem.outages if o.start <= problem.now < o.end for node in o.nodes}
    pools: dict[str, Pool] = {}
    for node in problem.nodes:
        name = ", ".join(sorted(sold[node.grade])) or NO_PRODUCT
        _add(pools.setdefault(name, Pool(name)), node, bound[node.name], node.name in out)
    return [pools[name] for name in sorted(pools)]


def _add(pool: Pool, node: Node, bound: int, out: bool) -> None:
    pool.nodes += 1
    pool.gpus += node.gpus
    pool.bound += bound
    if not node.usable:
        pool.down.append(node.name)
    elif out:
        pool.out.append(node.name)
    elif not node.cordoned and not (bound and node.level is Level.NODE):
        pool.spare += max(0, node.gpus - bound)
