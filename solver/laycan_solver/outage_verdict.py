"""May an outage go ahead? Blocked where accepted contracts would be short of lots for it, at risk where too few spares would be left.

The outage is tried on a copy of the plan. Where nobody is short more, the chance that a failure finds no spare while it lasts (of its
worst 30 days, if it is longer) is compared with the targets of the contracts that are due then. A retirement is an outage without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from .backings import Backings
from .effect import Effect, compare
from .eligible import Demand
from .live import Live
from .model import Difference, Outage, OutageChanged, OutageGone
from .planner import Planner
from .promise import PPM, Risks
from .standing import Before, Gap, peak


class Cover(StrEnum):
    COVERED = "Covered"
    AT_RISK = "AtRisk"
    BLOCKED = "Blocked"

    @property
    def severity(self) -> int:
        """0 for the mildest."""
        return list(Cover).index(self)


@dataclass(frozen=True, slots=True)
class Harm:
    """A contract that would be short of `gpu_seconds` more, of so many lots at most, from `start` on."""

    contract: str
    lots: int
    gpu_seconds: int
    start: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """A Firm contract while the outage lasts: the chance that a failure finds no spare, without and with it, in parts per billion.

    `spare_nodes`: the fewest meanwhile. `target_ppb`: None without one.
    """

    contract: str
    before_ppb: int
    ppb: int
    spare_nodes: int
    target_ppb: int | None

    @property
    def missed(self) -> bool:
        """The chance rises for the outage, to the target or above."""
        return self.target_ppb is not None and self.ppb >= self.target_ppb and self.ppb > self.before_ppb


@dataclass(frozen=True, slots=True)
class Verdict:
    """`worst`: most lots at once that contracts are short of for the outage, and when first so; none where it is not Blocked.

    `harms`: by contract, the worst first. `exposures`: Firm contracts that are due meanwhile, missed targets first, then by chance; of
    contracts that stand alike only the first by name.
    """

    cover: Cover
    worst: Gap
    harms: tuple[Harm, ...]
    exposures: tuple[Exposure, ...]
    effect: Effect

    @property
    def lots_short(self) -> int:
        return self.worst.lots

    @property
    def ppb(self) -> int:
        """The greatest chance of any of these contracts."""
        return max((e.ppb for e in self.exposures), default=0)

    @property
    def contracts(self) -> tuple[str, ...]:
        """Who is short, or whose target is missed."""
        return tuple(h.contract for h in self.harms) or tuple(e.contract for e in self.exposures if e.missed)

    @property
    def since(self) -> int | None:
        """The first second in which somebody is short for it; None where nobody is."""
        return min((h.start for h in self.harms), default=None)


def judge(source: Planner | Live, outage: Outage) -> Verdict:
    """What the outage would do, or, where the plan has it already, what it does. The plan stays as it is.

    A plan that has it already may leave somebody short whom the search serves as soon as the outage is taken away and put back: that is
    not the outage's doing. So the milder of both verdicts counts; otherwise one that goes ahead would be called off, and again and again.
    """
    live = source.kept() if isinstance(source, Planner) else source
    before = live.copy()
    if outage.name in live.outages:
        before.update([OutageGone(outage.name)])
    found = []
    if live.outages.get(outage.name) == outage:
        there = live.copy()
        found.append(_verdict(before, there, _difference(before, there), outage))
    if not found or found[0].cover is not Cover.COVERED:
        again = before.copy()
        found.append(_verdict(before, again, again.update([OutageChanged(outage)]), outage))
    return min(found, key=lambda v: v.cover.severity)


def _difference(before: Live, after: Live) -> Difference:
    then, now = set(before.announced.now()), set(after.announced.now())
    return Difference(tuple(sorted(then - now)), tuple(sorted(now - then)), tuple(after.announced.short()), ())


def _verdict(before: Live, after: Live, difference: Difference, outage: Outage) -> Verdict:
    """Of the plan with the outage against that without it."""
    own = Before(before)
    effect = compare(own, after, difference)
    harms = tuple(_harm(c.contract, c.more, c.short_gpu_seconds) for c in effect.harmed)
    exposures = tuple(sorted(_exposures(before, after, outage), key=lambda e: (not e.missed, -e.ppb, e.contract)))
    missed = any(e.missed for e in exposures)
    cover = Cover.BLOCKED if harms else Cover.AT_RISK if missed else Cover.COVERED
    return Verdict(cover, effect.worst, harms, exposures, effect)


def _harm(contract: str, more: list[Gap], gpu_seconds: int) -> Harm:
    return Harm(contract, peak(more).lots, gpu_seconds, more[0].start)


def _exposures(before: Live, after: Live, outage: Outage) -> Iterator[Exposure]:
    """Firm contracts that are due while it lasts; those without a scope that ask for the same at the same time are one."""
    demands = sorted(after.book.demands.values(), key=lambda d: d.contract.key)
    end = min(outage.end, max((d.end for d in demands), default=outage.start))
    start = max(outage.start, after.now)
    if start >= end:
        return
    looks = [_Look(live, start, end) for live in (before, after)]
    seen = set[tuple[object, ...]]()
    for demand in demands:
        contract, due = demand.contract, (max(demand.start, start), min(demand.end, end))
        kind = contract.key if demand.scoped else (contract.product, contract.substitution)
        if not contract.firm or contract.reserve or due[0] >= due[1] or (kind, *due) in seen:
            continue
        seen.add((kind, *due))
        (then, _), (now, spare) = (look.of(demand.index, *due) for look in looks)
        target = after.demands.products[contract.product].reliability.target_ppm
        yield Exposure(contract.key, then, now, spare, None if target is None else target * PPM)


class _Look:
    """What stands behind contracts of a kept plan between two instants."""

    def __init__(self, live: Live, start: int, end: int) -> None:
        self.live, self.risks = live, Risks(live.book, live.demands)
        self.backings = Backings(self.risks.ground, self.risks.refresh(), start, end)

    def of(self, index: int, start: int, end: int) -> tuple[int, int]:
        """(chance in [start, end), fewest spare nodes then) of a contract; the worst of where it may look for spares."""
        demand: Demand | None = self.live.book.demands.get(index)
        if demand is None:
            return 0, 0
        found = []
        for way in self.risks.ways(demand, self.backings.lots, self.live.book.segments[index]):
            stays = [replace(s, start=max(s.start, start), end=min(s.end, end)) for s in way if s.start < end and start < s.end]
            if stays:
                found.append((self.backings.worst(stays, start, end), -self.backings.least(stays)))
        ppb, spare = max(found, default=(0, 0))
        return ppb, -spare
