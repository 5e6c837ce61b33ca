"""What Prometheus may read of the operator: counts of contracts and nodes by state, and how punctual deliveries are.

Names begin with `laycan_`, units are seconds, and labels are phases, states and signals only: no series per contract or node, of which
there may be any number. Histograms count what this process wrote into statuses, so a restart begins anew, as Prometheus expects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client import Counter as Total

from laycan.control.evidence import API_SERVER
from laycan.control.exchanges import Exchanges
from laycan.delivery.faults.fitness import Unfit
from laycan.delivery.lead import drains_of, learnt_seconds
from laycan.delivery.nodes.desired import END, FROZEN, NOBODY, QUARANTINE
from laycan.delivery.protocol import Delivery
from laycan.events.channel import Channel
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.contract import Phase
from laycan.resources.signals import Signal
from laycan.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DISK_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_BUCKETS = (0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
_STATES = {FROZEN: "frozen", QUARANTINE: "quarantine", END: "ending"}
_OTHER = "Other"  # what a newer agent finds
_SIGNALS = frozenset(map(str, Signal))
_OBSERVED = {"lateSeconds": "late", "rebindSeconds": "rebind", "earlyStopSeconds": "early"}


class Metrics:
    """One registry of one process. `told` after each status write, `take` now and then, `text` when somebody asks."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each histogram that nobody asked for
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"laycan_{name}", words, labels, registry=self.registry)

        def seconds(name: str, words: str, buckets: Sequence[float] = _BUCKETS) -> Histogram:
            return Histogram(f"laycan_{name}_seconds", words, buckets=buckets, registry=self.registry)

        self._contracts = gauge("contracts", "Contracts by phase.", "phase")
        self._short = gauge("contracts_short", "Contracts with an open shortfall.")
        self._nodes = gauge("nodes", "Nodes of the fleet by what they are used for.", "state")
        self._withheld = gauge("nodes_withheld", "Failed nodes that the circuit breaker keeps from being given up.")
        self._silent = gauge("agents_silent", "Nodes of the fleet whose agent has missed two reports.")
        self._unfit = gauge("gpus_unfit", "GPUs of the fleet that are unfit by the word of an agent, by the worst that it found.", "reason")
        self._strangers = gauge("stranger_processes", "Processes on delivered GPUs that are not the holder's.")
        self._fence = gauge("fence_live", "1 while the API server is seen to enforce the fence.")
        self._lead = gauge("lead_seconds", "How long before a window its nodes are closed, as learnt from drains.")
        self._observed: dict[str, Histogram] = {
            "late": seconds("late_start", "From the start of a window until its buyer had all that was due."),
            "rebind": seconds("rebind", "From the onset of an interruption until the buyer had everything again."),
            "early": seconds("early_stop", "From an interruption that was not mended to the end of the window."),
        }

        self._outbox = gauge("outbox_age_seconds", "For how long the oldest event has waited for its log.")
        self._entries = gauge("log_entries", "Events in all logs.")
        self._failing = gauge("logs_failing", "Logs that cannot be used now.")
        self._conflicts = Total("laycan_log_conflicts", "Events whose id a log held with other bytes.", registry=self.registry)
        self._append = seconds("log_append", "Appending a batch of events to a log, until it was on the disk.", _DISK_BUCKETS)
        self._pending = gauge("events_pending", "Events that their exchanges have not acknowledged.")
        self._parked = gauge("events_parked", "Events that were refused for so long that those behind them go on.")
        self._endpoints = gauge("endpoints", "ExchangeEndpoints by how their last attempts went.", "state")
        self._current = gauge("receipts_current", "1 while receipts can be signed: keys are there, and clocks agree.")
        self._rotating = gauge("key_rotations_pending", "New keys that some log does not announce yet: the old ones sign until then.")
        self._clock = gauge(
            "clock_offset_seconds", "By how much the operator's clock is ahead of the API server's at least (behind, below 0)."
        )
        self._refused = Total(
            "laycan_checkpoints_refused", "Checkpoints that an exchange contradicted: it has another log.", registry=self.registry
        )
        self._conflicts_seen = self._refused_seen = 0

    def appended(self, seconds: float) -> None:
        """A batch of events is on the disk."""
        self._append.observe(seconds)

    def told(self, old: ContractView, new: ContractView) -> None:
        """What a status write says anew of punctuality."""
        before, after = old.status.get("handover") or {}, new.status.get("handover") or {}
        mended = "interruptedSince" in before and "interruptedSince" not in after and "earlyStopSeconds" not in after
        for field, name in _OBSERVED.items():
            fresh = mended if field == "rebindSeconds" else field not in before
            if field in after and fresh:
                self._observed[name].observe(after[field])

    def take(self, world: World, delivery: Delivery, settings: Settings, now: int) -> None:
        """Counts what is there now."""
        phases = Counter(contract.phase for contract in world.contracts.values())
        for phase in get_args(Phase):
            self._contracts.labels(phase).set(phases[phase])
        self._short.set(sum(_short(contract) for contract in world.contracts.values()))
        states = Counter(_state(world, name) for name, node in world.nodes.items() if node.managed)
        for state in ("free", "closed", "held", *_STATES.values()):
            self._nodes.labels(state).set(states[state])
        self._withheld.set(len(delivery.situation.verdict.withheld))
        self._take_agents(world, delivery, now)
        self._fence.set(delivery.fence.live)
        self._lead.set(learnt_seconds(drains_of(world.fence), settings))

    def _take_agents(self, world: World, delivery: Delivery, now: int) -> None:
        fleet = [name for name, node in world.nodes.items() if node.managed]
        meters = [meter for name in fleet if (meter := world.meters.get(name)) is not None]
        self._silent.set(sum(meter.silent_at <= now for meter in meters))
        self._strangers.set(sum(meter.strangers for meter in meters))
        seen = (delivery.situation.health.seen(name).fitness for name in fleet)
        unfit = Counter(_signal(why) for found in seen for why in found.unfit.values())
        for reason in (*Signal, _OTHER):
            self._unfit.labels(str(reason)).set(unfit[reason])

    def take_events(self, exchanges: Exchanges) -> None:
        """Counts what is there now of events, logs and receipts."""
        appender, channels = exchanges.appender, list(exchanges.sender.channels.values())
        self._outbox.set(appender.age())
        self._entries.set(sum(exchanges.ledgers.sizes.values()))
        self._failing.set(len(exchanges.ledgers.troubles))
        self._conflicts.inc(appender.conflicts - self._conflicts_seen)
        self._conflicts_seen = appender.conflicts
        self._refused.inc(exchanges.sender.refused - self._refused_seen)
        self._refused_seen = exchanges.sender.refused
        self._pending.set(sum(channel.pending for channel in channels))
        self._parked.set(len(exchanges.sender.parked))
        states = Counter(_reached(channel) for channel in channels)
        for state in ("reachable", "unreachable", "paused", "untried"):
            self._endpoints.labels(state).set(states[state])
        self._current.set(not exchanges.evidence.waits())
        self._rotating.set(exchanges.evidence.pending())
        self._clock.set((exchanges.evidence.clock.offset_milliseconds(API_SERVER) or 0) / 1000)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)


def _reached(channel: Channel) -> str:
    if channel.paused:
        return "paused"
    return {None: "untried", True: "reachable", False: "unreachable"}[channel.health.reachable]


def _short(contract: ContractView) -> bool:
    return any(c["type"] == "Shortfall" and c["status"] == "True" for c in contract.status.get("conditions") or ())


def _signal(why: Unfit) -> str:
    return why.signal if why.signal in _SIGNALS else _OTHER


def _state(world: World, name: str) -> str:
    owner = world.fence.nodes.get(name, "") if world.fence else ""
    if not owner or owner == f"{FROZEN}{NOBODY}":
        return "closed" if owner else "free"
    return next((state for prefix, state in _STATES.items() if owner.startswith(prefix)), "held")


def both(*listeners: Callable[[ContractView, ContractView], None]) -> Callable[[ContractView, ContractView], None]:
    """One listener to status writes that tells all of these."""

    def tell(old: ContractView, new: ContractView) -> None:
        for listener in listeners:
            listener(old, new)

    return tell
