"""One planning case from manifests: the problem that `laycan plan` solves and `laycan check-plan` checks.

Without status every contract is taken as accepted, or as a candidate with `admit`. A status, as in an export of a cluster, is
believed: what is over is left out, what was accepted stays so, and its bindings are the announced ones unless others are given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

from laycan.planning.manifests import BadInputError, Manifests, ReadContract
from laycan.planning.pools import Pools
from laycan.planning.problem import bindings_from, contract_from, grade_of, node_from, outage_from, products_from
from laycan.resources.product import ProductSpec
from laycan.resources.validate import against_product
from laycan_solver.model import Binding, Contract, Node, Problem

PROMISED = ("Accepted", "Delivering")
OVER = ("Rejected", "Expired", "Cancelled", "Terminated", "Delivered", "Settled")


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
    live = [contract for contract in manifests.contracts.values() if _is_live(contract, manifests.notes)]
    lines = [line for contract in live for line in _reference_faults(contract, manifests.products)] + _currency_faults(live)
    if lines:
        raise BadInputError(lines)
    announced = previous if previous is not None else [b for c in live for b in bindings_from(c.key, c.status)]
    promised = {b.contract for b in announced}  # what was announced has been accepted, and is never decided again
    contracts = tuple(_contract(c, manifests.products, (admit and c.key not in promised) or c.key in candidates) for c in live)
    labels = {name: raw["metadata"].get("labels") or {} for name, raw in manifests.nodes.items()}
    handovers = any(contract.holder for contract in contracts)
    pools = Pools.of(manifests.products) if handovers else Pools()
    return Problem(
        now=now,
        nodes=_nodes(manifests, handovers, pools),
        products=products_from(manifests.products, pools),
        contracts=contracts,
        outages=tuple(outage_from(name, spec, labels) for name, spec in manifests.outages.items()),
        previous=tuple(_of_known(announced, contracts, manifests.notes)),
    )


def _contract(contract: ReadContract, products: dict[str, ProductSpec], candidate: bool) -> Contract:
    quantities, phase = contract.status.get("quantities"), contract.status.get("phase")
    curtailed = quantities.get("curtailedGpuSeconds", 0) if isinstance(quantities, dict) else 0
    return contract_from(
        contract.key,
        contract.spec,
        products[contract.spec.terms.product_ref.name],
        created=contract.created,
        phase=str(phase),
        curtailed_gpu_seconds=curtailed if isinstance(curtailed, int) else 0,
        accepted=phase in PROMISED or not candidate,
    )


def _nodes(manifests: Manifests, handovers: bool, pools: Pools) -> tuple[Node, ...]:
    """The fleet is all nodes given. A node whose GPUs no ResourceSlice lists can only be handed over as a whole, which matters to
    contracts with a handover alone; without any, every node is planned GPU by GPU."""
    nodes = tuple(
        node_from(raw, level=pools.level(grade_of(raw), exact=not handovers or name in manifests.sliced), pools=pools)
        for name, raw in manifests.nodes.items()
    )
    if away := sum(not node.usable for node in nodes):
        manifests.notes.append(f"{away} of {len(nodes)} nodes are not Ready and serve nothing")
    return nodes


def _is_live(contract: ReadContract, notes: list[str]) -> bool:
    phase = contract.status.get("phase")
    if contract.spec.intent == "Quote":
        notes.append(f"{contract.where}: passed over; a quote promises nothing")
        return False
    if phase in OVER:
        notes.append(f"{contract.where}: passed over; it is {phase}")
        return False
    return True


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
