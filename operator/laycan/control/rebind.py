"""From a plan's bindings to the contract's: history stays as it was, lots keep their numbers.

A plan knows how many lots a node serves, not which; but outages, grace and cure are told per lot. So each planned binding is given
lot numbers: a lot that stays on its node keeps its number, and a node that takes over for a lost one takes the lost lot's number.
Bindings are numbered in the order of their starts, each from the numbers that are free then; at no instant are there more lots
bound than the contract has, so a free number is always found (interval graphs are coloured greedily by start).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from laycan.control.decision import PlannedBinding
from laycan.delivery.metering.served import Bound


def rebind(bounds: Sequence[Bound], planned: Sequence[PlannedBinding], lots: int, lot_gpus: int, now: int) -> tuple[Bound, ...]:
    """The bindings from now on as planned, with lot numbers, and what lies before now as it was.

    Raises ValueError when the plan binds more lots at once than the contract has: such a plan must never reach a status.
    """
    ahead = sorted(p._replace(start=max(p.start, now)) for p in planned if p.end > now)
    on: dict[str, list[Bound]] = {}
    for bound in bounds:
        on.setdefault(bound.node, []).append(bound)
    numbers = _number(bounds, on, ahead, lots, lot_gpus, now)
    made: list[Bound] = []
    continued: set[Bound] = set()
    for plan, all_mine in zip(ahead, numbers, strict=True):
        for mine in [(lot,) for lot in all_mine] if plan.level == "Device" else [all_mine]:
            before = _before(on.get(plan.node, ()), plan, mine, now)
            new = Bound(plan.node, plan.product, len(mine) * lot_gpus, mine, plan.start, plan.end, bound_at=now, level=plan.level)
            if before is not None:
                new = _going_on(new, before)
                if before.running(now) and plan.start == now and _same(before, new):
                    new = replace(new, start=before.start)
                    continued.add(before)
            made.append(new)
    past = [replace(b, end=min(b.end, now)) for b in bounds if b.start < now and b not in continued]
    return tuple(sorted((*past, *made), key=lambda b: (b.start, b.lots, b.node)))


def _going_on(new: Bound, before: Bound) -> Bound:
    """The binding with what its predecessor on the same node has got already."""
    if new.level != before.level or (new.exact and new.lots != before.lots):
        return new
    return replace(
        new,
        bound_at=before.bound_at,
        handed_over_at=before.handed_over_at,
        metered_since=before.metered_since,
        devices=before.devices,
    )


def _same(before: Bound, new: Bound) -> bool:
    return (before.lots, before.product, before.level) == (new.lots, new.product, new.level)


def cut(bounds: Sequence[Bound], now: int) -> tuple[Bound, ...]:
    """What is left when a contract ends at `now`: its history."""
    return tuple(replace(b, end=min(b.end, now)) for b in bounds if b.start < now)


def _before(bounds: Sequence[Bound], plan: PlannedBinding, mine: tuple[int, ...], now: int) -> Bound | None:
    """Of the bindings on the same node the one that this one goes on from: overlapping before touching, best with the same lots."""
    near = [b for b in bounds if b.end >= plan.start and b.start <= plan.end and b.end >= now]
    return min(near, key=lambda b: (not _overlap(plan, b), b.lots != mine or b.product != plan.product, b.start, b.lots), default=None)


def _number(
    bounds: Sequence[Bound], on: Mapping[str, Sequence[Bound]], ahead: Sequence[PlannedBinding], lots: int, lot_gpus: int, now: int
) -> list[tuple[int, ...]]:
    wanted = [_kept(on.get(plan.node, ()), plan) for plan in ahead]
    running = {lot for b in bounds if b.running(now) for lot in b.lots}
    busy_until = [0] * lots
    numbers: list[tuple[int, ...]] = [()] * len(ahead)
    order = sorted(range(len(ahead)), key=lambda i: (ahead[i].start, not wanted[i], i))
    wanting = [i for i in order if wanted[i]]
    preferred, at = sorted(range(lots), key=lambda lot: (lot not in running, lot)), -1
    free: list[int] = []  # at the instant `at`, the running ones first
    for i in order:
        plan, count = ahead[i], ahead[i].gpus // lot_gpus
        if plan.start != at:
            free, at = [lot for lot in preferred if busy_until[lot] <= plan.start], plan.start
        mine = [lot for lot in wanted[i] if busy_until[lot] <= plan.start][:count]
        if len(mine) < count:
            others = {lot for j in wanting if j != i and _overlap(plan, ahead[j]) for lot in wanted[j]}
            spare = chain((lot for lot in free if lot not in others), (lot for lot in free if lot in others))
            mine += islice((lot for lot in spare if lot not in mine), count - len(mine))
        if len(mine) < count:
            raise ValueError(f"the plan binds more than {lots} lots at {plan.start}")
        for lot in mine:
            busy_until[lot] = plan.end
            if plan.end > at:
                free.remove(lot)
        numbers[i] = tuple(sorted(mine))
    return numbers


def _kept(bounds: Sequence[Bound], plan: PlannedBinding) -> list[int]:
    """The numbers of lots that are on this node already, those nearest to the plan's start first."""
    mine = sorted((b for b in bounds if _overlap(plan, b)), key=lambda b: (abs(b.start - plan.start), b.lots))
    return list(dict.fromkeys(lot for b in mine for lot in b.lots))


def _overlap(a: PlannedBinding | Bound, b: PlannedBinding | Bound) -> bool:
    return a.start < b.end and b.start < a.end
