"""What the agent of a node proves of a binding's time: where a lot was not sampled, or not all of its GPUs were fit.

A binding is metered by the agent from the moment on that stands in it (`metered_since`), and for good: a GpuMeter that vanishes proves
nothing any more, so nobody hides a shortfall by deleting one. Time between two samples that the meter lists as missed may be estimated
(contract.md 5.7) where the node ran through, its GPUs drew power and its kubelet was heard all along; how much of it counts is capped by
`classify`.

All of it follows from the meter as it is now, so nothing of it is kept: a restart, or a look at another time, finds the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from laycan.delivery.metering.reading import Gap
from laycan.delivery.metering.served import Bound
from laycan.delivery.metering.sharing import Sharing
from laycan.kube.meter_views import MeterView, MissedView
from laycan.kube.world import World
from laycan.resources.verdict import Policy, Spell, spells

UPTIME_SECONDS = 2  # by how much the uptime may disagree with the clock over a stretch that is estimated
_EVER = 1 << 40  # Unix seconds
LEAST_WATTS, MOST_WATTS = 10, 2_000  # mean power of a GPU that is there: below the idle draw of any data-centre GPU, above the limit of all


def metered(world: World, bound: Bound) -> Bound:
    """The binding with the moment from which the agent's word counts, once its buyer has access and an agent reports of this node.

    When that is noticed changes nothing: it may be over by then.
    """
    view, node = world.meters.get(bound.node), world.nodes.get(bound.node)
    if bound.handed_over_at is None:
        return replace(bound, metered_since=None)
    if bound.metered_since is not None or view is None or node is None or view.node_uid != node.uid or view.since >= bound.end:
        return bound
    return replace(bound, metered_since=max(bound.handed_over_at, view.since))


def unproven(world: World, bound: Bound, policy: Policy, lot_gpus: int, sharing: Sharing, read: int, now: int) -> list[Gap]:
    """Where the agent does not prove delivery of the binding's lots from `read`, where the meter stands, up to and with second `now`.

    The end of what lasts is None.
    """
    if bound.metered_since is None:
        return []
    view, lo, hi = world.meters.get(bound.node), max(bound.start, bound.metered_since, read), min(bound.end, now + 1)
    if lo >= hi:
        return []
    over = bound.end if bound.end <= now else None
    if view is None:
        return [Gap(bound.node, lo, over, bound.lots, cause="NoMeter")]
    known_from = _known_from(view, policy, bound.metered_since)
    found = [Gap(bound.node, lo, known_from, bound.lots, cause="HistoryDropped")] if lo < known_from else []
    found += [Gap(bound.node, m.start, m.end, bound.lots, _estimable(world, view.node, m), "NotSampled") for m in view.missed]
    if now >= view.silent_at:
        found.append(Gap(bound.node, max(lo, view.sampled_until), None, bound.lots, cause="AgentSilent"))
    lately = [finding for finding in view.findings if finding.end is None or finding.end + policy.clean_seconds > lo]
    found += _unfit(view, [spell for spell in spells(lately, policy) if not policy.delivers(spell)], bound, lot_gpus, sharing, lo, hi)
    touching = [gap for gap in found if gap.start < hi and (gap.end is None or gap.end > lo)]
    return [replace(gap, end=over if gap.end is None else min(gap.end, bound.end)) for gap in touching]


def _known_from(view: MeterView, policy: Policy, metered_since: int) -> int:
    """From when on the meter's history is whole: what it dropped, or lost when it began anew, may need its clean time yet."""
    whole = view.complete_since <= min(view.since, metered_since)
    return view.complete_since if whole else view.complete_since + policy.clean_seconds


def _estimable(world: World, name: str, missed: MissedView) -> bool:
    node = world.nodes.get(name)
    heard = node is not None and world.alive(node) and node.ready_since <= missed.start
    ran_through = missed.same_boot and abs(missed.uptime_seconds - (missed.end - missed.start)) <= UPTIME_SECONDS
    return heard and ran_through and missed.least_watts >= LEAST_WATTS and missed.most_watts <= MOST_WATTS


def _unfit(view: MeterView, bad: Sequence[Spell], bound: Bound, lot_gpus: int, sharing: Sharing, lo: int, hi: int) -> Iterator[Gap]:
    """When in [lo, hi) which lot had no fit GPUs."""
    runs = list(_runs(bad))
    instants = {lo, *sharing.changes(bound), *(t for run in runs for t in (run.start, run.end))}
    out: dict[int, tuple[int, str]] = {}  # lot -> since when it is out, and why
    for at in sorted(t for t in instants if lo <= t < hi):
        here = [run for run in runs if run.start <= at < run.end]
        lost = lots_without(view, bound, {run.gpu for run in here}, lot_gpus, sharing.ahead(bound, at))
        for lot in sorted(out.keys() - lost):
            since, why = out.pop(lot)
            yield Gap(bound.node, since, at, (lot,), cause=why)
        why = max(here, key=lambda run: run.start).reason if here else "GpusMissing"
        out = {lot: out.get(lot, (at, why)) for lot in lost}
    yield from (Gap(bound.node, since, None, (lot,), cause=why) for lot, (since, why) in out.items())


class _Run(NamedTuple):
    """A GPU was unfit in [start, end), Unix seconds, first of all for that reason."""

    gpu: str
    start: int
    end: int
    reason: str


def _runs(bad: Sequence[Spell]) -> Iterator[_Run]:
    """The spells, which are in the order of their starts, as stretches that do not touch."""
    last: dict[str, _Run] = {}
    for spell in bad:
        end, run = _EVER if spell.end is None else spell.end, last.get(spell.gpu)
        if run is not None and spell.start > run.end:
            yield run
            run = None
        start, until, reason = (run.start, run.end, run.reason) if run else (spell.start, end, spell.reason)
        last[spell.gpu] = _Run(spell.gpu, start, max(until, end), reason)
    yield from last.values()


def lots_without(view: MeterView, bound: Bound, unfit: Collection[str], lot_gpus: int, ahead: int) -> tuple[int, ...]:
    """Lots of the binding that the fit GPUs of its node do not suffice for; `unfit` are uuids, `ahead` GPUs that others get first."""
    fit = view.gpus.difference(unfit)
    if bound.exact:
        return () if fit.issuperset(bound.devices) else bound.lots
    return bound.lots[max(0, len(fit) - ahead) // lot_gpus :]


def readable(world: World, bounds: Sequence[Bound], read: int, until: int, now: int, wait: int) -> int:
    """How far the meter may read: not beyond what an agent has told in full, for which it waits `wait` seconds at most.

    An agent that may still report is waited for in any case: what it has not told of yet is not unproven before it counts as silent.
    """
    for bound in bounds:
        if bound.metered_since is None or bound.end <= read or bound.start >= until:
            continue
        told, *silent = silences(world, bound, read, wait)
        if told < min(until, bound.end) and now < max(silent):
            until = max(told, min(until, bound.start))
    return until


def silences(world: World, bound: Bound, read: int, wait: int) -> tuple[int, ...]:
    """Up to when all is told of the binding, and when its agent counts as silent, and is waited for no more, if no other sample comes."""
    view, since = world.meters.get(bound.node), bound.metered_since or 0
    if view is None:
        return read, read + wait
    told = max(view.complete_at, since)
    return told, view.silent_at, told + wait
