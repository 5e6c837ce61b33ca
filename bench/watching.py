"""What the benchmarks of delivery see from outside: when a holder label changed, what a process spent, what the API server was asked."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.measure import percentile
from controlplane.api import Api
from laycan.resources.constants import HOLDER_LABEL

Held = tuple[float, str, str]  # Unix seconds, node, its holder label from then on ("" without)
_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: nanoseconds on a processor, of all threads
_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")


class LabelWatch:
    """Follows the holder labels of all nodes from its start to its end. Use as a context manager, around what is to be measured."""

    def __init__(self, api: Api) -> None:
        self.changes: list[Held] = []
        self._api, self._labels, self._stop = api, dict[str, str](), threading.Event()
        listed = api.get("/api/v1/nodes")
        for node in listed["items"]:
            self._take(node, 0.0)
        self._version = listed["metadata"]["resourceVersion"]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LabelWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def holders(self) -> dict[str, str]:
        """Node -> its label, of those that have one."""
        return {node: owner for node, owner in self._labels.items() if owner}

    def _run(self) -> None:
        while not self._stop.is_set():
            for event in self._api.watch("/api/v1/nodes", seconds=2, resourceVersion=self._version):
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of the nodes broke: {event['object']}")
                self._version = event["object"]["metadata"]["resourceVersion"]
                self._take(event["object"], time.time())

    def _take(self, node: Mapping[str, dict[str, dict[str, str]]], seen: float) -> None:
        name, owner = str(node["metadata"]["name"]), node["metadata"]["labels"].get(HOLDER_LABEL, "")
        if self._labels.get(name, "") != owner:
            self._labels[name] = owner
            self.changes.append((seen, name, owner))


def waits_ms(changes: Iterable[Held], due: Mapping[str, float], holder: str) -> list[int]:
    """For each node of `due` (node -> Unix seconds) the milliseconds until it first was the holder's. Raises KeyError if one never was."""
    first: dict[str, float] = {}
    for seen, node, owner in changes:
        if owner == holder:
            first.setdefault(node, seen)
    return [max(0, round((first[node] - at) * 1000)) for node, at in due.items()]


def spread(name: str, values: Sequence[int]) -> dict[str, int]:
    """Median, 99th percentile and largest of the values."""
    return {f"{name}_p50": percentile(values, 50), f"{name}_p99": percentile(values, 99), f"{name}_max": max(values)}


def cpu_us(pid: int) -> int:
    """CPU microseconds of a process so far. Linux; see clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) // 1_000


def requests(metrics: str) -> Counter[str]:
    """What the API server was asked so far, from its metrics: `PATCH nodes`, `POST pods/binding (dry run)`, `LIST pods`, …

    Watches and reads of one object are left out.
    """
    found: Counter[str] = Counter()
    for match in _REQUESTS.finditer(metrics):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels["verb"] in (*_WRITES, "LIST") and labels["resource"]:
            place = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            dry = " (dry run)" if labels["dry_run"] else ""
            found[f"{labels['verb']} {place}{dry}"] += round(float(match["count"]))
    return found
