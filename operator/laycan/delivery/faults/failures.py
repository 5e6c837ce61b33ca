"""Which nodes count as failed, which come back, and when a person must look first (enforcement.md 5).

A held node has failed when it is NotReady for longer than its product allows, silent for longer (where the product asks), deleted,
made anew under its name, short of the GPUs bound on it for longer than the dwell (a restart of the device plugin shows none for a
while and moves nothing) or by the word of its DRA driver or agent, reported as broken by a condition that the settings name for as
long, or flapping. A cordon is no failure. What failed goes into quarantine, which the fence remembers.

The circuit breaker looks at onsets: of the nodes that failed within any window no more than the settings' share is given up, in
the order of failing. The others are withheld, and stay bound, until a person sets the annotation laycan.dev/breaker-reset on
NodeFence/cluster to an instant after their onset, or they are well again. What an agent found long ago and a new policy calls fatal
today counts for the breaker from today on.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laycan.delivery.faults.health import Health, Seen, ailing
from laycan.delivery.nodes.desired import END, FROZEN, NOBODY, QUARANTINE, Claim, Claims, claims_of_world, exact_uids
from laycan.kube.sound import seconds_at
from laycan.kube.views import NodeView, is_paused
from laycan.kube.world import World
from laycan.resources.constants import BREAKER_RESET_ANNOTATION
from laycan.resources.times import parse_time
from laycan.settings import Settings

DETECTION_SECONDS = 40  # where the product says nothing
NO_HEARTBEAT = "NoHeartbeat"


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str  # NotReady | NoHeartbeat | Deleted | Recreated | GpusLost | Flapping | <condition>=<status> | Xid79, Missing, …
    onset: int  # Unix seconds
    known: int = 0  # when it came to count, where that is later than the onset: by the word of an agent or a policy

    @property
    def counts_from(self) -> int:
        return max(self.onset, self.known)


@dataclass(frozen=True, slots=True)
class Verdict:
    failed: Mapping[str, Failure]  # to be given up now
    withheld: Mapping[str, Failure]  # beyond the breaker's limit: stay as they are
    recovered: frozenset[str]  # in quarantine, well for long enough (whether they are empty is for the drain to see)
    wake: int | None  # when the clock alone may change this
    spared: frozenset[str] = frozenset()  # failed, but for a pause

    def keeps(self, name: str) -> bool:
        """Whether a node has failed and yet stays what it is until a person has looked: no plan may draw it away."""
        return name in self.withheld or name in self.spared


def judge(world: World, claims: Claims, health: Health, settings: Settings, now: int) -> Verdict:
    owners = world.fence.nodes if world.fence else {}
    found: dict[str, Failure] = {}
    recovered, spared, wakes = set[str](), set[str](), list[int | None]()
    suspects = health.late() | health.ailing
    for name in owners.keys() | claims.by_node.keys() | world.claims_on.keys():
        owner, node = owners.get(name, ""), world.nodes.get(name)
        well = node is not None and node.ready and node.holder == owner and not health.is_short(name) and name not in suspects
        if well and not owner.startswith(QUARANTINE):
            continue  # as nearly all are
        if not owner and name not in claims.by_node and not exact_uids(world, claims, name, now):
            continue  # GPUs of it are others' only
        if owner.startswith(QUARANTINE):
            well_at = _well_at(name, node, claims, world, health, settings)
            if well_at is not None and well_at <= now:
                recovered.add(name)
            wakes.append(well_at)
            continue
        failure, wake = _failure(name, owner, node, claims, world, health, settings, now)
        wakes.append(wake)
        if failure is not None and _paused(world, name, claims, settings, now):
            spared.add(name)
        elif failure is not None:
            found[name] = failure
    failed, withheld = _break_circuit(found, world, owners, health, settings)
    wake = min((wake for wake in wakes if wake is not None and wake > now), default=None)
    return Verdict(failed, withheld, frozenset(recovered), wake, frozenset(spared))


def _failure(
    name: str, owner: str, node: NodeView | None, claims: Claims, world: World, health: Health, settings: Settings, now: int
) -> tuple[Failure | None, int | None]:
    """How the node has failed, or when it may come to that."""
    seen = health.seen(name)
    live = [claim for claim in claims.on(name) if claim.live and claim.end > now]
    if owner == f"{FROZEN}{NOBODY}" and not live:
        return None, None  # closed, but nobody loses anything by it: it must not use up the breaker's limit
    if node is None:
        return (Failure("Deleted", seen.gone_since or now), None) if owner or exact_uids(world, claims, name, now) else (None, None)
    if not node.managed:
        return None, None
    if _held(owner) and not node.holder and not seen.labelled:  # the protocol labels before it hands over: this is another machine
        return Failure("Recreated", seen.made_at or now), None
    known = live or claims.on(name)  # a contract that was moved away may be gone before the quarantine is written: its terms still count
    if (silent_since := _silence(name, known, world.products, health)) is not None:
        return Failure(NO_HEARTBEAT, silent_since), None
    if (why := health.flapping(name, settings, now)) is not None:
        return Failure(*why), None
    if not node.ready:
        fails_at = node.ready_since + min((detection_seconds(claim.product, world.products) for claim in known), default=DETECTION_SECONDS)
        return (Failure("NotReady", node.ready_since), None) if fails_at <= now else (None, fails_at)
    # Where exact GPUs are delivered, one that is lost leaves the others as good as before.
    whole = [claim for claim in claims.on(name) if claim.level == "Node"]
    found = [_by_condition(seen, settings, now), _by_count(seen, owner, bound_gpus(whole, now), whole, settings, now)]
    failure = next((failure for failure, _ in found if failure is not None), None)
    return failure, min((wake for _, wake in found if wake is not None), default=None)


def _by_condition(seen: Seen, settings: Settings, now: int) -> tuple[Failure | None, int | None]:
    """What monitoring says of the node, once it has said so for the dwell."""
    if seen.ailment is None:
        return None, None
    fails_at = seen.ailment.since + settings.dwell_seconds
    return (Failure(*seen.ailment), None) if fails_at <= now else (None, fails_at)


def _by_count(seen: Seen, owner: str, bound: int, claims: list[Claim], settings: Settings, now: int) -> tuple[Failure | None, int | None]:
    """GPUs that are bound and not there: withdrawn by the driver, unfit by the agent's word, or missing for longer than the dwell."""
    usual = seen.last if seen.short_since is None else max(seen.gpus, seen.last)
    needed = max(bound, _bound_at(seen.withdrawn_since, owner, claims))
    if (seen.withdrawn or seen.fitness.unfit) and seen.fit(usual) < needed:
        return _withdrawn(seen, usual - needed), None
    if seen.short_since is None or seen.fit(seen.last) >= max(bound, _bound_at(seen.short_since, owner, claims)):
        return None, None
    fails_at = seen.short_since + settings.dwell_seconds + 1
    return (Failure("GpusLost", seen.short_since), None) if fails_at <= now else (None, fails_at)


def _withdrawn(seen: Seen, spare: int) -> Failure:
    """In the agent's words where it has any; begun with the first GPU that nobody could spare."""
    if not seen.fitness.unfit:
        return Failure("GpusLost", seen.withdrawn_since)
    starts = sorted(unfit.since for unfit in seen.fitness.unfit.values())
    worst = next(iter(seen.fitness.unfit.values()))
    onset = starts[max(0, spare)] if spare < len(starts) else seen.withdrawn_since
    return Failure(worst.reason, min(onset, seen.withdrawn_since), seen.withdrawn_since)


def _silence(name: str, known: list[Claim], products: Mapping[str, Any], health: Health) -> int | None:
    """Since when the node is silent, if that is for longer than a product on it allows."""
    allowed = min((seconds for claim in known if (seconds := heartbeat_seconds(claim.product, products))), default=0)
    return health.heartbeats.silent_since(name) if allowed and health.heartbeats.silent(name, allowed) else None


def _bound_at(instant: int, owner: str, claims: list[Claim]) -> int:
    """GPUs of the node's holder that were bound at that instant, wherever they are bound now."""
    return sum(claim.gpus for claim in claims if claim.holder == owner and claim.start <= instant < claim.end)


def _held(owner: str) -> bool:
    return bool(owner) and not owner.startswith((FROZEN, QUARANTINE, END))


def bound_gpus(claims: list[Claim], now: int) -> int:
    """GPUs bound on one node at this instant."""
    return sum(claim.gpus for claim in claims if claim.live and claim.start <= now < claim.end)


def detection_seconds(product: str, products: Mapping[str, Any]) -> int:
    return seconds_at(products.get(product), "spec", "detection", "seconds") or DETECTION_SECONDS


def heartbeat_seconds(product: str, products: Mapping[str, Any]) -> int:
    """After how long a silence of its kubelet a node of this product has failed; 0: Ready alone counts."""
    return seconds_at(products.get(product), "spec", "detection", "heartbeatSeconds")


def _well_at(name: str, node: NodeView | None, claims: Claims, world: World, health: Health, settings: Settings) -> int | None:
    """When a node in quarantine may be given back: Ready and whole for the hysteresis; one that is gone, after as long."""
    seen = health.seen(name)
    if node is None:
        return None if claims.on(name) or seen.gone_since is None else seen.gone_since + settings.hysteresis_seconds
    if not (node.managed and world.alive(node)) or seen.whole_since < 0 or seen.ailment or world.gpus(node) < 1:
        return None
    return max(node.ready_since, health.settled_at(name, settings)) + settings.hysteresis_seconds


def pauses_all(world: World, settings: Settings) -> bool:
    return settings.pause_all or is_paused(world.fence)


def _paused(world: World, name: str, claims: Claims, settings: Settings, now: int) -> bool:
    here = is_paused(world.nodes.get(name))
    return here or pauses_all(world, settings) or any(c.paused and c.live and c.start <= now < c.end for c in claims.on(name))


def _break_circuit(
    found: Mapping[str, Failure], world: World, owners: Mapping[str, str], health: Health, settings: Settings
) -> tuple[dict[str, Failure], dict[str, Failure]]:
    """Gives up the first to fail; a window never holds more onsets of given-up nodes than the limit."""
    if not found:
        return {}, {}
    quarantined = (quarantined_at(name, world, health) for name, owner in owners.items() if owner.startswith(QUARANTINE))
    failed = given_up({name: failure.counts_from for name, failure in found.items()}, quarantined, world, settings)
    withheld = {name: failure for name, failure in found.items() if name not in failed}
    return {name: failure for name, failure in found.items() if name in failed}, withheld


def given_up(found: Mapping[str, int], before: Iterable[int], world: World, settings: Settings) -> set[str]:
    """Of nodes and their onsets, those that are within the limit, the first to fail; `before`: onsets of those that were given up."""
    fleet = sum(1 for node in world.nodes.values() if node.managed)
    limit = max(1, fleet * settings.breaker.share_ppm // 1_000_000) if settings.breaker.share_ppm else 0
    reset = breaker_reset(world)
    onsets = sorted(onset for onset in before if onset > reset)
    failed: set[str] = set()
    for name, begun in sorted(found.items(), key=lambda item: (item[1], item[0])):
        if begun <= reset:
            failed.add(name)
        elif len(onsets) - bisect_right(onsets, begun - settings.breaker.window_seconds) < limit:
            failed.add(name)
            insort(onsets, begun)
    return failed


def breaker_reset(world: World) -> int:
    """The instant up to which a person has confirmed the failures; 0 without, or when it cannot be read."""
    text = world.fence.annotations.get(BREAKER_RESET_ANNOTATION, "") if world.fence else ""
    try:
        return parse_time(text) if text else 0
    except ValueError:
        return 0


def quarantined_at(name: str, world: World, health: Health) -> int:
    """When a node in quarantine failed: as remembered, else its last change of readiness or what its agent found, which is not earlier."""
    if name in health.declared:
        return health.declared[name]
    node, seen = world.nodes.get(name), health.seen(name)
    if node is not None:
        return max([node.ready_since, *(min(unfit.since, seen.withdrawn_since) for unfit in seen.fitness.unfit.values())])
    return health.seen(name).gone_since or 0


def unusable(
    world: World, settings: Settings, now: int, claims: Claims | None = None, health: Health | None = None, verdict: Verdict | None = None
) -> frozenset[str]:
    """Managed nodes that a plan must not use: in quarantine, failed, or NotReady or ailing without anything bound there.

    A node with bindings that is NotReady for less than the detection time, or withheld by the breaker, is not among them: nothing
    moves away from it yet.
    """
    claims = claims or claims_of_world(world, settings)
    health = health or Health()
    verdict = verdict or judge(world, claims, health, settings, now)
    owners = world.fence.nodes if world.fence else {}
    quarantined = {name for name, owner in owners.items() if owner.startswith(QUARANTINE)}
    down = {name for name, node in world.nodes.items() if node.managed and not world.alive(node)} | ailing(health, settings, now).keys()
    idle = {name for name in down if not any(claim.live and claim.end > now for claim in claims.on(name))}
    return frozenset(quarantined | idle | set(verdict.failed))
