"""What the agent of a node proves of a binding's time: where a lot was not sampled, or not all of its GPUs were fit.

A binding is metered by the agent from the moment on that stands in it (`metered_since`), and for good: a GpuMeter that vanishes proves
nothing any more, so nobody hides a shortfall by deleting one. Time between two samples that the meter lists as missed may be estimated
(contract.md 5.7) where the node ran through, its GPUs drew power and its kubelet was heard all along; how much of it counts is capped by
`classify`.

All of it follows from the meter as it is now, so nothing of it is kept: a restart, or a look at another time, finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from laycan.delivery.metering.reading import Gap
from laycan.delivery.metering.served import Bound
from laycan.kube.meter_views import MeterView, MissedView
from laycan.kube.world import World
from laycan.resources.verdict import Policy, Spell, spells

UPTIME_SECONDS = 2  # by how much the uptime may disagree with the clock over a stretch that is estimated
LEAST_WATTS, MOST_WATTS = 10, 2_000  # mean power of a GPU that is there: below the idle draw of any data-centre GPU, above the limit of all


def metered(world: World, bound: Bound, now: int) -> Bound:
    """The binding with the moment from which the agent's word counts, once its buyer has access and an agent reports of this node."""
    view, node = world.meters.get(bound.node), world.nodes.get(bound.node)
    if bound.handed_over_at is None:
        return replace(bound, metered_since=None)
    if bound.metered_since is not None or view is None or node is None or view.node_uid != node.uid or now >= bound.end:
        return bound
    return replace(bound, metered_since=max(bound.handed_over_at, view.since))


def unproven(world: World, bound: Bound, policy: Policy, lot_gpus: int, ahead: int, read: int, now: int) -> list[Gap]:
    """Where the agent does not prove delivery of the binding's lots from `read`, where the meter stands, up to `now`.

    The end of what lasts is None. `ahead`: GPUs of the node that other contracts of its holder are counted for first, where some are unfit.
    """
    if bound.metered_since is None:
        return []
    view, lo, hi = world.meters.get(bound.node), max(bound.start, bound.metered_since, read), min(bound.end, now)
    if lo >= hi:
        return []
    over = bound.end if bound.end < now else None
    if view is None:
        return [Gap(bound.node, lo, over, bound.lots, cause="NoMeter")]
    found = [Gap(bound.node, lo, view.complete_since, bound.lots, cause="HistoryDropped")] if lo < view.complete_since else []
    found += [Gap(bound.node, m.start, m.end, bound.lots, _estimable(world, view.node, m), "NotSampled") for m in view.missed]
    if now >= view.silent_at:
        found.append(Gap(bound.node, max(lo, view.at), None, bound.lots, cause="AgentSilent"))
    if view.findings or not set(bound.devices) <= view.gpus or len(view.gpus) < bound.gpus:
        found += _unfit(view, spells(view.findings, policy), policy, bound, lot_gpus, ahead, lo, hi)
    touching = [gap for gap in found if gap.start < hi and (gap.end is None or gap.end > lo)]
    return [replace(gap, end=over) if gap.end is None else gap for gap in touching]


def unfit_lots(world: World, bound: Bound, policy: Policy, lot_gpus: int, ahead: int, now: int) -> tuple[int, ...]:
    """Lots of the binding for which its node has no fit GPUs at this moment, by the agent's last word; none where no agent reports."""
    view, node = world.meters.get(bound.node), world.nodes.get(bound.node)
    if view is None or node is None or view.node_uid != node.uid:
        return ()
    bad = {s.gpu for s in spells(view.findings, policy) if s.covers(now) and not policy.delivers(s)}
    return _without(view, bound, bad, lot_gpus, ahead)


def _estimable(world: World, name: str, missed: MissedView) -> bool:
    node = world.nodes.get(name)
    heard = node is not None and world.alive(node) and node.ready_since <= missed.start
    ran_through = missed.same_boot and abs(missed.uptime_seconds - (missed.end - missed.start)) <= UPTIME_SECONDS
    return heard and ran_through and missed.least_watts >= LEAST_WATTS and missed.most_watts <= MOST_WATTS


def _unfit(
    view: MeterView, found: Sequence[Spell], policy: Policy, bound: Bound, lot_gpus: int, ahead: int, lo: int, hi: int
) -> Iterator[Gap]:
    """When in [lo, hi) which lot had no fit GPUs."""
    bad = [spell for spell in found if not policy.delivers(spell)]
    cuts = sorted({lo, *(t for s in bad for t in (s.start, s.end) if t is not None and lo < t < hi)})
    out: dict[int, tuple[int, str]] = {}  # lot -> since when it is out, and why
    for at in cuts:
        here = [spell for spell in bad if spell.covers(at)]
        lost = _without(view, bound, {spell.gpu for spell in here}, lot_gpus, ahead)
        for lot in sorted(out.keys() - lost):
            since, why = out.pop(lot)
            yield Gap(bound.node, since, at, (lot,), cause=why)
        why = max(here, key=lambda spell: spell.start).reason if here else "GpusMissing"
        out = {lot: out.get(lot, (at, why)) for lot in lost}
    yield from (Gap(bound.node, since, None, (lot,), cause=why) for lot, (since, why) in out.items())


def _without(view: MeterView, bound: Bound, unfit: set[str], lot_gpus: int, ahead: int) -> tuple[int, ...]:
    if bound.exact:
        return () if set(bound.devices) <= view.gpus - unfit else bound.lots
    fit = len(view.gpus - unfit)
    served = max(0, fit - (ahead if unfit else 0)) // lot_gpus
    return bound.lots[served:]


def readable(world: World, bounds: Sequence[Bound], read: int, until: int, now: int, wait: int) -> int:
    """How far the meter may read: not beyond the latest sample of an agent, for which it waits `wait` seconds at most."""
    for bound in bounds:
        if bound.metered_since is None or bound.end <= read or bound.start >= until:
            continue
        view = world.meters.get(bound.node)
        sampled = max(view.at, bound.metered_since) if view is not None else read
        if sampled < min(until, bound.end) and now < sampled + wait:
            until = max(sampled, min(until, bound.start))
    return until
