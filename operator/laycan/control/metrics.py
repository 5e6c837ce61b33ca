"""What Prometheus may read of the operator: counts of contracts and nodes by state, and how punctual deliveries are.

Labels are phases, states, signals and products only: no series per contract or node, of which there may be any number. Histograms count
what this process wrote into statuses, so a restart begins anew, as Prometheus expects. Planning, capacity and the operator's own work have
their figures in files of their own, on the same registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import get_args

from prometheus_client import Histogram

from laycan.control.capacity_metrics import CapacityMetrics
from laycan.control.conditions import AT_RISK, SHORTFALL, is_true
from laycan.control.evidence import API_SERVER
from laycan.control.exchanges import Exchanges
from laycan.control.lifecycle import COMMITTED, UNDECIDED
from laycan.control.lifecycle import Phase as ContractPhase
from laycan.control.office_metrics import OfficeMetrics
from laycan.control.outage_status import VERDICTS
from laycan.control.plan_metrics import PlanMetrics
from laycan.delivery.faults.fitness import Unfit
from laycan.delivery.lead import drains_of, learnt_seconds
from laycan.delivery.nodes.desired import END, FROZEN, NOBODY, QUARANTINE
from laycan.delivery.protocol import Delivery
from laycan.events.channel import Channel
from laycan.exposition import Exposition, Tally
from laycan.kube.outage_views import window
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.contract import Phase
from laycan.resources.signals import Signal
from laycan.resources.times import format_time
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
        exposition = self.exposition = Exposition()
        self.plans, self.capacity, self.office = PlanMetrics(exposition), CapacityMetrics(exposition), OfficeMetrics(exposition)
        gauge = exposition.gauge

        def seconds(name: str, words: str, buckets: Sequence[float] = _BUCKETS) -> Histogram:
            return exposition.histogram(f"{name}_seconds", words, buckets)

        self._contracts = gauge("contracts", "Contracts by phase.", "phase")
        self._undecided = gauge("contracts_undecided", "Contracts and quotes that have no answer yet.")
        self._oldest = gauge("undecided_seconds", "For how long the oldest contract or quote without an answer waits; 0: none does.")
        self._short = gauge("contracts_short", "Contracts with an open shortfall.")
        self._at_risk = gauge("contracts_at_risk", "Contracts that the plan leaves short ahead, or whose target it does not keep.")
        self._outages = gauge("outages", "Outages that are not over, by verdict; None: not judged yet.", "verdict")
        self._nodes = gauge("nodes", "Nodes of the fleet by what they are used for.", "state")
        self._withheld = gauge("nodes_withheld", "Failed nodes that the circuit breaker keeps from being given up.")
        self._silent = gauge("agents_silent", "Nodes of the fleet whose agent has missed two reports, or made none where others did.")
        self._unfit = gauge("gpus_unfit", "GPUs of the fleet that are unfit by the word of an agent, by the worst that it found.", "reason")
        self._strangers = gauge("stranger_processes", "Processes on delivered GPUs that are not the holder's.")
        self._fence = gauge("fence_live", "1 while the API server is seen to enforce the fence.")
        self._lead = gauge("lead_seconds", "How long before a window its nodes are closed, as learnt from drains.")
        self._observed: dict[str, Histogram] = {
            "late": seconds("late_start", "From the start of a window until its buyer had all that was due."),
            "rebind": seconds("rebind", "From the onset of an interruption until the buyer had everything again."),
            "early": seconds("early_stop", "From an interruption that was not mended to the end of the window; 0: there was none."),
        }
        self._declare_events()

    def _declare_events(self) -> None:
        gauge, total = self.exposition.gauge, self.exposition.total
        self._outbox = gauge("outbox_age_seconds", "For how long the oldest event has waited for its log.")
        self._entries = gauge("log_entries", "Events in all logs.")
        self._failing = gauge("logs_failing", "Logs that cannot be used now.")
        self._conflicts = Tally(total("log_conflicts", "Events whose id a log held with other bytes."))
        words = "Appending a batch of events to a log, until it was on the disk."
        self._append = self.exposition.histogram("log_append_seconds", words, _DISK_BUCKETS)
        self._pending = gauge("events_pending", "Events that their exchanges have not acknowledged.")
        self._parked = gauge("events_parked", "Events that were refused for so long that those behind them go on.")
        self._endpoints = gauge("endpoints", "ExchangeEndpoints by how their last attempts went.", "state")
        self._current = gauge("receipts_current", "1 while receipts can be signed: keys are there, and clocks agree.")
        self._rotating = gauge("key_rotations_pending", "New keys that some log does not announce yet: the old ones sign until then.")
        self._clock = gauge(
            "clock_offset_seconds", "By how much the operator's clock is ahead of the API server's at least (behind, below 0)."
        )
        self._refused = Tally(total("checkpoints_refused", "Checkpoints that an exchange contradicted: it has another log."))

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
        waiting = [contract for contract in world.contracts.values() if _waits(contract)]
        self._undecided.set(len(waiting))
        self._oldest.set(max((now - contract.created for contract in waiting), default=0))
        committed = [contract for contract in world.contracts.values() if contract.phase in COMMITTED]  # what is over stays as it ended
        self._short.set(sum(is_true(contract, SHORTFALL) for contract in committed))
        self._at_risk.set(sum(is_true(contract, AT_RISK) for contract in committed))
        ahead = [raw for raw in world.outages.values() if format_time(now) < window(raw)[1]]
        verdicts = Counter(text_at(raw, "status", "verdict") for raw in ahead)
        for verdict in VERDICTS:
            self._outages.labels(verdict).set(verdicts[verdict])
        self._outages.labels("None").set(len(ahead) - sum(verdicts[verdict] for verdict in VERDICTS))
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
        never = len(fleet) - len(meters) if meters else 0  # without any the chart has no agents
        self._silent.set(never + sum(meter.silent_at <= now for meter in meters))
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
        self._conflicts.reach(appender.conflicts)
        self._refused.reach(exchanges.sender.refused)
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
        return self.exposition.text()


def _reached(channel: Channel) -> str:
    if channel.paused:
        return "paused"
    return {None: "untried", True: "reachable", False: "unreachable"}[channel.health.reachable]


def _waits(contract: ContractView) -> bool:
    """Whether it has no answer: a quote that was given one is not decided either, but waits for nobody here."""
    return contract.phase in UNDECIDED - {ContractPhase.QUOTED} and not contract.deleting


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
