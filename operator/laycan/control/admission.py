"""What can be said of a contract before any planning: is it well-formed, and is everything there that it names?

A contract that fails here is refused at once and on its own; the others never wait for it. References are given a moment: one
`kubectl apply` creates a product, a namespace and the contract that names them in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from laycan.control.confirmations import unconfirmed
from laycan.control.decision import Decision, Reason
from laycan.control.lifecycle import UNDECIDED, Phase
from laycan.control.specs import Specs
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources import validate
from laycan.resources.contract import ContractSpec
from laycan.resources.times import parse_time
from laycan.settings import Settings

SETTLING_SECONDS = 5  # what a contract names may arrive so much later than the contract
_AWAITED = frozenset({"UnknownProduct", "UnknownExchange", "HandoverNamespace"})


@dataclass(slots=True)
class Screening:
    """`candidates` may be planned, `quotes` answered; `decided` need no plan; `wake` is when one that waits is to be looked at again."""

    candidates: list[ContractView] = field(default_factory=list)
    quotes: list[ContractView] = field(default_factory=list)
    decided: dict[str, Decision] = field(default_factory=dict)
    wake: int | None = None

    def wait_until(self, at: int) -> None:
        self.wake = at if self.wake is None else min(self.wake, at)


def screen(world: World, specs: Specs, settings: Settings, now: int, promised: Collection[str] = ()) -> Screening:
    """Sorts the undecided contracts, oldest first; `promised` are those that have an answer that is not written yet."""
    found = Screening()
    holders = _holders_of_ids(world)
    undecided = [c for c in world.contracts.values() if c.phase in UNDECIDED and not c.deleting and c.key not in promised]
    undecided = [c for c in undecided if not (c.phase == Phase.QUOTED and c.is_quote)]  # answered
    for contract in sorted(undecided, key=_seniority):
        spec = specs.contract(contract)
        if not isinstance(spec, ContractSpec):
            found.decided[contract.key] = _decision(contract, validate.malformed(spec), now)
        elif (refusal := _refusal(contract, spec, world, specs, settings, holders, now)) is not None:
            _refuse(found, contract, refusal, now)
        elif spec.intent == "Quote":
            found.quotes.append(contract)
        else:
            found.candidates.append(contract)
    _one_currency(found, world, promised, now)
    return found


def _one_currency(found: Screening, world: World, promised: Collection[str], now: int) -> None:
    """Sums of two currencies mean nothing: the oldest promise decides which one this operator uses."""
    made = [c for c in world.contracts.values() if c.key in promised or (c.phase not in UNDECIDED and c.phase != Phase.REJECTED)]
    settled = _first_currency(sorted(made, key=_seniority))
    currency = settled or _first_currency(found.candidates) or _first_currency(found.quotes)
    others = [c for c in (*found.candidates, *found.quotes) if _currency(c) not in ("", currency)]
    found.candidates = [c for c in found.candidates if _currency(c) in ("", currency)]
    found.quotes = [c for c in found.quotes if _currency(c) in ("", currency)]
    for contract in others if settled else ():  # without a promise the first candidate may yet be refused: the others wait for it
        text = f"spec.terms.price.currency: is {_currency(contract)}, but this operator's contracts are in {settled}"
        found.decided[contract.key] = _decision(contract, validate.Refusal("CurrencyMismatch", text), now)
    if others and not settled:
        found.wait_until(now + 1)


def _seniority(contract: ContractView) -> tuple[int, str]:
    return contract.created, contract.key


def _decision(contract: ContractView, refusal: validate.Refusal, now: int) -> Decision:
    return Decision(False, now, Reason(refusal.code, refusal.message), uid=contract.uid)


def _refuse(found: Screening, contract: ContractView, refusal: validate.Refusal, now: int) -> None:
    settled_at = contract.created + SETTLING_SECONDS
    if refusal.code in _AWAITED and now < settled_at:
        found.wait_until(settled_at)
    else:
        found.decided[contract.key] = _decision(contract, refusal, now)


def _refusal(
    contract: ContractView,
    spec: ContractSpec,
    world: World,
    specs: Specs,
    settings: Settings,
    holders: Mapping[tuple[str, str], str],
    now: int,
) -> validate.Refusal | None:
    terms = spec.terms
    if parse_time(terms.delivery.end) <= max(contract.created, now):
        return validate.Refusal("PastEnd", f"spec.terms.delivery.end: {terms.delivery.end} is over; nothing is left to deliver")
    if not contract.is_quote and (other := holders.get(_id_of(contract, world), contract.key)) != contract.key:
        where = "exchange" if spec.exchange_ref else "namespace"
        text = f"spec.terms.contractId: {terms.contract_id} is {other}'s already; it must be unique in its {where}"
        return validate.Refusal("TermsConflict", text)
    product = world.products.get(terms.product_ref.name)
    if product is None:
        known = ", ".join(sorted(world.products)[:8]) or "none"
        text = f"spec.terms.productRef.name: there is no ComputeProduct {terms.product_ref.name} (known: {known})"
        return validate.Refusal("UnknownProduct", text)
    sold = specs.product(terms.product_ref.name, product)
    if isinstance(sold, list):
        return validate.Refusal("UnknownProduct", f"ComputeProduct {terms.product_ref.name} cannot be read: {sold[0]}")
    return validate.against_product(terms, sold) or _parties_refusal(contract, spec, world, settings)


def _parties_refusal(contract: ContractView, spec: ContractSpec, world: World, settings: Settings) -> validate.Refusal | None:
    if (refusal := _exchange_refusal(contract, spec, world)) is not None:
        return refusal
    exempt = {*settings.exempt_namespaces, *settings.agent_namespaces, settings.namespace, settings.probe_namespace}
    if spec.intent == "Quote" and spec.terms.delivery.handover is None:
        return None  # who is to have it may not be known yet
    present = {name: view.labels for name in _named(spec) if (view := world.namespaces.get(name)) is not None and not view.terminating}
    return validate.handover_refusal(spec.terms, contract.namespace, exempt, present)


def _exchange_refusal(contract: ContractView, spec: ContractSpec, world: World) -> validate.Refusal | None:
    if spec.exchange_ref is None:
        return unconfirmed(contract, None)
    endpoint, name = world.endpoints.get(contract.exchange), spec.exchange_ref.name
    if endpoint is None:
        text = f"spec.exchangeRef.name: namespace {contract.namespace} has no ExchangeEndpoint {name}"
        return validate.Refusal("UnknownExchange", text)
    read = validate.endpoint_spec(endpoint.get("spec"))
    if isinstance(read, list):
        return validate.Refusal("UnknownExchange", f"ExchangeEndpoint {name} cannot be read: {read[0]}")
    if spec.intent == "Quote":
        return None  # nothing was traded that could be confirmed
    return validate.against_endpoint(spec, read) or unconfirmed(contract, endpoint)


def _named(spec: ContractSpec) -> tuple[str, ...]:
    handover = spec.terms.delivery.handover
    return (handover.namespace,) if handover else ()


def _id_of(contract: ContractView, world: World) -> tuple[str, str]:
    """(scope, contractId): an exchange is known by its address, because each namespace has an endpoint of its own for it."""
    url = text_at(world.endpoints.get(contract.exchange), "spec", "url")
    return url or contract.exchange or f"{contract.namespace}/", text_at(contract.spec, "terms", "contractId")


def _holders_of_ids(world: World) -> dict[tuple[str, str], str]:
    """(scope, contractId) -> key of the contract that has it: one that was promised, else the oldest. One that was refused, and a
    quote, have nothing."""
    holders: dict[tuple[str, str], str] = {}
    bearers = [c for c in world.contracts.values() if c.phase != Phase.REJECTED and not c.is_quote]
    for contract in sorted(bearers, key=lambda c: (c.phase in UNDECIDED, *_seniority(c))):
        holders.setdefault(_id_of(contract, world), contract.key)
    return holders


def _currency(contract: ContractView) -> str:
    return text_at(contract.spec, "terms", "price", "currency")


def _first_currency(contracts: Iterable[ContractView]) -> str:
    return next((currency for c in contracts if (currency := _currency(c))), "")
