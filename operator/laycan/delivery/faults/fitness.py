"""Which GPUs of a node are unfit by the word of its agent, at one instant: findings judged by the policies that count there.

The agent tells facts. A policy makes them spells (`resources.verdict`), and a spell takes a GPU away from delivery unless the policy
accepts it: at once, because the agent knows the card, where a count of GPUs that falls has a dwell. Only what it cannot read has one
too: NVML that answers nothing for a moment moves nobody. Several policies may count on one node, then the strictest does.

A finding can only make a GPU less fit. No meter, a meter of another machine of the name, and one without findings say the same: nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from laycan.kube.meter_views import MeterView
from laycan.kube.sound import mapping, text_at
from laycan.kube.views import ContractView, NodeView
from laycan.kube.world import World
from laycan.resources.constants import GRADE_LABEL
from laycan.resources.product import Health as HealthPolicy
from laycan.resources.signals import SLOWDOWN_SECONDS, Signal
from laycan.resources.verdict import Policy, Spell, Verdict, spells
from laycan.settings import Settings

log = logging.getLogger(__name__)

# The share of a stretch under slowdown is known at its end only; until that of the next stretch is known too, it is the latest word.
SLOWDOWN_HOLDS_SECONDS = SLOWDOWN_SECONDS + 30
_RANK = {Verdict.UNHEALTHY: 0, Verdict.UNKNOWN: 1, Verdict.DEGRADED: 2}


class Unfit(NamedTuple):
    """Why a GPU is not to be relied on, and since when: the last good sample before it, Unix seconds by the clock of its node."""

    reason: str  # Xid79, Missing, …
    since: int

    @property
    def signal(self) -> str:
        """The reason without its code."""
        return self.reason.rstrip("0123456789")


@dataclass(frozen=True, slots=True)
class Fitness:
    """What an agent's word makes of a node's GPUs at one instant; times in Unix seconds."""

    unfit: Mapping[str, Unfit] = field(default_factory=dict)  # uuid -> the worst of it, the worst GPU first
    gpus: int = 0  # that the agent knows, fit or not
    settled: int = 0  # when the latest spell ended that made a GPU unfit; 0 where that is longer ago than the hysteresis
    wake: int | None = None  # when the clock alone changes this


FIT = Fitness()


def policy_of(world: World, contract: ContractView | None) -> Policy:
    """The policy that a contract was accepted under; its product's of today where it was accepted before policies were pinned."""
    if contract is None:
        return _policy(None)
    pinned = contract.status.get("healthPolicy")
    return _policy(pinned) if pinned else _product_policy(world, text_at(contract.spec, "terms", "productRef", "name"))


def policies_on(world: World, node: NodeView, contracts: Iterable[str]) -> frozenset[Policy]:
    """Those that count on a node: of `contracts` (keys), which have GPUs of it now, else of the products that it is sold as today.

    So a stricter version of a policy, or another product of the grade, moves nothing that was sold under a laxer one.
    """
    if promised := {policy_of(world, world.contracts.get(key)) for key in contracts}:
        return frozenset(promised)
    grade = text_at(node.raw, "metadata", "labels", GRADE_LABEL)
    return frozenset(_product_policy(world, name) for name, raw in world.products.items() if grade in _grades(raw)) or frozenset(
        {_policy(None)}
    )


def meter_on(world: World, name: str) -> MeterView | None:
    """The meter of the machine that is this node now."""
    node, meter = world.nodes.get(name), world.meters.get(name)
    return meter if meter is not None and node is not None and meter.node_uid == node.uid else None


def fitness(meter: MeterView | None, policies: Iterable[Policy], settings: Settings, now: int) -> Fitness:
    """What the meter makes of the GPUs at `now` under the strictest of these policies."""
    if meter is None or not meter.findings:
        return FIT
    unfit: dict[str, tuple[int, int, str]] = {}  # uuid -> rank, since, reason: the least is the worst
    settled, instants = 0, list[int]()
    for policy in policies:
        for spell, begin, end in _taking(meter, policy, settings, now):
            if end is not None and end <= now:
                settled = max(settled, end)
            elif begin > now:
                instants.append(begin)
            else:
                why = _RANK[spell.verdict], spell.start, spell.reason
                unfit[spell.gpu] = min(why, unfit.get(spell.gpu, why))
                instants += [] if end is None else [end]
    if not (unfit or settled or instants):
        return FIT
    worst = {gpu: Unfit(reason, since) for gpu, (_, since, reason) in sorted(unfit.items(), key=lambda item: (item[1], item[0]))}
    return Fitness(worst, len(meter.gpus | worst.keys()), settled, min(instants, default=None))


def unfit_for(world: World, node: str, contract: ContractView | None, settings: Settings, now: int) -> Mapping[str, Unfit]:
    """GPUs (by uuid) of a node with which this contract is not delivered, by the policy that it was accepted under."""
    meter = meter_on(world, node)
    return fitness(meter, (policy_of(world, contract),), settings, now).unfit if meter is not None and meter.findings else FIT.unfit


def degraded(world: World, node: str, contract: ContractView, settings: Settings, now: int) -> list[Spell]:
    """Spells of GPUs of a node that are delivered to this contract though Degraded, because its policy accepts it."""
    meter = meter_on(world, node)
    if meter is None or not meter.findings:
        return []
    policy, out = policy_of(world, contract), unfit_for(world, node, contract, settings, now)
    lasting = (spell for spell, _, end in _lasting(meter, policy, settings, now, SLOWDOWN_HOLDS_SECONDS) if end is None or end > now)
    return [spell for spell in lasting if policy.delivers(spell) and spell.gpu not in out]


def instants(world: World, node: str, contract: ContractView, settings: Settings, now: int) -> Iterator[int]:
    """When the clock alone changes what a contract has of a node's GPUs, by what the agent has told so far."""
    meter = meter_on(world, node)
    if meter is None or not meter.findings:
        return
    policy = policy_of(world, contract)
    for _, begin, end in _lasting(meter, policy, settings, now, policy.clean_seconds + SLOWDOWN_HOLDS_SECONDS):
        yield from (at for at in (begin, end) if at is not None and at > now)


def _taking(meter: MeterView, policy: Policy, settings: Settings, now: int) -> Iterator[tuple[Spell, int, int | None]]:
    """Spells that take a GPU away, with when that begins and ends. What was found has begun, whatever the node's clock says."""
    reach = policy.clean_seconds + SLOWDOWN_HOLDS_SECONDS + settings.hysteresis_seconds
    for spell, begin, end in _lasting(meter, policy, settings, now, reach):
        if policy.delivers(spell):
            continue
        if spell.verdict is not Verdict.UNKNOWN:
            yield spell, min(begin, now), end
        elif end is None or begin < end:
            yield spell, begin, end


def _lasting(meter: MeterView, policy: Policy, settings: Settings, now: int, reach: int) -> Iterator[tuple[Spell, int, int | None]]:
    """Spells of what lasts or ended within `reach` (seconds), with when they begin and end to count; history is long, and not judged."""
    found = [finding for finding in meter.findings if finding.end is None or finding.end + reach > now]
    for spell in spells(found, policy):
        begin = spell.start + settings.dwell_seconds if spell.verdict is Verdict.UNKNOWN else spell.start
        holds = SLOWDOWN_HOLDS_SECONDS if spell.reason == Signal.SLOWDOWN else 0
        yield spell, begin, None if spell.end is None else spell.end + holds


def _grades(product: Any) -> Iterable[Any]:
    found = mapping(mapping(product).get("spec")).get("gpuProducts")
    return found if isinstance(found, list) else ()


def _product_policy(world: World, product: str) -> Policy:
    return _policy(mapping(mapping(world.products.get(product)).get("spec")).get("health"))


def _policy(raw: Any) -> Policy:
    return _read(orjson.dumps(raw) if raw else b"")


@lru_cache(maxsize=1024)
def _read(raw: bytes) -> Policy:
    """Each policy that there is is read once; the default stands in for one that an older, laxer CRD let through."""
    known = orjson.loads(raw) if raw else None
    try:
        return Policy.of(HealthPolicy.model_validate(known).model_dump(by_alias=True, exclude_none=True) if known else None)
    except ValidationError as error:
        log.warning("a health policy cannot be read, the default one counts: %s", error.errors(include_url=False)[0]["msg"])
        return Policy.of(None)
