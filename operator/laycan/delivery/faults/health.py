"""What of a node's health cannot be read from the API at one instant: since when GPUs are missing, how often it went away.

A restart of the device plugin or of the DRA driver shows no GPUs for a while; so a drop counts, for failures and for plans alike, once
it has lasted for the dwell. GPUs that the driver itself withdraws by a taint (an XID, a GPU that is lost), or that are unfit by the word
of the node's agent (`fitness`), count at once. A node whose monitoring reports one of the settings' conditions, or that turns NotReady
again and again, is ailing although it is Ready just now.

After a restart of the operator the record starts anew, and with it every dwell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from laycan.delivery.faults.fitness import FIT, Fitness
from laycan.delivery.faults.heartbeats import Heartbeats
from laycan.kube.views import NodeView, physical_gpus
from laycan.kube.world import World
from laycan.settings import Settings

_ANY = 1 << 30


class Count(NamedTuple):
    """GPUs of one node."""

    there: int  # reported, by the device plugin as healthy or by the DRA driver at all
    withdrawn: int  # of these, those that the DRA driver taints, or that are unfit by the agent's word
    built_in: int
    most: int = _ANY  # more cannot be fit by the agent's word, whatever is reported


def count_gpus(world: World, node: NodeView | None, fitness: Fitness = FIT) -> Count:
    """The device plugin does not say which GPUs it counts: one that is unfit may be the one that it has left out already."""
    if node is None:
        return Count(0, 0, 0)
    devices = world.devices(node.name) if world.slices_on.get(node.name) else None
    there, built_in = (node.gpus, physical_gpus(node)) if devices is None else (len(devices), len(devices))
    withdrawn = sum(bool(device.unfit) or device.uuid in fitness.unfit for device in devices or ())
    return Count(there, withdrawn, built_in, max(built_in, fitness.gpus) - len(fitness.unfit) if fitness.unfit else _ANY)


class Ailment(NamedTuple):
    """Why a node that may be Ready is not to be relied on, and since when (Unix seconds)."""

    reason: str
    since: int


@dataclass(slots=True)
class Seen:
    uid: str = ""
    made_at: int = 0  # when this process first saw this uid
    labelled: bool = False  # this uid was seen with a holder label
    gpus: int = 0  # the usual count
    last: int = 0  # the latest
    short_since: int | None = None  # fewer than usual since then
    withdrawn: int = 0  # by taints, or by the agent's word
    most: int = _ANY  # that can be fit by the agent's word
    withdrawn_since: int = 0  # when this process saw that these became worse
    fitness: Fitness = FIT
    whole_since: int = 0  # no GPU unhealthy since then; 0 = never seen otherwise, -1 = some are
    heard_since: int = 0  # its kubelet is heard again since then; 0 = never known to be silent
    ailment: Ailment | None = None  # a condition of the settings
    sound_since: int = 0  # no such condition since then; 0 = never seen otherwise
    drops: tuple[int, ...] = ()  # when it turned NotReady, within the window of flapping
    gone_since: int | None = None

    def fit(self, there: int) -> int:
        """Of so many GPUs, those that nobody has withdrawn."""
        return min(there - self.withdrawn, self.most)


@dataclass(slots=True)
class Health:
    """Times of changes that a node's own object does not tell. Feed it every node that changed, and all of them at the start."""

    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    nodes: dict[str, Seen] = field(default_factory=dict)
    declared: dict[str, int] = field(default_factory=dict)  # node in quarantine -> onset, as far as this process declared it
    ailing: set[str] = field(default_factory=set)  # nodes with an ailment, or that were NotReady lately
    changes_at: dict[str, int] = field(default_factory=dict)  # node -> when the clock alone changes which of its GPUs are fit

    def observe(
        self,
        name: str,
        node: NodeView | None,
        bound_gpus: int,
        settings: Settings,
        now: int,
        count: Count | None = None,
        fitness: Fitness = FIT,
    ) -> None:
        """`bound_gpus` are those bound there now: they were there once, though this process may never have seen them.

        `count` is what the node has, where that is not what its own object says, `fitness` what its agent makes of it.
        """
        seen = self.nodes.setdefault(name, Seen())
        self._observe_fitness(name, seen, fitness)
        if node is None:
            seen.gone_since = now if seen.gone_since is None else seen.gone_since
            return
        if seen.uid != node.uid:
            seen.uid, seen.made_at, seen.labelled = node.uid, now, False
        seen.labelled = seen.labelled or bool(node.holder)
        seen.gone_since = None
        count = count or Count(node.gpus, 0, physical_gpus(node))
        self._observe_count(seen, count, bound_gpus, settings, now)
        self._observe_whole(seen, count, now)
        self._observe_conditions(seen, node, settings, now)
        self._observe_drops(seen, node, settings, now)
        (self.ailing.add if seen.ailment or seen.drops else self.ailing.discard)(name)

    def _observe_fitness(self, name: str, seen: Seen, fitness: Fitness) -> None:
        seen.fitness = fitness
        if fitness.wake is None:
            self.changes_at.pop(name, None)
        else:
            self.changes_at[name] = fitness.wake

    def _observe_count(self, seen: Seen, count: Count, bound_gpus: int, settings: Settings, now: int) -> None:
        lapsed = seen.short_since is not None and now - seen.short_since > settings.dwell_seconds
        if lapsed and count.there < seen.last:
            seen.gpus, seen.short_since = seen.last, now  # a further loss has a dwell of its own
        elif count.there >= max(seen.gpus, bound_gpus):
            seen.gpus, seen.short_since = count.there, None
        elif seen.short_since is None:
            seen.gpus, seen.short_since = max(seen.gpus, bound_gpus), now
        seen.last = count.there
        if count.withdrawn > seen.withdrawn or count.most < seen.most:
            seen.withdrawn_since = now
        seen.withdrawn, seen.most = count.withdrawn, count.most

    def _observe_whole(self, seen: Seen, count: Count, now: int) -> None:
        if seen.fitness.unfit or count.there - count.withdrawn < max(1, count.built_in):
            seen.whole_since = -1
        elif seen.whole_since == -1:
            seen.whole_since = now

    def _observe_conditions(self, seen: Seen, node: NodeView, settings: Settings, now: int) -> None:
        found = [(since, f"{kind}={status}") for kind, status, since in node.conditions if settings.fails(kind, status)]
        if found:
            since, reason = min(found)
            seen.ailment = Ailment(reason, since or (seen.ailment.since if seen.ailment else now))
        elif seen.ailment:
            seen.ailment, seen.sound_since = None, now

    def _observe_drops(self, seen: Seen, node: NodeView, settings: Settings, now: int) -> None:
        drops = seen.drops if node.ready or node.ready_since in seen.drops else (*seen.drops, node.ready_since)
        seen.drops = tuple(at for at in drops if at > now - settings.flapping.window_seconds)

    def late(self) -> set[str]:
        """Nodes whose kubelets should have been heard by now."""
        return self.heartbeats.late()

    def heard_again(self, name: str, now: int) -> None:
        self.nodes.setdefault(name, Seen()).heard_since = now

    def seen(self, name: str) -> Seen:
        """What is remembered of a node; nothing of one that was never looked at."""
        return self.nodes.get(name) or Seen()

    def is_short(self, name: str) -> bool:
        """Whether GPUs are missing on a node, or it was never looked at."""
        seen = self.nodes.get(name)
        return seen is None or seen.short_since is not None or seen.withdrawn > 0 or bool(seen.fitness.unfit)

    def due(self, now: int) -> set[str]:
        """Nodes of which other GPUs are fit by now, though nothing but time went by."""
        return {name for name, at in self.changes_at.items() if at <= now}

    def flapping(self, name: str, settings: Settings, now: int) -> Ailment | None:
        """Whether it turned NotReady as often as the settings allow within their window; it has failed with the last time."""
        drops = [at for at in self.seen(name).drops if at > now - settings.flapping.window_seconds]
        return Ailment("Flapping", drops[-1]) if len(drops) >= settings.flapping.times else None

    def settled_at(self, name: str, settings: Settings) -> int:
        """From when on a node that is well now has been so; 0 where nothing speaks against for ever."""
        seen, times = self.seen(name), settings.flapping.times
        quiet = seen.drops[-times] + settings.flapping.window_seconds - settings.hysteresis_seconds if len(seen.drops) >= times else 0
        return max(seen.whole_since, seen.heard_since, seen.sound_since, seen.fitness.settled, quiet)

    def gpus(self, node: NodeView, settings: Settings, now: int, there: int | None = None) -> int:
        """The GPUs that a plan may count on: a drop counts once it has lasted for the dwell, what is withdrawn at once."""
        there = node.gpus if there is None else there
        seen = self.nodes.get(node.name)
        if seen is None:
            return there
        unseen = seen.short_since is None and there < seen.last  # it has only just happened
        if unseen or (seen.short_since is not None and now - seen.short_since <= settings.dwell_seconds):
            there = max(seen.gpus, there)
        return seen.fit(there)


def ailing(health: Health, settings: Settings, now: int) -> Mapping[str, Ailment]:
    """Nodes that monitoring reports as broken for longer than the dwell, and those that flap."""
    found: dict[str, Ailment] = {}
    for name in health.ailing:
        told = health.seen(name).ailment
        lasting = told if told is not None and told.since + settings.dwell_seconds <= now else None
        if (why := lasting or health.flapping(name, settings, now)) is not None:
            found[name] = why
    return found
