"""An independent reader of the demo's cluster: it lists what the API server holds and judges it by its own arithmetic.

It shares no code with the operator. Each round is one consistent list of contracts; what it finds wrong is kept for ever.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import Any

Object = dict[str, Any]

ALIVE = ("Accepted", "Delivering", "Delivered")
INFRASTRUCTURE = ("kube-system", "gpu-operator", "monitoring", "laycan-system")


def seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp())


@dataclass(frozen=True)
class Claim:
    """What one contract's status says about one node."""

    contract: str
    holder: str
    node: str
    gpus: int
    start: int
    end: int


def claims(contracts: list[Object]) -> list[Claim]:
    """Every binding that stands in a status, of contracts that are not over."""
    found = []
    for obj in contracts:
        status, terms = obj.get("status") or {}, obj["spec"]["terms"]
        if status.get("phase") in ALIVE:
            key = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
            holder = terms["delivery"].get("handover", {}).get("namespace", "")
            found += [
                Claim(key, holder, b["node"], b["gpus"], seconds(b["start"]), seconds(b["end"])) for b in status.get("bindings") or ()
            ]
    return found


def double_bookings(found: list[Claim], gpus_of: dict[str, int]) -> list[str]:
    """One line for each pair of claims that two holders cannot both have, and for each node claimed beyond its GPUs."""
    by_node = defaultdict(list)
    for claim in found:
        by_node[claim.node].append(claim)
    wrong = []
    for node, held in sorted(by_node.items()):
        for a, b in combinations(held, 2):
            overlap = max(a.start, b.start) < min(a.end, b.end)
            if overlap and a.holder != b.holder:
                wrong.append(f"{node}: {a.contract} and {b.contract} overlap from {max(a.start, b.start)} to {min(a.end, b.end)}")
        for instant in {c.start for c in held}:
            total = sum(c.gpus for c in held if c.start <= instant < c.end)
            if total > gpus_of.get(node, 0):
                wrong.append(f"{node}: {total} GPUs claimed at {instant}, it has {gpus_of.get(node, 0)}")
    return wrong


@dataclass
class Observer:
    """Accumulates over rounds: what was wrong, and when each dead node's contracts were delivered again."""

    gpus_of: dict[str, int] = field(default_factory=dict)  # node -> physical GPUs
    wrong: set[str] = field(default_factory=set)
    holders: set[str] = field(default_factory=set)  # the holders' own pods, seen Running on a node that is theirs
    intruders: set[str] = field(default_factory=set)  # pods seen on a node that another namespace holds
    killed: dict[str, int] = field(default_factory=dict)  # node -> when its heartbeat was stopped
    waiting: dict[str, tuple[int, int]] = field(default_factory=dict)  # contract -> (killed at, GPUs handed over before)
    missing: dict[str, int] = field(default_factory=dict)  # contract -> GPU-seconds that it lacked its GPUs, as seen from outside
    rebound: list[tuple[str, int]] = field(default_factory=list)  # contract, seconds from the kill to full possession again

    def round(self, contracts: list[Object], fence: dict[str, str], pods: list[Object], now: int) -> None:
        found = claims(contracts)
        self.wrong.update(double_bookings(found, self.gpus_of))
        self._look_at_pods(fence, pods)
        self._look_for_rebinds(contracts, now)

    def kill(self, node: str, contracts: list[Object], now: int) -> None:
        """The node's heartbeat stops now: every contract that is being served there waits for its GPUs."""
        self.killed[node] = now
        for obj in contracts:
            serving = [b for b in self._possessed(obj, now) if b["node"] not in self.killed or b["node"] == node]
            if any(b["node"] == node for b in serving):
                key = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
                self.waiting[key] = (now, sum(b["gpus"] for b in serving))

    @staticmethod
    def _possessed(obj: Object, now: int) -> list[Object]:
        bindings = (obj.get("status") or {}).get("bindings") or ()
        return [b for b in bindings if b.get("handedOverAt") and seconds(b["start"]) <= now < seconds(b["end"])]

    def _look_for_rebinds(self, contracts: list[Object], now: int) -> None:
        for obj in contracts:
            key = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
            if key not in self.waiting:
                continue
            since, gpus = self.waiting[key]
            alive = [b for b in self._possessed(obj, now) if b["node"] not in self.killed]
            if sum(b["gpus"] for b in alive) >= gpus:
                back = max(seconds(b["handedOverAt"]) for b in alive)  # the newest binding restored it
                self.rebound.append((key, back - since))
                self.missing[key] = self.missing.get(key, 0) + (back - since) * (
                    gpus - sum(b["gpus"] for b in alive if seconds(b["handedOverAt"]) < since)
                )
                del self.waiting[key]

    def _look_at_pods(self, fence: dict[str, str], pods: list[Object]) -> None:
        for pod in pods:
            node, namespace = pod["spec"].get("nodeName", ""), pod["metadata"]["namespace"]
            owner = fence.get(node, "")
            if owner == namespace and (pod.get("status") or {}).get("phase") == "Running":
                self.holders.add(f"{namespace}/{pod['metadata']['name']}")
            if owner and "." not in owner and namespace not in (owner, *INFRASTRUCTURE) and not pod["metadata"].get("deletionTimestamp"):
                self.intruders.add(f"{namespace}/{pod['metadata']['name']} on {node}, held by {owner}")
