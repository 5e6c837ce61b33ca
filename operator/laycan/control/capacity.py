"""How much there is, how much of it is sold, and how much may fail before somebody is short: the delivery margin. Pure.

All of it is by product. GPUs of one grade count for each product that sells the grade, so figures of such products must not be added
up. Only what is free counts as spare: what an Interruptible contract would give back after its notice does not, nor does another grade
that may stand in, nor are rules of topology looked at. The margin is what is there at once and stays there for a day: what is free now and
sold from noon on covers no failure at noon. What a failed node holds while the breaker keeps it from being given up, nobody has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from laycan.control.conditions import SHORTFALL, is_true
from laycan.control.curtailment import beyond_right, parse_notices
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED
from laycan.control.snapshot import Fleet
from laycan.delivery.devices.exact import gives_devices
from laycan.delivery.metering.served import Due, due
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.planning.pools import Pools
from laycan.planning.problem import grade_of, unplannable
from laycan.resources.product import ProductSpec
from laycan.resources.times import parse_time
from laycan_solver.spans import peak, union

AHEAD_SECONDS, SOON_SECONDS = 30 * 86_400, 86_400


class Busy(NamedTuple):
    """GPUs of a node that somebody has in [start, end)."""

    start: int
    end: int
    gpus: int


class Sold(NamedTuple):
    """A contract that is owed."""

    contract: ContractView
    due: Due
    firm: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one product, in GPUs; `margin` is None while no Firm contract of it runs."""

    in_service: int
    sold: int
    spare: int
    spare_least: int  # in the next 30 days, by the bindings that stand
    sold_ahead_ppm: int  # of the GPU-seconds of the next 30 days
    node_gpus: int
    margin: int | None


def standings(world: World, products: Mapping[str, ProductSpec], fleet: Fleet, now: int, down: Collection[str] = ()) -> dict[str, Standing]:
    """By name of the product. `down`: nodes that have failed and that plans must count on all the same."""
    unusable = fleet.unusable()
    nodes = {n: fleet.planning_gpus(n) for n, v in world.nodes.items() if v.managed and n not in unusable and unplannable(v.raw) is None}
    busy = _busy(world, nodes, now)
    serving = {name: gpus for name, gpus in nodes.items() if name not in down and world.alive(world.nodes[name])}
    free = {name: gpus - sum(b.gpus for b in busy.get(name, ()) if b.start <= now) for name, gpus in serving.items()}
    pools, members = Pools.of(products), defaultdict(list)
    for name in nodes:
        grade = grade_of(world.nodes[name].raw)
        members[pools.name(grade, pools.level(grade, gives_devices(world, name)))].append(name)
    sold = defaultdict(list)
    for each in _sold(world, now):
        sold[each.due.product].append(each)
    return {
        name: _standing([n for pool in pools.accepted(spec) for n in members[pool]], nodes, serving, free, busy, sold[name], spec, now)
        for name, spec in products.items()
    }


def _standing(
    names: Sequence[str],
    nodes: Mapping[str, int],
    serving: Mapping[str, int],
    free: Mapping[str, int],
    busy: Mapping[str, Sequence[Busy]],
    sold: Sequence[Sold],
    spec: ProductSpec,
    now: int,
) -> Standing:
    in_service = sum(nodes[name] for name in names)
    until = now + AHEAD_SECONDS
    ahead = sum(max(0, min(s.due.end, until) - max(s.due.start, now)) * s.due.gpus for s in sold)
    spare = Counter(max(0, free.get(name, 0)) for name in names)

    def least(seconds: int) -> int:
        return max(0, in_service - peak([b for name in names for b in busy.get(name, ()) if b.start < now + seconds]))

    soon = least(SOON_SECONDS)
    slacks = [min(soon, _slack(each, serving, spare, now)) for each in sold if each.firm and each.due.start <= now]
    return Standing(
        in_service=in_service,
        sold=sum(s.due.gpus for s in sold if s.due.start <= now),
        spare=sum(gpus * count for gpus, count in spare.items()),
        spare_least=least(AHEAD_SECONDS),
        sold_ahead_ppm=ahead * 1_000_000 // (in_service * AHEAD_SECONDS) if in_service else 0,
        node_gpus=spec.node_gpus,
        margin=min(slacks, default=None),
    )


def _slack(sold: Sold, serving: Mapping[str, int], spare: Mapping[int, int], now: int) -> int:
    """GPUs that whole lots of this contract could move to now; below 0 what it lacks already. `spare`: free GPUs -> nodes with so many."""
    has: int = sum(min(b["gpus"], serving.get(b["node"], 0)) for b in _running(sold.contract, now))
    if has < sold.due.gpus:
        return has - sold.due.gpus
    lot = sold.due.lot_gpus
    return sum(gpus // lot * lot * count for gpus, count in spare.items())


def _running(contract: ContractView, now: int) -> Iterable[Mapping[str, Any]]:
    return (b for b in contract.status.get("bindings") or () if parse_time(b["start"]) <= now < parse_time(b["end"]))


def _sold(world: World, now: int) -> Iterable[Sold]:
    """What is owed from now on; a contract whose terms cannot be read says nothing here."""
    for contract in world.contracts.values():
        if contract.phase in COMMITTED and not contract.status.get("endedAt"):
            try:
                owed = due(contract)
            except (KeyError, TypeError, ValueError):
                continue
            if now < owed.end:
                yield Sold(contract, owed, text_at(contract.spec, "terms", "firmness", "class") != "Interruptible")


def _busy(world: World, nodes: Mapping[str, int], now: int) -> dict[str, list[Busy]]:
    """By node, what is bound there now or later. A node that is delivered as a whole has nothing left for others."""
    whole: dict[str, list[tuple[int, int]]] = defaultdict(list)
    found: dict[str, list[Busy]] = defaultdict(list)
    for contract in world.contracts.values():
        if contract.phase not in COMMITTED:
            continue
        for binding in contract.status.get("bindings") or ():
            node, start, end = binding["node"], parse_time(binding["start"]), parse_time(binding["end"])
            if node not in nodes or end <= now:
                continue
            if binding["level"] == "Device":
                found[node].append(Busy(start, end, binding["gpus"]))
            else:
                whole[node].append((start, end))
    for node, spans in whole.items():
        found[node] += [Busy(start, end, nodes[node]) for start, end in union(spans)]
    return found


def first_breach(world: World, decisions: Mapping[str, Decision], now: int) -> int | None:
    """Seconds until the plan leaves an accepted contract short for the first time: 0 while one is, None where it leaves none.

    What the terms allow to be curtailed, after notice, is no breach.
    """
    found = []
    for key, contract in world.contracts.items():
        if contract.phase not in COMMITTED:
            continue
        if is_true(contract, SHORTFALL):
            return 0
        decision = decisions.get(key)
        if decision is not None and decision.accepted and decision.undelivered and decision.uid in ("", contract.uid):
            ahead = [u for u in decision.undelivered if not u.refused]
            found += [max(0, u.start - now) for u in beyond_right(ahead, parse_notices(contract.status), now)]
    return min(found, default=None)
