"""The planner's problem, taken from the World at one instant.

A promise counts as made, and as lying where it was decided to be, even while its status is still to be written: a plan that was asked for
meanwhile must not decide it again and differently. What is written, or on its way, counts where nothing is decided, as after a restart, and
where what was decided cannot be reached from it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from laycan.control.claims import holder_of
from laycan.control.contradiction import consistent
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED, UNDECIDED
from laycan.control.makegood import as_planned, pursued
from laycan.control.outages import planned_outages
from laycan.control.quotes import Desk, Hold, as_taker
from laycan.control.specs import Specs
from laycan.delivery.devices.exact import gives_devices
from laycan.delivery.metering.served import due
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.planning.holds import as_asked, as_hold, hold_key
from laycan.planning.pools import Pools
from laycan.planning.problem import bindings_from, contract_from, grade_of, node_from, products_from
from laycan.resources.contract import ContractSpec
from laycan.resources.product import ProductSpec
from laycan.resources.times import format_time
from laycan_solver.model import Binding, Contract, Level, MovePolicy, Node, Problem, Product

log = logging.getLogger(__name__)


class Fleet(Protocol):
    """What delivery knows of the nodes' health."""

    def unusable(self) -> frozenset[str]:
        """Nodes on which nothing may be planned: failed, in quarantine."""

    def planning_gpus(self, name: str) -> int:
        """The GPUs of a node that a plan may count on."""


@dataclass(frozen=True, slots=True)
class Promise:
    """An accepted contract and what it is bound to: in its status, on its way there, or decided."""

    contract: ContractView
    phase: str
    bindings: tuple[Binding, ...]
    whole: frozenset[str] = frozenset()  # of its nodes, those that are delivered as a whole from now on
    exact: frozenset[str] = frozenset()  # and those of which exact GPUs are
    begun: frozenset[str] = frozenset()  # nodes that are its holder's though no second of its time there is over yet


@dataclass(frozen=True, slots=True)
class Snapshot:
    problem: Problem
    versions: Mapping[str, tuple[str, int]]  # contract key -> (uid, generation) that was planned or asked for
    making_good: frozenset[str] = frozenset()  # keys of contracts that are planned for what they missed in their window
    holds: Mapping[str, str] = field(default_factory=dict)  # key of what is planned to keep a quote's capacity -> the quote's
    quotes: tuple[Contract, ...] = ()  # that are to be answered, as they ask


def promises(
    world: World,
    in_flight: Mapping[str, Mapping[str, Any]],
    decisions: Mapping[str, Decision],
    unusable: frozenset[str],
    now: int,
    unreached: Collection[str] = (),
) -> dict[str, Promise]:
    """All promises that run, by contract; `unreached`: keys of those for which only what is written counts."""
    found, today = {}, format_time(now)
    for key, contract in world.contracts.items():
        status = in_flight.get(key, contract.status)
        phase = str(status.get("phase", ""))
        if contract.deleting or status.get("endedAt"):
            continue
        decided = _decided(contract, decisions.get(key))
        if phase in COMMITTED:
            ahead = [(b["node"], b["level"]) for b in status.get("bindings") or () if b["end"] > today]
            begun = {b["node"] for b in status.get("bindings") or () if _begins(b, today)}
            written = tuple(bindings_from(key, status))
            bound = written if decided is None or key in unreached else _joined(written, decided, now)
            found[key] = Promise(contract, phase, bound, _at(ahead, "Node"), _at(ahead, "Device"), frozenset(begun))
        elif contract.phase in UNDECIDED and decided is not None and all(b.node in world.nodes and b.node not in unusable for b in decided):
            ahead = [(b.node, b.level) for b in decisions[key].bindings]
            bound = () if key in unreached else decided
            found[key] = Promise(contract, "Accepted", bound, _at(ahead, "Node"), _at(ahead, "Device"))
    return found


def _begins(binding: Mapping[str, Any], today: str) -> bool:
    """In this second, or handed over ahead of its start."""
    return bool(binding["start"] == today or (binding["start"] > today and binding.get("handedOverAt")))


def _at(bindings: Iterable[tuple[str, str]], level: str) -> frozenset[str]:
    return frozenset(node for node, each in bindings if each == level)


def _joined(written: Iterable[Binding], decided: Iterable[Binding], now: int) -> tuple[Binding, ...]:
    """What was had until now, and where it was decided to be from now on.

    Who comes next keeps the turnaround from the former, and it tells the grade where a product was deleted. What begins with a decision
    that is still to be written does not run yet, so a node that is cordoned meanwhile does not take it.
    """
    past = [binding._replace(end=min(binding.end, now)) for binding in written if binding.start < now]
    runs = {binding.node for binding in past if binding.end == now}
    ahead = [binding if binding.node in runs else binding._replace(start=max(binding.start, now)) for binding in decided]
    return (*past, *(binding for binding in ahead if binding.start < binding.end))


def _decided(contract: ContractView, decision: Decision | None) -> tuple[Binding, ...] | None:
    """Where a promise was decided to be, nowhere while all of it is curtailed; None without one."""
    if decision is None or decision.accepted is not True or decision.uid != contract.uid:
        return None
    return tuple(Binding(contract.key, b.node, b.product, b.gpus, b.start, b.end) for b in decision.bindings)


def take(
    world: World,
    specs: Specs,
    made: Mapping[str, Promise],
    desk: Desk,
    fleet: Fleet,
    now: int,
    *,
    make_good: bool = True,
) -> Snapshot:
    """What was promised is planned whatever its spec looks like today.

    Without `make_good` nothing is planned, or stays bound, for what was missed in windows that are over.
    """
    products = specs.products(world)
    pools = Pools.of(products)
    nodes = tuple(_nodes(world, fleet, pools, made))
    versions: dict[str, tuple[str, int]] = {}
    contracts: list[Contract] = []
    making_good: set[str] = set()
    stand_ins: dict[str, Product] = {}
    kept: list[tuple[Contract, Product, Binding]] = []
    for view, phase, accepted in [(p.contract, p.phase, True) for p in made.values()] + [(c, c.phase, False) for c in desk.candidates]:
        spec = specs.contract(view)
        if not isinstance(spec, ContractSpec):
            log.error("%s was accepted and cannot be read any more, so it keeps what it has: %s", view.key, spec[0])
            kept += _keep(made[view.key], nodes, now)
            continue
        name = spec.terms.product_ref.name
        if name not in products:
            stand_ins[name] = _stand_in(name, made, nodes)
        curtailed = int((view.status.get("quantities") or {}).get("curtailedGpuSeconds") or 0)
        sold = products.get(name) or _NO_TERMS
        planned = contract_from(view.key, spec, sold, created=view.created, phase=phase, curtailed_gpu_seconds=curtailed, accepted=accepted)
        more = pursued(view.key, view.status, due(view), now) if accepted and make_good else None
        planned = as_taker(planned) if view.key in desk.takers else planned
        if accepted and view.phase in UNDECIDED and planned.notice_seconds is not None:
            planned = replace(planned, unwritten=True)  # who got what it has, and is written first, would have it alone after a restart
        contracts.append(as_planned(planned, more) if more is not None else planned)
        versions[view.key] = view.uid, view.generation
        making_good |= {view.key} if more is not None else set()
    promised = [b for key, p in made.items() if key in versions for b in p.bindings if b.end > now and _stays(b, p, key in making_good)]
    held, quotes = _of_desk(desk, specs, products)
    whole = {node.name for node in nodes if node.level is Level.NODE}
    owners = world.fence.nodes if world.fence else {}
    statuses = {name: raw.get("status") for name, raw in world.products.items()}
    previous = consistent(promised, whole.__contains__, lambda key: holder_of(made[key].contract.spec), owners)
    problem = Problem(
        now=now,
        nodes=nodes,
        products=(*products_from(products, pools, statuses), *stand_ins.values(), *{p.name: p for _, p, _ in kept}.values()),
        contracts=tuple(sorted((*contracts, *held, *(contract for contract, _, _ in kept)), key=lambda c: c.key)),
        outages=planned_outages(world, specs, now),
        previous=tuple(sorted((*previous, *_ahead(desk.holds, now), *(binding for _, _, binding in kept)))),
    )
    versions |= {view.key: (view.uid, view.generation) for view in (*(hold.quote for hold in desk.holds), *desk.quotes)}
    asking = (*(hold.quote.key for hold in desk.holds), *desk.kept)
    return Snapshot(problem, versions, frozenset(making_good), {hold_key(key): key for key in asking}, quotes)


def _of_desk(desk: Desk, specs: Specs, products: Mapping[str, ProductSpec]) -> tuple[list[Contract], tuple[Contract, ...]]:
    """(holds that last and those that are asked for, quotes as they ask); of what can be read."""
    held, quotes = [], []
    for view, accepted in [(hold.quote, True) for hold in desk.holds] + [(view, False) for view in desk.quotes]:
        spec = specs.contract(view)
        sold = products.get(spec.terms.product_ref.name) if isinstance(spec, ContractSpec) else None
        if not isinstance(spec, ContractSpec) or sold is None:
            continue
        asked = contract_from(view.key, spec, sold, created=view.created, accepted=False)
        if accepted or view.key in desk.kept:
            held.append(as_hold(asked, view.uid, accepted=accepted))
        if not accepted:
            quotes.append(as_asked(asked, view.uid))
    return held, tuple(quotes)


def _ahead(holds: Iterable[Hold], now: int) -> list[Binding]:
    return [binding for hold in holds for binding in hold.bindings if binding.end > now]


def _stays(binding: Binding, promise: Promise, making_good: bool) -> bool:
    """What makes good lies after the window, and is nobody's when it is not planned any more."""
    return making_good or binding.start < due(promise.contract).end


_NO_TERMS = ProductSpec.model_validate({"gpuProducts": ["none"], "nodeGpus": 1})


def _stand_in(name: str, made: Mapping[str, Promise], nodes: tuple[Node, ...]) -> Product:
    """For a product that was deleted under a promise: what the promise is bound to today is still the grade that was sold."""
    bound = {b.node for p in made.values() for b in p.bindings if b.product == name}
    if not bound:  # all of it is delivered in an equivalent grade
        bound = {b.node for p in made.values() for b in p.bindings if text_at(p.contract.spec, "terms", "productRef", "name") == name}
    return Product(name=name, grades=frozenset(n.grade for n in nodes if n.name in bound and n.grade))


def _keep(promise: Promise, nodes: tuple[Node, ...], now: int) -> list[tuple[Contract, Product, Binding]]:
    """For a promise whose terms cannot be read: each of its bindings as a contract of its own, so that nobody else is planned there."""
    view, found = promise.contract, {node.name: node for node in nodes if node.usable}
    holder = holder_of(view.spec) or f"unread.{view.uid}"  # no namespace: it shares with nobody
    kept = []
    for number, bound in enumerate(promise.bindings):
        node = found.get(bound.node)
        if node is None or bound.end <= now:
            continue
        key = f"{view.key}#{number}"
        product = Product(name=f"kept/{node.name}", grades=frozenset({node.grade}), move_policy=MovePolicy.FORCED)
        contract = Contract(
            key=key,
            contract_id=key,
            product=product.name,
            start=bound.start,
            end=bound.end,
            gpus=bound.gpus,
            lot_gpus=bound.gpus,
            holder=holder,
            price_micros=_DEAR_MICROS,
            due_from=view.created,
            delivering=True,
        )
        kept.append((contract, product, bound._replace(contract=key, product=product.name)))
    return kept


_DEAR_MICROS = 1_000_000_000  # dearer than what is sold: where not all fits, the others give way


def _nodes(world: World, fleet: Fleet, pools: Pools, made: Mapping[str, Promise]) -> list[Node]:
    """The fleet. As a node is promised, whole or by exact GPUs, so it stays until nobody holds it so any more.

    That its GPUs are not published just now (a restart of their driver), or what some other product asks for by now, changes nothing.
    A cordon takes nothing away that is handed over; to the planner only what began before now runs, so it waits that second.
    """
    begun = frozenset().union(*(promise.begun for promise in made.values()))
    whole = frozenset().union(*(promise.whole for promise in made.values()))
    exact = frozenset().union(*(promise.exact for promise in made.values())) - whole
    unusable, found = fleet.unusable(), []
    for name, view in sorted(world.nodes.items()):
        if view.managed:
            level = pools.level(grade_of(view.raw), exact=name not in whole and gives_devices(world, name))
            level = Level.DEVICE if name in exact else level
            gpus = fleet.planning_gpus(name)
            node = node_from(view.raw, level=level, pools=pools, usable=name not in unusable, gpus=gpus)
            found.append(replace(node, cordoned=False) if node.cordoned and name in begun else node)
    return found
