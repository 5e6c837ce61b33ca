"""What delivery sees: claims, health, verdict and targets, kept up to date from the world's changes.

The callbacks only note what changed, and tell whether it can matter: heartbeats, meter writes of statuses and pods of nodes that
are not fenced wake nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from laycan.delivery.desired import Target, claims_of, claims_of_world, desired, node_target
from laycan.delivery.failures import Health, Verdict, bound_gpus, judge, unusable
from laycan.kube.views import NodeView
from laycan.kube.world import World
from laycan.resources.constants import PAUSE_ANNOTATION
from laycan.settings import Settings

_NOTHING = Verdict({}, {}, frozenset(), None)


class Situation:
    """`look(now)` makes `targets` and `wake` true; `wake_up` is called when a change of the world may alter them."""

    def __init__(self, world: World, settings: Settings, wake_up: Callable[[], None]) -> None:
        self.claims = claims_of_world(world, settings)
        self.health = Health()
        self.verdict = _NOTHING
        self.targets: dict[str, Target] = {}  # node -> what is to become of it; the others are left alone
        self.wake: int | None = None  # Unix seconds
        self._world, self._settings, self._wake_up = world, settings, wake_up
        self._nodes = set(world.nodes)  # changed since the last look
        self._last: dict[str, tuple[Any, ...]] = {}  # node -> what of it matters
        self._pods: set[str] = set()  # keys of the pods on fenced nodes
        world.listeners.append(self._note)

    def close(self) -> None:
        self._world.listeners.remove(self._note)

    def look(self, now: int) -> None:
        owners = self._world.fence.nodes if self._world.fence else {}
        for name in self._nodes | (owners.keys() - self.health.nodes.keys()):
            self.health.observe(name, self._world.nodes.get(name), self._most_gpus(name, now), self._settings, now)
        self._nodes.clear()
        self.verdict = judge(self._world, self.claims, self.health, self._settings, now)
        self.targets, wake = desired(self._world, self.claims, frozenset(self.verdict.failed), self.verdict.recovered, self._settings, now)
        self.wake = min((instant for instant in (wake, self.verdict.wake) if instant is not None), default=None)
        self._pods = {key for name in owners for key in self._world.pods_on.get(name, ())}

    def target(self, name: str, now: int) -> Target | None:
        """The node's target in the world as it is this moment: asked again before every write."""
        failed = frozenset(self.verdict.failed)
        return node_target(self._world, self.claims, name, failed, self.verdict.recovered, self._settings, now)

    def unusable(self, now: int) -> frozenset[str]:
        """For the planner; see failures.unusable."""
        return unusable(self._world, self._settings, now, self.claims, self.health, self.verdict)

    def _most_gpus(self, name: str, now: int) -> int:
        ahead = [claim for claim in self.claims.on(name) if claim.live and claim.end > now]
        return max((bound_gpus(ahead, max(claim.start, now)) for claim in ahead), default=0)

    def _note(self, kind: str, key: str) -> None:
        if self._matters(kind, key):
            self._wake_up()

    def _matters(self, kind: str, key: str) -> bool:
        if kind == "nodes":
            return self._node_matters(key)
        if kind == "contracts":
            return self._contract_matters(key)
        if kind == "pods":
            pod = self._world.pods.get(key)
            return key in self._pods or (pod is not None and self._world.fence is not None and pod.node in self._world.fence.nodes)
        if kind == "products":  # leads may have changed
            return bool({contract for contract in self._world.contracts if self._contract_matters(contract)})
        return kind in ("fence", "epoch")

    def _node_matters(self, name: str) -> bool:
        node = self._world.nodes.get(name)
        now = _essence(node)
        if self._last.get(name, ()) == now:
            return False
        self._last[name] = now
        self._nodes.add(name)
        return True

    def _contract_matters(self, key: str) -> bool:
        contract = self._world.contracts.get(key)
        claims = claims_of(contract, self._world.products, self._settings) if contract is not None else ()
        nodes = self.claims.put(key, claims)
        self._nodes |= nodes
        return bool(nodes)


def _essence(node: NodeView | None) -> tuple[Any, ...]:
    if node is None:
        return (None,)
    paused = node.annotations.get(PAUSE_ANNOTATION)
    capacity = tuple(sorted(node.raw["status"]["capacity"].items()))
    return node.uid, node.managed, node.ready, node.ready_since, node.gpus, capacity, node.holder, paused
