"""The book, line by line: what the plan gives each contract, recomputed from bindings by the arithmetic of the independent checker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from laycan_solver.check_contract import Account, settle, steps
from laycan_solver.check_facts import Facts
from laycan_solver.model import Binding, Contract, Plan, Problem, Undelivered
from laycan_solver.promise import Risk

Row = TypeVar("Row", Binding, Undelivered)


class State(StrEnum):
    """What becomes of a contract by this plan; the order in which a reader wants them."""

    REFUSED = "Refused"
    SHORT = "Short"
    CURTAILED = "Curtailed"  # all that is missing is missing by right
    FULL = "Full"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Line:
    """A contract in the plan; `account` is of what is due from now on, None for what is refused or has ended."""

    contract: Contract
    state: State
    account: Account | None
    nodes: int  # that serve it at some time
    gaps: tuple[Undelivered, ...]
    risk: Risk | None  # of an accepted Firm contract

    def above(self, target_ppm: int | None) -> bool:
        """Whether its chance of a shortfall is not below the target."""
        return self.risk is not None and target_ppm is not None and self.risk.ppb >= target_ppm * 1_000

    @property
    def short(self) -> int:
        """GPU-seconds that are missing and owed."""
        return self.account.contracted - self.account.bound - self.account.curtailed if self.account else 0


@dataclass(frozen=True, slots=True)
class Sums:
    """Of accepted contracts that are no reserves, from now on."""

    contracts: int
    contracted: int  # GPU-seconds, as the next five
    bound: int
    curtailed: int
    short: int
    firm_short: int
    value: int  # micros, as the next three
    owed: int
    interruption: int
    substitution: int
    instants: int

    @property
    def cost(self) -> int:
        """Micros: what tiers 1, 2, 4 and 5 add up to."""
        return self.owed + self.interruption + self.substitution


def lines_of(problem: Problem, plan: Plan, risks: Mapping[str, Risk]) -> tuple[Line, ...]:
    """All contracts of the problem, those that start first before the others. `risks`: by contract, as far as they are known."""
    facts = Facts(problem)
    bound, gaps = _by_contract(plan.bindings), _by_contract(plan.undelivered)
    found = [_line(facts, c, bound.get(c.key, ()), gaps.get(c.key, ()), risks.get(c.key)) for c in problem.contracts]
    return tuple(sorted(found, key=lambda line: (line.contract.start, line.contract.key)))


def _line(facts: Facts, c: Contract, bound: Sequence[Binding], gaps: Sequence[Undelivered], risk: Risk | None) -> Line:
    begin, account = facts.begin(c), None
    if any(u.refused for u in gaps):
        state = State.REFUSED
    elif begin >= c.end:
        state = State.ENDED
    else:
        account = settle(facts, c, bound, list(steps(c, begin, bound, gaps)))
        missing = account.contracted - account.bound
        state = State.FULL if not missing else State.CURTAILED if missing == account.curtailed else State.SHORT
    return Line(c, state, account, len({b.node for b in bound}), tuple(gaps), risk)


def _by_contract(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.contract].append(row)
    return found


def sums_of(lines: Iterable[Line]) -> Sums:
    rows = [(line, line.account) for line in lines if line.account and not line.contract.reserve]
    return Sums(
        contracts=len(rows),
        contracted=sum(a.contracted for _, a in rows),
        bound=sum(a.bound for _, a in rows),
        curtailed=sum(a.curtailed for _, a in rows),
        short=sum(line.short for line, _ in rows),
        firm_short=sum(line.short for line, _ in rows if line.contract.firm),
        value=sum(a.value for _, a in rows),
        owed=sum(a.owed for _, a in rows),
        interruption=sum(a.interruption for _, a in rows),
        substitution=sum(a.substitution for _, a in rows),
        instants=sum(len(a.instants) for _, a in rows),
    )
