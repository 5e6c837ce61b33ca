"""From resources to the planner's data model, object by object. The operator and `laycan plan` use the same functions.

What a resource leaves unsaid gets its meaning here and nowhere else: price 1.00, all or nothing with a scope, the product's
interruption terms. Nothing here raises for an object that passed `laycan.resources.validate`, nor for any Node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from laycan.planning.pools import Pools
from laycan.planning.reliability import Measured
from laycan.resources.constants import (
    GPU_RESOURCE,
    GRADE_LABEL,
    MIG_RESOURCE_PREFIX,
    REPLICAS_LABEL,
    SHARING_LABEL,
    TOPOLOGY_LABELS,
)
from laycan.resources.contract import ContractSpec
from laycan.resources.money import MICROS, parse_money
from laycan.resources.outage import OutageSpec
from laycan.resources.product import CURE_SECONDS, ProductSpec
from laycan.resources.terms import Delivery, Terms
from laycan.resources.times import format_time, parse_time
from laycan_solver.model import FOREVER, Binding, Contract, Level, MovePolicy, Node, Outage, OutageType, Product, Reliability, Scope

Raw = Mapping[str, Any]
Topology = Mapping[str, Sequence[str]]  # level -> label keys, of which the first present counts

SCOPES = {"Any": Scope.ANY, "Zone": Scope.ZONE, "Fabric": Scope.FABRIC, "Rack": Scope.RACK, "NVLinkDomain": Scope.NVLINK_DOMAIN}
MOST_GPUS = 65_536  # of a contract, hence of a binding
LAST = "~"  # sorts after every time and identifier: who does not say when he traded comes after those who do


def _mapping(value: Any) -> Raw:
    return value if type(value) is dict or isinstance(value, Mapping) else {}  # an abstract class is slow to ask


def _labels(raw: Raw) -> Raw:
    return _mapping(_mapping(raw.get("metadata")).get("labels"))


def gpu_count(quantity: Any) -> int | None:
    """GPUs of a Kubernetes quantity; None if it is no plain count."""
    if isinstance(quantity, str) and len(quantity) < 10 and quantity.isascii() and quantity.isdigit():
        return int(quantity)
    return quantity if isinstance(quantity, int) and not isinstance(quantity, bool) and quantity >= 0 else None


def healthy_gpus(raw: Raw) -> int:
    """The smaller of what is in the node and what its device plugin calls allocatable; 0 where neither is a count."""
    status = _mapping(raw.get("status"))
    counts = [_mapping(status.get(key)).get(GPU_RESOURCE, 0) for key in ("capacity", "allocatable") if key in status]
    return min((gpu_count(count) or 0 for count in counts), default=0)


def is_ready(raw: Raw) -> bool:
    """Whether the node's Ready condition is True; a node without one is not."""
    conditions = _mapping(raw.get("status")).get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        told = _mapping(condition)
        if told.get("type") == "Ready" and told.get("status") == "True":
            return True
    return False


def unplannable(raw: Raw) -> str | None:
    """Why the GPUs that a node reports are not whole physical GPUs: sharing or MIG. None if they are."""
    labels, capacity = _labels(raw), _mapping(_mapping(raw.get("status")).get("capacity"))
    if (sharing := labels.get(SHARING_LABEL, "none")) not in ("none", ""):
        return f"its GPUs are shared (label {SHARING_LABEL}: {sharing}), so its count of GPUs is not one of physical GPUs"
    if labels.get(REPLICAS_LABEL, "1") not in ("", "0", "1"):
        return f"each GPU is counted {labels[REPLICAS_LABEL]} times (label {REPLICAS_LABEL})"
    slices = sorted(key for key, count in capacity.items() if str(key).startswith(MIG_RESOURCE_PREFIX) and gpu_count(count) != 0)
    if slices or "-MIG-" in str(labels.get(GRADE_LABEL, "")):
        return f"its GPUs are partitioned by MIG ({', '.join(slices) or labels[GRADE_LABEL]})"
    return None


def grade_of(raw: Raw) -> str:
    """The hardware of a Node object, "" where nobody has labelled it."""
    return str(_labels(raw).get(GRADE_LABEL, ""))


def node_from(
    raw: Raw,
    *,
    level: Level,
    pools: Pools = Pools(),  # noqa: B008 - immutable
    usable: bool | None = None,
    gpus: int | None = None,
    topology: Topology = TOPOLOGY_LABELS,
) -> Node:
    """A Node object as the planner sees it.

    `usable` and `gpus` override what the object says at this second: the operator knows of quarantine and waits out short faults.
    A level without a label makes the node a domain of its own (`node/<name>`, which no label value can be).
    """
    labels, name = _labels(raw), str(_mapping(raw.get("metadata")).get("name", ""))
    alone = f"node/{name}"
    return Node(
        name=name,
        grade=pools.name(grade_of(raw), level),
        gpus=healthy_gpus(raw) if gpus is None else gpus,
        domains=(
            _domain(labels, topology["Zone"], alone),
            _domain(labels, topology["Fabric"], alone),
            _domain(labels, topology["Rack"], alone),
            _domain(labels, topology["NVLinkDomain"], alone),
        ),
        usable=(is_ready(raw) if usable is None else usable) and unplannable(raw) is None,
        cordoned=bool(_mapping(raw.get("spec")).get("unschedulable", False)),
        level=level,
    )


def _domain(labels: Raw, keys: Sequence[str], alone: str) -> str:
    for key in keys:
        if value := labels.get(key):
            return str(value)
    return alone


def products_from(
    specs: Mapping[str, ProductSpec],
    pools: Pools = Pools(),  # noqa: B008 - immutable
    statuses: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Product, ...]:
    """All products by name; equivalents that are not among them, or do not promise the level that was sold, are left out.

    `statuses`: name -> status, which says how often its nodes failed here.
    """
    products = []
    for name, spec in sorted(specs.items()):
        move = spec.planning.move if spec.planning else None
        products.append(
            Product(
                name=name,
                grades=pools.accepted(spec),
                turnaround_seconds=spec.turnaround_seconds or 0,
                equivalents={
                    e.product: parse_money(e.cost_per_gpu_hour) for e in spec.equivalents or () if _may_stand_in(specs, e.product, spec)
                },
                move_seconds=900 if move is None or move.seconds is None else move.seconds,
                move_policy=MovePolicy(move.policy) if move and move.policy else MovePolicy.RESCUE,
                moves_per_month=4 if move is None or move.per_month is None else move.per_month,
                notice_seconds=spec.interruption.notice_seconds if spec.interruption else None,
                curtailable_seconds=spec.interruption.max_hours * 3_600 if spec.interruption else 0,
                lot_gpus=spec.lot_gpus or 1,
                reliability=reliability_from(spec, Measured.of(statuses.get(name))),
            )
        )
    return tuple(products)


def reliability_from(spec: ProductSpec, measured: Measured) -> Reliability:
    """How nodes of the product fail, by what was measured, and what its promise asks of that."""
    return Reliability(
        failures_ppm=measured.failures_ppm,
        repair_seconds=measured.mean_repair_seconds,
        cure_seconds=spec.tolerance.cure_seconds if spec.tolerance else CURE_SECONDS,
        target_ppm=spec.target.shortfall_ppm if spec.target else None,
    )


def _may_stand_in(specs: Mapping[str, ProductSpec], name: str, sold: ProductSpec) -> bool:
    """Whether the equivalent is there, and promises the level that was sold."""
    return name in specs and sold.level in (None, specs[name].level)


def contract_from(
    key: str,
    spec: ContractSpec,
    product: ProductSpec,
    *,
    created: int = 0,
    phase: str = "",
    curtailed_gpu_seconds: int = 0,
    accepted: bool = True,
) -> Contract:
    """A validated contract of the key `namespace/name` as the planner sees it.

    `created` is the creationTimestamp in Unix seconds (0 = unknown): a contract owes from its creation, not from an earlier start.
    """
    terms, delivery = spec.terms, spec.terms.delivery
    price = terms.price
    multiple = price.shortfall_multiple_ppm if price else None
    notice, curtailable = _curtailment(terms, product, curtailed_gpu_seconds)
    return Contract(
        key=key,
        contract_id=terms.contract_id,
        product=terms.product_ref.name,
        start=parse_time(delivery.start),
        end=parse_time(delivery.end),
        gpus=delivery.gpus,
        lot_gpus=delivery.lot_gpus,
        holder=delivery.handover.namespace if delivery.handover else "",
        scope=SCOPES[delivery.scope or "Any"],
        spread_level=SCOPES[delivery.spread.level] if delivery.spread else Scope.ANY,
        spread_domains=delivery.spread.min_domains if delivery.spread else 1,
        all_or_nothing=_all_or_nothing(delivery),
        firm=not terms.firmness or terms.firmness.class_ == "Firm",
        priority=(terms.firmness.priority if terms.firmness else 0) or 0,
        notice_seconds=notice,
        curtailable_seconds=curtailable,
        substitution=terms.substitution is not None and terms.substitution.policy == "EquivalentGrade",
        price_micros=parse_money(price.amount) if price else MICROS,
        multiple_ppm=1_000_000 if multiple is None else multiple,
        forced_moves_only=delivery.move_policy == "Forced",
        accepted=accepted,
        admission_order=(format_time(created) if created else LAST, terms.trade_time or LAST, terms.contract_id),
        due_from=created,
        delivering=phase == "Delivering",
    )


def _all_or_nothing(delivery: Delivery) -> bool:
    if delivery.partial is not None:
        return delivery.partial == "AllOrNothing"
    return (delivery.scope or "Any") != "Any" or delivery.spread is not None


def _curtailment(terms: Terms, product: ProductSpec, curtailed_gpu_seconds: int) -> tuple[int | None, int]:
    """(notice, what is left per lot) in seconds of an Interruptible contract's right of curtailment; (None, 0) without one."""
    firmness = terms.firmness
    right = (firmness.interruption or product.interruption) if firmness and firmness.class_ == "Interruptible" else None
    if right is None:
        return None, 0
    return right.notice_seconds, max(0, right.max_hours * 3600 - curtailed_gpu_seconds // terms.delivery.gpus)


def outage_from(name: str, spec: OutageSpec, node_labels: Mapping[str, Raw]) -> Outage:
    """An outage with the nodes that it hits now; `node_labels`: node -> labels of all nodes known."""
    if spec.nodes is not None:
        nodes = frozenset(spec.nodes)
    else:
        wanted = spec.node_selector or {}
        nodes = frozenset(n for n, labels in node_labels.items() if all(labels.get(key) == value for key, value in wanted.items()))
    end = parse_time(spec.end) if spec.end else FOREVER
    return Outage(name=name, type=OutageType(spec.type), nodes=nodes, start=parse_time(spec.start), end=end)


def bindings_from(key: str, status: Raw) -> list[Binding]:
    """The bindings in a contract's status; an entry that is not well formed is no binding and is left out."""
    entries = status.get("bindings")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            start, end, gpus = parse_time(entry["start"]), parse_time(entry["end"]), int(entry["gpus"])
            found.append(Binding(key, str(entry["node"]), str(entry["product"]), gpus, start, end))
        except (KeyError, TypeError, ValueError):
            continue
    return [b for b in found if b.start < b.end and 0 < b.gpus <= MOST_GPUS]
