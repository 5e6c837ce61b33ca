"""What Prometheus may read of the operator: counts of contracts and nodes by state, and how punctual deliveries are.

Names begin with `laycan_`, units are seconds, and labels are phases, states and signals only: no series per contract or node, of which
there may be any number. Histograms count what this process wrote into statuses, so a restart begins anew, as Prometheus expects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest

from laycan.delivery.faults.fitness import Unfit
from laycan.delivery.lead import drains_of, learnt_seconds
from laycan.delivery.nodes.desired import END, FROZEN, NOBODY, QUARANTINE
from laycan.delivery.protocol import Delivery
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.contract import Phase
from laycan.resources.signals import Signal
from laycan.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
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

        def seconds(name: str, words: str) -> Histogram:
            return Histogram(f"laycan_{name}_seconds", words, buckets=_BUCKETS, registry=self.registry)

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

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)


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
