"""Projection of a GpuMeter: what its findings are, and for which time it says anything at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.resources.signals import SLOWDOWN_SECONDS
from laycan.resources.times import parse_time
from laycan.resources.verdict import Found

Raw = Mapping[str, Any]


class MissedView(NamedTuple):
    """A stretch without samples, Unix seconds."""

    start: int
    end: int
    same_boot: bool
    uptime_seconds: int
    least_watts: int
    most_watts: int


@dataclass(frozen=True, slots=True)
class MeterView:
    """The meter of one node; times in Unix seconds."""

    node: str
    resource_version: int
    node_uid: str
    since: int  # first sample
    at: int  # latest sample
    complete_since: int  # what ended later is listed
    report_seconds: int
    gpus: frozenset[str]  # uuids
    findings: tuple[Found, ...]
    missed: tuple[MissedView, ...]
    strangers: int  # processes on its GPUs that are not the holder's
    clock_offset_milliseconds: int | None
    sample_seconds: int = 10

    @property
    def sampled_until(self) -> int:
        """The latest sample; by the API server's clock where the node's is ahead of it: nothing is proven of time that has not come."""
        return self.at - max(0, self.clock_offset_milliseconds or 0) // 1000

    @property
    def complete_at(self) -> int:
        """Up to when everything is told: slowdown is told once its stretch of the Unix clock is over."""
        return self.sampled_until - self.sampled_until % SLOWDOWN_SECONDS

    @property
    def silent_at(self) -> int:
        """From when on the agent counts as silent: it has missed two reports."""
        return self.sampled_until + 2 * self.report_seconds + 30


def tells_more(old: MeterView | None, new: MeterView | None) -> bool:
    """Whether a reading says more than that time went by: what was found or is there has changed, or silence ended."""
    if old is None or new is None:
        return old is not new
    return (old.node_uid, old.gpus, old.findings) != (new.node_uid, new.gpus, new.findings) or new.sampled_until > old.silent_at


def meter_view(obj: Raw) -> MeterView | None:
    """None for an object without times: nothing can be proven by it."""
    meta, spec = obj["metadata"], mapping(obj.get("spec"))
    since, at = _time(spec, "since"), _time(spec, "at")
    if since is None or at is None:
        return None
    gpus = [gpu for gpu in _rows(spec, "gpus") if text_at(gpu, "uuid")]
    clock = mapping(spec.get("clock"))
    return MeterView(
        node=meta["name"],
        resource_version=int(meta.get("resourceVersion") or 0),
        node_uid=text_at(spec, "nodeUid"),
        since=since,
        at=at,
        complete_since=_time(spec, "completeSince") or at,
        report_seconds=seconds_at(spec, "reportSeconds"),
        gpus=frozenset(text_at(gpu, "uuid") for gpu in gpus),
        findings=tuple(_found(raw, at) for raw in _rows(spec, "findings")),
        missed=tuple(_missed(raw, since, at) for raw in _rows(spec, "missed")),
        strangers=sum(seconds_at(gpu, "strangers") for gpu in gpus),
        clock_offset_milliseconds=seconds_at(clock, "offsetMilliseconds") if clock else None,
        sample_seconds=seconds_at(spec, "sampleSeconds") or 10,
    )


def _rows(spec: Raw, name: str) -> list[Raw]:
    raw = spec.get(name)
    return [row for row in raw if isinstance(row, Mapping)] if isinstance(raw, list) else []


def _time(raw: Raw, name: str) -> int | None:
    try:
        return parse_time(text_at(raw, name))
    except ValueError:
        return None


def _found(raw: Raw, at: int) -> Found:
    """A finding whose start cannot be read began, for all that is known, before everything."""
    end = _time(raw, "end")
    return Found(
        text_at(raw, "gpu"), text_at(raw, "signal"), seconds_at(raw, "code"), seconds_at(raw, "value"), _time(raw, "start") or 0, end
    )


def _missed(raw: Raw, since: int, at: int) -> MissedView:
    """A stretch whose edges cannot be read is as long as the meter's whole time."""
    start, end = _time(raw, "start"), _time(raw, "end")
    return MissedView(
        since if start is None else start,
        at if end is None else end,
        raw.get("sameBoot") is True and start is not None and end is not None,
        seconds_at(raw, "uptimeSeconds"),
        seconds_at(raw, "leastWatts"),
        seconds_at(raw, "mostWatts"),
    )
