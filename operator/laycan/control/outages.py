"""Outages: each is judged before it is planned, and its status says what it would do, and what would help.

What would leave somebody short is not planned, and nothing moves for it; nor is what exceeds a target, unless a person accepts that.
Both are judged again with thorough plans, and go ahead as soon as they can. What goes ahead and would by now leave somebody short is
called off, until it starts. The status is the only memory: a plan takes the outages whose status lets it.

Of outages that overlap in time one goes ahead, or is called off, at once: the others are judged again beside it, as soon as that is
written. A Retirement, which goes ahead anyhow, comes before maintenance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from laycan.control.judging import Judged
from laycan.control.outage_status import outage_status
from laycan.control.specs import Specs
from laycan.kube.outage_views import window
from laycan.kube.sound import mapping, text_at
from laycan.kube.world import World
from laycan.planning.problem import outage_from
from laycan.resources.outage import OutageSpec
from laycan.resources.planned import is_judged, is_planned
from laycan.resources.times import format_time
from laycan_solver.model import Outage

AT_ONCE, BESIDES = 2, 16  # judged with one plan that follows, and with a thorough one


class Version(NamedTuple):
    """Of the object that was judged."""

    uid: str
    generation: int


@dataclass(slots=True)
class OutageDesk:
    """`ask` before a plan, `take` after it; `wanted`: statuses that are to be written, for whoever writes them."""

    world: World
    specs: Specs
    wanted: dict[str, tuple[Version, dict[str, Any]]] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)  # something is wanted
    more: bool = False  # whether some wait for the next plan to be judged
    _turn: int = 0  # of those that are judged again, whose it is
    _again: tuple[str, ...] = ()  # of the last question
    _failed: dict[str, Version] = field(default_factory=dict)  # could not be judged: no more urgent than what was judged

    def ask(self, now: int, *, thorough: bool) -> tuple[Outage, ...]:
        """Outages to be judged with the next plan: new and edited ones first, the others by turns."""
        specs, text, self._again = self.specs.outages(self.world), format_time(now), ()
        ahead = [name for name in sorted(specs, key=self._order) if text < window(self.world.outages[name])[1] and not self._pending(name)]
        turning = [name for name in self.wanted if self._pending(name) and self._turns(name, self.wanted[name][1], text)]
        ahead = [name for name in ahead if not self._beside(name, turning)]
        fresh = [name for name in ahead if not is_judged(self.world.outages[name]) and not self._has_failed(name)]
        urgent = [name for name in fresh if specs[name].type != "Forced"]
        names = urgent[: BESIDES if thorough else AT_ONCE]
        self.more = len(names) < len(urgent)
        if thorough:
            rest = [name for name in ahead if name not in urgent and not self._is_fact(name, text)]
            turn = self._turn % max(1, len(rest))
            self._again = tuple((rest[turn:] + rest[:turn])[: BESIDES - len(names)])
            self._turn = turn
            names += self._again
        return tuple(outage_of(name, specs[name], self.world) for name in names)

    def waiting(self, now: int) -> bool:
        """Whether some could go ahead when something changes: maintenance that is not planned, and not over."""
        text = format_time(now)
        return any(not is_planned(raw, text) and text < window(raw)[1] for raw in self.world.outages.values())

    def versions(self, outages: Iterable[Outage]) -> dict[str, Version]:
        """Which objects these are."""
        return {outage.name: version_of(self.world.outages[outage.name]) for outage in outages}

    def take(self, verdicts: Mapping[str, Judged | None], versions: Mapping[str, Version], now: int) -> None:
        """Decides which go ahead and what is said of each. `versions`: of all that were asked about; who was not reached is asked again."""
        text, names = format_time(now), sorted((n for n in verdicts if self._is(n, versions[n])), key=self._order)
        self._turn += sum(name in verdicts for name in self._again)
        self.more |= bool(versions.keys() - verdicts.keys() - set(self._again))
        self._failed = {n: v for n, v in self._failed.items() if self._is(n, v)} | {n: versions[n] for n in names if verdicts[n] is None}
        found = {name: self._found(name, verdict, now) for name in names if (verdict := verdicts[name]) is not None}
        turned = [name for name, status in found.items() if status is not None and self._turns(name, status, text)]
        going = [name for name in turned if not is_planned(self.world.outages[name], text)]
        going.sort(key=lambda name: text_at(self.world.outages[name], "spec", "type") != "Retirement")
        changed: list[str] = []
        for name in (*going, *(name for name in reversed(turned) if name not in going)):
            if text_at(self.world.outages[name], "spec", "type") != "Planned" or not self._beside(name, changed):
                changed.append(name)
            else:
                self.more = True
        for name, status in found.items():
            if status is not None and (name not in turned or name in changed):
                self.wanted[name] = versions[name], status
        if self.wanted:
            self.told.set()

    def _found(self, name: str, verdict: Judged, now: int) -> dict[str, Any] | None:
        """The status that the verdict makes; what has begun as planned is called nothing else."""
        raw = self.world.outages[name]
        return outage_status(raw, None if self._is_fact(name, format_time(now)) else verdict, self.world, now)

    def _is(self, name: str, version: Version) -> bool:
        return name in self.world.outages and version_of(self.world.outages[name]) == version

    def _pending(self, name: str) -> bool:
        """Whether a verdict on it is on its way."""
        return name in self.wanted and self._is(name, self.wanted[name][0])

    def _has_failed(self, name: str) -> bool:
        return name in self._failed and self._is(name, self._failed[name])

    def _turns(self, name: str, status: Mapping[str, Any], text: str) -> bool:
        """Whether it goes ahead, or is called off, by this status."""
        raw = self.world.outages[name]
        return is_planned({**raw, "status": status}, text) != is_planned(raw, text)

    def _beside(self, name: str, others: Iterable[str]) -> bool:
        """Whether one of the others lasts at the same time."""
        return any(_overlap(self.world.outages[name], self.world.outages[other]) for other in others if other != name)

    def _is_fact(self, name: str, text: str) -> bool:
        """Whether maintenance has begun that was planned: nothing that is found now calls it off."""
        raw = self.world.outages[name]
        return text_at(raw, "spec", "type") == "Planned" and window(raw)[0] <= text and is_planned(raw, text)

    def _order(self, name: str) -> tuple[str, str, str]:
        raw = self.world.outages[name]
        return window(raw)[0], text_at(raw, "metadata", "creationTimestamp"), name


def planned_outages(world: World, specs: Specs, now: int) -> tuple[Outage, ...]:
    """Those that a plan has to do with, by name."""
    text = format_time(now)
    found = sorted(specs.outages(world).items())
    return tuple(outage_of(name, spec, world) for name, spec in found if is_planned(world.outages[name], text))


def outage_of(name: str, spec: OutageSpec, world: World) -> Outage:
    """With the nodes of the fleet that it hits now."""
    labels: Mapping[str, Any] = {}
    if spec.nodes is None:
        labels = {node.name: node.raw["metadata"]["labels"] for node in world.nodes.values() if node.managed}
    return outage_from(name, spec, labels)


def version_of(raw: Mapping[str, Any]) -> Version:
    meta = mapping(raw.get("metadata"))
    return Version(str(meta.get("uid", "")), int(meta.get("generation") or 0))


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    (a, b), (c, d) = window(one), window(other)
    return a < d and c < b
