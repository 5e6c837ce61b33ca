"""Which nodes are down by nobody's plan, and since when: the record of a product's failures is made of this.

Down is what has failed or is in quarantine, and what is broken with nothing bound there. Not down are nodes that the circuit breaker
withholds or a pause spares, cordoned ones, and those that went down under an Outage that is Planned or a Retirement. Nodes with nothing
bound there are judged as the breaker would: what goes down together beyond its limit has a cause in common, and is no node's failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from laycan.delivery.faults.failures import DETECTION_SECONDS, Verdict, given_up, pauses_all, quarantined_at
from laycan.delivery.faults.health import Health, ailing
from laycan.delivery.nodes.desired import QUARANTINE, Claims
from laycan.kube.outage_views import lasts, takes
from laycan.kube.sound import text_at
from laycan.kube.views import is_paused
from laycan.kube.world import World
from laycan.resources.planned import ANNOUNCED
from laycan.resources.times import format_time
from laycan.settings import Settings


@dataclass(frozen=True, slots=True)
class Downtime:
    """`down`: node -> onset, Unix seconds. Of a node that is neither up nor down nothing is counted."""

    down: Mapping[str, int] = field(default_factory=dict)
    fleet: frozenset[str] = frozenset()  # managed nodes
    up: frozenset[str] = frozenset()  # in service; one that is NotReady for less than the detection time, too
    well: Mapping[str, int] = field(default_factory=dict)  # of those asked for, the sound ones -> since when for long enough
    gone: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of those down, no nodes any more -> products that were bound there


def downtime(
    world: World, claims: Claims, health: Health, verdict: Verdict, settings: Settings, now: int, asked: Iterable[str] = ()
) -> Downtime:
    """What delivery finds at this instant; `asked`: nodes of which it matters whether they are well again."""
    owners = world.fence.nodes if world.fence else {}
    managed = {name for name, node in world.nodes.items() if node.managed}
    held = {name: quarantined_at(name, world, health) for name, owner in owners.items() if owner.startswith(QUARANTINE)}
    held |= {name: failure.counts_from for name, failure in verdict.failed.items()}
    spared = verdict.withheld.keys() | verdict.spared
    broken = {name: since for name, since in _broken(world, health, settings, now).items() if name not in held.keys() | spared}
    idle = {name: since for name, since in broken.items() if not any(claim.live and claim.end > now for claim in claims.on(name))}
    theirs = {} if pauses_all(world, settings) else {name: since for name, since in idle.items() if not is_paused(world.nodes[name])}
    down = held | {name: idle[name] for name in given_up(theirs, held.values(), world, settings)}
    down = {name: min(since, now) for name, since in down.items() if name not in _announced(world, [name], since)}
    up = managed - held.keys() - spared - idle.keys()
    up -= _announced(world, up, now)
    well = {name: at for name in up.intersection(asked) if (at := _well_since(world, health, settings, name)) is not None and at <= now}
    gone = {name: frozenset(claim.product for claim in claims.on(name)) for name in down.keys() - managed}
    return Downtime(down, frozenset(managed), frozenset(up), well, gone)


def _broken(world: World, health: Health, settings: Settings, now: int) -> dict[str, int]:
    """Managed nodes that are not alive for longer than the detection time, or that monitoring reports, and since when."""
    found = {name: why.since for name, why in ailing(health, settings, now).items() if name in world.nodes and world.nodes[name].managed}
    for name, node in world.nodes.items():
        if node.managed and not world.alive(node) and node.ready_since + DETECTION_SECONDS <= now:
            found[name] = min(found.get(name, now), node.ready_since)
    return found


def _well_since(world: World, health: Health, settings: Settings, name: str) -> int | None:
    """From when on a node has been sound for the hysteresis, as far as its object and this process's memory tell; None: it is not."""
    node = world.nodes[name]
    if not world.alive(node) or health.seen(name).whole_since < 0:
        return None
    return max(node.ready_since, health.settled_at(name, settings)) + settings.hysteresis_seconds


def _announced(world: World, names: Iterable[str], instant: int) -> set[str]:
    """Those of the nodes that were to be out of service then."""
    text = format_time(instant)
    lasting = [raw for raw in world.outages.values() if text_at(raw, "spec", "type") in ANNOUNCED and lasts(raw, text)]
    return {name for name in names if any(takes(raw, name, world) for raw in lasting)} if lasting else set()
