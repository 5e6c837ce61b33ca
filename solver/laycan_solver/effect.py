"""What something does to a plan: the plan after it against the plan before it, in money, GPU-seconds and lots, by contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

from .live import Live
from .model import Contract, Difference, Event, Move, Undelivered
from .planner import Planner
from .standing import Before, Gap, Standing, Sums, peak, standing_of, summed


@dataclass(frozen=True, slots=True)
class Change:
    """One accepted contract, before and after; None where it is not accepted, or nothing is due."""

    contract: str
    before: Standing | None
    after: Standing | None
    lots_moved: int

    @property
    def more(self) -> list[Gap]:
        """Where it is short of more lots than before, and of how many more."""
        return _more(_gaps(self.before), _gaps(self.after))

    @property
    def cost_micros(self) -> int:
        """What it costs more: owed, interruption and substitution."""
        return _cost(self.after) - _cost(self.before)

    @property
    def short_gpu_seconds(self) -> int:
        """GPU-seconds that it is short of more."""
        return _short(self.after) - _short(self.before)


@dataclass(frozen=True, slots=True)
class Effect:
    """`changes` holds the contracts that stand otherwise or are moved, the worst first; `refused` the candidates that are refused now."""

    before: Sums
    after: Sums
    changes: tuple[Change, ...]
    moves: tuple[Move, ...]
    refused: tuple[Undelivered, ...]

    @property
    def cost_micros(self) -> int:
        """What is at stake: owed, interruption and substitution after, less before."""
        return self.after.cost_micros - self.before.cost_micros

    @property
    def harmed(self) -> tuple[Change, ...]:
        """Contracts that are short of GPU-seconds more than before."""
        return tuple(c for c in self.changes if c.short_gpu_seconds > 0)

    @property
    def safe(self) -> bool:
        """Nobody accepted is short of a GPU-second more than before."""
        return not self.harmed

    @property
    def worst(self) -> Gap:
        """Most lots at once that contracts are short of more than before, and when first so."""
        return peak(g for c in self.harmed for g in c.more)


def effect_of(before: Before, events: Sequence[Event]) -> tuple[Effect, Planner]:
    """What these events do, and the plan after them. The plan before stays as it is."""
    after = before.copy()
    difference = after.update(events)
    return compare(before, after.kept(), difference), after


def compare(before: Before, after: Live, difference: Difference) -> Effect:
    """`difference` is what led from the one to the other."""
    sums = before.sums
    moved: Counter[str] = Counter()
    for move in difference.moves:
        moved[move.contract] += move.gpus
    changes = []
    for key in _touched(before.live, after, difference):
        then, now, contract = before.standing(key), standing_of(after, key), after.contract_of(key) or before.contract(key)
        assert contract is not None
        lots = moved[key] // contract.lot_gpus
        if then != now or lots:
            changes.append((contract, Change(key, then, now, lots)))
    changes.sort(key=lambda row: (-row[1].cost_micros, -row[1].short_gpu_seconds, row[0].key))
    known = before.live.announced.refused
    refused = tuple(sorted(u for u in difference.undelivered if u.refused and u.contract not in known))
    every = tuple(c for _, c in changes)
    return Effect(sums, _after(before, changes), every, difference.moves, refused)


def _touched(before: Live, after: Live, difference: Difference) -> list[str]:
    """Contracts that may stand otherwise: with other bindings, newly accepted or gone."""
    keys = {b.contract for b in (*difference.released, *difference.acquired)}
    keys |= before.index.keys() ^ after.index.keys()
    return sorted(keys | (before.announced.refused.keys() ^ after.announced.refused.keys()))


def _after(before: Before, changes: Sequence[tuple[Contract, Change]]) -> Sums:
    """The sums before, with these changes."""
    came = summed((contract, c.after) for contract, c in changes if c.after)
    went = summed((before.contract(c.contract) or contract, c.before) for contract, c in changes if c.before)
    values = {f.name: getattr(before.sums, f.name) + getattr(came, f.name) - getattr(went, f.name) for f in fields(Sums)}
    gaps: Mapping[str, Sequence[Gap]] = before.gaps() | {c.contract: _gaps(c.after) for _, c in changes}
    most = peak(g for rows in gaps.values() for g in rows).lots
    return replace(Sums(**values), lots_short=most, lots_moved=sum(c.lots_moved for _, c in changes))


def _cost(standing: Standing | None) -> int:
    return standing.cost_micros if standing else 0


def _short(standing: Standing | None) -> int:
    return standing.short_gpu_seconds if standing else 0


def _gaps(standing: Standing | None) -> tuple[Gap, ...]:
    return standing.gaps if standing else ()


def _more(before: Iterable[Gap], after: Iterable[Gap]) -> list[Gap]:
    """Where one contract is short of more lots than before, and of how many more."""
    change: Counter[int] = Counter()
    for rows, sign in ((after, 1), (before, -1)):
        for start, end, lots in rows:
            change[start] += sign * lots
            change[end] -= sign * lots
    found, level, times = list[Gap](), 0, sorted(change)
    for start, end in pairwise(times):
        level += change[start]
        if level > 0:
            found.append(Gap(start, end, level))
    return found
