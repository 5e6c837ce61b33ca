"""From snapshot to snapshot: the events that lead from a kept plan's problem to another one, and the part of both that they touched.

An operator sees the whole world anew each time; a kept plan wants to hear what happened. And what happened touches little: the
contracts that changed, and whoever is on the nodes that changed, are a problem of their own, whose plan can be judged without the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from .model import (
    Binding,
    Contract,
    ContractChanged,
    ContractGone,
    Event,
    NodeChanged,
    NodeGone,
    OutageChanged,
    OutageGone,
    Problem,
    TimePassed,
)

Named = TypeVar("Named", bound=Hashable)


def events_between(kept: Problem, announced: Iterable[Binding], problem: Problem) -> list[Event] | None:
    """What happened since `kept`, whose plan announces `announced`.

    None where `problem` announces something else, sells other products or lies before: there is no plan to go on from.
    """
    now, there = problem.now, {c.key for c in problem.contracts}
    if kept.products != problem.products or now < kept.now:
        return None
    if _ahead((b for b in announced if b.contract in there), now) != _ahead(problem.previous, now):
        return None
    events: list[Event] = [TimePassed(now)] if now > kept.now else []
    events += _differing({n.name: n for n in kept.nodes}, {n.name: n for n in problem.nodes}, NodeChanged, NodeGone)
    events += _differing({o.name: o for o in kept.outages}, {o.name: o for o in problem.outages}, OutageChanged, OutageGone)
    before = {c.key: c for c in kept.contracts}
    after = {c.key: _as_decided(before[c.key], c) if c.key in before else c for c in problem.contracts}
    events += _differing(before, after, ContractChanged, ContractGone)
    return events


def part_of(
    problem: Problem, bindings: Sequence[Binding], contracts: Collection[str], changed: Collection[str]
) -> tuple[Problem, list[Binding]]:
    """The problem and the bindings of these contracts and of all on the nodes that changed, with every node that they use or used."""
    rows = (*problem.previous, *bindings)
    keys = {b.contract for b in rows if b.node in changed} | set(contracts)
    nodes = {b.node for b in rows if b.contract in keys}
    part = Problem(
        problem.now,
        tuple(n for n in problem.nodes if n.name in nodes),
        problem.products,
        tuple(c for c in problem.contracts if c.key in keys),
        tuple(replace(o, nodes=o.nodes & nodes) for o in problem.outages if o.nodes & nodes),
        tuple(b for b in problem.previous if b.contract in keys),
    )
    return part, [b for b in bindings if b.contract in keys]


def _ahead(bindings: Iterable[Binding], now: int) -> set[Binding]:
    """What of these lies after now."""
    return {b if b.start >= now else b._replace(start=now) for b in bindings if b.end > now}


def _as_decided(before: Contract, after: Contract) -> Contract:
    """A decision that is not written yet has been taken all the same."""
    return replace(after, accepted=before.accepted or after.accepted, delivering=before.delivering or after.delivering)


def _differing(
    before: Mapping[str, Named], after: Mapping[str, Named], changed: Callable[[Named], Event], gone: Callable[[str], Event]
) -> Iterator[Event]:
    yield from (changed(item) for name, item in after.items() if before.get(name) != item)
    yield from (gone(name) for name in before if name not in after)
