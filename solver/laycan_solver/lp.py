"""The linear programme of one time slice, by GLOP: what delivering is worth where capacity is short.

Contracts may be served in the grades of their options; every lot of g GPUs takes floor(g / k) blocks of k GPUs, of which each grade has
so many. The duals of those rows are the prices of the certificate. This is for small problems, where lots of odd sizes count; `descent`
is for large ones. The only module of the planner that imports OR-Tools, and only when something is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .certificate import Place


class Kind(NamedTuple):
    """`lots` lots of `gpus` GPUs, each worth `worth` when served, less the cost of the grade (money per second)."""

    lots: int
    gpus: int
    worth: int
    costs: tuple[tuple[int, int], ...]  # grade, cost


HIGHEST = 1 << 56  # of a price; a lower one is as valid


class SliceProgramme:
    """Solves slice after slice; the same slice twice is solved once."""

    def __init__(self) -> None:
        from ortools.linear_solver import pywraplp

        self._solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self._known: dict[tuple[tuple[Kind, ...], tuple[tuple[Place, int], ...]], Mapping[Place, int]] = {}

    def prices(self, kinds: tuple[Kind, ...], have: tuple[tuple[Place, int], ...]) -> Mapping[Place, int]:
        """Price of each kind of block, rounded to an integer; only positive ones."""
        key = (kinds, have)
        if key not in self._known:
            self._known[key] = self._solve(kinds, have)
        return self._known[key]

    def _solve(self, kinds: Sequence[Kind], have: tuple[tuple[Place, int], ...]) -> Mapping[Place, int]:
        solver = self._solver
        solver.Clear()
        scale = max(1, *(kind.worth for kind in kinds))
        rows = {place: solver.Constraint(0, blocks) for place, blocks in have}
        objective = solver.Objective()
        objective.SetMaximization()
        for kind in kinds:
            options = [(grade, kind.worth - cost) for grade, cost in kind.costs if cost < kind.worth]
            share = solver.Constraint(0, kind.lots) if len(options) > 1 else None
            for grade, worth in options:
                served = solver.NumVar(0, kind.lots, "")
                objective.SetCoefficient(served, worth / scale)
                if share is not None:
                    share.SetCoefficient(served, 1)
                for place, row in rows.items():
                    if place.grade == grade and (taken := kind.gpus // place.k):
                        row.SetCoefficient(served, taken)
        if solver.Solve() != solver.OPTIMAL:
            return {}
        prices = {place: min(round(row.DualValue() * scale), HIGHEST) for place, row in rows.items()}
        return {place: price for place, price in prices.items() if price > 0}
