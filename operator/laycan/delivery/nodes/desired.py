"""What delivery owes each managed node at one instant: the pure half of the protocol.

A `Claim` is a binding of a contract's observed status; one of exact GPUs (level Device) concerns the node itself only when that
fails. From the claims on a node, its entry in the fence and the clock follows one `Target`: hand it to a holder, prepare it for one,
keep it in quarantine, or open it. Nothing here remembers: the same world and instant give the same targets, so a restarted operator
goes on where the last one stopped.

Fence entries ("owners") are read as enforcement.md defines them: a namespace holds the node; a value with a dot is a state,
`frozen.<uid>`, `quarantine.<uid>` or `end.<uid>`, which no namespace can be. Where the settings allow no backfill, what nobody holds is
closed too, as `frozen.none`: a node then goes from one holder to the next and in between without ever being free.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from laycan.delivery.lead import lead_seconds
from laycan.kube.outage_views import lasts, takes
from laycan.kube.sound import mapping, text_at
from laycan.kube.views import ContractView, FenceView, is_paused
from laycan.kube.world import World
from laycan.resources.fence import END as END
from laycan.resources.fence import FROZEN as FROZEN
from laycan.resources.fence import QUARANTINE as QUARANTINE
from laycan.resources.planned import is_planned
from laycan.resources.times import format_time, parse_time
from laycan.settings import Settings

NOBODY = "none"  # in place of a contract's uid
LINGER_SECONDS = 2  # a binding cut by a new plan may pass to another contract of its holder: its release is written first
LIVE_PHASES = frozenset({"Accepted", "Delivering"})


class Want(Enum):
    """What is to become of a node."""

    HOLD = "hold"  # the holder has it now (or keeps it until its next window)
    PREPARE = "prepare"  # closed and emptied, its window has not begun
    QUARANTINE = "quarantine"  # given up; nobody gets it
    OPEN = "open"  # nobody's any more: emptied of its last holder, then free


@dataclass(frozen=True, slots=True)
class Claim:
    """One binding. Times are Unix seconds, the window is [start, end)."""

    node: str
    contract: str  # namespace/name
    uid: str
    holder: str  # "" when it cannot be read
    product: str
    gpus: int
    start: int
    end: int
    freeze_at: int  # start less the lead
    deadline: int  # PodDisruptionBudgets are respected until then
    live: bool  # of an accepted contract that is not being deleted; else it is history
    paused: bool
    settled_in: bool  # the holder's own pods run there already: adopted, or handed over to him before
    cut: bool = False  # it ends before its contract does
    moves_from: tuple[str, ...] = ()  # nodes on which its lots run until it begins
    moves_to: tuple[str, ...] = ()  # nodes on which its lots go on when it ends
    lingers_until: int = 0  # so long it may stay with its holder, while those are not his yet
    level: str = "Node"
    withheld: bool = False  # suspended by the exchange: its nodes stay closed to everybody, its holder included
    lots: tuple[int, ...] = ()  # their numbers
    devices: tuple[str, ...] = ()  # uuids at level Device, lot by lot, once they are chosen


@dataclass(frozen=True, slots=True)
class Target:
    """`deadline` 0: it counts from when the change is first seen."""

    want: Want
    uid: str  # of the contract on whose account it happens; "none" when it is not known
    holder: str = ""
    deadline: int = 0
    keep: str = ""  # namespace whose pods stay while the node is emptied (adoption)


@dataclass(slots=True)
class Claims:
    """All claims, by contract and by node, with the instants at which something falls due."""

    by_contract: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    by_node: dict[str, dict[str, tuple[Claim, ...]]] = field(default_factory=dict)  # node -> contract -> its claims there
    _instants: list[tuple[int, str]] = field(default_factory=list)  # a heap of (instant, node); those of claims that went do no harm

    def put(self, key: str, claims: tuple[Claim, ...]) -> set[str]:
        """Replaces a contract's claims; returns the nodes that this concerns."""
        old = self.by_contract.get(key, ())
        if old == claims:
            return set()
        nodes = {claim.node for claim in (*old, *claims)}
        for node in nodes:
            here = tuple(claim for claim in claims if claim.node == node)
            contracts = self.by_node.setdefault(node, {})
            contracts.pop(key, None)
            if here:
                contracts[key] = here
            elif not contracts:
                del self.by_node[node]
        self.by_contract[key] = claims
        if not claims:
            del self.by_contract[key]
        for claim in claims:
            last = claim.lingers_until if claim.moves_to else claim.end
            for instant in (claim.freeze_at, claim.start, claim.end, claim.end + LINGER_SECONDS * claim.cut, last):
                heapq.heappush(self._instants, (instant, claim.node))
        return nodes

    def on(self, node: str) -> list[Claim]:
        return [claim for claims in self.by_node.get(node, {}).values() for claim in claims]

    def wake(self, now: int) -> int | None:
        """The next instant after `now` at which a target may change by the clock alone."""
        self.due(now)
        return self._instants[0][0] if self._instants else None

    def due(self, now: int) -> set[str]:
        """Nodes on which an instant has passed since this was last asked."""
        nodes = set()
        while self._instants and self._instants[0][0] <= now:
            nodes.add(heapq.heappop(self._instants)[1])
        return nodes


def claims_of(contract: ContractView, products: Mapping[str, Any], settings: Settings, fence: FenceView | None = None) -> tuple[Claim, ...]:
    """The bindings of a contract's observed status, whatever its phase; `fence` tells how long drains take."""
    holder = text_at(contract.spec, "terms", "delivery", "handover", "namespace")
    rows = mapping(contract.spec.get("adopt")).get("bindings")
    adopted = {text_at(row, "node") for row in (rows if isinstance(rows, list) else ())}
    live = contract.phase in LIVE_PHASES and not contract.deleting and not contract.status.get("endedAt")
    over = text_at(contract.spec, "terms", "delivery", "end")
    claims = []
    bindings = contract.status.get("bindings") or ()
    begin, cease = _by_instant(bindings, "start"), _by_instant(bindings, "end")
    for binding in bindings:
        start, end = parse_time(binding["start"]), parse_time(binding["end"])
        bound_at = parse_time(binding["boundAt"]) if binding.get("boundAt") else None
        claims.append(
            Claim(
                node=binding["node"],
                contract=contract.key,
                uid=contract.uid,
                holder=holder,
                product=binding["product"],
                gpus=int(binding["gpus"]),
                start=start,
                end=end,
                freeze_at=start - lead_seconds(binding["product"], products, fence, settings),
                deadline=start if bound_at is None else max(start, bound_at + settings.drain_seconds),  # a re-bind had no lead
                live=live,
                paused=is_paused(contract),
                settled_in=binding["node"] in adopted or bool(binding.get("handedOverAt")),
                cut=live and binding["end"] < over,
                moves_from=_meeting(binding, cease.get(binding["start"], ())) if live else (),
                moves_to=_meeting(binding, begin.get(binding["end"], ())) if live else (),
                lingers_until=end + settings.drain_seconds,
                level=binding.get("level", "Node"),
                withheld=bool(mapping(contract.status.get("instructions")).get("suspendedSince")),
                lots=tuple(binding.get("lots") or ()),
                devices=tuple(binding.get("devices") or ()),
            )
        )
    return tuple(claims)


def _by_instant(bindings: Iterable[Mapping[str, Any]], edge: str) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for binding in bindings:
        found.setdefault(binding[edge], []).append(binding)
    return found


def _meeting(binding: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Other nodes of which these bindings, which meet this one in time, have lots that it has too."""
    lots = set(binding.get("lots") or ())
    return tuple(sorted({other["node"] for other in others if not lots.isdisjoint(other.get("lots") or ())} - {binding["node"]}))


def claims_of_world(world: World, settings: Settings) -> Claims:
    claims = Claims()
    for key, contract in world.contracts.items():
        claims.put(key, claims_of(contract, world.products, settings, world.fence))
    return claims


def target_of(
    owner: str, claims: Iterable[Claim], failed: bool, recovered: bool, settings: Settings, now: int, closes: bool = False
) -> Target | None:
    """The target of one managed node; None: leave it as it is.

    `owner` is its entry in the fence, "" without. `failed`: it is declared failed now. `recovered`: it is in quarantine and well
    again for long enough. `closes`: it is not free for everybody when nobody holds it.
    """
    claims = list(claims)
    if owner.startswith(QUARANTINE) and not (recovered and closes):
        return Target(Want.OPEN if recovered else Want.QUARANTINE, owner.removeprefix(QUARANTINE))
    if failed:
        return Target(Want.QUARANTINE, _account(owner, claims, now)) if owner else None
    claims = [claim for claim in claims if claim.level == "Node"]
    claim = _due(owner, claims, now)
    if claim is None:
        if any(c.cut and c.holder == owner and c.end <= now < c.end + LINGER_SECONDS for c in claims):
            return None
        deadline = _ended(owner, claims, settings, now)
        if closes:
            return Target(Want.PREPARE, NOBODY, deadline=deadline)
        return Target(Want.OPEN, _account(owner, claims, now), deadline=deadline) if owner else None
    if not claim.holder or (claim.paused and owner != claim.holder):
        return None  # an accepted contract whose terms cannot be read keeps what it has
    if claim.withheld:
        return Target(Want.PREPARE, claim.uid)
    early = owner == claim.holder or bool(claim.moves_from)  # a move is made before it breaks: the lots run on, on both nodes for a while
    want = Want.HOLD if claim.start <= now or early else Want.PREPARE
    return Target(want, claim.uid, claim.holder, claim.deadline, claim.holder if claim.settled_in else "")


def _due(owner: str, claims: list[Claim], now: int) -> Claim | None:
    """Whose turn it is: a running window, of the node's holder first, else the next one whose lead has begun.

    Where a holder has a node by two contracts, one of which is suspended, he has it by the other.
    """
    near = [claim for claim in claims if claim.live and claim.freeze_at <= now < claim.end]
    running = [claim for claim in near if claim.start <= now]
    return min(
        running or near,
        key=lambda claim: (bool(running) and claim.holder != owner, claim.withheld, claim.start, claim.uid),
        default=None,
    )


def _account(owner: str, claims: list[Claim], now: int) -> str:
    """The contract on whose account a node is taken out or opened: the one in the fence, else its holder's latest."""
    if "." in owner:
        return owner.partition(".")[2]
    begun = [claim for claim in claims if claim.holder == owner and claim.start <= now]
    return max(begun, key=lambda claim: (claim.start, claim.uid)).uid if begun else NOBODY


def _ended(owner: str, claims: list[Claim], settings: Settings, now: int) -> int:
    ends = [claim.end for claim in claims if claim.end <= now and (claim.holder == owner or claim.uid == owner.removeprefix(END))]
    return max(ends) + settings.drain_seconds if ends else 0


def node_target(world: World, claims: Claims, name: str, failed: bool, recovered: bool, settings: Settings, now: int) -> Target | None:
    """The target of any node, as `target_of`; pauses, and nodes that are not there or not of the fleet, are seen to here."""
    node = world.nodes.get(name)
    owner = world.fence.nodes.get(name, "") if world.fence else ""
    if is_paused(node) or (node is not None and not node.managed and not owner):
        return None
    if failed and not owner and (uids := exact_uids(world, claims, name, now)):
        return Target(Want.QUARANTINE, uids[0])
    if node is None and not owner:
        return None  # a binding to a node that is not there: the planner's to move
    if node is not None and not node.managed:
        here = [claim for claim in claims.on(name) if claim.live and claim.start <= now < claim.end]
        return None if here else Target(Want.OPEN, _account(owner, [], now))
    known = owner or (node.holder if node is not None else "")  # an entry that was lost is read from the label
    if not failed and _awaits(world, claims, name, known, now):
        return None
    closes = settings.backfill == "Nobody" and node is not None and not _shared(world, claims, name, now)
    return target_of(known, claims.on(name), failed, recovered, settings, now, closes)


def _shared(world: World, claims: Claims, name: str, now: int) -> bool:
    """Whether a node is given by GPU: closed, no holder of its GPUs could use them. Also while its driver publishes none for a moment."""
    return (bool(world.devices(name)) and not world.no_devices) or bool(exact_uids(world, claims, name, now))


def exact_uids(world: World, claims: Claims, name: str, now: int) -> list[str]:
    """Contracts that have exact GPUs of a node, or a claim to some: a lot that has moved on leaves its claim behind until its pods go."""
    bound = {claim.uid for claim in claims.on(name) if claim.level == "Device" and claim.live and claim.freeze_at <= now < claim.end}
    held = {world.resource_claims[key].contract for key in world.claims_on.get(name, ())}
    return sorted((bound | held) - {""})


def _awaits(world: World, claims: Claims, name: str, owner: str, now: int) -> bool:
    """Whether the holder keeps a node beyond its end because the one to which his lots move is not his yet, and nobody else waits."""
    here = [claim for claim in claims.on(name) if claim.level == "Node"]
    leaving = [claim for claim in here if claim.holder == owner and claim.live and claim.end <= now < claim.lingers_until]
    late = {node for claim in leaving for node in claim.moves_to if not _has(world, node, owner)}
    return bool(late) and _due(owner, here, now) is None and not _out(world, name, now)


def _has(world: World, name: str, holder: str) -> bool:
    node = world.nodes.get(name)
    return node is not None and node.holder == holder and world.fence is not None and world.fence.nodes.get(name) == holder


def _out(world: World, name: str, now: int) -> bool:
    """Whether an Outage that is planned for has taken the node."""
    text = format_time(now)
    return any(lasts(raw, text) and is_planned(raw, text) and takes(raw, name, world) for raw in world.outages.values())


def desired(
    world: World, claims: Claims, failed: frozenset[str], recovered: frozenset[str], settings: Settings, now: int
) -> tuple[dict[str, Target], int | None]:
    """Targets of all nodes that are not to be left alone, and the next instant at which the clock may change one."""
    owners = world.fence.nodes if world.fence else {}
    names = world.nodes.keys() | owners.keys()
    found = {name: node_target(world, claims, name, name in failed, name in recovered, settings, now) for name in names}
    return {name: target for name, target in found.items() if target is not None}, claims.wake(now)
