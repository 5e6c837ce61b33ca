"""Findings: what was wrong with which GPU, from the last good sample before to the first good sample after.

Open ones are never dropped; of the closed the newest are kept. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from laycan.agent.conditions import Ill
from laycan.agent.slowdown import Stretch
from laycan.resources.signals import Signal

FINDINGS_KEPT = 256
_COUNTED = frozenset({Signal.UNCORRECTABLE_ECC, Signal.NVLINK_DOWN})  # the largest value that was seen is told

Key = tuple[str, Signal, int]  # uuid, signal, and of an XID its code, else 0


@dataclass(slots=True)
class Finding:
    """As in the GpuMeter; `end` None while it lasts."""

    gpu: str
    signal: Signal
    code: int
    value: int
    count: int
    start: int
    end: int | None = None

    @property
    def key(self) -> Key:
        return self.gpu, self.signal, self.code if self.signal is Signal.XID else 0


@dataclass(slots=True)
class Findings:
    """All of one node."""

    open: dict[Key, Finding] = field(default_factory=dict)
    closed: list[Finding] = field(default_factory=list)

    @classmethod
    def of(cls, told: Iterable[Finding]) -> Findings:
        """From what a GpuMeter lists."""
        found = cls()
        for each in told:
            if each.end is None:
                found.open[each.key] = each
            else:
                found.closed.append(each)
        return found

    def listed(self) -> list[Finding]:
        """Oldest first."""
        return sorted([*self.closed, *self.open.values()], key=lambda each: (each.start, each.gpu, each.signal, each.code))

    def has(self, gpu: str, signal: Signal) -> bool:
        """Whether one is open; not for XIDs."""
        return (gpu, signal, 0) in self.open

    def set(self, gpu: str, signal: Signal, ill: Ill | None, *, since: int, now: int) -> bool:
        """What a sample at `now` says, the last one that said otherwise being of `since`. Whether a finding opened or closed."""
        held = self.open.get((gpu, signal, 0))
        if held is not None and ill is not None and held.code == ill.code:
            held.value = max(held.value, ill.value) if signal in _COUNTED else ill.value
            return False
        if held is not None:
            self._close(held, now)
        if ill is not None:
            self._open(Finding(gpu, signal, ill.code, ill.value, 1, since))
        return held is not None or ill is not None

    def hear(self, gpu: str, xid: int, since: int) -> bool:
        """An XID. Whether it is the first of its kind since the GPU was reset."""
        held = self.open.get((gpu, Signal.XID, xid))
        if held is not None:
            held.count += 1
            return False
        self._open(Finding(gpu, Signal.XID, xid, 0, 1, since))
        return True

    def end(self, gpu: str, now: int, *signals: Signal) -> bool:
        """All open ones of a GPU end, or those of these signals. Whether there were any."""
        ended = [each for each in self.open.values() if each.gpu == gpu and (not signals or each.signal in signals)]
        for each in ended:
            self._close(each, now)
        return bool(ended)

    def slowed(self, gpu: str, stretch: Stretch) -> None:
        """A stretch under slowdown, which is over; it continues the one before if that was as bad."""
        for each in reversed(self.closed):
            if each.gpu == gpu and each.signal is Signal.SLOWDOWN:
                if each.end == stretch.start and each.value == stretch.ppm:
                    each.end = stretch.end
                    return
                break
        self.closed.append(Finding(gpu, Signal.SLOWDOWN, 0, stretch.ppm, 1, stretch.start, stretch.end))

    def trim(self, most: int = FINDINGS_KEPT) -> int:
        """Drops closed findings, those that ended first, until no more than `most` are left in all. The last end dropped, 0 without."""
        over = min(len(self.open) + len(self.closed) - most, len(self.closed))
        if over <= 0:
            return 0
        self.closed.sort(key=lambda each: (each.end or 0, each.start))
        dropped, self.closed = self.closed[:over], self.closed[over:]
        return max(each.end or 0 for each in dropped)

    def _open(self, finding: Finding) -> None:
        assert finding.key not in self.open, finding
        self.open[finding.key] = finding

    def _close(self, finding: Finding, now: int) -> None:
        assert now >= finding.start, finding
        finding.end = now
        self.closed.append(self.open.pop(finding.key))
