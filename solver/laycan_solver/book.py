"""The arrangement under construction: which segments serve which contract, kept in step with the ledger, with a journal.

Every change goes through `put` and `drop`. `mark` and `roll_back` undo a trial: the journal holds what to reverse.
"""

from __future__ import annotations

from collections.abc import Iterable

from .eligible import Demand, Fleet
from .ledger import Ledger
from .objective import NOTHING, Segment, Tiers, Verdict, judge, plus


class Book:
    def __init__(self, now: int, fleet: Fleet, ledger: Ledger) -> None:
        self.now, self.fleet, self.ledger = now, fleet, ledger
        self.demands: dict[int, Demand] = {}
        self.segments: dict[int, list[Segment]] = {}  # contract index -> what serves it
        self.on_node: list[dict[int, list[Segment]]] = [{} for _ in fleet.nodes]  # column -> contract index -> segments there
        self._verdicts: dict[int, Verdict] = {}
        self._journal: list[tuple[bool, int, Segment]] = []

    def open(self, demand: Demand) -> None:
        """Takes a contract in, with nothing bound yet; its due window must lie on the grid."""
        assert demand.index not in self.demands
        self.demands[demand.index] = demand
        self.segments[demand.index] = []

    def close(self, index: int) -> None:
        """Forgets a contract (a refused candidate), whose segments must be gone."""
        assert not self.segments.pop(index)
        del self.demands[index]
        self._verdicts.pop(index, None)

    def put(self, index: int, segment: Segment) -> None:
        self._journal.append((True, index, segment))
        self._apply(index, segment, 1)

    def drop(self, index: int, segment: Segment) -> None:
        self._journal.append((False, index, segment))
        self._apply(index, segment, -1)

    def _apply(self, index: int, segment: Segment, sign: int) -> None:
        demand, grid = self.demands[index], self.ledger.grid
        gpus = sign * segment.lots * demand.contract.lot_gpus
        self.ledger.take(demand, segment.column, grid.index(segment.start), grid.index(segment.end), gpus)
        there = self.on_node[segment.column].setdefault(index, [])
        for rows in (self.segments[index], there):
            if sign > 0:
                rows.append(segment)
            else:
                rows.remove(segment)
        if not there:
            del self.on_node[segment.column][index]
        self._verdicts.pop(index, None)

    def mark(self) -> int:
        return len(self._journal)

    def roll_back(self, mark: int) -> None:
        """Undoes everything since `mark`, newest first."""
        while len(self._journal) > mark:
            was_put, index, segment = self._journal.pop()
            self._apply(index, segment, -1 if was_put else 1)

    def columns_since(self, mark: int) -> set[int]:
        """Nodes that changed since `mark`, in what was not undone."""
        return {segment.column for _, _, segment in self._journal[mark:]}

    def clear(self, index: int) -> None:
        for segment in list(self.segments[index]):
            self.drop(index, segment)

    def verdict(self, index: int) -> Verdict:
        found = self._verdicts.get(index)
        if found is None:
            found = self._verdicts[index] = judge(self.demands[index], self.fleet, self.now, self.segments[index])
        return found

    def tiers(self, indices: Iterable[int]) -> Tiers:
        total = NOTHING
        for index in indices:
            total = plus(total, self.verdict(index).tiers)
        return total
