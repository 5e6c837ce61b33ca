"""What is refused before any planning, with which code, and what waits."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.control.admission import SETTLING_SECONDS, Screening, screen
from laycan.control.specs import Specs
from laycan.kube.views import ContractView, namespace_view
from laycan.resources.times import format_time
from tests.laycan.control.town import HOUR, NOW, SETTINGS, bound, contract, product, world

EXCHANGE: dict[str, Any] = {"spec": {"exchangeRef": {"name": "gcx"}}}
OFFER = {"promise": "None", "validUntil": format_time(NOW + HOUR)}
ENDPOINT = {"url": "https://gcx.example/hook", "secretRef": {"name": "k", "key": "k"}}


def screened(*contracts: ContractView, endpoints: dict[str, Any] | None = None) -> Screening:
    made = world(contracts)
    for key, spec in (endpoints or {}).items():
        made.endpoints[key] = {"metadata": {"name": "gcx", "resourceVersion": "1"}, "spec": spec}
    return screen(made, Specs(), SETTINGS, NOW)


def codes(found: Screening) -> dict[str, str]:
    return {key: decision.reason.code for key, decision in found.decided.items() if decision.reason is not None}


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        ({"productRef": {"name": "b300"}}, "UnknownProduct", "spec.terms.productRef.name"),
        (EXCHANGE, "UnknownExchange", "spec.exchangeRef.name"),
        ({"delivery_handover": {"namespace": "kube-system"}}, "HandoverNamespace", "exempt"),
        ({"delivery_handover": {"namespace": "laycan-probe"}}, "HandoverNamespace", "exempt"),
        ({"delivery_handover": {"namespace": "beta"}}, "HandoverNamespace", "laycan.dev/desk"),
        ({"delivery_handover": {"namespace": "nowhere"}}, "HandoverNamespace", "does not exist"),
        ({"delivery_end": format_time(NOW - 1), "delivery_start": format_time(NOW - HOUR)}, "PastEnd", "delivery.end"),
        ({"delivery_gpus": -8}, "Malformed", "spec.terms.delivery.gpus"),
        ({"delivery_gpus": 10**12}, "Malformed", "spec.terms.delivery.gpus"),
        ({"delivery": "soon"}, "Malformed", "spec.terms.delivery"),
        ({"contractId": ["a"]}, "Malformed", "spec.terms.contractId"),
        ({"spec": {"exchangeRef": "gcx"}}, "Malformed", "spec.exchangeRef"),
    ],
)
def test_a_bad_contract_is_refused_and_the_good_one_beside_it_is_planned(wrong: dict[str, Any], code: str, says: str) -> None:
    """One bad object, of whatever shape, never delays the others."""
    found = screened(contract("bad", **wrong), contract("good"))
    assert codes(found) == {"desk/bad": code}
    reason = found.decided["desk/bad"].reason
    assert reason is not None
    assert says in reason.message
    assert [c.name for c in found.candidates] == ["good"]


def test_what_is_missing_may_still_arrive_for_a_moment() -> None:
    """A contract that was created this second waits; `wake` says until when."""
    found = screened(contract("early", created=NOW, productRef={"name": "b300"}))
    assert (found.decided, found.candidates, found.wake) == ({}, [], NOW + SETTLING_SECONDS)


def test_of_two_with_one_id_the_older_wins_whatever_its_name() -> None:
    """Earlier creation wins; a refused contract holds no id."""
    older, newer = contract("z", created=NOW - 100, contractId="GCX-1"), contract("a", created=NOW - 50, contractId="GCX-1")
    assert codes(screened(older, newer)) == {"desk/a": "TermsConflict"}
    refused = contract("z", created=NOW - 100, contractId="GCX-1", status={"phase": "Rejected"})
    assert codes(screened(refused, newer)) == {}


def test_a_promise_keeps_its_id_against_one_that_claims_to_be_older() -> None:
    """What was accepted is never judged again."""
    promised = contract("b", created=NOW - 10, contractId="GCX-1", status=bound("n1"))
    assert codes(screened(contract("a", created=NOW - 100, contractId="GCX-1"), promised)) == {"desk/a": "TermsConflict"}


def test_ids_are_unique_within_an_exchange_across_namespaces() -> None:
    """Without an exchange the namespace is the scope; with one, the exchange's address."""
    both = {"desk/gcx": ENDPOINT, "mine/gcx": ENDPOINT}
    here = contract("a", created=NOW - 90, contractId="GCX-1", **EXCHANGE)
    there = contract("b", namespace="mine", contractId="GCX-1", **EXCHANGE)
    assert codes(screened(here, there, endpoints=both))["mine/b"] == "TermsConflict"
    assert "TermsConflict" not in codes(screened(contract("a"), contract("a", namespace="mine"))).values()


def test_the_oldest_promise_sets_the_currency() -> None:
    """Sums of two currencies mean nothing."""
    euro = {"amount": "2.00", "currency": "EUR", "shortfallMultiplePpm": 1_000_000}
    dollar = {**euro, "currency": "USD"}
    promised = contract("p", status=bound("n1"), price=euro)
    found = screened(promised, contract("d", price=dollar), contract("e", price=euro), contract("free"))
    assert codes(found) == {"desk/d": "CurrencyMismatch"}
    assert {c.name for c in found.candidates} == {"e", "free"}


def test_without_a_promise_the_other_currency_waits() -> None:
    """The first candidate may yet be refused for want of nodes; only a promise settles the currency."""
    euro = {"amount": "2.00", "currency": "EUR", "shortfallMultiplePpm": 1_000_000}
    found = screened(contract("a", price=euro, created=NOW - 90), contract("b", price={**euro, "currency": "USD"}))
    assert ([c.name for c in found.candidates], found.decided, found.wake) == (["a"], {}, NOW + 1)


def test_a_quote_is_asked_apart_from_the_candidates() -> None:
    """It needs neither a buyer's namespace nor a contractId of its own; one that was answered is not asked again."""
    quote: dict[str, Any] = {"spec": {"intent": "Quote"}}
    found = screened(
        contract("a"),
        contract("q", contractId="a", delivery_handover=None, **quote),
        contract("answered", status={"phase": "Quoted", "offer": OFFER}, **quote),
        contract("firm", status={"phase": "Quoted", "offer": OFFER}),
        contract("bad", productRef={"name": "none"}, created=NOW - 600, **quote),
    )
    assert [c.name for c in found.quotes] == ["q"]
    assert {c.name for c in found.candidates} == {"a", "firm"}
    assert codes(found) == {"desk/bad": "UnknownProduct"}


def test_a_namespace_that_terminates_is_no_handover() -> None:
    """Nothing can be created there any more."""
    made = world([contract("a")])
    made.namespaces["acme"] = namespace_view(
        {"metadata": {"name": "acme", "labels": {"laycan.dev/desk": "desk"}, "deletionTimestamp": "x"}}
    )
    assert codes(screen(made, Specs(), SETTINGS, NOW)) == {"desk/a": "HandoverNamespace"}


def test_lots_must_be_sold_in_the_products_unit() -> None:
    """The product says in which multiples it is sold."""
    made = world([contract("a", delivery_lotGpus=4)])
    made.products["h100"] = product("h100", lotGpus=8)
    assert codes(screen(made, Specs(), SETTINGS, NOW)) == {"desk/a": "Malformed"}
