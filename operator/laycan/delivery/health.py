"""What of a node's health cannot be read from the API at one instant: since when GPUs are missing, or the node itself.

A restart of the device plugin shows no GPUs for a while; so a drop counts, for failures and for plans alike, once it has lasted for
the dwell. After a restart of the operator the record starts anew, and with it every dwell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from laycan.delivery.heartbeats import Heartbeats
from laycan.kube.views import NodeView
from laycan.settings import Settings


@dataclass(slots=True)
class Seen:
    uid: str = ""
    made_at: int = 0  # when this process first saw this uid
    labelled: bool = False  # this uid was seen with a holder label
    gpus: int = 0  # the usual count
    last: int = 0  # the latest
    short_since: int | None = None  # fewer than usual since then
    whole_since: int = 0  # no GPU unhealthy since then; 0 = never seen otherwise, -1 = some are
    heard_since: int = 0  # its kubelet is heard again since then; 0 = never known to be silent
    gone_since: int | None = None


@dataclass(slots=True)
class Health:
    """Times of changes that a node's own object does not tell. Feed it every node that changed, and all of them at the start."""

    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    nodes: dict[str, Seen] = field(default_factory=dict)
    declared: dict[str, int] = field(default_factory=dict)  # node in quarantine -> onset, as far as this process declared it

    def observe(self, name: str, node: NodeView | None, bound_gpus: int, settings: Settings, now: int) -> None:
        """`bound_gpus` are those bound there now: they were there once, though this process may never have seen them."""
        seen = self.nodes.setdefault(name, Seen())
        if node is None:
            seen.gone_since = now if seen.gone_since is None else seen.gone_since
            return
        if seen.uid != node.uid:
            seen.uid, seen.made_at, seen.labelled = node.uid, now, False
        seen.labelled = seen.labelled or bool(node.holder)
        seen.gone_since = None
        self._observe_count(seen, node, bound_gpus, settings, now)
        self._observe_whole(seen, node, now)

    def _observe_count(self, seen: Seen, node: NodeView, bound_gpus: int, settings: Settings, now: int) -> None:
        lapsed = seen.short_since is not None and now - seen.short_since > settings.dwell_seconds
        if lapsed and node.gpus < seen.last:
            seen.gpus, seen.short_since = seen.last, now  # a further loss has a dwell of its own
        elif node.gpus >= max(seen.gpus, bound_gpus):
            seen.gpus, seen.short_since = node.gpus, None
        elif seen.short_since is None:
            seen.gpus, seen.short_since = max(seen.gpus, bound_gpus), now
        seen.last = node.gpus

    def _observe_whole(self, seen: Seen, node: NodeView, now: int) -> None:
        capacity = int(node.raw["status"]["capacity"].get("nvidia.com/gpu", 0) or 0)
        if node.gpus < max(1, capacity):
            seen.whole_since = -1
        elif seen.whole_since == -1:
            seen.whole_since = now

    def late(self) -> set[str]:
        """Nodes whose kubelets should have been heard by now."""
        return self.heartbeats.late()

    def next_look(self, now: int) -> int | None:
        """When to judge again although nothing changes: silence tells nobody."""
        return now + 1 if self.heartbeats.watched else None

    def heard_again(self, name: str, now: int) -> None:
        self.nodes.setdefault(name, Seen()).heard_since = now

    def seen(self, name: str) -> Seen:
        """What is remembered of a node; nothing of one that was never looked at."""
        return self.nodes.get(name) or Seen()

    def is_short(self, name: str) -> bool:
        """Whether GPUs are missing on a node, or it was never looked at."""
        seen = self.nodes.get(name)
        return seen is None or seen.short_since is not None

    def gpus(self, node: NodeView, settings: Settings, now: int) -> int:
        """The GPUs that a plan may count on: a drop counts once it has lasted for the dwell."""
        seen = self.nodes.get(node.name)
        if seen is None or seen.short_since is None or now - seen.short_since > settings.dwell_seconds:
            return node.gpus
        return max(seen.gpus, node.gpus)
