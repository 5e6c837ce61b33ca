"""When a contract's status must be looked at again although nothing changes but the clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from laycan.control.instructed import Instructed
from laycan.control.lifecycle import COMMITTED
from laycan.control.makegood import PERIOD_SECONDS, MakeGood
from laycan.control.tolerance import Tolerance, tolerance
from laycan.delivery.faults.fitness import instants, policy_of
from laycan.delivery.lead import lead_seconds
from laycan.delivery.metering.proof import silences, unproven
from laycan.delivery.metering.reading import parse_reading
from laycan.delivery.metering.served import Bound, Due, due
from laycan.delivery.metering.sharing import Sharing
from laycan.kube.instruction_views import FINAL
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.times import parse_time
from laycan.settings import Settings

DISPUTE_SECONDS = 259_200  # of an endpoint that names none
_DEFAULTS = Settings.model_validate({})


def next_wake(contract: ContractView, now: int, world: World | None = None, settings: Settings = _DEFAULTS) -> int | None:
    """The first instant after `now` (Unix seconds) that may change the status by itself; None: none is known.

    Without `world` the default grace and cure are taken, and the default time for disputes; without `settings` their defaults.
    """
    instructed = _instructed(contract, world)
    if contract.phase == "Delivered":
        return _after(chain(_settling(contract, world), instructed), now)
    if contract.phase == "Quoted":
        offer = contract.status.get("offer")
        return parse_time(offer["validUntil"]) + 1 if offer else now + 1
    if contract.phase not in COMMITTED:
        return None
    owed = due(contract)
    bounds = [Bound.parse(b) for b in contract.status.get("bindings") or ()]
    instants = _instants(contract, owed, bounds, tolerance(contract, world), world or World(), settings, now)
    return _after(chain(instants, instructed), now)


def _after(instants: Iterable[int], now: int) -> int | None:
    return min((at for at in instants if at > now), default=None)


def _instructed(contract: ContractView, world: World | None) -> Iterator[int]:
    """When an instruction takes effect."""
    for key in world.instructions_on.get(contract.key, ()) if world else ():
        view = world.instructions[key] if world else None
        if view is not None and view.phase not in FINAL:
            yield view.effective


def _settling(contract: ContractView, world: World | None) -> Iterator[int]:
    if contract.exchange and contract.status.get("phaseSince"):
        endpoint = world.endpoints.get(contract.exchange) if world else None
        yield parse_time(contract.status["phaseSince"]) + dispute_seconds(endpoint or {})


def dispute_seconds(endpoint: Mapping[str, Any]) -> int:
    """How long an exchange may dispute a delivery; `endpoint` is its raw object."""
    named: int | None = (endpoint.get("spec") or {}).get("disputeSeconds")
    return DISPUTE_SECONDS if named is None else named


def _instants(
    contract: ContractView, owed: Due, bounds: list[Bound], allowed: Tolerance, world: World, settings: Settings, now: int
) -> Iterator[int]:
    yield from (owed.start, owed.start + 1, owed.end, owed.end + settings.meter_lag_seconds)
    reading, sharing = parse_reading(contract.status), Sharing(world, bounds, contract.key)
    for bound in bounds:
        near = bound.start - lead_seconds(bound.product, world.products, world.fence, settings)
        yield from (near, bound.start, bound.end)
        if near <= now < bound.end:
            yield from instants(world, bound.node, contract, settings, now)
            yield from sharing.changes(bound)
        if bound.metered_since is not None:
            yield from silences(world, bound, max(reading.until, owed.start), settings.estimate_wait_seconds)
    if now >= owed.end and MakeGood.parse(contract.status).lots:
        yield owed.end + PERIOD_SECONDS
        yield from (bound.end + settings.meter_lag_seconds for bound in bounds)
    for notice in contract.status.get("curtailments") or ():
        yield from (parse_time(notice["start"]), parse_time(notice["end"]))
    if now < owed.start:
        return
    due_at = max(reading.until, owed.start) + settings.meter_seconds + settings.meter_lag_seconds
    yield due_at if due_at > now else now + settings.meter_seconds  # it waits for agents, whose reports wake nobody
    onsets = [g.start for g in reading.gaps] + [b.start for b in bounds] + [b.end for b in bounds] + [owed.start]
    onsets += [at for o in reading.counters.outages for at in (o.since, reading.until - o.seconds)] if reading.counters else []
    policy = policy_of(world, contract)
    onsets += [g.start for b in bounds for g in unproven(world, b, policy, owed.lot_gpus, sharing, reading.until, now)]
    caused = Instructed.parse(contract.status).caused
    for onset in [*onsets, *(c.end for c in caused)]:
        buyers = sum(max(0, c.end - max(c.start, onset, reading.until)) for c in caused)  # a hold, say: an outage goes on after it
        for began in {onset, onset + buyers}:
            yield from (began + allowed.grace_seconds + 1, began + allowed.cure_seconds)
