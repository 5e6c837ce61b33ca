"""Quotes: what is asked, what is kept for whom asked, and who takes it up.

A quote is answered once. What could be had whole may be kept until `validUntil`, as far as its ExchangeEndpoint allows: such a *hold*
is planned like an accepted contract that is worth almost nothing, so candidates cannot have its capacity and every promise comes
before it. It ends when its time is over, or when a Firm contract of the same terms that names it in `quoteRef` is decided: that one is
decided first of all, and its probability was judged with the quote. Of two that name one quote the elder takes it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from laycan.control.conditions import RECONCILING, Conditions
from laycan.control.decision import Decision
from laycan.control.lifecycle import UNDECIDED, Phase
from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.planning.holds import hold_key
from laycan.resources import validate
from laycan.resources.exchange import EndpointSpec
from laycan.resources.times import parse_time
from laycan_solver.model import FOREVER, Binding, Contract

MOST_AT_ONCE = 8  # that one plan answers: deliveries do not wait for a flood of questions
UNHELD_SECONDS = 60  # how long an answer stands that no endpoint says anything about
_FIRST = ("", "", "")  # before whoever was created at any time
_ASKED = ("productRef", "firmness", "substitution")


@dataclass(frozen=True, slots=True)
class Hold:
    """A quote that keeps capacity; `bindings` where the last plan kept it, none after a restart."""

    quote: ContractView
    until: int  # last second, Unix
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Desk:
    """What a plan is asked beside the promises: `candidates`, of which `takers` take up a hold; the `holds` that last beside them; and
    `quotes` to be answered, of which the capacity of `kept` is to be held if all of it can be had. `more`: others wait for the next."""

    candidates: tuple[ContractView, ...] = ()
    takers: frozenset[str] = frozenset()
    holds: tuple[Hold, ...] = ()
    quotes: tuple[ContractView, ...] = ()
    kept: frozenset[str] = frozenset()
    more: bool = False


def is_open_quote(contract: ContractView | None) -> bool:
    """Whether it waits for its answer."""
    return contract is not None and contract.is_quote and contract.phase in (Phase.NEW, Phase.RECEIVED) and not contract.deleting


def same_terms(terms: Mapping[str, Any], quoted: Mapping[str, Any]) -> bool:
    """Whether a contract asks for what a quote offered: what it costs and how it is called may differ, and who it is for if the quote
    does not say, because a buyer's lots may lie on nodes that nobody else shares with him."""
    delivery, asked = dict(mapping(terms.get("delivery"))), mapping(quoted.get("delivery"))
    if asked.get("handover") is None:
        delivery["handover"] = None
    return delivery == {"handover": None, **asked} and all(terms.get(field) == quoted.get(field) for field in _ASKED)


def takes_up(contract: ContractView, quote: ContractView) -> bool:
    """Whether the contract names the quote, or is the quote made Firm, and asks for the same of the same exchange.

    Who came before the quote named another one, which was deleted since.
    """
    if contract.spec.get("intent") != "Firm" or contract.namespace != quote.namespace:
        return False
    if contract.uid == quote.uid:
        return True
    if contract.created < quote.created:
        return False
    named = contract.quote == quote.key and contract.exchange == quote.exchange
    return named and same_terms(mapping(contract.spec.get("terms")), mapping(quote.spec.get("terms")))


def taken_up(quote: ContractView, named_by: Iterable[ContractView], promised: Collection[str] = ()) -> bool:
    """Whether a contract that was promised has taken up the quote; `named_by`: those that name it; `promised`: keys of those whose
    promise is decided, and may still have to be written."""
    never = UNDECIDED | {Phase.REJECTED, Phase.EXPIRED}
    return any((c.key in promised or (c.phase not in never and c.uid != quote.uid)) and takes_up(c, quote) for c in named_by)


def is_awaited(quote: ContractView, until: int, named_by: Iterable[ContractView]) -> bool:
    """Whether a contract came while the hold lasted (`until`: its last second) that would take it up, and is not decided yet."""
    asked = (c for c in named_by if c.phase in UNDECIDED and not c.deleting and takes_up(c, quote))
    return any((_made_firm(c) if c.uid == quote.uid else c.created) <= until for c in asked)


def _made_firm(quote: ContractView) -> int:
    """When the operator first wrote that the quote is to be decided (Unix seconds), far ahead before that; not earlier than its answer,
    because until that was written it was undecided as a quote."""
    conditions = Conditions(quote.status.get("conditions") or (), quote.generation, 0)
    answered = text_at(quote.status, "phaseSince")
    return max(conditions.since(RECONCILING), parse_time(answered) if answered else 0) if conditions.true(RECONCILING) else FOREVER


def naming(world: World) -> dict[str, list[ContractView]]:
    """Key of a quote -> the contracts that name it, and itself once it was made Firm."""
    found: dict[str, list[ContractView]] = {}
    for key, contract in world.contracts.items():
        if contract.spec.get("intent") == "Firm":
            if contract.quote:
                found.setdefault(contract.quote, []).append(contract)
            if contract.phase == Phase.QUOTED:
                found.setdefault(key, []).append(contract)
    return found


def naming_one(world: World, quote: ContractView) -> list[ContractView]:
    """The contracts that name this quote."""
    return [c for c in world.contracts.values() if c.quote == quote.key]


def standing(world: World, decisions: Mapping[str, Decision], now: int, promised: Collection[str] = ()) -> dict[str, Hold]:
    """The holds that last, by the quote's key: written, or decided and still to be written; also those that are being taken up.

    Who came while the hold lasted has it, however long the decision takes. `promised`: see `taken_up`.
    """
    found, named_by = {}, naming(world)
    for key, contract in world.contracts.items():
        hold = _hold(contract, decisions.get(key)) if contract.phase in UNDECIDED and not contract.deleting else None
        if hold is None or taken_up(contract, named_by.get(key, ()), promised):
            continue
        if now <= hold.until or is_awaited(contract, hold.until, named_by.get(key, ())):
            found[key] = hold
    return found


def _hold(contract: ContractView, decision: Decision | None) -> Hold | None:
    decided = decision if decision is not None and decision.uid == contract.uid and decision.accepted is None else None
    rows = decided.bindings if decided is not None else ()
    bindings = tuple(Binding(hold_key(contract.key), b.node, b.product, b.gpus, b.start, b.end) for b in rows)
    if contract.phase == Phase.QUOTED:
        offer = mapping(contract.status.get("offer"))
        return Hold(contract, parse_time(offer["validUntil"]), bindings) if offer.get("held") is True else None
    offered = decided.offer if decided is not None else None
    return Hold(contract, offered.valid_until, bindings) if offered is not None and offered.held else None


def takers(candidates: Iterable[ContractView], holds: Mapping[str, Hold]) -> dict[str, str]:
    """Candidate -> the hold that it takes up: for each hold the first of the candidates, who come in their order."""
    found: dict[str, str] = {}
    for contract in candidates:
        for key in (contract.key, contract.quote):
            if key in holds and key not in found.values() and takes_up(contract, holds[key].quote):
                found[contract.key] = key
                break
    return found


def as_taker(contract: Contract) -> Contract:
    """A candidate that takes up a hold: decided before all others."""
    return replace(contract, judged=True, admission_order=_FIRST)


def allowance(quote: ContractView, world: World) -> tuple[int, int]:
    """(seconds that its answer stands, GPUs that all quotes of its endpoint may hold at once)."""
    read = validate.endpoint_spec(mapping(world.endpoints.get(quote.exchange)).get("spec")) if quote.exchange else None
    if not isinstance(read, EndpointSpec) or read.quote is None:
        return UNHELD_SECONDS, 0
    return read.quote.validity_seconds, read.quote.max_held_gpus


def open_desk(
    world: World,
    decisions: Mapping[str, Decision],
    candidates: Sequence[ContractView],
    quotes: Sequence[ContractView],
    now: int,
    promised: Collection[str] = (),
    *,
    placed: bool = True,
) -> Desk:
    """What this plan is asked beside what is `promised`; all have been screened.

    A quote whose hold fits only if another one's of this plan is not granted waits for the next plan, which knows. So does everybody
    after a restart while the holds that last are not `placed`: where they lie is written nowhere, and nobody else may have it.
    """
    holds = standing(world, decisions, now, promised)
    if holds and not placed:
        return Desk(holds=tuple(holds.values()), more=True)
    taking = takers(candidates, holds)
    lasting = tuple(hold for key, hold in holds.items() if key not in taking.values())
    held: Counter[str] = Counter()
    for hold in lasting:
        held[hold.quote.exchange] += _gpus(hold.quote)
    asked: Counter[str] = Counter()
    answered, kept = [], set()
    open_ = [quote for quote in quotes if not _answered(quote, decisions.get(quote.key))]
    for quote in open_[:MOST_AT_ONCE]:
        gpus, room = _gpus(quote), allowance(quote, world)[1] - held[quote.exchange]
        if gpus > room:
            answered.append(quote)
        elif gpus + asked[quote.exchange] <= room:
            asked[quote.exchange] += gpus
            answered.append(quote)
            kept.add(quote.key)
    more = len(answered) < len(open_)
    return Desk(tuple(candidates), frozenset(taking), lasting, tuple(answered), frozenset(kept), more)


def _answered(quote: ContractView, decision: Decision | None) -> bool:
    """The answer is decided, and only to be written."""
    return decision is not None and decision.uid == quote.uid and decision.offer is not None


def _gpus(quote: ContractView) -> int:
    return seconds_at(quote.spec, "terms", "delivery", "gpus")
