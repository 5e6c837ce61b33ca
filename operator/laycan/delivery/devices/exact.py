"""Exact GPUs: which cards a lot is promised, and whether its holder has them.

At level Device each lot has a binding of its own, and a ResourceClaim of its own in the holder's namespace, whose name stays the
same wherever the lot goes. The cards are chosen when the lot's lead begins, in the order of starts: intervals of equal count that fit
a node at every instant can then always be given whole cards (interval graphs are coloured greedily by start). A lot keeps its cards
for as long as they are there and fit: not tainted by their driver, and fit by the agent's word under the policy of the lot's contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from laycan.delivery.faults.fitness import unfit_for
from laycan.delivery.lead import lead_seconds
from laycan.delivery.metering.served import Bound
from laycan.delivery.nodes.desired import LIVE_PHASES
from laycan.kube.device_views import ResourceClaimView
from laycan.kube.world import World
from laycan.settings import Settings

CLAIM_PREFIX = "laycan-"
_Row = tuple[str, Bound]  # contract key, one of its bindings


def claim_name(contract: str, lot: int) -> str:
    """The ResourceClaim of a lot of the contract of this name."""
    return f"{CLAIM_PREFIX}{contract}-{lot}"


def gives_devices(world: World, node: str) -> bool:
    """Whether exact GPUs of the node can be delivered: the cluster enforces them, and its driver tells which cards they are."""
    return not world.no_devices and any(device.uuid for device in world.devices(node))


def choose(world: World, key: str, bounds: Sequence[Bound], settings: Settings, now: int) -> tuple[Bound, ...]:
    """The bindings of contract `key`, with cards for the lots whose lead has begun. Where there are too few, they wait.

    What was handed over stays as history with the cards that it had: delivery is judged by them.
    """
    nodes = {b.node for b in bounds if b.exact and _near(world, b, settings, now)}
    chosen = {row[1]: cards for node in nodes for row, cards in _on_node(world, node, key, bounds, settings, now) if row[0] == key}
    made = tuple(part for b in bounds for part in (_given(b, chosen[b], now) if b in chosen else (b,)))
    return made if len(made) == len(bounds) else tuple(sorted(made, key=lambda b: (b.start, b.lots, b.node)))


def _given(bound: Bound, cards: tuple[str, ...], now: int) -> Iterable[Bound]:
    """The binding with these cards from now on. Which ones its holder had until now stays written: a receipt tells it."""
    if bound.devices and bound.handed_over_at is not None and bound.start < now:
        yield replace(bound, end=now)
        bound = replace(bound, start=now)
    yield replace(bound, devices=cards)


def _near(world: World, bound: Bound, settings: Settings, now: int) -> bool:
    return bound.start - lead_seconds(bound.product, world.products, world.fence, settings) <= now < bound.end


def _on_node(
    world: World, node: str, key: str, bounds: Sequence[Bound], settings: Settings, now: int
) -> Iterable[tuple[_Row, tuple[str, ...]]]:
    """The cards of every lot on a node whose lead has begun, whoever's it is: each contract alone comes to the same."""
    fit = {device.uuid: device.name for device in world.devices(node) if device.uuid and not device.unfit}
    rows = [row for row in _rows(world, node, key, bounds) if _near(world, row[1], settings, now)]
    rows.sort(key=lambda row: (row[1].start, row[0], row[1].lots))
    unfit = {owner: unfit_for(world, node, world.contracts.get(owner), settings, now) for owner, _ in rows}
    used = _used_by_others(world, node)
    spare = sorted(fit, key=lambda uuid: (fit[uuid] in used, len(fit[uuid]), fit[uuid]))
    taken = [(b.start, b.end, set(b.devices)) for _, b in rows]
    for number, (owner, bound) in enumerate(rows):
        twice = any(cards & set(bound.devices) and a < bound.end and bound.start < z for a, z, cards in taken[:number])
        good = fit.keys() - unfit[owner].keys()
        if fit and (twice or len(bound.devices) < bound.gpus or not set(bound.devices) <= good):
            busy = set().union(*(cards for i, (a, z, cards) in enumerate(taken) if i != number and a < bound.end and bound.start < z))
            keep = [uuid for uuid in bound.devices if uuid in good and uuid not in busy]
            new = (keep + [uuid for uuid in spare if uuid in good and uuid not in busy and uuid not in keep])[: bound.gpus]
            if len(new) == bound.gpus:
                taken[number] = bound.start, bound.end, set(new)
                yield (owner, bound), tuple(new)


def _rows(world: World, node: str, key: str, bounds: Sequence[Bound]) -> list[_Row]:
    rows = [(key, b) for b in bounds if b.exact and b.node == node]
    for other in world.contracts_on.get(node, set()) - {key}:
        contract = world.contracts[other]
        if contract.phase in LIVE_PHASES and not contract.deleting:
            read = (Bound.parse(raw) for raw in contract.status.get("bindings") or () if raw["node"] == node)
            rows += [(other, b) for b in read if b.exact]
    return rows


def _used_by_others(world: World, node: str) -> set[str]:
    """Names of the devices that somebody's own claim has now: they are drained if need be, others are preferred."""
    claims = (world.resource_claims[key] for key in world.claims_on.get(node, ()))
    return {device for claim in claims if not claim.contract for pool, device in claim.devices if pool == node}


def has_devices(world: World, bound: Bound, holder: str, contract: str, uid: str) -> bool:
    """Whether the lot's claim holds exactly its cards, each of them well and nobody else's, for the contract of this name and uid."""
    claim = world.resource_claims.get(f"{holder}/{claim_name(contract, bound.lots[0])}") if bound.lots else None
    if claim is None or claim.contract != uid or claim.deleting or not claim.kept_for(uid):
        return False
    here, unfit = places(world, bound.node), {device.uuid for device in world.devices(bound.node) if device.unfit}
    if claim.devices != {here.get(uuid) for uuid in bound.devices} or not unfit.isdisjoint(bound.devices):
        return False
    return not rivals(world, bound.node, claim.key, bound.devices)


def places(world: World, node: str) -> dict[str, tuple[str, str]]:
    """uuid -> (pool, device name), as the driver of the node publishes them now."""
    return {device.uuid: (node, device.name) for device in world.devices(node) if device.uuid}


def rivals(world: World, node: str, key: str, devices: Iterable[str]) -> list[ResourceClaimView]:
    """Claims other than `key` (namespace/name) that have one of these cards (uuids) of the node now."""
    here = places(world, node)
    mine = {here[uuid] for uuid in devices if uuid in here}
    claims = (world.resource_claims[other] for other in sorted(world.claims_on.get(node, ())) if other != key)
    return [claim for claim in claims if claim.devices & mine]
