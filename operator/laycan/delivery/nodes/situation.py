"""What delivery sees: claims, health, verdict and targets, kept up to date from the world's changes.

The callbacks only note what changed, and tell whether it can matter: heartbeats, meter writes of statuses and pods of nodes that
are not fenced wake nobody. A look then works out anew what concerns the nodes that changed or fell due; a full look does so for
all, and finds the same (which is tested).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from laycan.delivery.faults.downtime import Downtime, downtime
from laycan.delivery.faults.failures import NO_HEARTBEAT, Verdict, bound_gpus, heartbeat_seconds, judge, unusable
from laycan.delivery.faults.fitness import FIT, Fitness, fitness, meter_on, policies_on
from laycan.delivery.faults.health import Health, count_gpus
from laycan.delivery.lead import drains_of, learnt_seconds
from laycan.delivery.nodes.desired import Target, claims_of, claims_of_world, node_target
from laycan.kube.sound import mapping, text_at
from laycan.kube.views import NodeView
from laycan.kube.world import World
from laycan.resources.constants import PAUSE_ANNOTATION, POWERED_OFF_ANNOTATION
from laycan.settings import Settings

_NOTHING = Verdict({}, {}, frozenset(), None)


class Situation:
    """`look(now)` makes `targets`, `wake` and `listens` true; `wake_up` is called when a change of the world may alter them."""

    def __init__(self, world: World, settings: Settings, wake_up: Callable[[], None]) -> None:
        self.claims = claims_of_world(world, settings)
        self.health = Health()
        self.verdict = _NOTHING
        self.targets: dict[str, Target] = {}  # node -> what is to become of it; the others are left alone
        self.wake: int | None = None  # Unix seconds
        self.listens = False  # whether heartbeats are to be watched
        self._world, self._settings, self._wake_up = world, settings, wake_up
        self._nodes = set(world.nodes)  # of which something changed since the last look
        self._last: dict[str, tuple[Any, ...]] = {}  # node -> what of it matters
        self._owners: Mapping[str, str] = {}  # the fence's entries at the last look
        self._pods: dict[str, str] = {}  # pod on a fenced node -> the node
        self._terms: dict[str, Any] = {name: mapping(raw).get("spec") for name, raw in world.products.items()}
        self._lead = learnt_seconds(drains_of(world.fence), settings)
        world.listeners.append(self._note)

    def close(self) -> None:
        self._world.listeners.remove(self._note)

    def look(self, now: int, full: bool = False) -> set[str]:
        """The nodes for which something may be different now."""
        world, claims = self._world, self.claims
        names = self._nodes | claims.due(now) | self.health.due(now) | self._fence_changes()
        self._nodes = set()
        if full:
            names = names | world.nodes.keys() | self._owners.keys() | claims.by_node.keys()
        for name in names:
            node = world.nodes.get(name)
            found = self._fitness(name, now)
            self.health.observe(name, node, self._most_gpus(name, now), self._settings, now, count_gpus(world, node, found), found)
        names |= self._heard_again(now)
        names |= {source for name in names for claim in claims.on(name) for source in claim.moves_from}
        before = self.verdict
        if names or (before.wake is not None and before.wake <= now) or self.health.late():
            self.verdict = judge(world, claims, self.health, self._settings, now)
            names |= before.failed.keys() ^ self.verdict.failed.keys()
            names |= before.recovered ^ self.verdict.recovered
            self._note_silence()
        for name in names:
            target = self.target(name, now)
            if target is not None:
                self.targets[name] = target
            else:
                self.targets.pop(name, None)
        self.listens = self.wants_heartbeats()
        again = now + 1 if self.listens else None  # silence tells nobody
        fits = min(self.health.changes_at.values(), default=None)
        self.wake = min((instant for instant in (claims.wake(now), self.verdict.wake, fits, again) if instant is not None), default=None)
        return names

    def target(self, name: str, now: int) -> Target | None:
        """The node's target in the world as it is this moment: asked again before every write."""
        failed = name in self.verdict.failed
        recovered = name in self.verdict.recovered
        return node_target(self._world, self.claims, name, failed, recovered, self._settings, now)

    def wants_heartbeats(self) -> bool:
        """Whether a product on a node asks for detection by heartbeats, or a silent node is waited for."""
        asking = {name for name in self._world.products if heartbeat_seconds(name, self._world.products)}
        bound = asking and any(claim.live and claim.product in asking for made in self.claims.by_contract.values() for claim in made)
        return bool(bound or self._world.silent)

    def unusable(self, now: int) -> frozenset[str]:
        """For the planner; see failures.unusable."""
        return unusable(self._world, self._settings, now, self.claims, self.health, self.verdict)

    def planning_gpus(self, name: str, now: int) -> int:
        """GPUs of a node that a plan may count on; no fewer than are bound on one that has failed and must not be given up yet."""
        node = self._world.nodes[name]
        found = self.health.gpus(node, self._settings, now, count_gpus(self._world, node).there)
        if not self.verdict.keeps(name):
            return found
        return max(found, bound_gpus([claim for claim in self.claims.on(name) if claim.level == "Node"], now))

    def downtime(self, now: int, asked: Iterable[str]) -> Downtime:
        """For the record of failures; see faults.downtime."""
        return downtime(self._world, self.claims, self.health, self.verdict, self._settings, now, asked)

    def _fitness(self, name: str, now: int) -> Fitness:
        meter, node = meter_on(self._world, name), self._world.nodes.get(name)
        if meter is None or node is None or not meter.findings:
            return FIT
        having = {claim.contract for claim in self.claims.on(name) if claim.live and claim.freeze_at <= now < claim.end}
        return fitness(meter, policies_on(self._world, node, having), self._settings, now)

    def _note_silence(self) -> None:
        """Who is found silent is no longer taken for alive, whatever Ready still says; the last renewal is its last good sample."""
        renewed = self.health.heartbeats.renewed
        for name, failure in {**self.verdict.withheld, **self.verdict.failed}.items():
            if failure.reason == NO_HEARTBEAT and name not in self._world.silent and name in renewed:
                self._world.silent[name] = self._world.last_seen[name] = renewed[name]
                self._world.changed("nodes", name)

    def _heard_again(self, now: int) -> set[str]:
        """Silent nodes that have renewed since, or are gone: from here on their Ready condition counts again."""
        silent, renewed = self._world.silent, self.health.heartbeats.renewed
        back = {name for name, last in silent.items() if renewed.get(name, last) != last or name not in self._world.nodes}
        for name in back:
            del silent[name]
            self.health.heard_again(name, now)
            self._world.changed("nodes", name)
        return back

    def _fence_changes(self) -> set[str]:
        """Nodes whose entry is not what it was at the last look; from now on their pods matter."""
        old, self._owners = self._owners, self._world.fence.nodes if self._world.fence else {}
        if old is self._owners:
            return set()
        changed = {name for name, _ in old.items() ^ self._owners.items()}
        for name in changed:
            self._pods |= dict.fromkeys(self._world.pods_on.get(name, ()), name)
        return changed

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
            return self._pod_matters(key)
        if (kind == "products" and self._terms_changed(key)) or (kind == "fence" and self._lead_changed()):
            changed = [contract for contract in self._world.contracts if self._contract_matters(contract)]
            return bool(changed) or kind == "fence" or self._policy_matters()
        return kind == "fence"

    def _policy_matters(self) -> bool:
        """Other findings may take GPUs away now."""
        found = {name for name, meter in self._world.meters.items() if meter.findings}
        self._nodes |= found
        return bool(found)

    def _node_matters(self, name: str) -> bool:
        node, meter = self._world.nodes.get(name), meter_on(self._world, name)
        now = (*_essence(node), self._world.devices(name), meter and (meter.gpus, meter.findings))
        if self._last.get(name, ()) == now:
            return False
        self._last[name] = now
        self._nodes.add(name)
        return True

    def _terms_changed(self, name: str) -> bool:
        """Not only what the operator itself found about the product."""
        old, new = self._terms.get(name), mapping(self._world.products.get(name)).get("spec")
        self._terms[name] = new
        return old != new

    def _lead_changed(self) -> bool:
        lead = learnt_seconds(drains_of(self._world.fence), self._settings)
        changed, self._lead = lead != self._lead, lead
        return changed

    def _contract_matters(self, key: str) -> bool:
        contract = self._world.contracts.get(key)
        claims = claims_of(contract, self._world.products, self._settings, self._world.fence) if contract is not None else ()
        nodes = self.claims.put(key, claims)
        self._nodes |= nodes
        return bool(nodes)

    def _pod_matters(self, key: str) -> bool:
        pod = self._world.pods.get(key)
        node = self._pods.pop(key, "") if pod is None else pod.node
        if not node or self._world.fence is None or node not in self._world.fence.nodes:
            return False
        if pod is not None:
            self._pods[key] = node
        self._nodes.add(node)
        return True


def _essence(node: NodeView | None) -> tuple[Any, ...]:
    if node is None:
        return (None,)
    words = node.annotations.get(PAUSE_ANNOTATION), node.annotations.get(POWERED_OFF_ANNOTATION)
    taints = tuple(sorted(text_at(taint, "key") for taint in node.taints))
    capacity = tuple(sorted(node.raw["status"]["capacity"].items()))
    return node.uid, node.managed, node.ready, node.ready_since, node.gpus, capacity, node.holder, words, taints, node.conditions
