"""Verdicts on outages as the planner's process gives them, with what would help: short, because they cross to the operator by pipe."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from laycan_solver.live import Live
from laycan_solver.model import FOREVER, Outage, OutageType
from laycan_solver.outage_verdict import Cover, Harm, Verdict, judge
from laycan_solver.planner import Planner

NAMED = 4  # contracts


class Judged(NamedTuple):
    """A verdict; `harms`: the worst few of `harmed` contracts that would be short. Times are Unix seconds, chances millionths."""

    cover: str
    lots_short: int
    window: tuple[int, int]  # in which most lots are short at once, for the first time
    harmed: int
    harms: tuple[Harm, ...]
    missed: tuple[str, ...]  # contracts whose target it exceeds: one of each kind
    ppm: int
    target_ppm: int | None  # the lowest that is exceeded
    spare_nodes: int  # the fewest while it lasts, where the chance is greatest
    halves: str | None = None  # what each half of the nodes would be, one after the other, where that is better
    after: int | None = None  # from when on it would be Covered, if shifted


def judged(planner: Planner, outage: Outage) -> Judged:
    """The verdict on an outage, and what would be better, if that is found."""
    live = planner.kept()
    verdict = judge(live, outage)
    found = _short(verdict)
    if verdict.cover is Cover.COVERED or outage.type is not OutageType.PLANNED:
        return found
    return found._replace(halves=_halves(live, outage, verdict), after=_after(live, outage, verdict))


def _short(verdict: Verdict) -> Judged:
    missed = tuple(e for e in verdict.exposures if e.missed)
    worst = max(verdict.exposures, key=lambda e: e.ppb, default=None)
    return Judged(
        cover=verdict.cover.value,
        lots_short=verdict.lots_short,
        window=(verdict.worst.start, verdict.worst.end),
        harmed=len(verdict.harms),
        harms=verdict.harms[:NAMED],
        missed=tuple(e.contract for e in missed[:NAMED]),
        ppm=-(-verdict.ppb // 1000),
        target_ppm=min((e.target_ppb // 1000 for e in missed if e.target_ppb is not None), default=None),
        spare_nodes=worst.spare_nodes if worst is not None else 0,
    )


def _halves(live: Live, outage: Outage, verdict: Verdict) -> str | None:
    """The worse verdict of the two halves of its nodes, by name, where that is better than that of all at once."""
    names = sorted(outage.nodes & live.nodes.keys())
    parts = [frozenset(names[: len(names) // 2]), frozenset(names[len(names) // 2 :])]
    if not all(parts):
        return None
    worse = max((judge(live, replace(outage, nodes=part)).cover for part in parts), key=lambda cover: cover.severity)
    return worse.value if worse.severity < verdict.cover.severity else None


def _after(live: Live, outage: Outage, verdict: Verdict) -> int | None:
    """The end of the last contract that it would leave short or at risk, if it is Covered from then on."""
    ends = [contract.end for key in verdict.contracts if (contract := live.contract_of(key)) is not None]
    start = max(ends, default=0)
    if start <= outage.start or outage.end >= FOREVER:
        return None
    shifted = replace(outage, start=start, end=start + outage.end - outage.start)
    return start if judge(live, shifted).cover is Cover.COVERED else None
