"""Nodes that several bindings share, of one holder's contracts or of one contract: which of them are counted for first.

Where fewer GPUs are fit than were sold, those bindings have theirs that come first: by the key of their contract, within a contract by
their order. Who came first at an earlier instant is read from the bindings as they stand in the statuses: a contract keeps one that is
over for as long as another asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from laycan.delivery.metering.served import Bound
from laycan.kube.world import World
from laycan.resources.times import parse_time


class Sharing:
    """Of one contract at one look; `bounds` are its own."""

    def __init__(self, world: World, bounds: Sequence[Bound], key: str) -> None:
        self._world, self._key = world, key
        self._own: dict[str, list[Bound]] = {}
        for bound in bounds:
            self._own.setdefault(bound.node, []).append(bound)
        self._read: dict[str, dict[str, list[Bound]]] = {}  # contract -> node -> its bindings there

    def ahead(self, bound: Bound, at: int) -> int:
        """GPUs of the node that others have at that instant and are counted for first."""
        others = sum(each.gpus for each in self._others(bound.node) if each.running(at) and (each.handed_over_at or at + 1) <= at)
        return others + sum(each.gpus for each in self._own_before(bound) if each.running(at))

    def changes(self, bound: Bound) -> set[int]:
        """The instants at which that changes."""
        others = {t for each in self._others(bound.node) for t in (each.start, each.handed_over_at or each.end, each.end)}
        return others | {t for each in self._own_before(bound) for t in (each.start, each.end)}

    def _own_before(self, bound: Bound) -> Iterator[Bound]:
        """Handed over or not: what is handed over at one look does not depend on the order."""
        for each in self._own.get(bound.node, ()):
            if (each.start, each.lots) < (bound.start, bound.lots):
                yield each

    def _others(self, node: str) -> Iterator[Bound]:
        for key in self._world.contracts_on.get(node, ()):
            if key < self._key:
                yield from self._bindings(key).get(node, ())

    def _bindings(self, key: str) -> dict[str, list[Bound]]:
        if key not in self._read:
            self._read[key] = {}
            for raw in self._world.contracts[key].status.get("bindings") or ():
                if raw["node"] in self._own:
                    self._read[key].setdefault(raw["node"], []).append(Bound.parse(raw))
        return self._read[key]


def asked_for(world: World, bound: Bound, key: str) -> bool:
    """Whether a contract that comes after `key` has yet to read time in which it shared the binding's node. Exact GPUs are not shared."""
    if bound.exact:
        return False
    for other in world.contracts_on.get(bound.node, ()):
        if other <= key:
            continue
        status = world.contracts[other].status
        read = parse_time(status["meter"]["until"]) if status.get("meter") else 0
        here = (Bound.parse(raw) for raw in status.get("bindings") or () if raw["node"] == bound.node)
        if read < bound.end and any(each.start < bound.end and each.end > bound.start for each in here):
            return True
    return False
