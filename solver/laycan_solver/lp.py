"""The linear programme of one time slice, by GLOP: what delivering is worth where capacity is short.

Lots of a kind may be served in the grades of their options; every lot of g GPUs takes floor(g / k) blocks of k GPUs, of which each
grade has so many. The duals of the block rows are the prices of the certificate. This is the only module of the planner that
imports OR-Tools, and only when something is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """`lots` lots of `gpus` GPUs, each worth `rate` when served, less the cost of the grade (units per lot-second)."""

    lots: int
    gpus: int
    rate: int
    costs: tuple[tuple[int, int], ...]  # grade, cost


HIGHEST = 1 << 56  # of a price; a lower one is as valid
Blocks = tuple[tuple[int, int, int], ...]  # grade, k, blocks


class SliceProgramme:
    """Solves slice after slice; the same slice twice is solved once."""

    def __init__(self) -> None:
        from ortools.linear_solver import pywraplp

        self._solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self._known: dict[tuple[Sequence[Kind], Blocks], Mapping[tuple[int, int], int]] = {}

    def prices(self, kinds: tuple[Kind, ...], blocks: Blocks) -> Mapping[tuple[int, int], int]:
        """(grade, k) -> price of a block, rounded to an integer; only positive ones."""
        key = (kinds, blocks)
        if key not in self._known:
            self._known[key] = self._solve(kinds, blocks)
        return self._known[key]

    def _solve(self, kinds: Sequence[Kind], blocks: Blocks) -> Mapping[tuple[int, int], int]:
        solver = self._solver
        solver.Clear()
        scale = max(1, *(kind.rate for kind in kinds))
        rows = {(grade, k): solver.Constraint(0, have) for grade, k, have in blocks}
        objective = solver.Objective()
        objective.SetMaximization()
        for kind in kinds:
            options = [(grade, kind.rate - cost) for grade, cost in kind.costs if cost < kind.rate]
            share = solver.Constraint(0, kind.lots) if len(options) > 1 else None
            for grade, worth in options:
                served = solver.NumVar(0, kind.lots, "")
                objective.SetCoefficient(served, worth / scale)
                if share is not None:
                    share.SetCoefficient(served, 1)
                for (g, k), row in rows.items():
                    if g == grade and kind.gpus >= k:
                        row.SetCoefficient(served, kind.gpus // k)
        if solver.Solve() != solver.OPTIMAL:
            return {}
        prices = {cell: min(round(row.DualValue() * scale), HIGHEST) for cell, row in rows.items()}
        return {cell: price for cell, price in prices.items() if price > 0}
