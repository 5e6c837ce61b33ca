"""The book, contract by contract: what was sold, where it stands and what stands behind it, from statuses or from a plan.

A contract that a cluster has decided is told by its status. Files without statuses are told by the plan of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laycan.cli.source import Case
from laycan.planning.manifests import OVER, PROMISED, ReadContract
from laycan.planning.problem import bindings_from
from laycan.resources.times import format_time, parse_time
from laycan_solver.model import Binding, Undelivered

TROUBLES = ("Stalled", "Shortfall", "AtRisk", "Curtailed", "Degraded", "Suspended")  # conditions that ask for a look, the worst first
UNDECIDED = "Undecided"  # what a contract is called that a cluster has not answered


@dataclass(frozen=True, slots=True)
class Trouble:
    """A condition that holds, since a time (Unix seconds; None: unknown), or what the plan leaves short."""

    contract: str
    condition: str
    reason: str
    message: str
    since: int | None

    def document(self) -> dict[str, Any]:
        since = {} if self.since is None else {"since": format_time(self.since)}
        return {"contract": self.contract, "condition": self.condition, "reason": self.reason, "message": self.message, **since}


@dataclass(frozen=True, slots=True)
class Row:
    """One contract. Quantities in GPU-seconds, None where nothing is measured; `bindings` ahead of now, of one that is over all."""

    contract: ReadContract
    phase: str  # of the lifecycle; without a status what the plan says: Planned, Short, Refused or Ended
    bindings: tuple[Binding, ...]
    delivered: int | None
    shortfall: int | None
    troubles: tuple[Trouble, ...]

    @property
    def key(self) -> str:
        return self.contract.key

    @property
    def start(self) -> int:
        return parse_time(self.contract.spec.terms.delivery.start)

    @property
    def end(self) -> int:
        return parse_time(self.contract.spec.terms.delivery.end)

    @property
    def product(self) -> str:
        return self.contract.spec.terms.product_ref.name

    @property
    def class_(self) -> str:
        firmness = self.contract.spec.terms.firmness
        return firmness.class_ if firmness else "Firm"

    @property
    def price(self) -> str:
        """Per GPU-hour with its currency, "" without."""
        price = self.contract.spec.terms.price
        return f"{price.amount} {price.currency}" if price else ""

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(sorted({b.node for b in self.bindings}))

    def document(self) -> dict[str, Any]:
        terms = self.contract.spec.terms
        return {
            "contract": self.key,
            "contractId": terms.contract_id,
            "intent": self.contract.spec.intent,
            "product": self.product,
            "gpus": terms.delivery.gpus,
            "lotGpus": terms.delivery.lot_gpus,
            "class": self.class_,
            "price": {"amount": terms.price.amount, "currency": terms.price.currency} if terms.price else None,
            "start": terms.delivery.start,
            "end": terms.delivery.end,
            "holder": terms.delivery.handover.namespace if terms.delivery.handover else None,
            "phase": self.phase,
            "nodes": list(self.nodes),
            "deliveredGpuSeconds": self.delivered,
            "shortfallGpuSeconds": self.shortfall,
            "troubles": [trouble.document() for trouble in self.troubles],
        }


def rows_of(case: Case) -> list[Row]:
    """All contracts by start. Raises BadInputError where a plan is needed and cannot be made."""
    bound: dict[str, list[Binding]] = defaultdict(list)
    short: dict[str, list[Undelivered]] = defaultdict(list)
    if needs_plan(case):
        for binding in case.plan.bindings:
            bound[binding.contract].append(binding)
        for gap in case.plan.undelivered:
            short[gap.contract].append(gap)
    return sorted((_row(c, case, bound, short) for c in case.manifests.contracts.values()), key=lambda row: (row.start, row.key))


def needs_plan(case: Case) -> bool:
    """Whether some contract has no status to be told by, or a plan was given."""
    return case.given is not None or any(
        not c.given and not c.phase and c.spec.intent != "Quote" for c in case.manifests.contracts.values()
    )


def _row(contract: ReadContract, case: Case, bound: Mapping[str, list[Binding]], short: Mapping[str, list[Undelivered]]) -> Row:
    key, status, over = contract.key, contract.status, contract.phase in OVER
    announced = bound[key] if key in bound else bindings_from(key, status)
    bindings = tuple(sorted(b for b in announced if over or b.end > case.now))
    quantities = status.get("quantities")
    counted = quantities if isinstance(quantities, dict) else {}
    troubles = (*_conditions(contract), *_gaps(short.get(key, ())))
    phase = contract.phase or (UNDECIDED if contract.given or contract.spec.intent == "Quote" else _planned(contract, case, troubles))
    return Row(contract, phase, bindings, _count(counted, "deliveredGpuSeconds"), _count(counted, "shortfallGpuSeconds"), troubles)


def _planned(contract: ReadContract, case: Case, troubles: Iterable[Trouble]) -> str:
    if parse_time(contract.spec.terms.delivery.end) <= case.now:
        return "Ended"
    return next((t.condition for t in troubles), "Planned")


def _count(counted: Mapping[str, Any], name: str) -> int | None:
    found = counted.get(name)
    return found if type(found) is int else None


def _conditions(contract: ReadContract) -> Iterable[Trouble]:
    """Those that hold and ask for a look; of what is over none does."""
    given = contract.status.get("conditions")
    entries = [c for c in given if isinstance(c, dict)] if isinstance(given, list) else []
    found = {str(c.get("type")): c for c in entries if c.get("status") == "True"}
    if contract.phase in PROMISED or not contract.phase:
        for name in TROUBLES:
            if name in found:
                told = found[name]
                since = _instant(told.get("lastTransitionTime"))
                yield Trouble(contract.key, name, str(told.get("reason", "")), str(told.get("message", "")), since)


def _instant(text: Any) -> int | None:
    try:
        return parse_time(str(text))
    except ValueError:
        return None


def _gaps(gaps: Iterable[Undelivered]) -> Iterable[Trouble]:
    for gap in gaps:
        told = f"{gap.gpus} GPUs from {format_time(gap.start)} to {format_time(gap.end)}: {gap.message}"
        yield Trouble(gap.contract, "Refused" if gap.refused else "Short", gap.code.value, told, None)


def gpu_hours(gpu_seconds: int | None, *, up: bool = False) -> str:
    """With one decimal, rounded down, or up; "-" for None."""
    if gpu_seconds is None:
        return "-"
    tenths = -(-gpu_seconds // 360) if up else gpu_seconds // 360
    return f"{tenths // 10}.{tenths % 10}"
