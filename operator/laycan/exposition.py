"""A registry of Prometheus metrics that also knows what docs/metrics.md says of each: the page is written from what is served.

Names begin with `laycan_` and end with their unit; a metric without a unit in its name is a plain count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest

_UNITS = ("timestamp_seconds", "seconds", "ratio", "joules")
_SAID = {"timestamp_seconds": "Unix seconds", "seconds": "seconds", "ratio": "share, 0 to 1", "joules": "joules"}


class Described(NamedTuple):
    """What the page says of one metric; `name` is that under which it is served (counters end in _total)."""

    name: str
    type: str
    labels: tuple[str, ...]
    words: str

    @property
    def unit(self) -> str:
        """By the name's end."""
        stem = self.name.removesuffix("_total")
        return next((_SAID[unit] for unit in _UNITS if stem.endswith(f"_{unit}")), "")


class Exposition:
    """One registry of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each histogram that nobody asked for
        self.registry = CollectorRegistry(auto_describe=True)
        self.described: list[Described] = []
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, words: str, *labels: str) -> Gauge:
        self._describe(name, "gauge", labels, words)
        return Gauge(f"laycan_{name}", words, labels, registry=self.registry)

    def total(self, name: str, words: str, *labels: str) -> Counter:
        """A counter, served as `laycan_<name>_total`."""
        self._describe(f"{name}_total", "counter", labels, words)
        return Counter(f"laycan_{name}", words, labels, registry=self.registry)

    def histogram(self, name: str, words: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self._describe(name, "histogram", labels, words)
        return Histogram(f"laycan_{name}", words, labels, buckets=buckets, registry=self.registry)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    def _describe(self, name: str, kind: str, labels: Iterable[str], words: str) -> None:
        self.described.append(Described(f"laycan_{name}", kind, tuple(labels), words))


class Tally:
    """Brings a counter up to a count that somebody else keeps."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._seen = counter, 0

    def reach(self, count: int) -> None:
        self._counter.inc(max(0, count - self._seen))
        self._seen = count
