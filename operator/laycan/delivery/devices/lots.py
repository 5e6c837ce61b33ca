"""Level Device, the pure half: what is to become of the claim of each lot at one instant.

Each lot has one ResourceClaim, of the same name wherever the lot goes; so the API server itself keeps it from being in two places.
From a contract's bindings, the claims as they are and the GPUs as their driver publishes them follows one `Step` for each lot. An
allocation names devices, not cards: it counts only while the cards behind the names are the promised ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from laycan.delivery.devices.exact import CLAIM_PREFIX, claim_name, places, rivals
from laycan.delivery.nodes.desired import Claim
from laycan.kube.device_views import ResourceClaimView
from laycan.kube.world import World
from laycan.settings import Settings

HOLD_PREFIX = f"{CLAIM_PREFIX}hold-"


class Step(Enum):
    """What is to be done next for a lot's claim."""

    WAIT = "wait"  # a reason says for what
    CREATE = "create"
    ALLOCATE = "allocate"  # the scheduler is to give it its GPUs
    KEEP = "keep"  # it has them for as long as some pod is there; the contract's own entry is missing
    KEPT = "kept"  # delivered
    RELEASE = "release"  # it goes, and must be seen to be gone before the lot gets another


@dataclass(frozen=True, slots=True)
class Lot:
    """A lot that is to have exactly these GPUs now. `deadline`: Unix seconds until which PodDisruptionBudgets of others hold."""

    namespace: str  # the holder's
    name: str  # of its claim
    contract: str  # name, for the entry in reservedFor
    uid: str  # of the contract
    node: str
    devices: frozenset[str]  # uuids
    start: int
    deadline: int

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def lots_of(claims: Iterable[Claim], now: int) -> dict[str, Lot | None]:
    """By claim key, what each lot is to have: from the lead of its window on, one node at a time, in the order of time.

    Nothing while the contract is suspended: its cards are planned for nobody else, and taken again when it goes on.
    None: its time has come and its cards are not chosen yet, so its claim stays as it is.
    """
    near = [c for c in claims if c.live and not c.withheld and c.level == "Device" and c.freeze_at <= now < c.end]
    found: dict[str, Lot | None] = {}
    for claim in sorted(near, key=lambda c: (c.start, c.node)):
        contract = claim.contract.partition("/")[2]
        each, rest = divmod(len(claim.devices), len(claim.lots) or 1)
        chosen = each > 0 and not rest and len(claim.devices) == claim.gpus
        for i, number in enumerate(claim.lots):
            uuids = frozenset(claim.devices[i * each : (i + 1) * each])
            lot = Lot(claim.holder, claim_name(contract, number), contract, claim.uid, claim.node, uuids, claim.start, claim.deadline)
            found.setdefault(lot.key, lot if chosen else None)
    return found


def release_deadline(key: str, claims: Iterable[Claim], settings: Settings, now: int) -> int:
    """Until when budgets of the holder's pods hold: counted from the end of the lot's window; 0 where something else cut it short."""
    lots = {claim_name(c.contract.partition("/")[2], n): c.end for c in claims if c.level == "Device" and c.end <= now for n in c.lots}
    end = lots.get(key.partition("/")[2], 0)
    return end + settings.drain_seconds if end else 0


def step(world: World, lot: Lot, claim: ResourceClaimView | None) -> tuple[Step, str]:
    """What to do next for a lot, and for WAIT why nothing can be done."""
    if claim is not None and claim.contract != lot.uid:
        owner = "an earlier contract's, which is wound up first" if claim.contract else "not Laycan's; delete it"
        return Step.WAIT, f"the ResourceClaim {lot.key} is {owner}"
    if claim is not None and (claim.deleting or claim.asks != lot.devices):
        return Step.RELEASE, ""
    if claim is not None and claim.allocated:
        return _verify(world, lot, claim)
    if trouble := _trouble(world, lot):
        return Step.WAIT, trouble
    return (Step.CREATE if claim is None else Step.ALLOCATE), ""


def _verify(world: World, lot: Lot, claim: ResourceClaimView) -> tuple[Step, str]:
    here = places(world, lot.node)
    if claim.devices == {here.get(uuid) for uuid in lot.devices}:
        return (Step.KEPT if claim.kept_for(lot.uid) else Step.KEEP), ""
    if not here:
        return Step.WAIT, f"the driver publishes no GPUs of node {lot.node}"
    lost = sorted(lot.devices - here.keys())
    if not lost:  # they were renumbered: the claim has other cards
        return Step.RELEASE, ""
    return Step.WAIT, f"GPU {', '.join(lost)} is no longer on node {lot.node}, the claim {lot.key} has another card in its place"


def _trouble(world: World, lot: Lot) -> str:
    node = world.nodes.get(lot.node)
    if world.no_devices:
        return world.no_devices
    if node is None or not node.managed or not world.alive(node):
        return f"node {lot.node} is not Ready and managed"
    if world.fence is not None and lot.node in world.fence.nodes:
        return f"node {lot.node} is closed: {world.fence.nodes[lot.node]}"
    fit = {device.uuid: device.unfit for device in world.devices(lot.node)}
    bad = [f"GPU {uuid} {fit.get(uuid, 'is not published')}" for uuid in sorted(lot.devices) if fit.get(uuid, "?")]
    return f"node {lot.node}: {', '.join(bad)}" if bad else ""


def others(world: World, lot: Lot) -> list[ResourceClaimView]:
    """Claims of anybody else that have one of the lot's GPUs now."""
    return rivals(world, lot.node, lot.key, lot.devices)
