"""An independent reader of the demo's cluster: it lists what the API server holds and judges it by its own arithmetic.

It shares no code with the operator. Each round is one consistent list of contracts; what it finds wrong is kept for ever.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations, pairwise
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
class Death:
    """Of a node whose kubelet was told to fall silent. When it did so only its Lease tells: KWOK may learn of it seconds later."""

    ordered: int
    heard: int  # the last renewal of its Lease by the API server's clock: it was not there in any second after that
    over: int | None = None  # when its kubelet was told to speak again

    @property
    def began(self) -> int:
        """It was alive at the order, and at the renewal."""
        return max(self.ordered, self.heard)


@dataclass
class Observer:
    """Accumulates over rounds: what was wrong, what each contract had, and when each dead node's contracts were delivered again."""

    gpus_of: dict[str, int] = field(default_factory=dict)  # node -> physical GPUs
    wrong: set[str] = field(default_factory=set)
    holders: set[str] = field(default_factory=set)  # the holders' own pods, seen Running on a node that is theirs
    intruders: set[str] = field(default_factory=set)  # pods seen on a node that another namespace holds
    deaths: dict[str, Death] = field(default_factory=dict)  # node -> its death
    waiting: dict[str, tuple[str, int]] = field(default_factory=dict)  # contract -> (node that died, GPUs handed over before)
    rebound: list[tuple[str, int]] = field(default_factory=list)  # contract, seconds from the death to full possession again
    had: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)  # contract -> its bindings, as they were seen last
    looked: dict[str, int] = field(default_factory=dict)  # contract -> when its bindings were seen last

    def round(self, contracts: list[Object], fence: dict[str, str], pods: list[Object], now: int) -> None:
        found = claims(contracts)
        self.wrong.update(double_bookings(found, self.gpus_of))
        for obj in contracts:
            if bindings := (obj.get("status") or {}).get("bindings"):
                self.looked[_key(obj)] = now
                self.had.setdefault(_key(obj), {}).update({(b["node"], b["start"]): b for b in bindings})
        self._look_at_pods(fence, pods)
        self._look_for_rebinds(contracts, now)

    def kill(self, node: str, contracts: list[Object], now: int) -> None:
        """The node's kubelet is told now to fall silent: every contract that is being served there waits for its GPUs."""
        self.deaths[node] = Death(now, now)
        for obj in contracts:
            serving = [b for b in self._possessed(obj, now) if b["node"] not in self.deaths or b["node"] == node]
            if any(b["node"] == node for b in serving):
                self.waiting[_key(obj)] = (node, sum(b["gpus"] for b in serving))

    def hear(self, node: str, renewed: int) -> None:
        """What the Lease of a dead node says, whoever reads it and when."""
        self.deaths[node].heard = renewed

    def revive(self, node: str, now: int) -> None:
        self.deaths[node].over = now

    def silent(self) -> list[str]:
        """Nodes that are dead now."""
        return [node for node, death in self.deaths.items() if death.over is None]

    def missing(self, obj: Object) -> int | None:
        """GPU-seconds of its window in which a contract had not all its GPUs, by its bindings and the heartbeats of dead nodes.

        It is the least that must be told: whatever else was wrong comes on top. None where nobody looked between the window's end and the
        last receipt, with which its bindings go: then they are not known in full.
        """
        delivery = obj["spec"]["terms"]["delivery"]
        start, end = seconds(delivery["start"]), seconds(delivery["end"])
        if self.looked.get(_key(obj), 0) < end:
            return None
        had = [part for binding in self.had[_key(obj)].values() for part in self._served(binding)]
        edges = sorted({start, end, *(min(end, max(start, t)) for _, *span in had for t in span)})
        total = 0
        for a, b in pairwise(edges):
            have = sum(gpus for gpus, first, last in had if first <= a < last)
            total += (b - a) * max(0, int(delivery["gpus"]) - have)
        return total

    def _served(self, binding: Object) -> list[tuple[int, int, int]]:
        """(GPUs, from, until) of a binding, without the time in which its node was dead."""
        if not binding.get("handedOverAt"):
            return []
        first, last, gpus = max(seconds(binding["start"]), seconds(binding["handedOverAt"])), seconds(binding["end"]), binding["gpus"]
        death = self.deaths.get(binding["node"])
        if death is None:
            return [(gpus, first, last)]
        return [(gpus, first, min(last, death.heard)), *([(gpus, max(first, death.over), last)] if death.over is not None else [])]

    @staticmethod
    def _possessed(obj: Object, now: int) -> list[Object]:
        bindings = (obj.get("status") or {}).get("bindings") or ()
        return [b for b in bindings if b.get("handedOverAt") and seconds(b["start"]) <= now < seconds(b["end"])]

    def _look_for_rebinds(self, contracts: list[Object], now: int) -> None:
        for obj in contracts:
            if _key(obj) not in self.waiting:
                continue
            node, gpus = self.waiting[_key(obj)]
            alive = [b for b in self._possessed(obj, now) if b["node"] not in self.deaths]
            if sum(b["gpus"] for b in alive) >= gpus:
                back = max(seconds(b["handedOverAt"]) for b in alive)  # the newest binding restored it
                self.rebound.append((_key(obj), back - self.deaths[node].began))
                del self.waiting[_key(obj)]

    def _look_at_pods(self, fence: dict[str, str], pods: list[Object]) -> None:
        for pod in pods:
            node, namespace = pod["spec"].get("nodeName", ""), pod["metadata"]["namespace"]
            owner = fence.get(node, "")
            if owner == namespace and (pod.get("status") or {}).get("phase") == "Running":
                self.holders.add(f"{namespace}/{pod['metadata']['name']}")
            if owner and "." not in owner and namespace not in (owner, *INFRASTRUCTURE) and not pod["metadata"].get("deletionTimestamp"):
                self.intruders.add(f"{namespace}/{pod['metadata']['name']} on {node}, held by {owner}")


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
