"""What is known of one GPU from sample to sample."""

from __future__ import annotations

from dataclasses import dataclass, field

from laycan.agent.conditions import conditions
from laycan.agent.findings import Findings
from laycan.agent.missed import Power
from laycan.agent.registers import RESET, Counters, Registers, rise
from laycan.agent.sample import GpuSample
from laycan.agent.slowdown import Slowdown
from laycan.resources.signals import Signal


@dataclass(slots=True)
class Gpu:
    """`seen` is the last sample (Unix seconds) in which it could be read, or when it was first known of."""

    uuid: str
    seen: int
    slowdown: Slowdown
    serial: str | None = None
    board: str | None = None
    product: str | None = None
    strangers: int = 0
    registers: Registers = field(default_factory=Registers)
    counters: Counters = field(default_factory=Counters)  # NVML's, at `seen`
    most_links: int = 0  # NVLinks up at once since boot
    reset: bool = False  # it was reset, or may have been, since `seen`

    @classmethod
    def new(cls, uuid: str, now: int) -> Gpu:
        return cls(uuid, now, Slowdown(now))

    def rebooted(self) -> None:
        """The node was."""
        self.counters, self.most_links, self.reset = RESET, 0, True

    def power(self, told: GpuSample, now: int) -> Power:
        """Its mean power since it was last read."""
        return Power(rise(self.counters.energy_millijoules, told.energy_millijoules), now - self.seen)

    def reloaded(self, told: GpuSample) -> bool:
        """Whether its counters began anew."""
        return Counters.of(told).fell_since(self.counters)

    def identify(self, told: GpuSample) -> bool:
        """Takes over what the card is; whether that is new."""
        is_, was = (told.serial, told.board, told.product), (self.serial, self.board, self.product)
        self.serial, self.board, self.product = is_
        return is_ != was

    def read(self, told: GpuSample, now: int, *, sampled: bool, strangers: int, findings: Findings) -> bool:
        """Takes a sample of it; `sampled`: the time since `seen` counts as such. Whether a finding opened or closed."""
        counters = Counters.of(told)
        if sampled:
            self.registers.sampled_seconds += now - self.seen
            self.registers.stranger_seconds += now - self.seen if strangers or self.strangers else 0
        slow = rise(self.counters.slowdown_nanoseconds, counters.slowdown_nanoseconds)
        for stretch in self.slowdown.add(self.seen, now, slow):
            findings.slowed(self.uuid, stretch)
        changed = findings.end(self.uuid, now, Signal.MISSING, Signal.UNREADABLE)
        if self.reset or self.reloaded(told):
            changed |= findings.end(self.uuid, now, Signal.XID)
        self.registers.add(self.counters, counters)
        self.most_links = max(self.most_links, told.active_nvlinks or 0)
        for signal, ill in conditions(told, self.most_links).items():
            changed |= findings.set(self.uuid, signal, ill, since=self.seen, now=now)
        self.counters, self.reset, self.strangers, self.seen = counters.after(self.counters), False, strangers, now
        return changed
