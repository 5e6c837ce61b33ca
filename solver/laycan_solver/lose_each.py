"""Lose each of some groups of nodes, one at a time: what each would cost, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .effect import Effect, compare, effect_of
from .model import FOREVER, Difference
from .planner import Planner
from .standing import Before
from .whatif import losing


@dataclass(frozen=True, slots=True)
class Loss:
    """One group of nodes is lost."""

    name: str
    nodes: int
    effect: Effect


@dataclass(frozen=True, slots=True)
class Losses:
    """Every group's loss, ranked by money at stake, then by GPU-seconds."""

    rows: tuple[Loss, ...]

    @property
    def worst(self) -> Loss | None:
        return self.rows[0] if self.rows and not self.rows[0].effect.safe else next((r for r in self.rows if not r.effect.safe), None)

    @property
    def harmless(self) -> int:
        """Groups whose loss leaves nobody short of a GPU-second more."""
        return sum(r.effect.safe for r in self.rows)


def lose_each(
    planner: Planner,
    groups: Mapping[str, Sequence[str]],
    start: int,
    end: int = FOREVER,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Losses:
    """Loses each group by itself in [start, end); `progress` is told how many of how many are done."""
    before = Before.of(planner)
    rows = []
    for i, (name, nodes) in enumerate(groups.items()):
        progress(i, len(groups))
        rows.append(Loss(name, len(nodes), _lost(before, nodes, start, end)))
    progress(len(groups), len(groups))
    rows.sort(key=lambda r: (-r.effect.cost_micros, -sum(c.short_gpu_seconds for c in r.effect.changes), r.name))
    return Losses(tuple(rows))


def _lost(before: Before, nodes: Sequence[str], start: int, end: int) -> Effect:
    """Where nothing lies on them meanwhile, nothing happens, and no copy is made."""
    live = before.live
    columns = [live.fleet.column[n] for n in nodes if n in live.fleet.column]
    if any(s.end > start and s.start < end for c in columns for _, s in live.book.on_node[c]):
        return effect_of(before, [losing(nodes, start, end)])[0]
    return compare(before, live, Difference((), (), tuple(live.announced.short()), ()))
