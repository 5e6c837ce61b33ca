"""Where accepted contracts stand in a plan that is kept: what each is served and what it costs from now on, and the sums.

Seconds that are missing and may not be curtailed by right are *short*: they are what is owed for. Lots that are short at one time
are counted as they are: a contract that is curtailed by right and short of nothing has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .live import Live
from .model import Contract
from .objective import micros
from .planner import Planner


class Gap(NamedTuple):
    """`lots` lots are short in [start, end)."""

    start: int
    end: int
    lots: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One accepted contract from now on: GPU-seconds, micros, and where it is short."""

    contracted_gpu_seconds: int
    bound_gpu_seconds: int
    short_gpu_seconds: int
    curtailed_gpu_seconds: int
    owed_micros: int
    interruption_micros: int
    substitution_micros: int
    gaps: tuple[Gap, ...]

    @property
    def lots_short(self) -> int:
        """Most lots that are short at one time."""
        return max((g.lots for g in self.gaps), default=0)

    @property
    def cost_micros(self) -> int:
        return self.owed_micros + self.interruption_micros + self.substitution_micros


@dataclass(frozen=True, slots=True)
class Sums:
    """All accepted contracts from now on. `lots_short`: most lots that are short at one time, whosever they are."""

    contracts: int
    contracted_gpu_seconds: int
    bound_gpu_seconds: int
    short_gpu_seconds: int
    curtailed_gpu_seconds: int
    owed_micros: int
    firm_owed_micros: int  # owed + interruption of Firm contracts
    interruption_micros: int
    substitution_micros: int
    lots_short: int
    lots_moved: int

    @property
    def cost_micros(self) -> int:
        return self.owed_micros + self.interruption_micros + self.substitution_micros


class Before:
    """The plan before what is asked, in which contracts are looked at as they stand now. `live` is its own, and stays as it is."""

    def __init__(self, live: Live, planner: Planner | None = None) -> None:
        self.live, self._planner = live, planner
        live.announced.rest()
        self._known: dict[str, Standing | None] = {}
        self._sums: Sums | None = None

    @classmethod
    def of(cls, planner: Planner) -> Before:
        """Of a copy."""
        own = planner.copy()
        return cls(own.kept(), own)

    def copy(self) -> Planner:
        """The plan, to be changed."""
        assert self._planner is not None, "a kept plan alone cannot be planned anew"
        return self._planner.copy()

    def standing(self, key: str) -> Standing | None:
        """None where nothing is due, or the contract is unknown, refused or a reserve."""
        if key not in self._known:
            self._known[key] = standing_of(self.live, key)
        return self._known[key]

    def contract(self, key: str) -> Contract | None:
        return self.live.contract_of(key)

    @property
    def sums(self) -> Sums:
        if self._sums is None:
            rows = [(c, s) for c in self.live.contracts.values() if (s := self.standing(c.key))]
            self._sums = summed(rows)
        return self._sums

    def gaps(self) -> dict[str, tuple[Gap, ...]]:
        """By contract, of those that are short."""
        assert self._sums is not None, "sums look at everybody"
        return {key: s.gaps for key, s in self._known.items() if s and s.gaps}


def standing_of(live: Live, key: str) -> Standing | None:
    """How a contract stands in a kept plan, as it is now."""
    index = live.index.get(key, -1)
    if index not in live.book.demands:
        return None
    live.announced.refresh(index)
    demand, verdict = live.book.demands[index], live.book.verdict(index)
    if demand.contract.reserve:
        return None
    missing = live.book.missing(index)
    lost, lot = sum((end - start) * lots for start, end, lots in missing), demand.contract.lot_gpus
    short, contracted = lost - verdict.curtailed, demand.lots * (demand.end - demand.start)
    return Standing(
        contracted * lot,
        (contracted - lost) * lot,
        short * lot,
        verdict.curtailed * lot,
        micros(verdict.owed),
        micros(verdict.interruption),
        micros(verdict.substitution),
        tuple(Gap(*row) for row in missing) if short else (),
    )


def summed(rows: Iterable[tuple[Contract, Standing]]) -> Sums:
    """The sums of these contracts, before anything is moved."""
    rows = list(rows)
    every = [s for _, s in rows]
    return Sums(
        len(every),
        sum(s.contracted_gpu_seconds for s in every),
        sum(s.bound_gpu_seconds for s in every),
        sum(s.short_gpu_seconds for s in every),
        sum(s.curtailed_gpu_seconds for s in every),
        sum(s.owed_micros for s in every),
        sum(s.owed_micros + s.interruption_micros for c, s in rows if c.firm),
        sum(s.interruption_micros for s in every),
        sum(s.substitution_micros for s in every),
        peak(g for s in every for g in s.gaps).lots,
        0,
    )


def peak(gaps: Iterable[Gap]) -> Gap:
    """Most lots that are short at once, and when first so; nought at nought if nothing is."""
    changes: dict[int, int] = {}
    for start, end, lots in gaps:
        changes[start] = changes.get(start, 0) + lots
        changes[end] = changes.get(end, 0) - lots
    most, level, times = Gap(0, 0, 0), 0, sorted(changes)
    for i, time in enumerate(times):
        level += changes[time]
        if level > most.lots:
            most = Gap(time, times[i + 1], level)
    return most
