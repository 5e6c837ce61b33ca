"""What stands behind contracts between two instants, each stand counted once, when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .counting import HALVES, Counting
from .ground import Ground, Lots, Stand
from .model import Scope
from .spares import Backing, Spans
from .timegrid import Ints


@dataclass(frozen=True)
class Stay:
    """A contract looks for spares on `stand` in [start, end)."""

    stand: Stand
    start: int
    end: int


class Backings:
    """Every stand of a fleet with these lots in the seconds [low, high)."""

    def __init__(self, ground: Ground, lots: Lots, low: int, high: int) -> None:
        self.ground, self.lots, self.low, self.high = ground, lots.within(low, high), low, high
        self._held: dict[Stand, Spans] = {}
        self._known: dict[Stand, Backing] = {}
        self._losses: dict[Stand, Ints] = {}

    def __getitem__(self, stand: Stand) -> Backing:
        if stand not in self._known:
            self._known[stand] = self.ground.backing(stand, self.held(stand), self.low, self.high)
        return self._known[stand]

    def held(self, stand: Stand) -> Spans:
        """When nodes of the stand are committed."""
        if stand not in self._held:
            inside, whole = self.ground.inside(stand), stand._replace(scope=Scope.ANY, domain=0)
            if whole == stand:
                self._held[stand] = self.lots.committing(stand).within(self.low, self.high, inside).merged()
            else:
                self._held[stand] = self.held(whole).within(self.low, self.high, inside)
        return self._held[stand]

    def worst(self, way: Sequence[Stay], start: int, end: int) -> int:
        """Chance of the worst 30 days in [start, end) of a contract that looks for spares here, then there."""
        start, end = max(start, way[0].start), min(end, way[-1].end)
        if start >= end:
            return 0
        backing = self[way[0].stand] if len(way) == 1 else joined([(self[s.stand], s.start, s.end) for s in way])
        return backing.worst(start, end)

    def least(self, way: Sequence[Stay]) -> int:
        """The fewest spare nodes."""
        return min(int(b.spare[b.rows(s.start, s.end)].min()) for s in way for b in (self[s.stand],))

    def loss(self, stay: Stay) -> tuple[int, bool]:
        """Nodes of the largest rack that could be lost with a committed one, and whether spare ones made up for any such loss."""
        backing = self[stay.stand]
        if stay.stand not in self._losses:
            self._losses[stay.stand] = self.ground.largest_domain(stay.stand, self.held(stay.stand), backing.times)
        rows = backing.rows(stay.start, stay.end)
        lost = self._losses[stay.stand][rows]
        return int(lost.max()), bool((lost <= backing.spare[rows]).all())

    def at_best(self, stand: Stand, counting: Counting) -> Backing:
        """The same with at least as many spares as any plan could leave that serves who is served in full.

        A spare node of n GPUs has n // k blocks of k GPUs that nobody has to keep (see `counting`), for any k.
        """
        counting.refresh()
        backing = self[stand].cut(counting.times)
        at = np.searchsorted(counting.times, backing.times[:-1], side="right") - 1
        size = min(n for g in stand.grades if (n := self.ground.sizes[g]))
        most = [counting.left(stand.grades, k)[at] // (size // k) for k in HALVES if k <= size]
        return backing.with_spare(np.maximum(np.minimum.reduce(most), 0))


def joined(parts: Sequence[tuple[Backing, int, int]]) -> Backing:
    """One after the other, each in [start, end) of its own; nothing is committed between them."""
    rows: list[Ints] = []
    until = parts[0][1]
    for backing, start, end in parts:
        if until < start:
            rows.append(np.array([[until], [0], [0], [0], [0]], dtype=np.int64))
        cut = backing.cut(np.array([start, end]))
        some = cut.rows(start, end)
        rows.append(np.stack((cut.times[:-1][some], cut.failing[some], cut.down[some], cut.spare[some], cut.committed[some])))
        until = end
    times, failing, down, spare, committed = np.concatenate(rows, axis=1)
    return Backing(np.append(times, until), failing, down, spare, committed)
