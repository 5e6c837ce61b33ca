"""When a contract may vanish: a promise that was made is wound up first, everything else goes at once."""

from __future__ import annotations

from laycan.control.claims import Claims, holder_of
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED, Phase
from laycan.delivery.lead import drains_of, learnt_seconds
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.constants import FINALIZER
from laycan.settings import Settings


def finalizers_wanted(
    contract: ContractView, world: World, claims: Claims, decision: Decision | None, taken: frozenset[str], settings: Settings, now: int
) -> list[str] | None:
    """The list to write, None when it is right as it is. The finalizer is there before the promise is. `taken`: events that the log has."""
    has = FINALIZER in contract.finalizers
    over = contract.phase == Phase.REJECTED or (
        contract.deleting and contract.phase not in COMMITTED and wound_up(contract, world, claims, taken, settings, now)
    )
    if has and over:
        return [f for f in contract.finalizers if f != FINALIZER]
    promised = contract.phase in COMMITTED or (decision is not None and decision.accepted is True)
    return [*contract.finalizers, FINALIZER] if promised and not has and not contract.deleting and not over else None


def wound_up(contract: ContractView, world: World, claims: Claims, taken: frozenset[str], settings: Settings, now: int) -> bool:
    """Its nodes are given back and the log has its last event; whether its exchange has it does not matter.

    A namespace that is being removed must not hang on us, nor anything on a node in quarantine.
    """
    namespace = world.namespaces.get(contract.namespace)
    if namespace is None or namespace.terminating:
        return True
    said = all(entry["id"] in taken for entry in contract.status.get("outbox") or ())
    return said and not _holds_nodes(contract, world, claims, settings, now)


def leaves(contract: ContractView, world: World) -> bool:
    """Whether its namespace is being removed: then its end must not hang on a full outbox either."""
    namespace = world.namespaces.get(contract.namespace)
    return namespace is not None and namespace.terminating


def _holds_nodes(contract: ContractView, world: World, claims: Claims, settings: Settings, now: int) -> bool:
    """Whether a ResourceClaim or the fence names the contract, or its holder on a node that the holder has by no other contract."""
    if any(claim.contract == contract.uid for claim in world.resource_claims.values()):
        return True
    owners = world.fence.nodes if world.fence else {}
    mine = {f"frozen.{contract.uid}", f"end.{contract.uid}"}
    lead = learnt_seconds(drains_of(world.fence), settings)
    holder, bound = holder_of(contract.spec), {b["node"] for b in contract.status.get("bindings") or ()}
    return any(
        owner in mine or (owner == holder and node in bound and not _held_by_another(contract.key, node, holder, claims, lead, now))
        for node, owner in owners.items()
    )


def _held_by_another(key: str, node: str, holder: str, claims: Claims, lead: int, now: int) -> bool:
    """Delivery leaves a node with its holder when his next window is so near that it would be frozen for him anyway."""
    others = (c for k in claims.contracts_on(node) if k != key for c in claims.written.get(k, ()))
    return any(c.node == node and c.holder == holder and c.start - max(lead, c.turnaround) <= now < c.end for c in others)
