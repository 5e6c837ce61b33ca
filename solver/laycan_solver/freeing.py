"""What it would take: the fewest GPU-seconds that others would have to leave so that missing lots fit, each on one node throughout.

On a node the k-th lot costs what others have of it beyond what is free; on one that is handed over whole to somebody else, all that
they have. Where no lot costs less than the one before it, the cheapest lots together are the best; the other nodes are a knapsack. That
is so inside every domain of the spread, up to its share, and the scope is served in the best of its domains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .model import Binding, Node
from .reasons import Reasons, most_at_once

Choice = tuple[int, tuple[str, ...]]  # GPU-seconds; a node for each lot
Choices = list[Choice | None]  # for 0, 1, 2, … lots


@dataclass(frozen=True, slots=True)
class Freed:
    """`lots` lots of the contract could be on the node, if these contracts left it `gpu_seconds` in the window (0: there is room)."""

    node: str
    lots: int
    gpu_seconds: int
    contracts: tuple[str, ...]


def least_freed(reasons: Reasons, lots: int) -> tuple[Freed, ...] | None:
    """The cheapest way to make room for `lots` more lots; None = not even an empty fleet has it through this window."""
    groups: dict[str, dict[str, dict[str, list[int]]]] = {}  # scope domain -> spread domain -> node -> GPU-seconds for 1, 2, … lots
    contract, nodes = reasons.contract, reasons.occupancy.nodes
    inside = {reasons.domain(nodes[b.node], contract.scope) for b in reasons.own}
    for name, most in reasons.able().items():
        outer, inner = reasons.domain(nodes[name], contract.scope), reasons.domain(nodes[name], contract.spread_level)
        if inside <= {outer} and (costs := _costs(reasons, nodes[name], min(most, lots))):
            groups.setdefault(outer, {}).setdefault(inner, {})[name] = costs
    ways = [way for outer in sorted(groups) if (way := _cheapest(reasons, groups[outer], lots))]
    return tuple(_freed(reasons, name, n) for name, n in sorted(Counter(min(ways)[1]).items())) if ways else None


def _cheapest(reasons: Reasons, domains: Mapping[str, Mapping[str, list[int]]], lots: int) -> Choice | None:
    """For exactly `lots` lots in one scope domain."""
    best: Choices = [(0, ())]
    for inner in sorted(domains):
        best = _joined(best, _in_domain(domains[inner], min(lots, _share(reasons, inner))), lots)
    return best[lots] if len(best) > lots else None


def _share(reasons: Reasons, inner: str) -> int:
    """Lots that a spread domain may still take."""
    level, lot = reasons.contract.spread_level, reasons.contract.lot_gpus
    if not level:
        return reasons.demand.lots
    here = [b for b in reasons.own if reasons.domain(reasons.occupancy.nodes[b.node], level) == inner]
    return max(0, reasons.demand.per_domain - most_at_once(here, reasons.start, reasons.end) // lot)


def _in_domain(nodes: Mapping[str, list[int]], most: int) -> Choices:
    """The cheapest 0, 1, … `most` lots on these nodes, topology apart."""
    steps: list[tuple[int, str]] = []
    odd: dict[str, list[int]] = {}
    for name, costs in nodes.items():
        extra = [cost - before for cost, before in zip(costs, [0, *costs], strict=False)]
        if extra == sorted(extra):
            steps += [(cost, name) for cost in extra]
        else:
            odd[name] = costs
    best: Choices = [(0, ())]
    for cost, name in sorted(steps)[:most]:
        sofar = best[-1] or (0, ())
        best.append((sofar[0] + cost, (*sofar[1], name)))
    for name in _few(odd, most):
        own: Choices = [(cost, (name,) * k) for k, cost in enumerate([0, *odd[name]])]
        best = _joined(best, own, most)
    return best


def _few(nodes: Mapping[str, Sequence[int]], lots: int) -> list[str]:
    """The nodes of which one may be among the best: for each number of lots, the `lots` cheapest."""
    kept: set[str] = set()
    for k in range(max((len(costs) for costs in nodes.values()), default=0)):
        able = [name for name in sorted(nodes) if len(nodes[name]) > k]
        kept.update(sorted(able, key=lambda name: nodes[name][k])[:lots])
    return sorted(kept)


def _joined(a: Choices, b: Choices, most: int) -> Choices:
    """Cheapest sums of one of each, by lots together."""
    out: Choices = [None] * (min(most, len(a) + len(b) - 2) + 1)
    for j, two in enumerate(b[: most + 1]):
        for i, one in enumerate(a[: most + 1 - j]):
            if one and two and ((old := out[i + j]) is None or one[0] + two[0] < old[0]):
                out[i + j] = one[0] + two[0], one[1] + two[1]
    return out


def _costs(reasons: Reasons, node: Node, most: int) -> list[int]:
    """GPU-seconds that others would have to leave for 1, 2, … lots; as many as the node can have."""
    occupancy, lot = reasons.occupancy, reasons.contract.lot_gpus
    keepers = occupancy.keepers(reasons.contract, node, reasons.start, reasons.end)
    if any(b.end <= occupancy.now for b in keepers):
        return []  # nobody can leave before now
    steps = occupancy.free(node, reasons.start, reasons.end, _others(reasons, node, keepers))
    own = occupancy.free(node, reasons.start, reasons.end, [b for b in _there(reasons, node) if b.contract == reasons.contract.key])
    most = min(most, min(gpus for *_, gpus in own) // lot)
    gone = sum(_leaving(reasons, b) for b in keepers)
    return [gone + sum(max(0, k * lot - gpus) * (b - a) for a, b, gpus in steps) for k in range(1, most + 1)]


def _leaving(reasons: Reasons, b: Binding) -> int:
    """GPU-seconds of what keeps a node, as far as it lies in the window or too near to it."""
    pad = reasons.occupancy.pause_after(reasons.contract, b)
    return b.gpus * (min(b.end, reasons.end + pad) - max(b.start, reasons.start - pad, reasons.occupancy.now))


def _there(reasons: Reasons, node: Node) -> list[Binding]:
    return reasons.occupancy.there(node.name, reasons.start, reasons.end, reasons.without)


def _others(reasons: Reasons, node: Node, keepers: list[Binding]) -> list[Binding]:
    return [b for b in _there(reasons, node) if b not in keepers]


def _freed(reasons: Reasons, name: str, lots: int) -> Freed:
    occupancy, contract = reasons.occupancy, reasons.contract
    node = occupancy.nodes[name]
    keepers = occupancy.keepers(contract, node, reasons.start, reasons.end)
    others = _others(reasons, node, keepers)
    tight = [(a, b) for a, b, gpus in occupancy.free(node, reasons.start, reasons.end, others) if gpus < lots * contract.lot_gpus]
    there = {o.contract for o in others if o.contract != contract.key and any(a < o.end and o.start < b for a, b in tight)}
    return Freed(name, lots, _costs(reasons, node, lots)[lots - 1], tuple(sorted(there | {b.contract for b in keepers})))
