"""Linear programmes of time slices, by GLOP: what delivering is worth where capacity is short.

Contracts may be served in the grades of their options; every lot of g GPUs takes floor(g / k) blocks of k GPUs, of which each grade has
so many. The duals of those rows are the prices of the certificate. This is for small problems, where lots of odd sizes count; `descent`
is for large ones. The only module of the planner that imports OR-Tools, and only when something is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .certificate import Place


class Kind(NamedTuple):
    """Lots of `gpus` GPUs, each worth `worth` when served, less the cost of the grade (money per second)."""

    gpus: int
    worth: int
    costs: tuple[tuple[int, int], ...]  # grade, cost


HIGHEST = 1 << 56  # of a price; a lower one is as valid


class SliceProgramme:
    """Slices that are much alike: what may be asked for and the places are common, how much there is of each is not."""

    def __init__(self, kinds: Sequence[Kind], places: Sequence[Place]) -> None:
        from ortools.linear_solver import pywraplp

        self._solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self._scale = max(kind.worth for kind in kinds)
        self._rows = [self._solver.Constraint(0, 0) for _ in places]
        by_grade: dict[int, list[tuple[int, Any]]] = {}
        for place, row in zip(places, self._rows, strict=True):
            by_grade.setdefault(place.grade, []).append((place.k, row))
        self._solver.Objective().SetMaximization()
        self._bounded = [self._served(kind, by_grade) for kind in kinds] + [[row] for row in self._rows]
        self._most = [0] * len(self._bounded)

    def _served(self, kind: Kind, rows: dict[int, list[tuple[int, Any]]]) -> list[Any]:
        """Adds the lots that are served in each grade; what bounds them."""
        solver = self._solver
        options = [(grade, kind.worth - cost) for grade, cost in kind.costs if cost < kind.worth]
        bounded: list[Any] = []
        share = solver.Constraint(0, 0) if len(options) > 1 else None
        for grade, worth in options:
            served = solver.NumVar(0, 0 if share is None else solver.infinity(), "")
            solver.Objective().SetCoefficient(served, worth / self._scale)
            if share is not None:
                share.SetCoefficient(served, 1)
            for k, row in rows[grade]:
                if k <= kind.gpus:
                    row.SetCoefficient(served, kind.gpus // k)
            bounded.append(served)
        return bounded if share is None else [share]

    def prices(self, most: Sequence[int]) -> list[int]:
        """Price of each place's blocks, rounded to an integer. `most`: lots of each kind, then blocks of each place."""
        for bounded, before, now in zip(self._bounded, self._most, most, strict=True):
            for part in bounded if now != before else ():
                part.SetUb(now)
        self._most = list(most)
        if self._solver.Solve() != self._solver.OPTIMAL:
            return [0] * len(self._rows)
        return [max(0, min(round(row.DualValue() * self._scale), HIGHEST)) for row in self._rows]
