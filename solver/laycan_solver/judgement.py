"""May a candidate stay where it has been put? Its own chance of a shortfall against its target, and what it does to others.

Its own figure must be below its product's target. No accepted Firm contract's figure may rise to its target or above, in the months
that the candidate touches, or further if it is there already. And of what is important enough, no rack may be lost for which there
are no spare nodes elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .backings import Backings, Stay
from .eligible import Demand
from .ground import NEVER, Stand, clearing
from .model import Reason, Scope
from .objective import Segment
from .repair import complete

if TYPE_CHECKING:
    from .promise import Risks

IMPORTANT = 800  # priority from which the loss of a whole rack is provided for
PPM = 1_000  # parts per billion


def ppm(ppb: int) -> int:
    """Rounded up."""
    return -(-ppb // PPM)


@dataclass
class Judgement:
    """`moved`: the segments by which the book differs from what it was before the candidate."""

    risks: Risks
    demand: Demand
    moved: Sequence[Segment]
    before: Backings
    after: Backings
    _touched: dict[Stand, bool] = field(default_factory=dict)
    _calm: dict[tuple[str, bool], bool] = field(default_factory=dict)
    _domains: dict[Scope, set[int]] = field(default_factory=dict)  # level -> columns of domains in which something has changed

    def refusal(self) -> tuple[Reason, str] | None:
        """Why it may not stay; None if it may."""
        text = self._own() or self._others()
        return (Reason.NO_CAPACITY, f"{self.demand.contract.product}: {text}") if text else None

    def _own(self) -> str | None:
        target, demand = self.risks.target(self.demand.contract), self.demand
        if target is None:
            return None
        ways = self.risks.ways(demand, self.after.lots, self.risks.book.segments[demand.index])
        high = max(self.after.worst(way, demand.start, demand.end) for way in ways) >= target
        if not high and demand.contract.priority < IMPORTANT:
            return None
        risk = self.risks.risk(demand, Backings(self.after.ground, self.after.lots, demand.start, demand.end))
        numbers = f"{risk.spare_nodes} spare nodes at least, {risk.largest_domain} nodes in the largest rack"
        if high:
            proved = self.risks.proving and self._best(demand) >= target and self._countable()
            text = f"a shortfall in 30 days has a chance of {risk.ppm} ppm ({numbers}); the target is {ppm(target)} ppm"
            return f"{text} ({'proved' if proved else 'not found'})"
        if not risk.survives_domain:
            text = f"the loss of a rack would leave too few spare nodes ({numbers}) for priority {demand.contract.priority}"
            return f"{text}, though a shortfall has a chance of {risk.ppm} ppm and the target is {ppm(target)} ppm (not found)"
        return None

    def _others(self) -> str | None:
        low, high = min(s.start for s in self.moved), max(s.end for s in self.moved)
        for index, limit in self.after.lots.targeted(low, high):
            other, target = self.risks.book.demands[index], limit * PPM
            if index == self.demand.index or (self._calm_pools(other, target) and not (other.scoped and self._shares_domain(other))):
                continue
            if text := self._raised(other, target):
                return text
        return None

    def _raised(self, other: Demand, target: int) -> str | None:
        after = self.after
        ways = self.risks.ways(other, after.lots, self.risks.book.segments[other.index])
        now = max(after.worst(way, after.low, after.high) for way in ways)
        if now < target or now <= (was := self.risks.figure_before(other, self.before)):
            return None
        proved = self.risks.proving and complete(self.risks.book, other) and self._best(other) >= max(target, was + 1) and self._countable()
        text = f"the chance of a shortfall of {other.contract.key} would rise from {ppm(was)} to {ppm(now)} ppm"
        return f"{text}; its target is {ppm(target)} ppm ({'proved' if proved else 'not found'})"

    def _calm_pools(self, other: Demand, target: int) -> bool:
        """In the pools of the whole fleet nothing comes near the target of such a contract, or nothing has changed."""
        key = other.contract.product, other.contract.substitution
        if key not in self._calm:
            after, whole = self.after, [w[0].stand for w in self.risks.ways(other, self.after.lots, ())]
            self._calm[key] = all(not self._touches(s) or after[s].worst(after.low, after.high) < target for s in whole)
        return self._calm[key]

    def _touches(self, stand: Stand) -> bool:
        if stand not in self._touched:
            inside = self.after.ground.inside(stand)
            self._touched[stand] = any(inside[s.column] for s in self.moved)
        return self._touched[stand]

    def _shares_domain(self, other: Demand) -> bool:
        """Something has changed in a domain in which the contract lies."""
        scope = other.contract.scope
        if scope not in self._domains:
            level = self.after.ground.fleet.domains[scope]
            there = np.isin(level, level[[s.column for s in self.moved]])
            self._domains[scope] = set(np.flatnonzero(there).tolist())
        return any(s.column in self._domains[scope] for s in self.risks.book.segments[other.index])

    def _best(self, demand: Demand) -> int:
        """No plan that serves who is served in full now, and the candidate, leaves a smaller chance in the months that are looked at."""
        after, risks = self.after, self.risks
        whole: list[Stay] = [w[0] for w in risks.ways(demand, after.lots, ())]
        low, high = max(after.low, whole[0].start), min(after.high, demand.end)
        return max(after.at_best(s.stand, risks.counting).worst(low, high) for s in whole if s.stand.scope is Scope.ANY)

    def _countable(self) -> bool:
        """Counting holds candidates of the same plan to be served, though a failure may clear what may be curtailed."""
        demands = self.risks.book.demands.values()
        return not any(not d.contract.accepted and not d.contract.reserve and clearing(d.contract)[0] < NEVER for d in demands)
