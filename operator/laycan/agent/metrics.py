"""What Prometheus may read of an agent. One node's GPUs are few, so each has its series; units are base units, as Prometheus wants them.

Figures of GPUs are made from the account when they are asked for, so that a GPU that is gone leaves none behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from laycan.agent.account import Account
from laycan.agent.processes import Processes
from laycan.agent.publish import Publisher
from laycan.agent.registers import Registers
from laycan.agent.status import Status
from laycan.exposition import Described
from laycan.kube.clock import ClockReading
from laycan.resources.signals import Signal
from laycan.resources.verdict import Found, Policy, spells

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """`account` is the node's, None before its first sample."""

    def __init__(
        self,
        status: Status,
        publisher: Publisher,
        processes: Processes,
        account: Callable[[], Account | None],
        now: Callable[[], float],
    ) -> None:
        self._status, self._publisher, self._processes, self._account, self._now = status, publisher, processes, account, now
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from agent_metrics(self._status, self._publisher.outcomes, self._publisher.written_at, self._processes.known)
        account = self._account()
        if account is not None:
            yield from gpu_metrics(account, int(self._now()))


def agent_metrics(status: Status, outcomes: Mapping[str, int], written_at: float, known: bool) -> Iterator[Metric]:
    """How the agent itself does; `outcomes` of its reports, `known`: whether it knows whose pods are whose."""
    yield GaugeMetricFamily("laycan_agent_driver", "1 while NVIDIA's driver is there.", float(status.driver))
    samples = CounterMetricFamily("laycan_agent_samples", "Samples, by what came of them.", labels=["outcome"])
    for outcome in ("taken", "missed"):
        samples.add_metric([outcome], status.samples[outcome])
    yield samples
    yield CounterMetricFamily("laycan_agent_hangs", "Samples that NVML did not return from in time.", status.hangs)
    yield GaugeMetricFamily("laycan_agent_sample_duration_seconds", "How long the latest sample took.", status.sample_seconds)
    yield CounterMetricFamily("laycan_agent_xids", "XIDs heard.", status.xids)
    reports = CounterMetricFamily("laycan_agent_reports", "Writes of the GpuMeter, by what came of them.", labels=["outcome"])
    for outcome in ("written", "failed"):
        reports.add_metric([outcome], outcomes[outcome])
    yield reports
    yield GaugeMetricFamily("laycan_agent_reported_timestamp_seconds", "Latest write of the GpuMeter; 0 without.", written_at)
    words = "1 while processes are traced to namespaces; else none is a stranger."
    yield GaugeMetricFamily("laycan_agent_pods_known", words, float(known))
    if status.clock is not None:
        offset = status.clock.offset_milliseconds / 1000
        yield GaugeMetricFamily("laycan_agent_clock_offset_seconds", "How far the node's clock is ahead of the API server's.", offset)
        if status.clock.synchronized is not None:
            synchronized = float(status.clock.synchronized)
            yield GaugeMetricFamily("laycan_agent_clock_synchronized", "1 while the kernel takes its clock for so.", synchronized)


def described() -> list[Described]:
    """All that an agent may serve, for docs/metrics.md."""
    status = Status(0, clock=ClockReading(True, 0))
    families = [*agent_metrics(status, Counter(), 0, False), *gpu_metrics(Account.begin("", 1, 0), 0)]
    return [_described(family) for family in families]


def _described(family: Metric) -> Described:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = family._labelnames if isinstance(family, (CounterMetricFamily, GaugeMetricFamily)) else ()  # public nowhere
    return Described(name, family.type, tuple(labels), family.documentation)


def gpu_metrics(account: Account, now: int) -> Iterator[Metric]:
    """What the account says, GPU by GPU; verdicts by the default policy, since an agent knows no product."""
    yield GaugeMetricFamily("laycan_agent_sampled_timestamp_seconds", "Latest sample.", account.at)

    def family(kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, words: str, values: dict[str, float]) -> Metric:
        made = kind(f"laycan_gpu_{name}", words, labels=["uuid"])
        for uuid, value in values.items():
            made.add_metric([uuid], value)
        return made

    registers = {uuid: gpu.registers for uuid, gpu in account.gpus.items()}
    counter, gauge = CounterMetricFamily, GaugeMetricFamily
    yield family(counter, "sampled_seconds", "Time between samples that followed each other.", _each(registers, "sampled_seconds"))
    yield family(counter, "energy_joules", "Energy used.", _each(registers, "energy_millijoules", 1000))
    yield family(counter, "slowdown_seconds", "Time under hardware slowdown.", _each(registers, "slowdown_milliseconds", 1000))
    yield family(counter, "pcie_replays", "PCIe replays.", _each(registers, "pcie_replays"))
    yield family(counter, "uncorrectable_errors", "Uncorrectable ECC errors.", _each(registers, "uncorrectable_errors"))
    yield family(counter, "stranger_seconds", "Time with strangers' processes.", _each(registers, "stranger_seconds"))
    yield family(gauge, "strangers", "Processes that are not the holder's.", {u: gpu.strangers for u, gpu in account.gpus.items()})
    verdicts = [s for s in spells(_found(account), Policy.of(None)) if s.covers(now)]
    unwell = {spell.gpu for spell in verdicts}
    yield family(gauge, "healthy", "1 while it is, by the default policy.", {uuid: float(uuid not in unwell) for uuid in account.gpus})
    yield _open_findings(account)


def _each(registers: dict[str, Registers], field: str, per: int = 1) -> dict[str, float]:
    return {uuid: getattr(each, field) / per for uuid, each in registers.items()}


def _found(account: Account) -> Iterator[Found]:
    for each in account.findings.listed():
        yield Found(each.gpu, each.signal, each.code, each.value, each.start, each.end)


def _open_findings(account: Account) -> Metric:
    made = GaugeMetricFamily("laycan_gpu_findings", "Findings that last, by signal.", labels=["uuid", "signal"])
    counts = Counter((each.gpu, each.signal) for each in account.findings.open.values())
    for uuid in account.gpus:
        for signal in Signal:
            if signal is not Signal.SLOWDOWN:  # is over when it is found
                made.add_metric([uuid, signal.value], counts[uuid, signal])
    return made
