"""Level Device: which contracts have something to do about the claims of their lots, and what.

Like `situation` for nodes: the callbacks note which contracts a change concerns, a look works out what is to be done for those, a
full look for all. Nothing is remembered that a restart could not see again, but when something was first seen to be wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from laycan.delivery.devices.lots import Lot, Step, lots_of, others, release_deadline, step
from laycan.delivery.nodes.desired import Claim
from laycan.delivery.nodes.situation import Situation
from laycan.kube.device_views import ResourceClaimView
from laycan.kube.views import is_paused
from laycan.kube.world import World
from laycan.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """The next step for one lot. `why`: what it waits for."""

    lot: Lot
    claim: ResourceClaimView | None
    step: Step
    why: str


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done for one contract. `releases` have the end of their pods' budgets with them, 0 where it counts from now on."""

    tasks: tuple[Task, ...] = ()
    releases: tuple[tuple[ResourceClaimView, int], ...] = ()


@dataclass(slots=True)
class _Index:
    """Whose ResourceClaims and what nodes: an object that is gone tells no longer."""

    keys: dict[str, str] = field(default_factory=dict)  # contract uid -> its namespace/name
    ours: dict[str, set[str]] = field(default_factory=dict)  # contract uid -> keys of its ResourceClaims
    seen: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # ResourceClaim -> contract uid, nodes


class LotAgenda:
    """`unsettled` are the uids of contracts for which an attempt is due, `problems` say what stands in the way of a contract's lots."""

    def __init__(self, world: World, situation: Situation, settings: Settings, wake_up: Callable[[], None]) -> None:
        self.unsettled: set[str] = set()
        self.fresh: set[str] = set()  # of those, for which something changed since their last attempt
        self.problems: dict[str, str] = {}  # contract uid -> the latest
        self.tidy: set[str] = set()  # uids of ResourceClaims without a hold pod
        self.kept_off: set[str] = set()  # nodes that are kept free of others' new pods for a moment
        self._world, self._situation, self._settings, self._wake_up = world, situation, settings, wake_up
        self._index = _Index()
        self._touched: set[str] = set()
        self._told: frozenset[str] = frozenset()
        for kind in ("contracts", "resource_claims", "nodes"):
            for key in world.keys(kind):
                self._note(kind, key)
        world.listeners.append(self._note)

    def close(self) -> None:
        self._world.listeners.remove(self._note)

    def look(self, nodes: Iterable[str], now: int, full: bool) -> None:
        """Sees to the contracts that a change, the clock on one of these nodes, or an earlier attempt concerns; to all in a `full` look."""
        touched, self._touched = self._touched, set()
        touched |= {uid for node in nodes for uid in self._on(node)}
        looked_at = touched | self.unsettled
        if full:
            looked_at |= self._index.keys.keys() | self._index.ours.keys()
        for uid in looked_at:
            if self.settled(self.work(uid, now)):
                self.unsettled.discard(uid)
                self.problem(uid, "")
            else:
                self.unsettled.add(uid)
        self.fresh = (self.fresh | touched) & self.unsettled

    def work(self, uid: str, now: int) -> Work:
        """What is to be done for a contract in the world as it is this moment: asked again before every write."""
        claims = self._claims(uid)
        if any(claim.paused or (claim.live and not claim.holder) for claim in claims):
            return Work()  # an accepted contract whose terms cannot be read keeps what it has
        lots = lots_of(claims, now)
        have = {key: self._world.resource_claims[key] for key in sorted(self._index.ours.get(uid, ()))}
        tasks, going = [], [claim for key, claim in have.items() if key not in lots]
        for key, lot in lots.items():
            if lot is None:
                continue
            claim = self._world.resource_claims.get(key)
            what, why = step(self._world, lot, claim)
            if self._paused(lot.node):
                what, why = (Step.WAIT, f"node {lot.node} is paused") if what is not Step.KEPT else (what, why)
            if what is Step.RELEASE and claim is not None:
                going.append(claim)
            else:
                tasks.append(Task(lot, claim, what, why))
        releases = [
            (claim, release_deadline(claim.key, claims, self._settings, now))
            for claim in going
            if not any(map(self._paused, _nodes(claim)))
        ]
        return Work(tuple(tasks), tuple(releases))

    def settled(self, work: Work) -> bool:
        """Whether nothing is left to do before the world or the clock changes something."""
        return not work.releases and all(
            task.step is Step.KEPT and task.claim is not None and task.claim.uid in self.tidy and not others(self._world, task.lot)
            for task in work.tasks
        )

    def awaited(self, now: int) -> set[str]:
        """Nodes on which a lot waits for GPUs."""
        tasks = (task for uid in self.unsettled for task in self.work(uid, now).tasks)
        return {task.lot.node for task in tasks if task.step in (Step.CREATE, Step.ALLOCATE)}

    def problem(self, uid: str, text: str) -> None:
        """Tells a problem once, and what became of it."""
        before = self.problems.get(uid, "")
        if text and text != before:
            log.warning("contract %s: %s", uid, text)
        if text:
            self.problems[uid] = text
        elif before:
            del self.problems[uid]

    def tell(self, now: int) -> None:
        """Mode Observe: what would be done."""
        tasks = [task for uid in self.unsettled for task in self.work(uid, now).tasks]
        states = frozenset(f"GPUs {', '.join(sorted(t.lot.devices))} of node {t.lot.node} would be held by {t.lot.key}" for t in tasks)
        for state in sorted(states - self._told):
            log.info("observe: %s", state)
        self._told = states

    def _claims(self, uid: str) -> Sequence[Claim]:
        claims = self._situation.claims.by_contract.get(self._index.keys.get(uid, ""), ())
        return [claim for claim in claims if claim.uid == uid]

    def _on(self, node: str) -> set[str]:
        return {claim.uid for claim in self._situation.claims.on(node) if claim.level == "Device"}

    def _paused(self, name: str) -> bool:
        return is_paused(self._world.nodes.get(name))

    def _note(self, kind: str, key: str) -> None:
        if kind == "nodes":
            self._note_node(key)
            return
        uids: set[str] = set()
        if kind == "contracts":
            uids = self._note_contract(key)
        elif kind == "resource_claims":
            uids = self._note_claim(key)
        if uids:
            self._touched |= uids
            self._wake_up()

    def _note_node(self, name: str) -> None:
        node = self._world.nodes.get(name)
        if node is not None and node.handover:
            self.kept_off.add(name)
        else:
            self.kept_off.discard(name)

    def _note_contract(self, key: str) -> set[str]:
        contract = self._world.contracts.get(key)
        if contract is None:
            gone = {uid for uid, known in self._index.keys.items() if known == key}
            for uid in gone:
                del self._index.keys[uid]
            return gone
        exact = any(claim.level == "Device" for claim in self._situation.claims.by_contract.get(key, ()))
        if not exact and contract.uid not in self._index.ours:
            self._index.keys.pop(contract.uid, None)
            return set()
        self._index.keys[contract.uid] = key
        return {contract.uid}

    def _note_claim(self, key: str) -> set[str]:
        claim = self._world.resource_claims.get(key)
        old_uid, old_nodes = self._index.seen.pop(key, ("", frozenset()))
        uid, nodes = (claim.contract, _nodes(claim)) if claim is not None else ("", frozenset())
        if old_uid and old_uid != uid:
            self._index.ours[old_uid].discard(key)
            if not self._index.ours[old_uid]:
                del self._index.ours[old_uid]
        if uid:
            self._index.ours.setdefault(uid, set()).add(key)
        if claim is not None:
            self._index.seen[key] = uid, nodes
        return {each for each in (uid, old_uid) if each} | {each for node in nodes | old_nodes for each in self._on(node)}


def _nodes(claim: ResourceClaimView) -> frozenset[str]:
    return frozenset(pool for pool, _ in claim.devices)
