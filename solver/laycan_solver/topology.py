"""What the fleet could hold over time, whatever is planned: step functions of outages, cordons and what may stay on cordoned nodes.

Only a few nodes ever change: the others are counted once, per group of nodes (a grade, a rack, …), and an outage is a small correction
to its group. A step function is kept on its own instants, so that nothing here grows with the number of contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .eligible import Demand
from .fleet import Fleet
from .model import Scope
from .timegrid import Flags, Ints

Key = tuple[tuple[int, ...], int, Scope, Scope, int, str]


@dataclass(frozen=True)
class Steps:
    """`values[..., i]` from `times[i]` (seconds) on, until `times[i + 1]`; the first instant is now."""

    times: Ints
    values: Ints

    def at(self, instants: Ints) -> Ints:
        """The values at instants, none of them before now."""
        found: Ints = self.values[..., np.searchsorted(self.times, instants, side="right") - 1]
        return found

    @cached_property
    def lowest(self) -> int:
        """The smallest value at any time."""
        return int(self.values.min())

    def least(self, start: int, end: int) -> int:
        """The smallest value in [start, end)."""
        first, last = np.searchsorted(self.times, (start, end - 1), side="right")
        return int(self.values[first - 1 : last].min())


@dataclass(frozen=True)
class Counted:
    """Blocks per node or group of nodes (`base`), and how they change: at `times[i]`, `rows[i]` has `deltas[i]` more."""

    base: Ints
    times: Ints
    rows: Ints
    deltas: Ints

    def grouped(self, group: Ints) -> Counted:
        """The sums per group; `group`: row -> group."""
        return Counted(np.bincount(group, self.base).astype(np.int64), self.times, group[self.rows], self.deltas)

    def moving(self, now: int) -> tuple[Ints, Steps]:
        """The rows that ever change, and their values as [row, instant]."""
        rows, where = np.unique(self.rows, return_inverse=True)
        times = np.unique(np.append(self.times, now))
        deltas = np.zeros((len(rows), len(times)), dtype=np.int64)
        np.add.at(deltas, (where, np.searchsorted(times, self.times)), self.deltas)
        return rows, Steps(times, self.base[rows][:, None] + deltas.cumsum(axis=1))

    def capped(self, most: int, now: int) -> Counted:
        """The same with no row ever above `most`."""
        rows, moving = self.moving(now)
        base = np.minimum(self.base, most)
        jumps = np.diff(np.minimum(moving.values, most), axis=1, prepend=base[rows][:, None])
        which, when = np.nonzero(jumps)
        return Counted(base, moving.times[when], rows[which], jumps[which, when])


class Topology:
    """Step functions of a fleet, each worked out once."""

    def __init__(self, fleet: Fleet, now: int) -> None:
        self.fleet, self.now = fleet, now
        self._known: dict[object, Steps] = {}
        self._counts: dict[object, tuple[Ints, Counted]] = {}
        self._rooms: dict[tuple[int, str | None], list[tuple[int, int]]] = {}
        self._restless: Flags = np.array([bool(spans) for spans in fleet.outages], dtype=bool) | ~fleet.open

    def edges(self, until: int) -> set[int]:
        """Instants before `until` at which a node may begin or cease to serve."""
        return {t for column in np.flatnonzero(self._restless).tolist() for t, _ in self._room(column, None) if self.now < t < until}

    def blocks(self, grade: int, k: int) -> Steps:
        """Blocks of k GPUs inside single nodes of a grade; a cordoned node has those of the GPUs that run on it."""
        return self._once((grade, k), lambda: self._sum(self._counted((grade,), k, None)[1]))

    def reach(self, demand: Demand) -> Steps:
        """Most lots that scope and spread let the whole fleet serve at once, not cut to those of the contract."""
        contract = demand.contract
        cap = demand.per_domain if demand.spread else 0
        options = tuple(sorted(demand.options))
        key: Key = (options, contract.lot_gpus, contract.scope, contract.spread_level, cap, contract.key if demand.rights else "")
        return self._once(key, lambda: self._reach(key))

    def able(self, demand: Demand, grade: int) -> Steps:
        """Lots that the nodes of a grade could serve, topology apart."""
        lot, contract = demand.contract.lot_gpus, demand.contract.key if demand.rights else ""
        return self._once((grade, lot, contract), lambda: self._sum(self._counted((grade,), lot, contract)[1]))

    def _once(self, key: object, make: Callable[[], Steps]) -> Steps:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _counted(self, grades: Sequence[int], k: int, contract: str | None) -> tuple[Ints, Counted]:
        """Columns with room for a block, and the blocks of each; for all (contract None), for one, or ("") for what begins."""
        key = (tuple(grades), k, contract)
        if key not in self._counts:
            fleet = self.fleet
            columns = np.flatnonzero(np.isin(fleet.grade, list(grades)) & (fleet.gpus >= k))
            base = np.where(fleet.open[columns], fleet.gpus[columns] // k, 0)
            changes = []
            for i in np.flatnonzero(self._restless[columns]).tolist():
                before = int(base[i])
                for t, gpus in self._room(int(columns[i]), contract):
                    changes.append((t, i, gpus // k - before))
                    before = gpus // k
            times, rows, deltas = np.array([c for c in changes if c[2]], dtype=np.int64).reshape(-1, 3).T
            self._counts[key] = columns, Counted(base, times, rows, deltas)
        return self._counts[key]

    def _room(self, column: int, contract: str | None) -> list[tuple[int, int]]:
        """GPUs of a node as steps from now on."""
        fleet = self.fleet
        stay = [] if fleet.open[column] else [b for b in fleet.staying.get(column, ()) if contract in (None, b.contract)]
        key = column, contract if stay else ""
        if key not in self._rooms:
            edges = {t for span in fleet.outages[column] for t in span} | {b.end for b in stay}
            steps = []
            for t in (self.now, *sorted(t for t in edges if t > self.now)):
                gpus = 0 if fleet.out_at(column, t) else int(fleet.gpus[column])
                steps.append((t, gpus if fleet.open[column] else min(gpus, sum(b.gpus for b in stay if b.end > t))))
            self._rooms[key] = steps
        return self._rooms[key]

    def _sum(self, counted: Counted) -> Steps:
        times, where = np.unique(np.append(counted.times, self.now), return_inverse=True)
        deltas = np.zeros(len(times), dtype=np.int64)
        np.add.at(deltas, where[:-1], counted.deltas)
        return Steps(times, int(counted.base.sum()) + deltas.cumsum())

    def _reach(self, key: Key) -> Steps:
        options, lot, scope, spread, cap, contract = key
        columns, counted = self._counted(options, lot, contract)
        if not len(columns) or (scope is Scope.ANY and spread is Scope.ANY):
            return self._sum(counted)
        outer, inner = self.fleet.domains[scope][columns], self.fleet.domains[spread][columns]
        if spread is not Scope.ANY:
            pairs, where = np.unique(outer * (int(inner.max()) + 1) + inner, return_inverse=True)
            counted = counted.grouped(where).capped(cap, self.now)
            outer = pairs // (int(inner.max()) + 1)
        if scope is Scope.ANY:
            return self._sum(counted)
        domains = counted.grouped(outer)
        rows, moving = domains.moving(self.now)
        still = int(np.delete(domains.base, rows).max(initial=0))
        return Steps(moving.times, np.maximum(moving.values.max(axis=0, initial=0), still))
