"""What the optimum of a problem is: solved part by part, proven or an error."""

from __future__ import annotations

from dataclasses import dataclass, replace

from laycan_solver.model import Problem
from tests.laycan_solver.exact import Exact
from tests.laycan_solver.sliced import Sliced


def parts(problem: Problem) -> list[Problem]:
    """What shares neither nodes nor contracts can be solved apart; the optimum is the sum."""
    sliced = Sliced(problem)
    group: dict[str, str] = {}

    def find(name: str) -> str:
        while (parent := group.setdefault(name, name)) != name:
            name = parent
        return name

    for c in sliced.contracts.values():
        for n in problem.nodes:
            if sliced.sold_as(c, n):
                group[find(f"node {n.name}")] = find(f"contract {c.key}")
    for b in problem.previous:
        group[find(f"node {b.node}")] = find(f"contract {b.contract}")
    found = []
    for root in sorted({find(f"contract {c.key}") for c in problem.contracts}):
        contracts = tuple(c for c in problem.contracts if find(f"contract {c.key}") == root)
        keys = {c.key for c in contracts}
        found.append(
            replace(
                problem,
                contracts=contracts,
                nodes=tuple(n for n in problem.nodes if find(f"node {n.name}") == root),
                previous=tuple(b for b in problem.previous if b.contract in keys),
            )
        )
    return found


@dataclass(frozen=True)
class Truth:
    """Micros: the least of tier 1, the least total, and the least total among plans with the least of tier 1."""

    firm: int
    total: int
    total_then: int


def truth(problem: Problem, loose: bool = False) -> Truth:
    """Raises RuntimeError where the optimum is not proven within the deterministic time. `loose`: see `Exact`."""
    firm = total = total_then = 0
    for part in parts(problem):
        exact = Exact(Sliced(part), loose)
        first = exact.solve(exact.firm)
        third = exact.solve(exact.total, firm_at_most=first.value, hint=first.table)
        second = exact.solve(exact.total, hint=third.table)
        if any(o.least != o.value for o in (first, second, third)):
            raise RuntimeError("the optimum is not proven")
        firm, total, total_then = firm + first.value, total + second.value, total_then + third.value
    return Truth(firm, total, total_then)
