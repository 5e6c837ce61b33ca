"""Make-good: the quantity that was short, delivered after the window where the buyer elects it.

What is owed are the shortfall's GPU-seconds; they stay Shortfall, and what is made good is a credit beside them (`status.makeGood`). It is
delivered in whole settlement intervals, rounded up, on the lots that the buyer named, within thirty days of the window's end, and only
where capacity is free: to the planner it weighs nothing, and where something that was sold is short beside it, it is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from laycan.delivery.metering.served import Bound, Due
from laycan.planning.problem import bindings_from
from laycan.resources.times import parse_time
from laycan_solver.model import Contract, Plan, Problem, Scope

INTERVAL_SECONDS = 300  # contract.md 5.1
PERIOD_SECONDS = 30 * 86_400  # after the window's end; then the rest is settled in damages
NOTICE_SECONDS = 120  # a node is emptied before it is handed over, so nothing begins sooner


@dataclass(frozen=True, slots=True)
class MakeGood:
    owed: int = 0  # GPU-seconds of shortfall, as it was told
    delivered: int = 0  # GPU-seconds made good
    lots: int = 0  # side by side, as elected; 0: nobody elected it

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> MakeGood:
        raw = status.get("makeGood") or {}
        return cls(raw.get("owedGpuSeconds", 0), raw.get("deliveredGpuSeconds", 0), raw.get("lots", 0))

    def dump(self) -> dict[str, Any]:
        """Empty where nothing was ever short and nothing elected."""
        raw: dict[str, Any] = {"owedGpuSeconds": self.owed} if self.owed or self.lots else {}
        raw |= {"deliveredGpuSeconds": self.delivered} if self.delivered else {}
        return raw | ({"mode": "Extend", "lots": self.lots} if self.lots else {})

    @property
    def open(self) -> int:
        """What was elected and is still to be made good, GPU-seconds."""
        return max(0, self.owed - self.delivered) if self.lots else 0


class Extension(NamedTuple):
    """`lots` lots in [start, end), after the window."""

    start: int
    end: int
    lots: int


def extended(bounds: Iterable[Bound], owed: Due) -> tuple[Bound, ...]:
    """The bindings that make good: those after the window."""
    return tuple(bound for bound in bounds if bound.start >= owed.end)


def extension(good: MakeGood, starts: Iterable[int], owed: Due, now: int) -> Extension | None:
    """When and on how many lots the rest is to be made good; None: nothing is left, or no time.

    `starts` of the contract's bindings: where one lies after the window, the stretch has begun there and stays where it is.
    """
    soonest = owed.end + INTERVAL_SECONDS * max(0, -(-(now + NOTICE_SECONDS - owed.end) // INTERVAL_SECONDS))
    start = min((start for start in starts if start >= owed.end), default=soonest)
    room = (owed.end + PERIOD_SECONDS - start) // INTERVAL_SECONDS  # intervals
    intervals = -(-good.open // (owed.lot_gpus * INTERVAL_SECONDS))  # of one lot
    if not intervals or room <= 0:
        return None
    lots = min(owed.lots, intervals, max(good.lots, -(-intervals // room)))
    return Extension(start, start + min(room, -(-intervals // lots)) * INTERVAL_SECONDS, lots)


def pursued(key: str, status: Mapping[str, Any], owed: Due, now: int) -> Extension | None:
    """The same by a contract's status: from when its window is metered to its end, while it is Delivering.

    A decision would not do: it knows neither what is over of a stretch, nor what was counted since.

    While it is suspended nothing is begun that its buyer would not get.
    """
    good, until = MakeGood.parse(status), (status.get("meter") or {}).get("until")
    if status.get("phase") != "Delivering" or not good.open or not until or parse_time(until) < owed.end:
        return None
    begun = [binding.start for binding in bindings_from(key, status) if binding.start >= owed.end]
    if (status.get("instructions") or {}).get("suspendedSince") and not begun:
        return None
    return extension(good, begun, owed, now)


def as_planned(contract: Contract, found: Extension) -> Contract:
    """The contract as it is planned while it makes good: its window is over, so this takes its place."""
    return replace(
        contract,
        start=found.start,
        end=found.end,
        gpus=found.lots * contract.lot_gpus,
        scope=Scope.ANY,
        spread_level=Scope.ANY,
        spread_domains=1,
        all_or_nothing=False,
        firm=False,
        notice_seconds=None,
        curtailable_seconds=0,
        price_micros=0,
        multiple_ppm=0,
        forced_moves_only=True,
    )


def hinders(problem: Problem, plan: Plan, touched: Collection[str] | None, making_good: Collection[str]) -> bool:
    """Whether a contract of these makes good where something that was sold is short: at that time, on a node that could serve it.

    `touched`: the plan is only about these contracts, the others have what they had; None: about all. Weights alone do not tell: a
    contract without damages, or one that may be curtailed by right, weighs nothing there either.
    """
    nodes, margin = {node.name: node.grade for node in problem.nodes}, max((p.turnaround_seconds for p in problem.products), default=0)
    kept = () if touched is None else (b for b in problem.previous if b.contract not in touched)
    mine = [b for b in (*plan.bindings, *kept) if b.contract in making_good]
    contracts = {c.key: c for c in problem.contracts} if mine else {}
    products = {p.name: p for p in problem.products}
    for short in plan.undelivered if mine else ():
        contract = contracts[short.contract]
        if short.refused or short.contract in making_good:
            continue
        product = products[contract.product]
        stand_ins = [products[name].grades for name in product.equivalents if name in products] if contract.substitution else []
        grades = product.grades.union(*stand_ins)
        if any(nodes[b.node] in grades and b.start < short.end + margin and short.start < b.end + margin for b in mine):
            return True
    return False
