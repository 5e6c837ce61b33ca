"""One planning case from manifests: the problem that `laycan plan` solves and `laycan check-plan` checks.

Without status every contract is taken as accepted, or as a candidate with `admit`. A status, as in an export of a cluster, is
believed: what is over is left out, what was accepted stays so, and its bindings are the announced ones unless others are given.
In a bundle of a cluster (`planning.bundle`) what is not decided yet is a candidate, as it is to the operator, and held quotes count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from laycan.planning.fitness import Cards, quarantined, usable
from laycan.planning.holds import as_hold, holds, taken_up
from laycan.planning.manifests import OVER, PROMISED, BadInputError, Manifests, ReadContract
from laycan.planning.pools import Pools
from laycan.planning.problem import bindings_from, contract_from, grade_of, node_from, outage_from, products_from
from laycan.resources.planned import is_planned
from laycan.resources.product import ProductSpec
from laycan.resources.times import format_time, parse_time
from laycan.resources.validate import against_product
from laycan_solver.model import Binding, Contract, Level, Node, Problem

Raw = Mapping[str, Any]


def problem_of(
    manifests: Manifests,
    *,
    now: int,
    previous: Sequence[Binding] | None = None,
    admit: bool = False,
    candidates: Collection[str] = (),
) -> Problem:
    """The planner's problem; `previous` None = the bindings in statuses. `candidates` are keys that are open to refusal.

    Raises BadInputError for references that lead nowhere and for more than one currency.
    """
    live = [contract for contract in manifests.contracts.values() if _is_live(contract, manifests, now)]
    faults = {contract.key: found for contract in live if (found := _reference_faults(contract, manifests.products))}
    open_ = [contract for contract in live if contract.key in faults and _is_open(contract)]  # a cluster has them wait, or refuses them
    manifests.notes += [f"{line}; passed over" for contract in open_ for line in faults.pop(contract.key)]
    passed = {contract.key for contract in open_}
    live = [contract for contract in live if contract.key not in passed]
    lines = [line for found in faults.values() for line in found] + _currency_faults(live)
    if lines:
        raise BadInputError(lines)
    announced = (
        previous if previous is not None else [b for c in live for b in bindings_from(c.key, c.status) if not c.given or b.end > now]
    )
    promised = {b.contract for b in announced}  # what was announced has been accepted, and is never decided again
    contracts = tuple(
        _contract(c, manifests.products, (admit and c.key not in promised) or c.key in candidates or _is_open(c)) for c in live
    )
    labels = {name: raw["metadata"].get("labels") or {} for name, raw in manifests.nodes.items()}
    pools = Pools.of(manifests.products) if _by_node(manifests, contracts) else Pools()
    return Problem(
        now=now,
        nodes=_nodes(manifests, contracts, pools, now),
        products=products_from(manifests.products, pools, manifests.product_statuses),
        contracts=contracts,
        outages=tuple(outage_from(name, spec, labels) for name, spec in manifests.outages.items() if _is_planned(manifests, name, now)),
        previous=tuple(_of_known(announced, contracts, manifests.notes)),
    )


def _is_planned(manifests: Manifests, outage: str, now: int) -> bool:
    """Whether an outage counts: in files each, in a cluster what is a fact, and maintenance that was judged and may go ahead."""
    raw = manifests.judged_outages.get(outage)
    return raw is None or is_planned(raw, format_time(now))


def _is_open(contract: ReadContract) -> bool:
    """Whether a cluster has yet to decide it."""
    return contract.given and contract.spec.intent != "Quote" and contract.phase not in PROMISED


def _by_node(manifests: Manifests, contracts: Iterable[Contract]) -> bool:
    """Whether nodes may have to be handed over as a whole: in a cluster, and where contracts name a holder."""
    return manifests.taken is not None or any(contract.holder for contract in contracts)


def _contract(contract: ReadContract, products: dict[str, ProductSpec], candidate: bool) -> Contract:
    quantities, phase = contract.status.get("quantities"), contract.status.get("phase")
    curtailed = quantities.get("curtailedGpuSeconds", 0) if isinstance(quantities, dict) else 0
    planned = contract_from(
        contract.key,
        contract.spec,
        products[contract.spec.terms.product_ref.name],
        created=contract.created,
        phase=str(phase),
        curtailed_gpu_seconds=curtailed if isinstance(curtailed, int) else 0,
        accepted=phase in PROMISED or not candidate,
    )
    return as_hold(planned, contract.uid, accepted=True) if contract.spec.intent == "Quote" else planned


def _nodes(manifests: Manifests, contracts: Iterable[Contract], pools: Pools, now: int) -> tuple[Node, ...]:
    """The fleet is all nodes given. A node whose GPUs no ResourceSlice lists can only be handed over as a whole, which matters to
    contracts with a handover alone; without any, every node is planned GPU by GPU. As a node is promised, so it stays."""
    by_node, cards, away = _by_node(manifests, contracts), Cards(manifests, now), quarantined(manifests)
    ahead = _ahead(manifests, now)
    whole, exact = ({b["node"] for b in ahead if b["level"] == level} for level in ("Node", "Device"))
    begun = {b["node"] for b in ahead if b["start"] == format_time(now) or (b["start"] > format_time(now) and b.get("handedOverAt"))}
    nodes = []
    for name, raw in manifests.nodes.items():
        gives = cards.exact(name) if manifests.taken is not None else name in manifests.sliced
        level = pools.level(grade_of(raw), exact=name not in whole and (gives or not by_node))
        level = Level.DEVICE if name in exact - whole else level
        node = node_from(raw, level=level, pools=pools, usable=usable(raw, away), gpus=cards.gpus(raw))
        nodes.append(replace(node, cordoned=False) if node.cordoned and name in begun else node)
    if down := sum(not node.usable for node in nodes):
        failed = len(away & manifests.nodes.keys())
        told = f"not Ready, or in quarantine ({failed}), and" if failed else "not Ready and"
        manifests.notes.append(f"{down} of {len(nodes)} nodes are {told} serve nothing")
    return tuple(nodes)


def _ahead(manifests: Manifests, now: int) -> list[Raw]:
    """Bindings that were promised and are not over, by the statuses of a cluster. To the planner only what began before now runs; what
    begins in this second, or was handed over ahead of its start, is its holder's all the same, and a cordon takes nothing of it away."""
    found = [c for c in manifests.contracts.values() if c.given and c.phase in PROMISED and not c.leaving]
    rows = [b for c in found for b in c.status.get("bindings") or () if isinstance(b, Mapping)]
    return [b for b in rows if str(b.get("end", "")) > format_time(now) and {"node", "level", "start"} <= b.keys()]


def _is_live(contract: ReadContract, manifests: Manifests, now: int) -> bool:
    quotes = contract.spec.intent == "Quote"
    if quotes and (not holds(contract, now) or taken_up(contract, manifests.contracts.values())):
        manifests.notes += [] if contract.given else [f"{contract.where}: passed over; a quote promises nothing"]
        return False
    if contract.phase in OVER or contract.leaving or contract.status.get("endedAt"):
        word = contract.phase if contract.phase in OVER else "being deleted"
        manifests.notes += [] if contract.given else [f"{contract.where}: passed over; it is {word}"]
        return False
    return not _is_open(contract) or parse_time(contract.spec.terms.delivery.end) > max(contract.created, now)


def _reference_faults(contract: ReadContract, products: dict[str, ProductSpec]) -> list[str]:
    terms = contract.spec.terms
    name = terms.product_ref.name
    if name not in products:
        close = get_close_matches(name, products, n=1)
        mend = f"did you mean {close[0]}?" if close else "give the product, or correct the name"
        return [f"{contract.where}: spec.terms.productRef.name: no ComputeProduct {name} is given (UnknownProduct); {mend}"]
    refusal = against_product(terms, products[name])
    return [f"{contract.where}: {refusal.message}"] if refusal else []


def _currency_faults(contracts: Iterable[ReadContract]) -> list[str]:
    priced = [(c.where, c.spec.terms.price.currency) for c in contracts if c.spec.terms.price]
    return [
        f"{where}: spec.terms.price.currency: is {currency}, but {priced[0][0]} has {priced[0][1]} (CurrencyMismatch); plan them apart"
        for where, currency in priced
        if currency != priced[0][1]
    ]


def _of_known(bindings: Iterable[Binding], contracts: Iterable[Contract], notes: list[str]) -> list[Binding]:
    """Announced bindings inside the windows of their contracts; those of contracts that are not given any more announce nothing."""
    known = {c.key: c for c in contracts}
    gone = sorted({b.contract for b in bindings if b.contract not in known})
    if gone:
        notes.append(f"previous bindings of {len(gone)} contracts that are not planned are passed over, the first of {gone[0]}")
    inside = (b._replace(start=max(b.start, c.start), end=min(b.end, c.end)) for b in bindings if (c := known.get(b.contract)))
    return sorted(b for b in inside if b.start < b.end)
